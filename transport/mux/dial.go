package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// DialError is why a member could not be reached.
type DialError struct {
	Member  pki.MemberID // 0: any
	Address string
	Err     error
}

// Error returns "dial member 3 at ADDRESS: why".
func (e *DialError) Error() string {
	if e.Member == 0 {
		return fmt.Sprintf("dial %s: %v", e.Address, e.Err)
	}
	return fmt.Sprintf("dial member %d at %s: %v", e.Member, e.Address, e.Err)
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Dial connects to the member at the address (host:port). It fails unless the member that answers is of this cluster,
// admitted, and the one that is wanted; 0 wants any. Errors wrap [ErrWrongMember], a [*Refusal] or errors of package pki
// where those say more than that nobody answers.
func (m *Mux) Dial(ctx context.Context, p Proto, address string, want pki.MemberID) (*Conn, error) {
	c, err := m.dial(ctx, p, address, want)
	if err != nil {
		m.count.dialsFailed.Add(1)
		return nil, &DialError{Member: want, Address: address, Err: err}
	}
	m.count.dialed[index(p)].Add(1)
	return c, nil
}

// Herald tells the member at the address, one of an epoch of the cluster that is over, that it is: by the certificate that it
// gets to see. It returns nil once the member has refused this one as of a newer epoch, so it knows.
func (m *Mux) Herald(ctx context.Context, address string) error {
	c, err := m.dialAs(ctx, RPC, address, func(s tls.ConnectionState) (pki.Peer, error) {
		p, err := m.o.Verifier.Verify(s.PeerCertificates)
		if err == nil {
			return p, fmt.Errorf("%v is of this epoch", p)
		}
		if errors.Is(err, pki.ErrSuperseded) && p.Epoch.Compare(m.Self().Epoch) < 0 {
			err = nil
		}
		return p, err
	})
	switch {
	case err == nil:
		c.cut()
		return fmt.Errorf("member at %s: it did not refuse a member of a newer epoch", address)
	case errors.Is(err, pki.ErrSuperseded):
		return nil
	}
	return &DialError{Address: address, Err: err}
}

func (m *Mux) dial(ctx context.Context, p Proto, address string, want pki.MemberID) (*Conn, error) {
	return m.dialAs(ctx, p, address, func(s tls.ConnectionState) (pki.Peer, error) {
		peer, err := m.o.Verifier.Verify(s.PeerCertificates)
		if err == nil && want != 0 && peer.ID != want {
			err = fmt.Errorf("%w: %v", ErrWrongMember, peer)
		}
		return peer, err
	})
}

// dialAs dials whoever verify lets pass.
func (m *Mux) dialAs(ctx context.Context, p Proto, address string, verify func(tls.ConnectionState) (pki.Peer, error)) (*Conn, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.o.HandshakeTimeout)
		defer cancel()
	}
	raw, err := m.o.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c := &Conn{raw: raw, proto: p}
	c.onClose = func() { m.forget(c) }
	cfg := &tls.Config{
		Certificates: []tls.Certificate{*m.o.Keychain.Load().Credential.TLS()},
		VerifyConnection: func(s tls.ConnectionState) error {
			peer, err := verify(s)
			if err != nil {
				m.newer(peer)
				return err
			}
			if peer.Epoch != m.Self().Epoch {
				return nil // a herald's: the other side closes it
			}
			m.identify(c, func() { c.peer = peer })
			return m.o.Verifier.Recheck(peer) // now that CloseMember finds it
		},
	}
	if p.guest() {
		cfg.Certificates = nil
	}
	c.netConn = client(raw, cfg, p)
	if err := m.register(c); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if err := c.begin(ctx); err != nil {
		c.cut()
		return nil, err
	}
	return c, nil
}

// DialJoin connects to a member as a machine that is none yet. It trusts the fingerprint alone, and nothing is sent before
// that is verified. It returns the CA as a bundle. The caller owns the connection; there need not be a mux.
func DialJoin(ctx context.Context, dial func(context.Context, string) (net.Conn, error), address string, pin pki.Fingerprint) (*Conn, *pki.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // an earlier deadline stays
	defer cancel()
	raw, err := dial(ctx, address)
	if err != nil {
		return nil, nil, &DialError{Address: address, Err: err}
	}
	c := &Conn{raw: raw, proto: Join, onClose: func() {}}
	var ca *pki.Bundle
	c.netConn = client(raw, &tls.Config{
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			c.peer, ca, err = pki.VerifyPinned(pin, s.PeerCertificates, time.Now())
			return err
		},
	}, Join)
	if err := c.begin(ctx); err != nil {
		c.cut()
		return nil, nil, &DialError{Address: address, Err: err}
	}
	return c, ca, nil
}

// DialAdmin connects to the admin API of a member as an operator. The member must be one of the pass's cluster. The caller
// owns the connection; there need not be a mux.
func DialAdmin(ctx context.Context, dial func(context.Context, string) (net.Conn, error), address string, pass *pki.Pass) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // an earlier deadline stays
	defer cancel()
	raw, err := dial(ctx, address)
	if err != nil {
		return nil, &DialError{Address: address, Err: err}
	}
	c := &Conn{raw: raw, proto: Admin, onClose: func() {}}
	c.netConn = client(raw, &tls.Config{
		Certificates: []tls.Certificate{*pass.TLS()},
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			c.peer, err = pass.VerifyMember(s.PeerCertificates, time.Now())
			return err
		},
	}, Admin)
	if err := c.begin(ctx); err != nil {
		c.cut()
		return nil, &DialError{Address: address, Err: err}
	}
	return c, nil
}

// client completes the configuration: names play no part, VerifyConnection decides about the server's certificate.
func client(raw net.Conn, cfg *tls.Config, p Proto) *tls.Conn {
	cfg.MinVersion = tls.VersionTLS13
	cfg.NextProtos = []string{string(p)}
	cfg.InsecureSkipVerify = true // VerifyConnection is always set
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if s.NegotiatedProtocol != string(p) {
			return fmt.Errorf("%w: the other side does not know %s", ErrNotServed, p)
		}
		return verify(s)
	}
	return tls.Client(raw, cfg)
}

// begin shakes hands as the client, and waits for the greeting.
func (c *Conn) begin(ctx context.Context) error {
	tune(c.raw)
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	err := c.netConn.(*tls.Conn).Handshake()
	if err == nil {
		err = readGreeting(c.netConn)
	}
	if !stop() { // the deadline may be set any moment: the connection is lost
		return ctx.Err()
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		err = fmt.Errorf("%w (the log of that member may say why)", err)
	}
	return err
}
