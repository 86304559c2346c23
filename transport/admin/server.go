package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// maxWorld is the most bytes of a planet that the server reads.
const maxWorld = 64 << 10

// Source is what the server serves. Its methods are called from many goroutines at once. Errors may wrap
// [ErrNotFound], [ErrRefused] or [ErrUnavailable], or be an [*Error] with a hint.
type Source interface {
	Status(ctx context.Context) (*Status, error)
	// Peers calls yield for each peer that the filter chooses, in no order, and stops when yield fails.
	// The Peer may be reused after yield returns.
	Peers(ctx context.Context, f PeerFilter, yield func(*Peer) error) error
	Peer(ctx context.Context, a vl1.Address) (*Peer, error)
	Planet(ctx context.Context) (*Planet, error)
	// PublishPlanet returns once the signed world is in the log, or why it must not be.
	PublishPlanet(ctx context.Context, world []byte) (*Planet, error)
}

// Server answers requests on a unix socket.
type Server struct {
	source Source
	log    *slog.Logger
	mux    *http.ServeMux
}

// NewServer returns a server that has not started.
func NewServer(source Source, log *slog.Logger) *Server {
	s := &Server{source: source, log: log, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /v1/status", s.status)
	s.mux.HandleFunc("GET /v1/peers", s.peers)
	s.mux.HandleFunc("GET /v1/peers/{address}", s.peer)
	s.mux.HandleFunc("GET /v1/planet", s.planet)
	s.mux.HandleFunc("PUT /v1/planet", s.publish)
	if c, ok := source.(Cluster); ok {
		s.clusterRoutes(c)
	}
	if d, ok := source.(Drains); ok {
		s.drains(d)
	}
	if o, ok := source.(Operations); ok {
		s.operationRoutes(o)
	}
	if c, ok := source.(CA); ok {
		s.caRoutes(c)
	}
	if o, ok := source.(Operators); ok {
		s.operatorRoutes(o)
	}
	if c, ok := source.(Snapshots); ok {
		s.snapshotRoutes(c)
	}
	if c, ok := source.(Restores); ok {
		s.restoreRoutes(c)
	}
	if i, ok := source.(Importer); ok {
		s.importRoutes(i)
	}
	if e, ok := source.(SettingsEditor); ok {
		s.settingsRoutes(e)
	}
	if g, ok := source.(Geo); ok {
		s.geoRoutes(g)
	}
	if o, ok := source.(Steering); ok {
		s.steeringRoutes(o)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &Error{
			Status: http.StatusNotFound, What: r.Method + " " + r.URL.Path, Why: "no such route",
			Hint: "rootctl and rootd may be of different versions: compare rootctl version",
		})
	})
	return s
}

// Handler returns the routes, for tests and for other listeners.
func (s *Server) Handler() http.Handler { return s.mux }

// Listen opens the socket with mode 0600. A socket left by a dead process is replaced, one that answers is not.
func Listen(path string) (net.Listener, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open admin socket: %w", err)
	case fi.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("open admin socket: %s exists and is no socket: remove it or set admin.socket", path)
	default:
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("open admin socket: %s is in use by another process: stop it or set admin.socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("open admin socket: %w", err)
		}
	}
	return listenPrivate(path)
}

// Run serves l until ctx ends, then lets requests finish for a moment and closes l. It returns nil after ctx ended.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.mux, nil)
}

func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler, conn func(context.Context, net.Conn) context.Context) error {
	srv := &http.Server{
		Handler:           h,
		ConnContext:       conn,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
			return nil // the listener's owner was told to end, too, and was quicker
		}
		return fmt.Errorf("serve the admin API: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // whoever is still reading a list is cut off, and notices
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve the admin API: %w", err)
	}
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	st, err := s.source.Status(r.Context())
	s.answer(w, "status", st, err)
}

func (s *Server) peer(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("address")
	a, err := vl1.ParseAddress(text)
	if err != nil {
		s.fail(w, &Error{Status: http.StatusBadRequest, What: "peer", Why: err.Error()})
		return
	}
	p, err := s.source.Peer(r.Context(), a)
	s.answer(w, "peer "+text, p, err)
}

func (s *Server) planet(w http.ResponseWriter, r *http.Request) {
	p, err := s.source.Planet(r.Context())
	s.answer(w, "planet", p, err)
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request) {
	world, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWorld))
	if err != nil {
		s.fail(w, &Error{Status: http.StatusBadRequest, What: "publish planet", Why: err.Error()})
		return
	}
	p, err := s.source.PublishPlanet(r.Context(), world)
	s.answer(w, "publish planet", p, err)
}

// line is one line of a list.
type line struct {
	Peer  *Peer  `json:"peer,omitempty"`
	End   *end   `json:"end,omitempty"`
	Error *Error `json:"error,omitempty"`
}

type end struct {
	Count int `json:"count"`
}

var errLimit = errors.New("limit reached")

func (s *Server) peers(w http.ResponseWriter, r *http.Request) {
	f, bad := parseFilter(r)
	if bad != nil {
		s.fail(w, bad)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	n := 0
	err := s.source.Peers(r.Context(), f, func(p *Peer) error {
		if f.Limit > 0 && n == f.Limit {
			return errLimit
		}
		n++
		return enc.Encode(line{Peer: p})
	})
	last := line{End: &end{Count: n}}
	if err != nil && !errors.Is(err, errLimit) {
		last = line{Error: errorFor("list peers", err)}
	}
	_ = enc.Encode(last) // a client that went away needs no end
}

func parseFilter(r *http.Request) (PeerFilter, *Error) {
	q := r.URL.Query()
	f := PeerFilter{Prefix: strings.ToLower(q.Get("prefix")), Member: q.Get("member"), Unconfirmed: q.Get("unconfirmed") == "1"}
	refuse := func(why string) (PeerFilter, *Error) {
		return f, &Error{Status: http.StatusBadRequest, What: "list peers", Why: why}
	}
	if len(f.Prefix) > 2*vl1.AddressLen || strings.Trim(f.Prefix, "0123456789abcdef") != "" {
		return refuse(fmt.Sprintf("prefix %q is not the beginning of an address (up to ten hexadecimal digits)", f.Prefix))
	}
	if l := q.Get("limit"); l != "" {
		n, err := strconv.Atoi(l)
		if err != nil || n < 0 {
			return refuse(fmt.Sprintf("limit %q is not a number", l))
		}
		f.Limit = n
	}
	return f, nil
}

func (s *Server) answer(w http.ResponseWriter, what string, v any, err error) {
	if err != nil {
		s.fail(w, errorFor(what, err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("admin answer not written", "request", what, "error", err)
	}
}

func (s *Server) fail(w http.ResponseWriter, e *Error) {
	if e.Status >= http.StatusInternalServerError {
		s.log.Warn("admin request failed", "request", e.What, "error", e.Why)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e) // a client that went away needs no reason
}
