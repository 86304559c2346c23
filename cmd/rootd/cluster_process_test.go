package main_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
)

// fleet is a cluster of real processes on loopback.
type fleet struct {
	*testing.T
	binary  string
	members []*procs.Member
}

// first starts the first member.
func newFleet(t *testing.T, binary string) *fleet {
	t.Helper()
	f := &fleet{T: t, binary: binary}
	m := procs.MemberTest(t, binary, "-name", "m1")
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	f.members = append(f.members, m)
	return f
}

func (f *fleet) admin(i int) *admin.Client {
	c := admin.NewClient(f.members[i].Socket())
	f.Cleanup(c.Close)
	return c
}

// grow adds a member with a token, as rootctl join does, and starts it.
func (f *fleet) grow() *procs.Member {
	f.Helper()
	ctx := longDeadline(f.T)
	name := fmt.Sprint("m", len(f.members)+1)
	made, err := f.admin(0).CreateToken(ctx, admin.TokenRequest{Note: name})
	if err != nil {
		f.Fatal(err)
	}
	m := procs.MemberTest(f.T, f.binary, "-name", name)
	if err := joinWith(ctx, m, name, made.Text); err != nil {
		f.Fatal(err)
	}
	f.members = append(f.members, m)
	if err := m.Start(); err != nil {
		f.Fatal(err)
	}
	if err := m.WaitReady(ctx); err != nil {
		f.Fatal(err)
	}
	return m
}

func joinWith(ctx context.Context, m *procs.Member, name, text string) error {
	token, err := join.ParseToken(text)
	if err != nil {
		return err
	}
	dir, err := datadir.BeginJoin(m.DataDir, token.CA, time.Now())
	if err != nil {
		return err
	}
	defer dir.Close()
	r, err := join.Join(ctx, join.Options{
		Token: token, Key: dir.Key, Name: name, Address: m.Cluster.String(), Endpoints: []netip.AddrPort{m.UDP}, Version: "test", Feature: build.FeatureLevel,
	})
	if err != nil {
		return err
	}
	joined, err := dir.Finish(datadir.Joined{
		Name: name, Address: m.Cluster.String(), Endpoints: []netip.AddrPort{m.UDP}, ClusterName: r.Offer.ClusterName, Keys: r.Keys,
		Authority: r.Authority, Identity: r.Identity, Planet: r.Offer.Planet, PlanetKey: r.PlanetKey, Now: time.Now(),
	})
	if err != nil {
		return err
	}
	return joined.Close()
}

func longDeadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// waitMembers waits until every running member sees all of them as the list says: "name status role".
func (f *fleet) waitMembers(want ...string) {
	f.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	ctx := longDeadline(f.T)
	for i := 0; i < len(f.members); {
		if !f.members[i].Running() {
			i++
			continue
		}
		var got []string
		all, err := f.admin(i).Members(ctx)
		if err == nil {
			for _, o := range all.Members {
				role := o.Role
				if role == admin.RoleLeader {
					role = admin.RoleVoter
				}
				got = append(got, strings.Join([]string{o.Name, o.Status, role}, " "))
			}
			if slices.Equal(got, want) {
				i++
				continue
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Fatalf("member %d sees %q (%v), want %q", i+1, got, err, want)
		}
	}
}

// TestCluster is a cluster of real processes: it grows, serves as one root, loses a member and gets it back.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, "."); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, b.rootd())
	f.grow()
	f.grow()
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	for _, s := range [][2]string{{"member_suspect_after", "4s"}, {"member_down_after", "8s"}} { // the health of members is reported every 2 s
		if _, err := f.admin(0).SetSetting(longDeadline(t), s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}

	// A peer of one member is a peer of all.
	planet := readPlanet(t, f.members[0])
	at := func(n, member int) *device { return devices(t, n+1, planet, f.members[member].UDP)[n] }
	known := at(0, 0)
	known.hello(t)
	for i := range f.members {
		waitKnown(t, f.members[i], known.id.Address)
	}
	for i := range f.members {
		asker := at(1+i, i)
		asker.hello(t)
		if got := asker.whois(t, known.id.Address); got != known.id.Identity {
			t.Errorf("member %d answered WHOIS with %v", i+1, got)
		}
	}

	// Its death is noticed; the others go on; it comes back as the same member.
	f.members[0].Kill()
	f.waitStatus(1, "m1", admin.StatusDown)
	survivor := at(4, 1)
	survivor.hello(t)
	waitKnown(t, f.members[2], survivor.id.Address)
	if err := f.members[0].Start(); err != nil {
		t.Fatal(err)
	}
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	waitKnown(t, f.members[0], survivor.id.Address)

	for _, part := range []struct {
		name string
		run  func(*fleet, *vl1.World, *device)
	}{
		{"steering", (*fleet).explained},
		{"positions", (*fleet).located},
		{"leader killed", (*fleet).leaderKilled},
		{"leader stopped", (*fleet).leaderStopped},
		{"archives", (*fleet).archived},
		{"no quorum", (*fleet).noQuorum},
		{"votes", (*fleet).votes},
		{"operators", (*fleet).operators},
		{"planet by hand", (*fleet).planetByHand},
		{"CA rotated", (*fleet).rotated},
		{"removed", (*fleet).removed},
	} {
		ok := t.Run(part.name, func(t *testing.T) {
			sub := *f
			sub.T = t
			part.run(&sub, planet, known)
		})
		if !ok {
			return // the members are not as the next part expects them
		}
	}
}

func (f *fleet) waitStatus(at int, name, want string) {
	f.Helper()
	ctx := longDeadline(f.T)
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		all, err := f.admin(at).Members(ctx)
		if err == nil && slices.ContainsFunc(all.Members, func(o admin.Member) bool { return o.Name == name && o.Status == want }) {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Fatalf("%s is not %s: %+v, %v", name, want, all, err)
		}
	}
}
