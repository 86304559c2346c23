package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// Layer is a raft.StreamLayer. It is closed by the transport.
type Layer struct {
	mux       *mux.Mux
	ln        net.Listener
	advertise raft.ServerAddress
	ctx       context.Context // ends with Close: dials end too
	cancel    context.CancelFunc

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[*conn]struct{}
}

var _ raft.StreamLayer = (*Layer)(nil)

// NewLayer takes the Raft connections of the mux. Advertise is this member's host:port as others dial it.
func NewLayer(ctx context.Context, m *mux.Mux, advertise string) (*Layer, error) {
	if _, _, err := net.SplitHostPort(advertise); err != nil {
		return nil, fmt.Errorf("address %q of this member: %w", advertise, err)
	}
	ln, err := m.Listen(mux.Raft)
	if err != nil {
		return nil, err
	}
	l := &Layer{mux: m, ln: ln, advertise: raft.ServerAddress(advertise), conns: map[*conn]struct{}{}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l, nil
}

// Accept returns the next connection of a member.
func (l *Layer) Accept() (net.Conn, error) {
	c, err := l.ln.Accept()
	if err != nil {
		return nil, err
	}
	return l.track(c)
}

// Dial connects to the address, as the package comment has it.
func (l *Layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	want, at, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	ctx := l.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c, err := l.mux.Dial(ctx, mux.Raft, at, want)
	if err != nil {
		return nil, err
	}
	return l.track(c)
}

// Close ends Accept and all connections. Raft's transport keeps some in a pool that nobody else would close.
func (l *Layer) Close() error {
	l.mu.Lock()
	l.closed = true
	var conns []*conn
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	l.cancel()
	err := l.ln.Close()
	for _, c := range conns {
		_ = c.Close()
	}
	return err
}

// Addr returns the address that others dial.
func (l *Layer) Addr() net.Addr { return addr(l.advertise) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// conn is a connection that the layer closes when nobody else has.
type conn struct {
	net.Conn
	layer *Layer
}

func (l *Layer) track(c net.Conn) (net.Conn, error) {
	t := &conn{c, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.conns[t] = struct{}{}
	return t, nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.layer.mu.Lock()
	delete(c.layer.conns, c)
	c.layer.mu.Unlock()
	return c.Conn.Close()
}

// ServerID returns the ID that Raft knows the member by.
func ServerID(m pki.MemberID) raft.ServerID { return raft.ServerID(m.String()) }

// Address names a member and where it is: what Dial takes.
func Address(m pki.MemberID, at string) raft.ServerAddress {
	return raft.ServerAddress(m.String() + "@" + at)
}

// ParseAddress is the reverse of [Address]. A plain host:port is member 0: any.
func ParseAddress(a raft.ServerAddress) (m pki.MemberID, at string, err error) {
	at = string(a)
	if id, rest, ok := strings.Cut(at, "@"); ok {
		if m, err = pki.ParseMemberID(id); err != nil {
			return 0, "", fmt.Errorf("raft address %q: %w", a, err)
		}
		at = rest
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil || host == "" || port == "" || strings.Contains(at, "@") {
		return 0, "", fmt.Errorf("raft address %q: want [ID@]host:port", a)
	}
	return m, at, nil
}

// Addresses is a raft.ServerAddressProvider: it makes the transport dial members by ID.
type Addresses struct {
	// Self is this member. Raft tells others its plain address.
	Self pki.MemberID
	// Lookup returns the current host:port of a member, false if it is not known: then the address in Raft's own
	// configuration is used. If that one is made by [Address] too, no dial ever goes unchecked.
	Lookup func(pki.MemberID) (string, bool)
}

var _ raft.ServerAddressProvider = Addresses{}

var errUnknown = errors.New("member not in the directory")

// ServerAddr returns ID@host:port, for this member host:port.
func (a Addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	m, err := pki.ParseMemberID(string(id))
	if err != nil {
		return "", err
	}
	at, ok := a.Lookup(m)
	switch {
	case !ok:
		return "", errUnknown
	case m == a.Self:
		return raft.ServerAddress(at), nil
	}
	return Address(m, at), nil
}
