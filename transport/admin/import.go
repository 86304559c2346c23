package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/rootd/rootd/packetpath/vl1"
)

// MaxImport is the most identities of one request.
const MaxImport = 1000

// Importer is what a [Source] serves besides, if identities can be put into its log without a peer that says HELLO.
// It believes the caller that they are valid. A member that is not the leader passes them on.
type Importer interface {
	// ImportPeers returns once all of the identities are in the log, or what stands in the way. Peers that the log knows
	// stay as they are: it may be done again.
	ImportPeers(ctx context.Context, ids []vl1.Identity) (*Imported, error)
}

// Imported is what came of an import.
type Imported struct {
	Created int `json:"created"`
	Known   int `json:"known"` // the log had them already
	// Collisions are addresses that another identity holds: theirs were refused.
	Collisions []vl1.Address `json:"collisions,omitzero"`
}

// importRoutes adds what an Importer serves. The body is identities in binary form, one after the other.
func (s *Server) importRoutes(i Importer) {
	s.mux.HandleFunc("POST /v1/peers", func(w http.ResponseWriter, r *http.Request) {
		const what = "import peers"
		refuse := func(why string) { s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: why}) }
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxImport*vl1.IdentityLen))
		if err != nil {
			refuse(err.Error())
			return
		}
		ids, err := decodeIdentities(body)
		if err != nil {
			refuse(err.Error())
			return
		}
		v, err := i.ImportPeers(r.Context(), ids)
		s.answer(w, what, v, err)
	})
}

func decodeIdentities(b []byte) ([]vl1.Identity, error) {
	ids := make([]vl1.Identity, 0, len(b)/vl1.IdentityLen)
	for len(b) > 0 {
		id, n, err := vl1.DecodeIdentity(b)
		if err != nil {
			return nil, fmt.Errorf("identity %d: %w", len(ids)+1, err)
		}
		ids, b = append(ids, id), b[n:]
	}
	return ids, nil
}

var _ Importer = (*Client)(nil)

// ImportPeers implements [Importer], for at most [MaxImport] identities.
func (c *Client) ImportPeers(ctx context.Context, ids []vl1.Identity) (*Imported, error) {
	body := make([]byte, 0, len(ids)*vl1.IdentityLen)
	for i := range ids {
		body = ids[i].AppendBinary(body)
	}
	return get[Imported](ctx, c, http.MethodPost, "/v1/peers", body)
}
