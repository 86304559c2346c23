package main_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// operator lets somebody in at a member, and returns a client of another one, as rootctl has it.
func (f *fleet) operator(at, there int, name string, readOnly bool) *admin.Client {
	f.Helper()
	key, err := pki.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		f.Fatal(err)
	}
	made, err := f.admin(at).CreateOperator(f.Context(), admin.OperatorRequest{Name: name, Request: request, Life: 600, ReadOnly: readOnly})
	if err != nil {
		f.Fatal(err)
	}
	cas, err := pki.ParseBundle(made.CAs)
	if err != nil {
		f.Fatal(err)
	}
	pass, err := pki.NewPass(key, made.Chain, cas)
	if err != nil {
		f.Fatal(err)
	}
	address := f.members[there].Cluster.String()
	c := admin.NewRemoteClient(address, func(ctx context.Context) (net.Conn, error) { return mux.DialAdmin(ctx, mux.DialTCP, address, pass) })
	f.Cleanup(c.Close)
	return c
}

// forbidden reports whether an answer is no, not whoever asks.
func forbidden(err error) bool {
	e, ok := errors.AsType[*admin.Error](err)
	return ok && e.Status == http.StatusForbidden
}

// operators: an operator asks a member from afar, changes what the leader elsewhere has to write, and is shut out at once when it
// is revoked; one who may only look does only that.
func (f *fleet) operators(*vl1.World, *device) {
	ctx := longDeadline(f.T)
	leader := f.leader(0, "")
	there := (leader + 1) % len(f.members)
	ann := f.operator(leader, there, "ann", false)
	eventually(f.T, "the member knows the operator", func() bool {
		s, err := ann.Status(ctx)
		return err == nil && s.Name == f.name(there)
	})
	if s, err := ann.SetSetting(ctx, "max_peers", "12345"); err != nil || s.Value != "12345" {
		f.Errorf("%+v, %v", s, err)
	}
	if _, err := ann.SetSetting(ctx, "max_peers", ""); err != nil {
		f.Error(err)
	}
	if _, err := ann.CreateOperator(ctx, admin.OperatorRequest{Name: "bob"}); !forbidden(err) {
		f.Errorf("an operator lets another one in: %v", err)
	}
	watch := f.operator(there, there, "watch", true)
	if m, err := watch.Members(ctx); err != nil || len(m.Members) != len(f.members) {
		f.Errorf("%+v, %v", m, err)
	}
	if _, err := watch.SetSetting(ctx, "max_peers", "12345"); !forbidden(err) {
		f.Errorf("who may only look changes a setting: %v", err)
	}
	if _, err := watch.TransferLeadership(ctx, ""); !forbidden(err) {
		f.Errorf("who may only look moves the leadership: %v", err)
	}
	list, err := watch.Operators(ctx)
	if err != nil || len(list) != 2 {
		f.Errorf("%+v, %v", list, err)
	}
	gone, err := f.admin(leader).RevokeOperator(ctx, "ann")
	if err != nil || len(gone) != 1 || gone[0].Name != "ann" {
		f.Errorf("%+v, %v", gone, err)
	}
	began := time.Now()
	eventually(f.T, "the revoked operator is shut out", func() bool {
		_, err := ann.Status(ctx)
		return err != nil && strings.Contains(err.Error(), "revoked")
	})
	f.Logf("shut out after %v", time.Since(began).Round(time.Millisecond))
	if _, err := watch.Status(ctx); err != nil {
		f.Errorf("the other one: %v", err)
	}
	if _, err := f.admin(there).RevokeOperator(ctx, "nobody"); !errors.Is(err, admin.ErrNotFound) {
		f.Errorf("revoke nobody: %v", err)
	}
}
