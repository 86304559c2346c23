package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is a Source whose answers a test chooses.
type member struct {
	err   error
	peers int // addresses 1 to peers
	fail  int // Peers fails after so many; 0 = never

	published []byte
}

func (m *member) Status(context.Context) (*admin.Status, error) {
	return &admin.Status{
		Name: "m1", Address: 0x0123456789, Ready: true, Started: time.Unix(1700000000, 0).UTC(),
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:9993")},
		Planet:    &admin.PlanetSummary{WorldID: "0000000000000abc", Timestamp: 1 << 60},
	}, m.err
}

func (m *member) Peers(ctx context.Context, f admin.PeerFilter, yield func(*admin.Peer) error) error {
	var p admin.Peer // reused, as the interface allows
	for i := 1; i <= m.peers; i++ {
		if m.fail > 0 && i > m.fail {
			return m.err
		}
		p = admin.Peer{Address: vl1.Address(i)}
		if !strings.HasPrefix(p.Address.String(), f.Prefix) {
			continue
		}
		if err := yield(&p); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *member) Peer(_ context.Context, a vl1.Address) (*admin.Peer, error) {
	if int(a) > m.peers {
		return nil, fmt.Errorf("no peer %s: %w", a, admin.ErrNotFound)
	}
	return &admin.Peer{Address: a, Paths: []admin.Path{{Family: "v4"}}}, m.err
}

func (m *member) Planet(context.Context) (*admin.Planet, error) {
	return &admin.Planet{Raw: []byte{1, 2, 3}}, m.err
}

func (m *member) PublishPlanet(_ context.Context, world []byte) (*admin.Planet, error) {
	if m.err != nil {
		return nil, m.err
	}
	m.published = world
	return &admin.Planet{Raw: world}, nil
}

// start serves m on a socket until the test ends.
func start(t *testing.T, m *member) (*admin.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := admin.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.NewServer(m, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, l); err != nil {
			t.Error(err)
		}
	})
	c := admin.NewClient(socket)
	t.Cleanup(func() {
		c.Close()
		cancel()
		wg.Wait()
		if _, err := os.Lstat(socket); err == nil {
			t.Error("the socket stayed")
		}
	})
	return c, socket
}

var cmpAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestRoundTrip(t *testing.T) {
	m := &member{peers: 5}
	c, socket := start(t, m)
	fi, err := os.Stat(socket)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", fi.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(socket))
	if err != nil || len(entries) != 1 {
		t.Errorf("left beside the socket: %v, %v", entries, err)
	}

	st, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := m.Status(t.Context())
	if diff := cmp.Diff(want, st, cmpAddrPort); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	p, err := c.Peer(t.Context(), 3)
	if err != nil || p.Address != 3 || len(p.Paths) != 1 || p.Paths[0].Endpoint.IsValid() {
		t.Errorf("peer %+v, %v", p, err)
	}
	planet, err := c.Planet(t.Context())
	if err != nil || !bytes.Equal(planet.Raw, []byte{1, 2, 3}) {
		t.Errorf("planet %+v, %v", planet, err)
	}
	if planet, err = c.PublishPlanet(t.Context(), []byte("world")); err != nil || string(planet.Raw) != "world" || string(m.published) != "world" {
		t.Errorf("publish: %+v, %v", planet, err)
	}
}

func TestPeers(t *testing.T) {
	c, _ := start(t, &member{peers: 70000})
	for _, tc := range []struct {
		f    admin.PeerFilter
		want int
	}{
		{admin.PeerFilter{}, 70000},
		{admin.PeerFilter{Limit: 10}, 10},
		{admin.PeerFilter{Prefix: "00000001"}, 256},
		{admin.PeerFilter{Prefix: "F"}, 0},
	} {
		got := 0
		if err := c.Peers(t.Context(), tc.f, func(*admin.Peer) error { got++; return nil }); err != nil || got != tc.want {
			t.Errorf("%+v: %d peers, want %d (%v)", tc.f, got, tc.want, err)
		}
	}
	stop := errors.New("enough")
	if err := c.Peers(t.Context(), admin.PeerFilter{}, func(*admin.Peer) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a yield that fails: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		is     error
	}{
		{errors.New("plain"), 500, nil},
		{fmt.Errorf("planet is older: %w", admin.ErrRefused), 409, admin.ErrRefused},
		{fmt.Errorf("no leader: %w", admin.ErrUnavailable), 503, nil},
		{fmt.Errorf("x: %w", admin.ErrNotFound), 404, admin.ErrNotFound},
		{&admin.Error{Status: 400, Why: "bad world", Hint: "make another"}, 400, admin.ErrRefused},
		{&admin.Error{Why: "no status"}, 500, nil},
	} {
		c, _ := start(t, &member{err: tc.err})
		_, err := c.PublishPlanet(t.Context(), nil)
		e, ok := errors.AsType[*admin.Error](err)
		if !ok || e.Status != tc.status || !strings.Contains(tc.err.Error(), e.Why) || e.What == "" {
			t.Errorf("%v became %+v", tc.err, err)
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%v is not %v", err, tc.is)
		}
	}
}

