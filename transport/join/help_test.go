package join_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// cluster is a cluster of one member, whose log is a few maps. It is the Admitter of its server.
type cluster struct {
	t         testing.TB
	ca        *pki.Authority
	identity  *vl1.SecretIdentity
	planet    []byte
	planetKey *vl1.SigningKey
	server    *join.Server
	used      uint16 // feature levels
	known     uint16

	mu       sync.Mutex // guards what follows
	skew     time.Duration
	tokens   map[join.TokenID]*token
	members  []join.Member
	keys     map[[32]byte]pki.MemberID
	problems []*join.Refusal
	checks   int
	fail     error // of Admit
	note     string
	last     *join.Request
}

type token struct {
	hash    [32]byte
	expires time.Time
	usedBy  [32]byte
	member  pki.MemberID
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	id := must(join.NewProbeIdentity())
	c := &cluster{
		t: t, ca: must(pki.NewAuthority(pki.ClusterID{byte(len(t.Name())), 7}, "test", time.Now())), identity: id, planetKey: must(vl1.GenerateSigningKey()),
		used: 3, known: 4, tokens: map[join.TokenID]*token{}, keys: map[[32]byte]pki.MemberID{},
	}
	w := &vl1.World{Type: vl1.WorldPlanet, ID: 9, Timestamp: 1, UpdateKey: c.planetKey.Public(), Roots: []vl1.Root{{Identity: id.Identity, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9993")}}}}
	w.Sign(c.planetKey)
	c.planet = w.AppendBinary(nil)
	c.members = []join.Member{{ID: 1, Name: "m1", Address: "192.0.2.1:9995", Endpoints: w.Roots[0].Endpoints, Status: "up"}}
	c.server = must(join.NewServer(join.ServerOptions{
		Admitter: c, Features: func() (uint16, uint16) { return c.used, c.known }, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return time.Now().Add(c.skew) },
	}))
	return c
}

// token makes one that the cluster knows.
func (c *cluster) token(life time.Duration, addresses ...string) *join.Token {
	c.t.Helper()
	t := must(join.NewToken(pki.FingerprintOf(c.ca.Certificate()), time.Now().Add(life), addresses...))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[t.ID] = &token{hash: t.SecretHash(), expires: t.Expires}
	return t
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cluster) Check(_ context.Context, r *join.Request, note func(string)) (*join.Plan, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks++
	c.last = r
	if c.note != "" {
		note(c.note)
	}
	t := c.tokens[r.Token]
	switch {
	case t == nil || t.hash != r.SecretHash:
		return nil, &join.Refusal{Code: join.CodeToken, Why: "the cluster does not know this token"}
	case t.member != 0 && t.usedBy != r.KeyHash:
		return nil, &join.Refusal{Code: join.CodeTokenUsed, Why: "used"}
	case t.member == 0 && time.Now().After(t.expires):
		return nil, &join.Refusal{Code: join.CodeTokenExpired, Why: "expired"}
	}
	p := &join.Plan{Cluster: c.ca.Cluster().String(), ClusterName: "alice", Member: t.member, Again: t.member != 0, Members: slices.Clone(c.members), Planet: c.planet}
	p.Problems = append(p.Problems, c.problems...)
	if taken := c.taken(r, t.member); taken != nil {
		p.Problems = append(p.Problems, taken)
	}
	return p, nil
}

func (c *cluster) taken(r *join.Request, self pki.MemberID) *join.Refusal {
	for _, m := range c.members {
		if m.ID == self {
			continue
		}
		if m.Name == r.Name {
			return &join.Refusal{Code: join.CodeName, Why: "another member has the name " + r.Name}
		}
		for _, ap := range r.Endpoints {
			if slices.Contains(m.Endpoints, ap) {
				return &join.Refusal{Code: join.CodeEndpoint, Why: "another member has " + ap.String()}
			}
		}
	}
	return nil
}

func (c *cluster) Admit(_ context.Context, r *join.Request) (*join.Offer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return nil, c.fail
	}
	t := c.tokens[r.Token]
	if t.member == 0 {
		t.member, t.usedBy = pki.MemberID(len(c.members)+1), r.KeyHash
		c.members = append(c.members, join.Member{ID: t.member, Name: r.Name, Address: r.Address, Endpoints: r.Endpoints})
	}
	chain, err := c.ca.Sign(r.CSR, pki.Member{Cluster: c.ca.Cluster(), ID: t.member, Name: r.Name}, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	ca := must(c.ca.PEM())
	return &join.Offer{
		Member: t.member, Cluster: c.ca.Cluster(), ClusterName: "alice", Chain: chain, Bundle: must(pki.NewBundle(c.ca.Certificate())).PEM(),
		Planet: c.planet, Members: c.members[:1], Identity: join.Hide([]byte(c.identity.SecretString())), Authority: join.Hide(ca),
		PlanetKey: join.Hide([]byte(c.planetKey.SecretString())),
	}, nil
}

func (c *cluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// credential is that of a member of the cluster.
func (c *cluster) credential(id pki.MemberID) *pki.Credential {
	k := must(pki.NewKey())
	chain := must(c.ca.Sign(must(pki.NewRequest(k)), pki.Member{Cluster: c.ca.Cluster(), ID: id, Name: fmt.Sprintf("m%d", id)}, time.Now(), 0))
	return must(pki.NewCredential(k, chain))
}

// serve runs the member's mux and join server on the listener until the test ends.
func (c *cluster) serve(ln net.Listener) {
	c.t.Helper()
	bundle := must(pki.NewBundle(c.ca.Certificate()))
	keys := must(pki.NewKeychain(pki.Keys{Credential: c.credential(1), Bundle: bundle}))
	v := must(pki.NewVerifier(pki.VerifierOptions{Keychain: keys, Now: time.Now, Admit: func(pki.Peer) error { return nil }}))
	m := must(mux.New(mux.Options{Keychain: keys, Verifier: v, Listener: ln, Dial: mux.DialTCP, Logger: slog.New(slog.DiscardHandler), MaxGuestsPerSource: 1000, MaxGuests: 1000}))
	jl := must(m.Listen(mux.Join))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Run(ctx); err != nil {
			c.t.Error(err)
		}
	})
	wg.Go(func() {
		if err := c.server.Run(ctx, jl); err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(func() { cancel(); wg.Wait() })
}

// start serves on loopback and returns the address.
func (c *cluster) start() string {
	c.t.Helper()
	ln := must(mux.ListenTCP(c.t.Context(), "127.0.0.1:0"))
	c.serve(ln)
	return ln.Addr().String()
}

// options are those of a machine that may join.
func options(t *join.Token) join.Options {
	return join.Options{
		Token: t, Key: must(pki.NewKey()), Name: "m2", Address: "192.0.2.2:9995", Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:9993")},
		Version: "1.2.3", Feature: 4,
	}
}

func code(err error) join.Code {
	if r, ok := errors.AsType[*join.Refusal](err); ok {
		return r.Code
	}
	return ""
}
