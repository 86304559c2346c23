package main

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

var _ admin.Operators = (*fakeMember)(nil)

func (s *fakeMember) Operators(context.Context) ([]admin.Operator, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return slices.Clone(s.cluster.operators), nil
}

func (s *fakeMember) CreateOperator(ctx context.Context, r admin.OperatorRequest) (*admin.NewOperator, error) {
	if _, remote := admin.CallerOf(ctx); remote {
		return nil, &admin.Error{Status: 403, Why: "asks from afar"}
	}
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	life := time.Duration(r.Life) * time.Second
	chain, err := c.dir.Authority.SignOperator(r.Request, r.Name, time.Now(), life)
	if err != nil {
		return nil, err
	}
	key, err := pki.RequestKeyHash(r.Request)
	o := admin.Operator{Name: r.Name, Key: hex.EncodeToString(key[:]), Expires: time.Now().Add(life + time.Second), ReadOnly: r.ReadOnly}
	c.operators = append(c.operators, o)
	return &admin.NewOperator{Operator: o, Chain: chain, CAs: c.dir.Keys.Bundle.PEM(), Addresses: []string{c.address}}, err
}

func (s *fakeMember) RevokeOperator(_ context.Context, name string) (gone []admin.Operator, err error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	c.operators = slices.DeleteFunc(c.operators, func(o admin.Operator) bool {
		if o.Name == name {
			gone = append(gone, o)
		}
		return o.Name == name
	})
	if len(gone) == 0 {
		return nil, admin.ErrNotFound
	}
	return gone, nil
}

// operator finds who was let in with a key.
func (c *fakeCluster) operator(key [32]byte) (admin.Operator, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.operators, func(o admin.Operator) bool { return o.Key == hex.EncodeToString(key[:]) })
	if i < 0 {
		return admin.Operator{}, false
	}
	return c.operators[i], true
}

func (c *fakeCluster) admits(p pki.Peer) error {
	if _, ok := c.operator(p.KeyHash); p.Operator != "" && !ok {
		return errors.New("revoked")
	}
	return nil
}

func (c *fakeCluster) asker(conn net.Conn) (admin.Caller, bool) {
	_, key, _ := conn.(*mux.Conn).Operator()
	o, ok := c.operator(key)
	return admin.Caller{Name: o.Name, ReadOnly: o.ReadOnly}, ok
}

var _ admin.CA = (*fakeMember)(nil)

// CAStatus implements [admin.CA] for m1, m2 and m3, which is down.
func (s *fakeMember) CAStatus(context.Context) (*admin.CAStatus, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	const before, after = "sha256:0123456789abcdef00", "sha256:fedcba987654321000"
	made := time.Unix(1700000000, 0)
	st := &admin.CAStatus{CAs: []admin.CAInfo{{Fingerprint: before, Made: made, Expires: made.Add(pki.AuthorityLife)}}}
	m := admin.CAMember{Name: "m1", Certificate: before, Expires: made, Trusts: []string{before}, Signs: before}
	if c.rotation > 0 {
		st.CAs = append(st.CAs, admin.CAInfo{Fingerprint: after, Made: made, Expires: made.Add(pki.AuthorityLife)})
		st.Step, st.Next = []string{"", "renew", "forget", ""}[c.rotation], after
		m.Trusts = append(m.Trusts, after)
	}
	if c.rotation > 1 {
		m.Certificate, m.Signs = after, after
	}
	if c.rotation > 2 {
		st.CAs, st.Next, m.Trusts = st.CAs[1:], "", m.Trusts[1:]
	}
	st.Members = []admin.CAMember{m}
	if s.broken {
		st.Members = append(st.Members, admin.CAMember{Name: "m3", Error: "member m3: connection refused"})
	}
	return st, nil
}

func (s *fakeMember) RotateCA(ctx context.Context, o admin.RotateOptions) (*admin.CAStatus, error) {
	s.cluster.mu.Lock()
	switch {
	case s.broken:
		s.cluster.mu.Unlock()
		return nil, &admin.Error{Status: 409, Why: "not all members can be asked", Hint: "start it"}
	case s.cluster.rotation < 3 && (s.cluster.rotation > 0 || o.Begin):
		s.cluster.rotation++
	}
	s.cluster.mu.Unlock()
	return s.CAStatus(ctx)
}