func TestListCutShort(t *testing.T) {
	c, _ := start(t, &member{peers: 10, fail: 4, err: errors.New("table closed")})
	n := 0
	err := c.Peers(t.Context(), admin.PeerFilter{}, func(*admin.Peer) error { n++; return nil })
	if n != 4 || err == nil || !strings.Contains(err.Error(), "table closed") {
		t.Errorf("%d peers, %v", n, err)
	}

	// A server that dies in the middle.
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"peer":{"address":"0000000001"}}`+"\n")
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	defer wg.Wait()
	defer srv.Close()
	half := admin.NewClient(socket)
	defer half.Close()
	if err := half.Peers(t.Context(), admin.PeerFilter{}, func(*admin.Peer) error { return nil }); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("a list without its end: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	s := admin.NewServer(&member{peers: 3}, slog.New(slog.DiscardHandler))
	for _, tc := range []struct {
		method, url, body string
		status            int
		want              string
	}{
		{"GET", "/", "", 404, "no such route"},
		{"GET", "/v2/status", "", 404, "different versions"},
		{"POST", "/v1/status", "", 404, "no such route"},
		{"GET", "/v1/peers/xyz", "", 400, "not a ZeroTier address"},
		{"GET", "/v1/peers/0000000009", "", 404, "no peer 0000000009"},
		{"GET", "/v1/peers?prefix=xy", "", 400, "beginning of an address"},
		{"GET", "/v1/peers?prefix=00000000001", "", 400, "beginning of an address"},
		{"GET", "/v1/peers?limit=-1", "", 400, "not a number"},
		{"GET", "/v1/peers?limit=999999999999999999999", "", 400, "not a number"},
		{"PUT", "/v1/planet", strings.Repeat("x", 65<<10), 400, "too large"},
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(tc.method, tc.url, strings.NewReader(tc.body)))
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", tc.method, tc.url, w.Code, w.Body, tc.status, tc.want)
		}
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")

	// A socket that a dead process left is replaced.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := admin.Listen(socket)
	if err != nil {
		t.Fatalf("over a dead socket: %v", err)
	}
	// One that lives is not.
	if _, err := admin.Listen(socket); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("over a living socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Listen(file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file was replaced")
	}
	// The longest path that the system takes.
	long := filepath.Join(dir, strings.Repeat("d", 107-len("/admin.sock")-len(dir)-1), "admin.sock")
	if err := os.Mkdir(filepath.Dir(long), 0o700); err != nil {
		t.Fatal(err)
	}
	if l, err = admin.Listen(long); err != nil {
		t.Errorf("path of %d bytes: %v", len(long), err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := admin.Listen(filepath.Join(dir, "no", "s")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for socket, want := range map[string]string{
		filepath.Join(dir, "none"): "is rootd running?",
		dead:                       "rootd is not running, or died",
	} {
		c := admin.NewClient(socket)
		_, err := c.Status(t.Context())
		c.Close()
		if e, ok := errors.AsType[*admin.Error](err); !ok || !strings.Contains(e.Hint, want) {
			t.Errorf("%s: %v, want a hint with %q", socket, err, want)
		}
	}
}

// TestStopDuringList: a client that reads slowly does not hold up the stop of the daemon.
func TestStopDuringList(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := admin.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.NewServer(&member{peers: 1 << 30}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	c := admin.NewClient(socket)
	defer c.Close()
	n := 0
	err = c.Peers(t.Context(), admin.PeerFilter{}, func(*admin.Peer) error {
		if n++; n == 1 {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Error("Run did not end")
			}
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("after the stop: %v", err)
	}
}

func FuzzRequests(f *testing.F) {
	s := admin.NewServer(&member{peers: 3}, slog.New(slog.DiscardHandler))
	f.Add("GET", "/v1/peers?prefix=00&limit=2&member=%00", "")
	f.Add("PUT", "/v1/planet", "\x01")
	f.Add("GET", "/v1/peers/../planet", "")
	f.Fuzz(func(t *testing.T, method, target, body string) {
		req, err := http.NewRequest(method, "http://rootd"+target, strings.NewReader(body))
		if err != nil {
			t.Skip()
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	})
}

// brittle is a listener that somebody else closes, just before its server is told to end.
type brittle struct {
	net.Listener
	end context.CancelFunc
}

func (b brittle) Accept() (net.Conn, error) {
	defer b.end()
	return nil, net.ErrClosed
}

// A listener that belongs to somebody else, who is told to end at the same time, ends no server with an error.
func TestStopOfAListenerOfSomebodyElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := admin.NewServer(&member{}, slog.New(slog.DiscardHandler)).Run(ctx, brittle{l, cancel}); err != nil {
			t.Fatal(err)
		}
	}
}
