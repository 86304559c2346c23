package join_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

func TestJoin(t *testing.T) {
	c := newCluster(t)
	c.note = "asking m1\x1b[31m to reach 192.0.2.2:9993"
	o := options(c.token(time.Hour, c.start()))
	var notes []string
	o.Note = func(s string) { notes = append(notes, s) }

	dry := o
	dry.DryRun = true
	r, err := join.Join(t.Context(), dry)
	if err != nil || r.Offer != nil || r.Plan == nil || len(r.Plan.Members) != 1 || r.Plan.ClusterName != "alice" || c.count() != 1 {
		t.Fatalf("dry run: %+v, %v, %d members", r, err, c.count())
	}
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "asking m1?[31m to reach") || !strings.Contains(all, "dialing ") {
		t.Errorf("notes: %q", notes)
	}

	r, err = join.Join(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	self := r.Keys.Credential.Self()
	if r.Offer.Member != 2 || self.ID != 2 || self.Name != "m2" || self.Cluster != c.ca.Cluster() || r.Server.ID != 1 {
		t.Errorf("got %v, offer %v from %v", self, r.Offer, r.Server)
	}
	if r.Identity.SecretString() != c.identity.SecretString() || r.Authority.Fingerprint() != c.ca.Fingerprint() || r.PlanetKey.Public() != c.planetKey.Public() || string(r.Offer.Planet) != string(c.planet) {
		t.Error("what was handed out is not what the cluster has")
	}
	if c.last.KeyHash != self.KeyHash || !c.last.From.IsValid() || c.last.Version != "1.2.3" || c.last.Feature != 4 || c.last.Address != o.Address {
		t.Errorf("request %+v", c.last)
	}

	again, err := join.Join(t.Context(), o)
	if err != nil || again.Offer.Member != 2 || !again.Plan.Again || c.count() != 2 {
		t.Errorf("the same machine again: %v, %v, %d members", again.Offer, err, c.count())
	}
	if a, b := r.Keys.Credential.Self(), again.Keys.Credential.Self(); a.Serial == b.Serial || a.KeyHash != b.KeyHash {
		t.Error("want a fresh certificate for the same key")
	}
}

