package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// serve shakes hands with a client, and hands the connection to the listener of its protocol.
func (m *Mux) serve(ctx context.Context, raw net.Conn, source string) {
	deadline := time.Now().Add(m.o.HandshakeTimeout)
	_ = raw.SetDeadline(deadline)
	tune(raw)
	t := tls.Server(raw, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: m.configFor})
	c := &Conn{netConn: t, raw: raw}
	c.onClose = func() { m.forget(c) }
	if m.register(c) != nil {
		_ = raw.Close()
		return
	}
	if err := t.HandshakeContext(ctx); err != nil {
		m.failed(source, err)
		c.cut()
		return
	}
	proto, ok := known(t.ConnectionState().NegotiatedProtocol)
	if !ok { // the client named none
		m.refuse(c, source, &Refusal{Code: NotServed, Why: "no protocol (ALPN) was asked for"})
		return
	}
	if p, refusal := m.admit(c, proto, source); refusal != nil {
		m.refuse(c, source, refusal)
		m.newer(p)
		return
	}
	l := m.listenerOf(proto)
	if l == nil {
		m.refuse(c, source, &Refusal{Code: NotServed, Why: string(proto) + " is not served here, or not yet"})
		return
	}
	if len(l.queue) == cap(l.queue) {
		m.refuse(c, source, &Refusal{Code: Busy, Why: "too many connections wait for " + string(proto)})
		return
	}
	if _, err := c.Write(appendGreeting(nil, nil)); err != nil {
		m.failed(source, err)
		c.cut()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case l.queue <- c:
		m.count.served[index(proto)].Add(1)
		select {
		case <-l.done: // nobody may be left to accept it
			l.drain()
		default:
		}
	case <-l.done:
		c.cut()
	case <-timer.C:
		m.count.refused[Busy].Add(1)
		c.cut()
	case <-ctx.Done():
		c.cut()
	}
}

// admit finds out who the client is, if it must say, and whether it may be here. The connection is registered already: a member that
// is removed from now on is found by CloseMember, one that was removed before is refused by the verifier.
func (m *Mux) admit(c *Conn, proto Proto, source string) (pki.Peer, *Refusal) {
	if proto.guest() {
		if !m.guests.take(source) {
			return pki.Peer{}, &Refusal{Code: Busy, Why: "too many machines are joining"}
		}
		if !m.identify(c, func() { c.proto, c.guest = proto, source }) {
			m.guests.give(source)
		}
		return pki.Peer{}, nil
	}
	verify, chain := m.o.Verifier.Verify, c.netConn.(*tls.Conn).ConnectionState().PeerCertificates
	if proto == Admin && pki.IsOperator(chain) {
		verify = m.o.Verifier.VerifyOperator
	}
	p, err := verify(chain)
	m.identify(c, func() { c.proto, c.peer = proto, p })
	if err == nil {
		err = m.o.Verifier.Recheck(p) // now that CloseMember finds it
	}
	if err == nil {
		return p, nil
	}
	code := codeOf(err)
	if p.Operator != "" {
		m.o.Logger.Warn("operator refused", "name", p.Operator, "source", source, "reason", err.Error())
	}
	if p.ID != 0 && m.complaints.pass(complaint{p.ID, code}, time.Now()) {
		m.o.Logger.Warn("member refused", "member", p.ID, "name", p.Name, "source", source, "reason", err.Error())
	}
	return p, &Refusal{Code: code, Why: err.Error()}
}

// newer tells the owner if a peer that was refused is of a newer epoch of the cluster; its ID is not 0 if a CA of the cluster vouches for that.
// It ends this member, so the peer is told first.
func (m *Mux) newer(p pki.Peer) {
	if m.o.Superseded != nil && p.ID != 0 && p.Epoch.Compare(m.Self().Epoch) > 0 {
		m.o.Superseded(p)
	}
}

// refuse tells the client why, and closes the connection.
func (m *Mux) refuse(c *Conn, source string, r *Refusal) {
	m.count.refused[r.Code].Add(1)
	m.o.Logger.Debug("connection refused", "source", source, "reason", r.Why)
	_, _ = c.Write(appendGreeting(nil, r))
	_ = c.Close()
}

// failed counts a handshake that came to nothing.
func (m *Mux) failed(source string, err error) {
	var notTLS tls.RecordHeaderError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		m.count.timeouts.Add(1)
	case errors.As(err, &notTLS):
		m.count.notTLS.Add(1)
	default:
		m.count.failed.Add(1)
	}
	m.o.Logger.Debug("handshake failed", "source", source, "error", err)
}

// configFor makes the configuration of one handshake from the keys of this moment. The verifier, not package tls, looks at
// the client's certificate, after the handshake, so that the client can be told what is wrong with it.
func (m *Mux) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*m.o.Keychain.Load().Credential.TLS()},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // every connection proves anew who it is
	}
	for _, p := range Protos() {
		cfg.NextProtos = append(cfg.NextProtos, string(p))
	}
	for _, alpn := range hello.SupportedProtos {
		if p, ok := known(alpn); ok { // the first one that is known, and no other, may be negotiated
			cfg.NextProtos = []string{alpn}
			if p.guest() {
				cfg.ClientAuth = tls.NoClientCert
			}
			break
		}
	}
	return cfg, nil
}
