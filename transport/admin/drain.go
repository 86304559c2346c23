package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Drains is what a [Source] serves besides, where its members hand peers off:
//
//	GET    /v1/members/MEMBER/drain?plan=1  Drain
//	PUT    /v1/members/MEMBER/drain         Drain: from now on
//	DELETE /v1/members/MEMBER/drain         Drain: no more
type Drains interface {
	// Drain says how far a drain is; with plan also where the peers would go, which looks at all of them.
	Drain(ctx context.Context, member string, plan bool) (*Drain, error)
	// SetDrain begins or ends it. What is so already succeeds.
	SetDrain(ctx context.Context, member string, on bool, o DrainOptions) (*Drain, error)
}

// DrainOptions are for the beginning of a drain.
type DrainOptions struct {
	Operation string // the ID of the [Operation] that it is a part of; else it is refused while one is under way
	Alone     bool   // although no other root of the planet could carry the clients, or an operation is under way
}

// States of a drain.
const (
	DrainNone     = ""
	DrainDraining = "draining" // until an operator ends it
	DrainStopping = "stopping" // until the member is up again
)

// Drain is how far the drain of a member is.
type Drain struct {
	Member   string    `json:"member"`
	ID       uint16    `json:"id"`
	State    string    `json:"state"`
	Since    time.Time `json:"since,omitzero"`
	Attached int       `json:"attached"` // peers that the log has there
	Active   int       `json:"active"`   // of them: those that are heard there, and have yet to go; -1 = the member does not answer
	// Open are the members that could take its peers.
	Open []string     `json:"open"`
	Plan []DrainShare `json:"plan,omitzero"`
}

// DrainShare is what part of the peers would go to one other member. A peer counts once for each address family.
type DrainShare struct {
	Target    string  `json:"target"` // "" = they stay: nobody may take them
	Peers     int     `json:"peers"`
	Known     int     `json:"known"` // of them: those whose latency can be told
	BeforeMS  float64 `json:"before_ms"`
	AfterMS   float64 `json:"after_ms"`
	LongestMS float64 `json:"longest_ms"`
}

func (s *Server) drains(d Drains) {
	s.mux.HandleFunc("GET /v1/members/{member}/drain", func(w http.ResponseWriter, r *http.Request) {
		v, err := d.Drain(r.Context(), r.PathValue("member"), r.URL.Query().Get("plan") == "1")
		s.answer(w, "drain of member "+r.PathValue("member"), v, err)
	})
	for method, on := range map[string]bool{"PUT": true, "DELETE": false} {
		s.mux.HandleFunc(method+" /v1/members/{member}/drain", func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			v, err := d.SetDrain(r.Context(), r.PathValue("member"), on, DrainOptions{Operation: q.Get("operation"), Alone: q.Get("alone") == "1"})
			s.answer(w, "drain of member "+r.PathValue("member"), v, err)
		})
	}
}

// Drain implements [Drains].
func (c *Client) Drain(ctx context.Context, member string, plan bool) (*Drain, error) {
	return get[Drain](ctx, c, http.MethodGet, "/v1/members/"+url.PathEscape(member)+"/drain"+flags("plan", plan), nil)
}

// SetDrain implements [Drains].
func (c *Client) SetDrain(ctx context.Context, member string, on bool, o DrainOptions) (*Drain, error) {
	method := http.MethodPut
	if !on {
		method = http.MethodDelete
	}
	q := url.Values{}
	if o.Operation != "" {
		q.Set("operation", o.Operation)
	}
	if o.Alone {
		q.Set("alone", "1")
	}
	return get[Drain](ctx, c, method, "/v1/members/"+url.PathEscape(member)+"/drain?"+q.Encode(), nil)
}
