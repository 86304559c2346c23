package join

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// MaxClockSkew is how far apart the clocks of the machine and the member may be.
const MaxClockSkew = 30 * time.Second

// Times of an exchange at the member's end.
const (
	helloTimeout  = 15 * time.Second // until the hello has arrived
	admitTimeout  = 2 * time.Minute  // for Check and Admit together
	answerTimeout = 15 * time.Second // to write one frame
)

// Admitter decides about machines that want to become members. Its methods are called from many goroutines at once.
// An error that is a [*Refusal] reaches the machine as it is; of any other it learns only that it is not its fault.
type Admitter interface {
	// Check says what would come of the request, with everything that stands against it as Plan.Problems, and changes nothing.
	// If the token is not valid it returns a *Refusal with [CodeToken], [CodeTokenExpired] or [CodeTokenUsed] and no plan:
	// nothing else may be told to who has none. The form of the request, the clock and the version are checked by the
	// server. note tells the machine's operator what takes time; it may be called from any goroutine until Check returns.
	Check(ctx context.Context, r *Request, note func(text string)) (*Plan, error)
	// Admit makes the machine a member: it returns once that is in the log. It is called after Check found nothing that stands
	// against it, but checks again where others may have been faster. Called again with the same token and the same key it
	// offers the same member ID again, with a fresh certificate.
	Admit(ctx context.Context, r *Request) (*Offer, error)
}

// ServerOptions are the needs of a [Server]. All are required.
type ServerOptions struct {
	Admitter Admitter
	// Features returns the feature level that the cluster uses, and the highest that this binary knows.
	Features func() (used, known uint16)
	Now      func() time.Time
	Logger   *slog.Logger
}

// Server is the member's end of the exchange.
type Server struct {
	o ServerOptions
}

// NewServer returns a server that has not started.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Admitter == nil || o.Features == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("join server without admitter, features, clock or logger")
	}
	return &Server{o}, nil
}

