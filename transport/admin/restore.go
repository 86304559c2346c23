package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Restores is what a [Source] serves besides, if an archive can be brought back into its cluster while it runs.
type Restores interface {
	// Restore brings back the peers and settings of an archive, which it reads to its end and checks before anything changes. It
	// returns once all voters have them, or says which have not yet.
	Restore(ctx context.Context, archive io.Reader, o RestoreOptions) (*Restoration, error)
}

// RestoreOptions say what does not matter to a restore.
type RestoreOptions struct {
	Force bool // although a voter is not up, or an operation is under way
	Alone bool // although no other root of the planet could carry the clients
}

// Restoration is a restore that is done.
type Restoration struct {
	Index    uint64   `json:"index"`         // of the log entry from which on it holds
	Peers    int      `json:"peers"`         // that there are now
	Before   int      `json:"peers_before"`  // that there were
	Settings int      `json:"settings"`      // that are set now
	Contents string   `json:"contents_hash"` // of the cluster now
	Voters   []string `json:"voters"`        // names of those that have it
	Missing  []string `json:"missing,omitzero"`
	Seconds  float64  `json:"seconds"`
}

// restorePatience is how long a client may be silent while it sends an archive.
const restorePatience = time.Minute

func (s *Server) restoreRoutes(c Restores) {
	s.mux.HandleFunc("PUT /v1/restore", func(w http.ResponseWriter, r *http.Request) {
		in := &patientReader{r: r.Body, rc: http.NewResponseController(w)}
		v, err := c.Restore(r.Context(), in, RestoreOptions{Force: r.URL.Query().Get("force") == "1", Alone: r.URL.Query().Get("alone") == "1"})
		if err != nil {
			_, _ = io.Copy(io.Discard, in) // a client that still sends would not hear why
		}
		s.answer(w, "restore", v, err)
	})
}

// patientReader gives each read its own time.
type patientReader struct {
	r  io.Reader
	rc *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.rc.SetReadDeadline(time.Now().Add(restorePatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.r.Read(b)
}

var _ Restores = (*Client)(nil)

// Restore implements [Restores].
func (c *Client) Restore(ctx context.Context, archive io.Reader, o RestoreOptions) (*Restoration, error) {
	body, err := c.send(ctx, http.MethodPut, "/v1/restore"+flags("force", o.Force, "alone", o.Alone), archive)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	v := new(Restoration)
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return nil, &Error{What: "restore", Why: fmt.Sprintf("answer not understood: %v", err), Hint: "rootd may have stopped: see rootctl status for the contents that it has, and run the same command again"}
	}
	return v, nil
}