func TestRefusals(t *testing.T) {
	type machine struct {
		o join.Options
		c *cluster
	}
	for _, tc := range []struct {
		name    string
		arrange func(*machine)
		code    join.Code
		why     string
		plan    bool // may learn about the cluster
	}{
		{"unknown token", func(m *machine) { m.c.set(func() { clear(m.c.tokens) }) }, join.CodeToken, "does not know this token", false},
		{"wrong secret", func(m *machine) { m.c.set(func() { m.c.tokens[m.o.Token.ID].hash[0] ^= 1 }) }, join.CodeToken, "", false},
		{"expired token", func(m *machine) { m.c.set(func() { m.c.tokens[m.o.Token.ID].expires = time.Now().Add(-time.Second) }) }, join.CodeTokenExpired, "expired", false},
		{"used by another machine", func(m *machine) {
			other := m.o
			other.Key, other.Name, other.Endpoints = must(pki.NewKey()), "m3", nil
			must(join.Join(m.c.t.Context(), other))
		}, join.CodeTokenUsed, "used", false},
		{"clock ahead", func(m *machine) {
			m.o.Now = func() time.Time { return time.Now().Add(join.MaxClockSkew + 2*time.Second) }
		}, join.CodeClock, "32s ahead of the cluster's", true},
		{"clock behind", func(m *machine) { m.c.set(func() { m.c.skew = time.Hour }) }, join.CodeClock, "1h0m0s behind the cluster's", true},
		{"too old", func(m *machine) { m.o.Feature = 2 }, join.CodeVersion, "rootd 1.2.3 is too old: it knows feature level 2, the cluster uses 3", true},
		{"too new", func(m *machine) { m.o.Feature = 6 }, join.CodeVersion, "too new: it knows feature level 6, the members 4", true},
		{"name taken", func(m *machine) { m.o.Name = "m1" }, join.CodeName, "another member has the name m1", true},
		{"name that cannot be", func(m *machine) { m.o.Name = "-m" }, join.CodeName, "cannot be one", false},
		{"endpoint taken", func(m *machine) { m.o.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9993")} }, join.CodeEndpoint, "192.0.2.1:9993", true},
		{"endpoint twice", func(m *machine) { m.o.Endpoints = append(m.o.Endpoints, m.o.Endpoints[0]) }, join.CodeEndpoint, "twice", false},
		{"too many endpoints", func(m *machine) { m.o.Endpoints = make([]netip.AddrPort, 33) }, join.CodeEndpoint, "at most 32", false},
		{"address that cannot be", func(m *machine) { m.o.Address = "0.0.0.0:1" }, join.CodeAddress, "cannot dial it", false},
		{"unreachable endpoint", func(m *machine) {
			m.c.problems = []*join.Refusal{{Code: join.CodeUnreachable, Why: "m1 got no answer", Way: "open the port", Forceable: true}}
		}, join.CodeUnreachable, "m1 got no answer", true},
		{"force does not help against the rest", func(m *machine) {
			m.c.problems = []*join.Refusal{{Code: join.CodeUnreachable, Why: "no answer", Forceable: true}}
			m.o.Force, m.o.Name = true, "m1"
		}, join.CodeName, "", true},
		{"no leader", func(m *machine) { m.c.fail = &join.Refusal{Code: join.CodeUnavailable, Why: "no leader"} }, join.CodeUnavailable, "no leader", true},
		{"the member's own trouble", func(m *machine) { m.c.fail = errors.New("disk /var/secret is full") }, join.CodeInternal, "could not do it", true},
		{"other cluster", func(m *machine) {
			m.o.Token = must(join.NewToken(pki.Fingerprint{1}, time.Now().Add(time.Hour), m.o.Token.Addresses...))
		}, join.CodeCluster, "nothing secret was sent", false},
		{"nobody there", func(m *machine) { m.o.Token = must(join.NewToken(m.o.Token.CA, m.o.Token.Expires, "127.0.0.1:1")) }, join.CodeUnavailable, "127.0.0.1:1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &machine{c: newCluster(t)}
			m.o = options(m.c.token(time.Hour, m.c.start()))
			tc.arrange(m)
			before := m.c.count()
			r, err := join.Join(t.Context(), m.o)
			if code(err) != tc.code || !strings.Contains(err.Error(), tc.why) {
				t.Fatalf("%v (%s), want %s with %q", err, code(err), tc.code, tc.why)
			}
			if strings.Contains(err.Error(), "/var/secret") {
				t.Error("the member's own trouble is told to a stranger")
			}
			if got := r != nil && r.Plan != nil; got != tc.plan {
				t.Errorf("got a plan: %v, want %v", got, tc.plan)
			}
			if r != nil && r.Offer != nil || m.c.count() != before {
				t.Error("refused, but a member")
			}
		})
	}
}

// TestForce: what is forceable passes with force, and a dry run tells all problems at once, those that cannot be forced first.
func TestForce(t *testing.T) {
	c := newCluster(t)
	c.problems = []*join.Refusal{{Code: join.CodeUnreachable, Why: "no answer", Forceable: true}}
	o := options(c.token(time.Hour, c.start()))
	dry := o
	dry.DryRun, dry.Name, dry.Feature = true, "m1", 1
	r, err := join.Join(t.Context(), dry)
	if err != nil {
		t.Fatal(err)
	}
	var codes []join.Code
	for _, p := range r.Plan.Problems {
		codes = append(codes, p.Code)
	}
	if fmt.Sprint(codes) != "[version name unreachable]" {
		t.Errorf("problems %v", codes)
	}
	o.Force = true
	if _, err := join.Join(t.Context(), o); err != nil || c.count() != 2 {
		t.Errorf("with force: %v", err)
	}
}

// TestNextAddress: members that are gone, hang up or have no leader are passed over.
func TestNextAddress(t *testing.T) {
	c := newCluster(t)
	hangsUp := must(net.Listen("tcp", "127.0.0.1:0"))
	defer hangsUp.Close()
	go func() {
		for {
			conn, err := hangsUp.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	o := options(c.token(time.Hour, "127.0.0.1:1", hangsUp.Addr().String(), c.start()))
	if _, err := join.Join(t.Context(), o); err != nil || c.count() != 2 {
		t.Errorf("%v, %d members", err, c.count())
	}
}

// cutConn breaks after so many reads and writes.
type cutConn struct {
	net.Conn
	left *atomic.Int64
}

var errCut = errors.New("cut")

func (c *cutConn) Read(b []byte) (int, error) {
	if c.left.Add(-1) < 0 {
		_ = c.Conn.Close()
		return 0, errCut
	}
	return c.Conn.Read(b)
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.left.Add(-1) < 0 {
		_ = c.Conn.Close()
		return 0, errCut
	}
	return c.Conn.Write(b)
}

// TestInterrupted breaks the connection at every moment, and runs the join again: always one member, with one ID.
func TestInterrupted(t *testing.T) {
	whole := false
	for cut := int64(0); !whole; cut++ {
		if cut > 100 {
			t.Fatal("the exchange never comes to its end")
		}
		c := newCluster(t)
		o := options(c.token(time.Hour, c.start()))
		left := new(atomic.Int64)
		left.Store(cut)
		o.Dial = func(ctx context.Context, a string) (net.Conn, error) {
			conn, err := mux.DialTCP(ctx, a)
			return &cutConn{conn, left}, err
		}
		_, err := join.Join(t.Context(), o)
		whole = err == nil
		if err != nil && code(err) != join.CodeUnavailable {
			t.Errorf("cut after %d: %v", cut, err)
		}
		o.Dial = nil
		r, err := join.Join(t.Context(), o)
		if err != nil || r.Offer.Member != 2 {
			t.Fatalf("rerun after a cut after %d: %v, %v", cut, r, err)
		}
		if n := c.count(); n != 2 {
			t.Fatalf("cut after %d, and run again: %d members", cut, n)
		}
	}
}

// TestVirtualTime has the exchange on a network in memory, with long round trips, a member that hangs, and a context that ends.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := mux.NewNetwork()
		network.SetDelay(func(_, _ netip.Addr) time.Duration { return 150 * time.Millisecond })
		c := newCluster(t)
		a, b := network.Host(netip.MustParseAddr("10.0.0.1")), network.Host(netip.MustParseAddr("10.0.0.2"))
		c.serve(must(a.Listen(9995)))
		o := options(c.token(time.Hour, "10.0.0.1:9995"))
		o.Dial = b.Dial
		start := time.Now()
		if _, err := join.Join(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		network.Cut(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"))
		if _, err := join.Join(ctx, o); err == nil {
			t.Error("joined over a cut link")
		}
		network.Heal(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"))
		if r, err := join.Join(t.Context(), o); err != nil || r.Offer.Member != 2 || c.count() != 2 {
			t.Errorf("healed: %v", err)
		}
	})
}