// Run serves the connections of ln (from [mux.Mux.Listen] with [mux.Join]) until ctx ends or ln is closed, and returns nil
// then, with all of them closed. It closes ln.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed): // the mux has stopped
			return nil
		case err != nil:
			return fmt.Errorf("accept machines that join: %w", err)
		}
		wg.Go(func() {
			defer c.Close()
			if err := s.Serve(ctx, c); err != nil && ctx.Err() == nil {
				s.o.Logger.Debug("join broken off", "source", c.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// Serve speaks with one machine. It returns an error if the exchange did not come to its end, which a refusal is too.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout+helloTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	_ = c.SetReadDeadline(time.Now().Add(helloTimeout))
	k, body, err := readFrame(c, maxHello)
	if err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Time{})
	if ctx.Err() != nil { // the deadline may have been overwritten
		return ctx.Err()
	}
	out := &answers{c: c}
	arrived := s.o.Now()
	r, refusal := s.request(k, body, c.RemoteAddr())
	if refusal != nil {
		return out.refuse(refusal)
	}
	log := s.o.Logger.With("token", r.Token.String(), "name", r.Name, "source", c.RemoteAddr().String())
	plan, err := s.o.Admitter.Check(ctx, r, out.note)
	if err != nil {
		return s.refuse(log, out, err)
	}
	own := slices.DeleteFunc([]*Refusal{s.clock(r.Clock, arrived), s.version(r)}, func(r *Refusal) bool { return r == nil })
	plan.Problems = append(own, plan.Problems...)
	slices.SortStableFunc(plan.Problems, func(a, b *Refusal) int { return order(a) - order(b) })
	for _, p := range plan.Problems {
		p.Known = plan.Again
	}
	plan.ServerClock = arrived
	if err := out.send(kindPlan, plan); err != nil || r.DryRun {
		return err
	}
	if b := plan.Blocker(r.Force); b != nil {
		return s.refuse(log, out, b)
	}
	offer, err := s.o.Admitter.Admit(ctx, r)
	if refusal, ok := errors.AsType[*Refusal](err); ok && plan.Again {
		refusal.Known = true
	}
	if err != nil {
		return s.refuse(log, out, err)
	}
	b, err := offer.Encode()
	if err != nil {
		return s.refuse(log, out, err)
	}
	log.Info("machine joins", "member", offer.Member)
	return out.frame(kindOffer, b)
}

// order puts what cannot be forced first.
func order(r *Refusal) int {
	if r.Forceable {
		return 1
	}
	return 0
}

// refuse logs why, and tells the machine as much of it as it should know.
func (s *Server) refuse(log *slog.Logger, out *answers, err error) error {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		log.Error("join failed", "error", err)
		r = &Refusal{Code: CodeInternal, Why: "the member could not do it", Way: "its log says why; then run the same command again"}
	} else {
		log.Warn("join refused", "reason", r.Why)
	}
	return out.refuse(r)
}

// request makes a Request of a hello whose form is good.
func (s *Server) request(k kind, body []byte, from net.Addr) (*Request, *Refusal) {
	bad := func(format string, a ...any) (*Request, *Refusal) {
		return nil, &Refusal{Code: CodeRequest, Why: fmt.Sprintf(format, a...)}
	}
	if k != kindHello {
		return bad("frame of kind %d instead of a hello", k)
	}
	h, err := parseHello(body)
	if err != nil {
		return bad("%v", err)
	}
	r := &Request{
		Token: h.Token, SecretHash: sha256.Sum256(h.Secret), CSR: h.CSR, Name: h.Name, Address: h.Address, Endpoints: h.Endpoints,
		Version: h.Version, Feature: h.Feature, Clock: h.clock(), Probe: h.Probe, DryRun: h.DryRun, Force: h.Force,
	}
	r.From, _ = netip.ParseAddrPort(from.String()) // in tests it may be none
	if r.KeyHash, err = keyHash(h.CSR); err != nil {
		return bad("certificate request: %v", err)
	}
	if !ValidName(h.Name) {
		return nil, &Refusal{Code: CodeName, Why: fmt.Sprintf("member name %q cannot be one", clip(h.Name)), Way: "up to 63 letters, digits, dots and dashes, beginning with a letter or digit: --name NAME"}
	}
	if err := CheckAddress(h.Address); err != nil {
		return nil, &Refusal{Code: CodeAddress, Why: "cluster " + err.Error(), Way: "name the one at which the other members reach this machine: --address HOST:PORT"}
	}
	if len(h.Endpoints) > vl1.MaxEndpoints {
		return nil, &Refusal{Code: CodeEndpoint, Why: fmt.Sprintf("%d endpoints, a planet holds at most %d per root", len(h.Endpoints), vl1.MaxEndpoints)}
	}
	for i, ap := range h.Endpoints {
		if !ap.IsValid() || ap.Port() == 0 || ap.Addr().Zone() != "" || ap.Addr().Is4In6() || slices.Contains(h.Endpoints[:i], ap) {
			return nil, &Refusal{Code: CodeEndpoint, Why: fmt.Sprintf("endpoint %v cannot be one, or is there twice", ap)}
		}
	}
	if len(h.Version) > 64 {
		return bad("the version is too long")
	}
	return r, nil
}

// ValidName reports whether a member may have the name.
func ValidName(s string) bool {
	for i, r := range s {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || r != '.' && r != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// keyHash reads the key in a certificate request, which must be signed by it.
func keyHash(csr []byte) ([32]byte, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return [32]byte{}, err
	}
	if _, ok := req.PublicKey.(ed25519.PublicKey); !ok {
		return [32]byte{}, errors.New("want an Ed25519 key")
	}
	if err := req.CheckSignature(); err != nil {
		return [32]byte{}, errors.New("its sender does not have the private key")
	}
	return sha256.Sum256(req.RawSubjectPublicKeyInfo), nil
}

// clock returns what is wrong with the machine's clock, given what the member's said when the request arrived.
func (s *Server) clock(theirs, ours time.Time) *Refusal {
	skew := theirs.Sub(ours)
	if skew.Abs() <= MaxClockSkew {
		return nil
	}
	word := "ahead of"
	if skew < 0 {
		word = "behind"
	}
	return &Refusal{
		Code: CodeClock, Why: fmt.Sprintf("the clock of this machine is %v %s the cluster's (%s)", skew.Abs().Round(time.Second), word, ours.UTC().Format("2006-01-02 15:04:05 MST")),
		Way: "set it, and keep it right with NTP (timedatectl set-ntp true)",
	}
}

// version returns what is wrong with the machine's software.
func (s *Server) version(r *Request) *Refusal {
	used, known := s.o.Features()
	switch {
	case r.Feature < used:
		return &Refusal{
			Code: CodeVersion, Why: fmt.Sprintf("rootd %s is too old: it knows feature level %d, the cluster uses %d", clip(r.Version), r.Feature, used),
			Way: "install the version of the other members on this machine",
		}
	case r.Feature > known+1:
		return &Refusal{
			Code: CodeVersion, Why: fmt.Sprintf("rootd %s is too new: it knows feature level %d, the members %d; one level more is the most", clip(r.Version), r.Feature, known),
			Way: "upgrade the members first, or install their version on this machine",
		}
	}
	return nil
}

// answers writes frames to a machine; notes may come from any goroutine.
type answers struct {
	mu sync.Mutex // guards c's writes
	c  net.Conn
}

func (a *answers) frame(k kind, body []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.c.SetWriteDeadline(time.Now().Add(answerTimeout))
	return writeFrame(a.c, k, body)
}

func (a *answers) send(k kind, v any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.c.SetWriteDeadline(time.Now().Add(answerTimeout))
	return writeJSON(a.c, k, v)
}

func (a *answers) note(text string) {
	_ = a.send(kindNote, noteJSON{text}) // who does not read it will miss what follows, too
}

func (a *answers) refuse(r *Refusal) error {
	if err := a.send(kindRefusal, r); err != nil {
		return err
	}
	return r
}
