package rpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

type kind byte

const (
	kindCall   kind = 1
	kindAnswer kind = 2
	kindError  kind = 3
	kindCancel kind = 4
	kindPing   kind = 5
	kindPong   kind = 6
	kindStream kind = 7
	kindData   kind = 8
	kindEnd    kind = 9
)

const (
	headLen   = 9    // length, kind, call
	slack     = 9216 // what a frame may hold besides a body: names, or an error
	maxName   = 64   // bytes of a call's name
	maxCode   = 64
	maxText   = 4096
	chunkSize = 32 << 10 // bytes of a stream in one frame
)

var errShort = errors.New("frame too short")

// frame is one frame. The rest is what follows the head.
type frame struct {
	kind kind
	call uint32
	rest []byte
}

// appendFrame encodes a frame.
func appendFrame(b []byte, k kind, call uint32, parts ...[]byte) []byte {
	n := headLen - 4
	for _, p := range parts {
		n += len(p)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint32(b, call)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// readFrame reads a frame whose rest has at most limit bytes. The rest belongs to the caller. Memory is taken as bytes arrive, not
// as the length claims.
func readFrame(r *bufio.Reader, limit int) (f frame, err error) {
	var head [headLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - (headLen - 4)
	f.kind, f.call = kind(head[4]), binary.BigEndian.Uint32(head[5:])
	switch {
	case n < 0:
		return f, errShort
	case n > int64(limit):
		return f, fmt.Errorf("frame of %d bytes, at most %d", n, limit)
	case f.kind < kindCall || f.kind > kindEnd:
		return f, fmt.Errorf("frame of unknown kind %d", f.kind)
	case n == 0:
		return f, nil
	}
	const trusted = 64 << 10
	f.rest = make([]byte, min(n, trusted))
	if _, err := io.ReadFull(r, f.rest); err != nil {
		return f, noEOF(err)
	}
	for int64(len(f.rest)) < n {
		at := len(f.rest)
		f.rest = append(f.rest, make([]byte, min(n-int64(at), int64(at)))...)
		if _, err := io.ReadFull(r, f.rest[at:]); err != nil {
			return f, noEOF(err)
		}
	}
	return f, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// request is the rest of a call or stream frame.
type request struct {
	left time.Duration // until the deadline; 0: none
	name string
	body []byte
}

func (q *request) head() []byte {
	ms := uint32(0)
	if q.left > 0 {
		ms = uint32(min(max(q.left.Milliseconds(), 1), math.MaxUint32))
	}
	b := binary.BigEndian.AppendUint32(nil, ms)
	b = append(b, byte(len(q.name)))
	return append(b, q.name...)
}

func parseRequest(b []byte) (q request, err error) {
	if len(b) < 5 {
		return q, errShort
	}
	q.left = time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
	n := int(b[4])
	if b = b[5:]; len(b) < n {
		return q, errShort
	}
	if q.name, q.body = string(b[:n]), b[n:]; !validName(q.name) {
		return request{}, errors.New("call without a proper name")
	}
	return q, nil
}

// validName accepts 1 to 64 of a-z, 0-9, '-', '_', '.', '/'.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != '/' {
			return false
		}
	}
	return true
}

func (e *Error) encode() []byte {
	code, text, hint := e.Code[:min(len(e.Code), maxCode)], e.Text[:min(len(e.Text), maxText)], e.Hint[:min(len(e.Hint), maxText)]
	b := append([]byte{byte(len(code))}, code...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(hint))), hint...)
}

func parseError(b []byte) (*Error, error) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, errShort
	}
	e := &Error{Code: Code(b[1 : 1+int(b[0])])}
	b = b[1+int(b[0]):]
	for _, s := range []*string{&e.Text, &e.Hint} {
		if len(b) < 2 {
			return nil, errShort
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; len(b) < n {
			return nil, errShort
		}
		*s, b = string(b[:n]), b[n:]
	}
	if len(b) != 0 {
		return nil, errors.New("frame too long")
	}
	return e, nil
}
