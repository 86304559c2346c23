package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Operators is what a [Source] serves besides, where people and tools may use the admin API from afar, with a certificate.
type Operators interface {
	Operators(ctx context.Context) ([]Operator, error)
	// CreateOperator lets somebody in. Only who is at the member's own machine may ask for it ([CallerOf]).
	CreateOperator(ctx context.Context, r OperatorRequest) (*NewOperator, error)
	// RevokeOperator takes back all that was given to a name.
	RevokeOperator(ctx context.Context, name string) ([]Operator, error)
}

// Operator is somebody who may use the admin API from afar.
type Operator struct {
	Name     string    `json:"name"`
	Key      string    `json:"key"` // SHA-256 of the public key, hexadecimal
	Expires  time.Time `json:"expires"`
	ReadOnly bool      `json:"read_only"`
}

// OperatorRequest asks to let somebody in.
type OperatorRequest struct {
	Name     string `json:"name"`
	Request  []byte `json:"request"`      // certificate request (DER) of the operator's key
	Life     int64  `json:"life_seconds"` // 0 = a day
	ReadOnly bool   `json:"read_only"`
}

// NewOperator is the certificate of somebody who was let in.
type NewOperator struct {
	Operator
	Chain     []byte   `json:"chain"`     // PEM
	CAs       []byte   `json:"cas"`       // PEM: by which members are known
	Addresses []string `json:"addresses"` // of members
}

// Caller is who asks from afar.
type Caller struct {
	Name     string
	ReadOnly bool
}

type callerKey struct{}

// CallerOf returns who asks from afar; false is whoever may open the socket on the member's own machine.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

type connKey struct{}

// RunRemote is [Server.Run] for a listener that others reach. For each request, who says from the connection who asks, and
// whether anybody may.
func (s *Server) RunRemote(ctx context.Context, l net.Listener, who func(net.Conn) (Caller, bool)) error {
	return s.serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		caller, ok := who(c)
		what := r.Method + " " + r.URL.Path
		switch {
		case !ok:
			s.fail(w, &Error{Status: http.StatusForbidden, What: what, Why: "this certificate is not, or not any more, one of an operator", Hint: "make one on a member: rootctl operator create"})
			return
		case caller.ReadOnly && !looks(r):
			s.fail(w, &Error{Status: http.StatusForbidden, What: what, Why: "operator " + caller.Name + " may look, and change nothing", Hint: "make another one on a member: rootctl operator create, without --read-only"})
			return
		case !looks(r):
			s.log.Info("operator asks for a change", "name", caller.Name, "source", r.RemoteAddr, "request", what)
		}
		s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	}), func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) })
}

// looks reports whether a request only looks at what everybody may see who may look at all.
func looks(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path != "/v1/snapshot" }

func (s *Server) operatorRoutes(o Operators) {
	s.mux.HandleFunc("GET /v1/operators", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.Operators(r.Context())
		s.answer(w, "list operators", operatorList{v}, err)
	})
	s.mux.HandleFunc("POST /v1/operators", func(w http.ResponseWriter, r *http.Request) {
		const what = "create operator"
		var req OperatorRequest
		if !s.decode(w, r, what, &req) {
			return
		}
		v, err := o.CreateOperator(r.Context(), req)
		s.answer(w, what, v, err)
	})
	s.mux.HandleFunc("DELETE /v1/operators/{name}", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.RevokeOperator(r.Context(), r.PathValue("name"))
		s.answer(w, "revoke operator "+r.PathValue("name"), operatorList{v}, err)
	})
}

type operatorList struct {
	Operators []Operator `json:"operators"`
}

var _ Operators = (*Client)(nil)

// Operators implements [Operators].
func (c *Client) Operators(ctx context.Context) ([]Operator, error) {
	l, err := get[operatorList](ctx, c, http.MethodGet, "/v1/operators", nil)
	if err != nil {
		return nil, err
	}
	return l.Operators, nil
}

// CreateOperator implements [Operators].
func (c *Client) CreateOperator(ctx context.Context, r OperatorRequest) (*NewOperator, error) {
	return post[NewOperator](ctx, c, "/v1/operators", r)
}

// RevokeOperator implements [Operators].
func (c *Client) RevokeOperator(ctx context.Context, name string) ([]Operator, error) {
	l, err := get[operatorList](ctx, c, http.MethodDelete, "/v1/operators/"+url.PathEscape(name), nil)
	if err != nil {
		return nil, err
	}
	return l.Operators, nil
}

// NewRemoteClient returns a client of the member at an address, to which dial connects.
func NewRemoteClient(address string, dial func(context.Context) (net.Conn, error)) *Client {
	c := &Client{socket: address, remote: true}
	c.http.Transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       2,
		IdleConnTimeout:    30 * time.Second,
	}
	return c
}

// unreachableRemote says why a member cannot be asked from afar.
func (c *Client) unreachableRemote(err error) error {
	e := &Error{What: "ask the member at " + c.socket, Why: err.Error(), Hint: "is it up, and TCP port " + portOf(c.socket) + " open from here? Another member will do as well"}
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // it is always the outermost
		e.Why = u.Err.Error()
	}
	if h := hintIn(err); h != "" {
		e.Hint = h
	}
	return e
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Sprintf("of %s", address)
	}
	return port
}
