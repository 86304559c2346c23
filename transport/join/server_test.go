package join_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

func frame(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
}

// talk sends bytes to a server, without mux and TLS, and returns what it says.
func talk(t testing.TB, c *cluster, sent []byte) (said []byte, err error) {
	t.Helper()
	us, them := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- c.server.Serve(t.Context(), them)
		_ = them.Close()
	}()
	go func() { _, _ = us.Write(sent) }()
	said, _ = io.ReadAll(us)
	_ = us.Close()
	return said, <-done
}

func hello(change func(map[string]any)) []byte {
	m := map[string]any{
		"token": "0102030405060708", "secret": bytes.Repeat([]byte{1}, 16), "csr": must(pki.NewRequest(must(pki.NewKey()))), "name": "m2",
		"address": "192.0.2.2:9995", "clock_ms": time.Now().UnixMilli(), "feature": 4, "from the future": true,
	}
	change(m)
	return must(json.Marshal(m))
}

func TestBadHellos(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		sent []byte
		want string
	}{
		"not a hello":        {frame(4, []byte("{}")), "kind 4 instead of a hello"},
		"not JSON":           {frame(1, []byte("secret!")), "not readable"},
		"no secret":          {frame(1, hello(func(m map[string]any) { delete(m, "secret") })), "without the secret"},
		"short secret":       {frame(1, hello(func(m map[string]any) { m["secret"] = []byte("x") })), "without the secret"},
		"short token ID":     {frame(1, hello(func(m map[string]any) { m["token"] = "01" })), "not readable"},
		"no key":             {frame(1, hello(func(m map[string]any) { m["csr"] = []byte{} })), "certificate request"},
		"key of another":     {frame(1, hello(func(m map[string]any) { b := m["csr"].([]byte); b[len(b)-1] ^= 1 })), "does not have the private key"},
		"no name":            {frame(1, hello(func(m map[string]any) { m["name"] = "" })), "cannot be one"},
		"long version":       {frame(1, hello(func(m map[string]any) { m["version"] = strings.Repeat("1", 65) })), "version is too long"},
		"IPv4 in IPv6":       {frame(1, hello(func(m map[string]any) { m["endpoints"] = []string{"[::ffff:1.2.3.4]:1"} })), "cannot be one"},
		"good, but no token": {frame(1, hello(func(map[string]any) {})), "does not know this token"},
	} {
		said, err := talk(t, c, tc.sent)
		if len(said) < 5 || said[0] != 5 || !strings.Contains(string(said), tc.want) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: said %q (%v), want a refusal with %q", name, said, err, tc.want)
		}
		if strings.Contains(string(said), "secret!") {
			t.Errorf("%s: what was sent is quoted", name)
		}
	}
	for name, sent := range map[string][]byte{
		"too large": append([]byte{1}, 0xff, 0xff, 0xff, 0xff),
		"cut short": frame(1, hello(func(map[string]any) {}))[:50],
	} {
		us, them := net.Pipe()
		go func() { _, _ = us.Write(sent); _ = us.Close() }()
		if err := c.server.Serve(t.Context(), them); err == nil || errors.Is(err, &join.Refusal{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c.checks != 1 {
		t.Errorf("%d requests came through, want the last one alone", c.checks)
	}
}

// TestSilentMachine: who connects and says nothing is hung up on.
func TestSilentMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		us, them := net.Pipe()
		start := time.Now()
		err := c.server.Serve(t.Context(), them)
		if d := time.Since(start); err == nil || d != 15*time.Second {
			t.Errorf("after %v: %v", d, err)
		}
		_, _ = us.Close(), them.Close()
	})
}

// FuzzServer: whatever a machine sends, the server answers with one refusal or hangs up, and nobody becomes a member.
func FuzzServer(f *testing.F) {
	f.Add(frame(1, hello(func(map[string]any) {})))
	f.Add(frame(1, []byte(`{"token":"0000000000000000","secret":"AAAAAAAAAAAAAAAAAAAAAA==","csr":"","endpoints":["1.2.3.4:5"],"probe":"x"}`)))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{})
	c := newCluster(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		us, them := net.Pipe()
		go func() { _, _ = us.Write(b); _ = us.Close() }()
		_ = c.server.Serve(t.Context(), them)
		if c.count() != 1 {
			t.Error("a stranger became a member")
		}
	})
}

// FuzzOffer: a member's offer never makes the machine panic.
func FuzzOffer(f *testing.F) {
	offer := &join.Offer{Member: 2, Cluster: pki.ClusterID{1}, Identity: join.Hide([]byte("x"))}
	f.Add(must(offer.Encode()))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := join.DecodeOffer(b)
		if err != nil {
			return
		}
		if again, err := join.DecodeOffer(must(o.Encode())); err != nil || string(again.Identity.Reveal()) != string(o.Identity.Reveal()) {
			t.Errorf("%v became %v (%v)", o, again, err)
		}
	})
}
