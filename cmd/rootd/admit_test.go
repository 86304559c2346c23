package main

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

// TestDiffers: a machine that joins again must ask for what it has.
func TestDiffers(t *testing.T) {
	e1, e2 := netip.MustParseAddrPort("192.0.2.1:9993"), netip.MustParseAddrPort("[2001:db8::1]:9993")
	member := fsm.Member{ID: 3, Name: "m3", Address: "192.0.2.1:9995", Endpoints: []netip.AddrPort{e1, e2}, KeyHash: fsm.KeyHash{7}, Status: fsm.StatusDown}
	same := join.Request{Name: "m3", Address: "192.0.2.1:9995", Endpoints: []netip.AddrPort{e2, e1}, KeyHash: fsm.KeyHash{7}}
	for name, row := range map[string]struct {
		change func(*join.Request, *fsm.Member)
		code   join.Code
		way    string
	}{
		"the same":         {func(*join.Request, *fsm.Member) {}, "", ""},
		"name":             {func(r *join.Request, _ *fsm.Member) { r.Name = "m4" }, join.CodeName, "--name m3"},
		"address":          {func(r *join.Request, _ *fsm.Member) { r.Address = "192.0.2.1:1" }, join.CodeAddress, "--address 192.0.2.1:9995"},
		"endpoints":        {func(r *join.Request, _ *fsm.Member) { r.Endpoints = r.Endpoints[:1] }, join.CodeEndpoint, "--endpoint"},
		"another machine":  {func(r *join.Request, _ *fsm.Member) { r.Name, r.KeyHash = "m4", fsm.KeyHash{8} }, "", ""},
		"never been up":    {func(r *join.Request, m *fsm.Member) { r.Name, m.Status = "m4", fsm.StatusJoining }, "", ""},
		"is up all along":  {func(r *join.Request, m *fsm.Member) { r.Name, m.Status = "m4", fsm.StatusUp }, join.CodeName, "--name m3"},
		"no endpoint left": {func(r *join.Request, _ *fsm.Member) { r.Endpoints = nil }, join.CodeEndpoint, "--endpoint"},
	} {
		r, m := same, member
		row.change(&r, &m)
		got := differs(&fsm.State{Members: []fsm.Member{m}}, &r)
		switch {
		case got == nil && row.code == "":
		case got == nil || got.Code != row.code || !strings.Contains(got.Way, row.way):
			t.Errorf("%s: got %+v, want %q with %q", name, got, row.code, row.way)
		case got.Final():
			t.Errorf("%s: the machine would throw away the key of a member", name)
		}
	}
}

// TestRenewNow: a member that was off until its certificate had expired signs itself a new one before it serves, if it
// keeps the CA's key; it keeps its own key.
func TestRenewNow(t *testing.T) {
	dir, err := datadir.OpenOrCreate(t.TempDir(), datadir.Options{
		Name: "m1", Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9993")}, WorldID: 0x149604, Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	chain, err := pki.NewKeychain(dir.Keys)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{m: &member{dir: dir, log: slog.New(slog.DiscardHandler)}, keychain: chain}
	c.rotation.authority.Store(dir.Authority)
	first := chain.Load().Credential.Self()
	step := func(what string, now time.Time, wantNew bool) {
		t.Helper()
		before := chain.Load().Credential.Self()
		if err := c.renewNow(now); err != nil {
			t.Fatal(err)
		}
		after := chain.Load().Credential.Self()
		if (after.Serial != before.Serial) != wantNew {
			t.Errorf("%s: serial %v, was %v", what, after.Serial, before.Serial)
		}
		if after.KeyHash != first.KeyHash || after.ID != first.ID || after.Name != first.Name {
			t.Errorf("%s: became %v", what, after)
		}
		if !now.Before(after.NotAfter) && c.signer() != nil {
			t.Errorf("%s: expired since %v", what, after.NotAfter)
		}
	}
	now := time.Now()
	step("fresh", now, false)
	step("old", now.Add(25*24*time.Hour), true)
	expired := now.Add(90 * 24 * time.Hour)
	c.rotation.authority.Store(nil)
	step("expired, the CA's key is elsewhere", expired, false)
	c.rotation.authority.Store(dir.Authority)
	step("expired", expired, true)
	stored, err := datadir.Read(dir.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stored.Keys.Credential.Self().Serial, chain.Load().Credential.Self().Serial; got != want {
		t.Errorf("serial %v is on disk, want %v", got, want)
	}
}
