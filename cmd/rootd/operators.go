package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

var _ admin.Operators = source{}

// lets says whether somebody with an operator's certificate is let in: as long as the log says so.
func (c *cluster) lets(p pki.Peer) error {
	o, ok := c.m.fsm.View().State().Operator(p.KeyHash, time.Now().UnixMilli())
	if !ok || o.Name != p.Operator {
		return errors.New("revoked, or its time is over: make a new certificate on a member (rootctl operator create)")
	}
	return nil
}

// asker says who asks over the cluster port, and whether that is still let in.
func (c *cluster) asker(conn net.Conn) (admin.Caller, bool) {
	remote, ok := conn.(*mux.Conn)
	if !ok {
		return admin.Caller{}, false
	}
	name, key, ok := remote.Operator()
	if !ok {
		return admin.Caller{}, false
	}
	o, ok := c.m.fsm.View().State().Operator(key, time.Now().UnixMilli())
	if !ok || o.Name != name {
		return admin.Caller{}, false
	}
	return admin.Caller{Name: name, ReadOnly: o.ReadOnly}, true
}

// Operators implements [admin.Operators].
func (s source) Operators(context.Context) ([]admin.Operator, error) {
	all := []admin.Operator{}
	for _, o := range s.m.fsm.View().State().Operators {
		all = append(all, adminOperator(&o))
	}
	return all, nil
}

func adminOperator(o *fsm.Operator) admin.Operator {
	return admin.Operator{Name: o.Name, Key: hex.EncodeToString(o.KeyHash[:]), Expires: millis(o.Expires), ReadOnly: o.ReadOnly}
}

// CreateOperator implements [admin.Operators].
func (s source) CreateOperator(ctx context.Context, r admin.OperatorRequest) (*admin.NewOperator, error) {
	const what = "create operator"
	m := s.m
	if caller, remote := admin.CallerOf(ctx); remote {
		return nil, &admin.Error{Status: 403, What: what, Why: "operator " + caller.Name + " asks from afar, and lets nobody in", Hint: "run it on a member, as the user that runs rootd"}
	}
	if err := m.reachable(what); err != nil {
		return nil, err
	}
	life := time.Duration(r.Life) * time.Second
	if r.Life == 0 {
		life = pki.OperatorLife
	}
	switch {
	case m.cluster.signer() == nil:
		return nil, refused(what, "this member does not keep the CA's key", "run it on a member that does (ca.key in its data directory)")
	case life < time.Minute || life > pki.OperatorLifeMax:
		return nil, refused(what, fmt.Sprintf("a life of %v is not between a minute and %v", life, pki.OperatorLifeMax), "")
	}
	now := time.Now()
	chain, err := m.cluster.signer().SignOperator(r.Request, r.Name, now, life)
	if err != nil {
		return nil, refused(what, err.Error(), "")
	}
	key, err := pki.RequestKeyHash(r.Request)
	if err != nil {
		return nil, refused(what, err.Error(), "")
	}
	o := &fsm.SetOperator{KeyHash: key, Name: r.Name, Expires: now.Add(life).UnixMilli(), ReadOnly: r.ReadOnly}
	answer, err := m.propose(ctx, o)
	if err := changed(what, answer, err); err != nil {
		return nil, err
	}
	n := &admin.NewOperator{Operator: adminOperator(o), Chain: chain, CAs: m.cluster.keychain.Load().Bundle.PEM(), Addresses: []string{m.cluster.address}}
	for _, x := range m.fsm.View().State().Members {
		if x.ID != m.id && x.Address != "" {
			n.Addresses = append(n.Addresses, x.Address)
		}
	}
	m.log.Info("operator let in", "name", r.Name, "expires", n.Expires)
	return n, nil
}

// RevokeOperator implements [admin.Operators].
func (s source) RevokeOperator(ctx context.Context, name string) ([]admin.Operator, error) {
	const what = "revoke operator"
	var gone []admin.Operator
	for _, o := range s.m.fsm.View().State().Operators {
		if o.Name != name {
			continue
		}
		answer, err := s.m.propose(ctx, &fsm.SetOperator{KeyHash: o.KeyHash, Name: o.Name})
		if err := changed(what, answer, err); err != nil {
			return gone, err
		}
		gone = append(gone, adminOperator(&o))
	}
	if len(gone) == 0 {
		return nil, fmt.Errorf("%s %s: %w", what, name, admin.ErrNotFound)
	}
	return gone, nil
}
