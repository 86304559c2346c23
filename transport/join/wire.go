package join

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// kind is the first byte of a frame.
type kind byte

// The kinds of frames. Values are never reused.
const (
	kindHello   kind = 1
	kindNote    kind = 2
	kindPlan    kind = 3
	kindOffer   kind = 4
	kindRefusal kind = 5
)

const (
	frameHeader = 5
	maxFrame    = 1 << 20  // bytes of a body
	maxHello    = 64 << 10 // of the one that strangers send
)

// helloJSON is the body of a hello.
type helloJSON struct {
	Token     TokenID          `json:"token"`
	Secret    []byte           `json:"secret"`
	CSR       []byte           `json:"csr"`
	Name      string           `json:"name"`
	Address   string           `json:"address"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Version   string           `json:"version"`
	Feature   uint16           `json:"feature"`
	Clock     int64            `json:"clock_ms"` // since 1970
	Probe     *vl1.Identity    `json:"probe,omitempty"`
	DryRun    bool             `json:"dry_run,omitempty"`
	Force     bool             `json:"force,omitempty"`
}

// noteJSON is the body of a note.
type noteJSON struct {
	Text string `json:"text"`
}

// errFrame is wrapped by complaints about frames.
var errFrame = errors.New("frame of the join protocol")

// writeFrame sends one frame with one Write.
func writeFrame(w io.Writer, k kind, body []byte) error {
	if len(body) > maxFrame {
		return fmt.Errorf("%w: %d bytes, at most %d", errFrame, len(body), maxFrame)
	}
	b := make([]byte, frameHeader, frameHeader+len(body))
	b[0] = byte(k)
	binary.BigEndian.PutUint32(b[1:], uint32(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

func writeJSON(w io.Writer, k kind, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return writeFrame(w, k, body)
}

// readFrame reads one frame with a body of at most limit bytes. It reads no byte beyond it.
func readFrame(r io.Reader, limit int) (kind, []byte, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[1:])
	if n > uint32(limit) {
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d", errFrame, n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return kind(h[0]), body, nil
}

// parse reads the body of a hello. Its errors quote nothing of it: it holds a secret.
func parseHello(body []byte) (*helloJSON, error) {
	var h helloJSON
	if json.Unmarshal(body, &h) != nil {
		return nil, fmt.Errorf("%w: a hello that is not readable", errFrame)
	}
	if len(h.Secret) != secretLen {
		return nil, fmt.Errorf("%w: a hello without the secret of its token", errFrame)
	}
	return &h, nil
}

func (h *helloJSON) clock() time.Time { return time.UnixMilli(h.Clock).UTC() }

// clean makes text that came over the wire fit for a terminal.
func clean(s string) string {
	const most = 2048
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}
