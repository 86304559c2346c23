package admin

import (
	"context"
	"net/http"
	"time"
)

// CA is what a [Source] serves besides, where the certificate authority of a cluster can be looked at and replaced:
// GET /v1/ca and POST /v1/ca/rotate (body: RotateOptions), both answer [CAStatus].
type CA interface {
	CAStatus(ctx context.Context) (*CAStatus, error)
	// RotateCA takes the next step of a rotation at all members. It is called until no step is left; called again after an
	// interruption it goes on where it was.
	RotateCA(ctx context.Context, o RotateOptions) (*CAStatus, error)
}

// RotateOptions say how to go on.
type RotateOptions struct {
	Begin bool `json:"begin"` // begin a rotation if none is under way
	Force bool `json:"force"` // even if the CA has just been made
}

// Steps of a rotation: the one to take next.
const (
	CAStepNone   = ""       // no rotation is under way
	CAStepTrust  = "trust"  // let all members trust the new CA, too
	CAStepRenew  = "renew"  // let all members renew their certificates with it
	CAStepForget = "forget" // let all members forget the old one
)

// CAStatus is how all members stand to the cluster's CA.
type CAStatus struct {
	Step    string     `json:"step"`           // of a rotation, to take next; "" = none is under way
	Next    string     `json:"next,omitempty"` // fingerprint of the CA that it leads to
	CAs     []CAInfo   `json:"cas"`            // the oldest first
	Members []CAMember `json:"members"`
}

// CAInfo is a CA that somebody trusts.
type CAInfo struct {
	Fingerprint string    `json:"fingerprint"`
	Made        time.Time `json:"made"`
	Expires     time.Time `json:"expires"`
}

// CAMember is how one member stands to them. All are fingerprints.
type CAMember struct {
	Name        string    `json:"name"`
	Certificate string    `json:"certificate"` // of the CA that signed its certificate
	Expires     time.Time `json:"expires,omitzero"`
	Trusts      []string  `json:"trusts,omitzero"`
	Signs       string    `json:"signs,omitempty"` // of the CA whose key it keeps; "" = none
	Error       string    `json:"error,omitempty"` // it could not be asked
}

func (s *Server) caRoutes(c CA) {
	s.mux.HandleFunc("GET /v1/ca", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.CAStatus(r.Context())
		s.answer(w, "CA", v, err)
	})
	s.mux.HandleFunc("POST /v1/ca/rotate", func(w http.ResponseWriter, r *http.Request) {
		const what = "rotate the CA"
		var o RotateOptions
		if !s.decode(w, r, what, &o) {
			return
		}
		v, err := c.RotateCA(r.Context(), o)
		s.answer(w, what, v, err)
	})
}

var _ CA = (*Client)(nil)

// CAStatus implements [CA].
func (c *Client) CAStatus(ctx context.Context) (*CAStatus, error) {
	return get[CAStatus](ctx, c, http.MethodGet, "/v1/ca", nil)
}

// RotateCA implements [CA].
func (c *Client) RotateCA(ctx context.Context, o RotateOptions) (*CAStatus, error) {
	return post[CAStatus](ctx, c, "/v1/ca/rotate", o)
}
