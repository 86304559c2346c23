package join_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

// golden is a token that every later version must read.
const golden = "rootd-join-1.AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJEBhtJIayQJ6zVT_BtQFPCu7D8_GUf9HAAAAGgxFBsewIOMTkyLjAuMi4xOjk5OTUOcm9vdC5leGFtcGxlOjHZDbh8"

func TestTokenRoundTrip(t *testing.T) {
	expires := time.UnixMilli(1790000000123).UTC()
	a := must(join.NewToken(pki.Fingerprint{1, 31: 2}, expires, "192.0.2.1:9995", "[2001:db8::1]:9995", "root.example:1"))
	b, err := join.ParseToken(a.Text())
	if err != nil {
		t.Fatal(err)
	}
	if b.CA != a.CA || b.ID != a.ID || !b.Expires.Equal(expires) || fmt.Sprint(b.Addresses) != fmt.Sprint(a.Addresses) || b.SecretHash() != a.SecretHash() || b.Text() != a.Text() {
		t.Errorf("%+v became %+v", a, b)
	}
	c := must(join.NewToken(a.CA, expires, a.Addresses...))
	if c.ID == a.ID || c.SecretHash() == a.SecretHash() {
		t.Error("two tokens are alike")
	}
}

func TestGoldenToken(t *testing.T) {
	tok, err := join.ParseToken(golden)
	if err != nil {
		t.Fatal(err)
	}
	if h := tok.SecretHash(); tok.CA != (pki.Fingerprint{1, 31: 2}) || tok.ID.String() != "44061b4921ac9027" || fmt.Sprintf("%x", h[:8]) != "5f99451b9ea24b97" ||
		tok.Expires.UnixMilli() != 1790000000123 || fmt.Sprint(tok.Addresses) != "[192.0.2.1:9995 root.example:1]" {
		t.Errorf("%+v", tok)
	}
}

func TestTokenRefused(t *testing.T) {
	good := must(join.NewToken(pki.Fingerprint{1}, time.Now().Add(time.Hour), "192.0.2.1:9995")).Text()
	for name, text := range map[string]string{
		"empty":             "",
		"something else":    "hello",
		"another version":   strings.Replace(good, "join-1", "join-2", 1),
		"prefix alone":      join.TokenPrefix,
		"cut short":         good[:len(good)-1],
		"half":              good[:len(good)/2],
		"one more":          good + "A",
		"padding":           good + "=",
		"space":             good + " ",
		"new line inside":   good[:40] + "\n" + good[40:],
		"standard alphabet": strings.Replace(good, good[20:21], "+", 1),
		"too long":          good + strings.Repeat("A", 5000),
	} {
		if _, err := join.ParseToken(text); !errors.Is(err, join.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Every single mistyped character.
	for i := len(join.TokenPrefix); i < len(good); i++ {
		for _, c := range []byte("Aa0_") {
			if good[i] == c {
				continue
			}
			if _, err := join.ParseToken(good[:i] + string(c) + good[i+1:]); !errors.Is(err, join.ErrToken) {
				t.Fatalf("with %c at %d: %v", c, i, err)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for a, ok := range map[string]bool{
		"192.0.2.1:9995": true, "[2001:db8::1]:1": true, "root.example.org:65535": true, "127.0.0.1:1": true,
		"": false, "host": false, "host:": false, ":9995": false, "host:0": false, "host:65536": false, "host:09": false, "host:http": false,
		"0.0.0.0:1": false, "[::]:1": false, "224.0.0.1:1": false, "2001:db8::1:1": false, "a b:1": false, "a/b:1": false, "x@y:1": false,
		strings.Repeat("h", 300) + ":1": false,
	} {
		if err := join.CheckAddress(a); (err == nil) != ok {
			t.Errorf("%q: %v", a, err)
		}
	}
	for _, list := range [][]string{nil, {"a:1", "a:1"}, {"1:1", "2:1", "3:1", "4:1", "5:1", "6:1", "7:1", "8:1", "9:1"}, {"nonsense"}} {
		if _, err := join.NewToken(pki.Fingerprint{}, time.Now(), list...); err == nil {
			t.Errorf("made a token for %q", list)
		}
	}
	if _, err := join.NewToken(pki.Fingerprint{}, time.Time{}, "a:1"); err == nil {
		t.Error("made a token without expiry")
	}
}

// TestSecretsAreHidden prints everything that holds a secret, in every way.
func TestSecretsAreHidden(t *testing.T) {
	tok := must(join.NewToken(pki.Fingerprint{1}, time.Now().Add(time.Hour), "192.0.2.1:9995"))
	secret := "0123456789abcdef"
	offer := &join.Offer{Member: 2, Identity: join.Hide([]byte(secret)), Authority: join.Hide([]byte(secret)), PlanetKey: join.Hide([]byte(secret))}
	var b strings.Builder
	log := slog.New(slog.NewJSONHandler(&b, nil))
	text := slog.New(slog.NewTextHandler(&b, nil))
	for _, v := range []any{tok, *tok, offer, *offer, join.Hide([]byte(secret)), &join.Result{Offer: offer}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb, v)
		}
		log.Info("x", "v", v)
		text.Info("x", "v", v)
		j, _ := json.Marshal(v)
		b.Write(j)
	}
	raw := tok.Text()[len(join.TokenPrefix)+54 : len(join.TokenPrefix)+74] // in the middle of the secret
	for _, s := range []string{secret, raw, fmt.Sprintf("%x", secret), fmt.Sprint([]byte(secret)), "MDEyMzQ1Njc4OWFiY2RlZg", tok.Text()} {
		if strings.Contains(b.String(), s) {
			t.Errorf("%q was printed", s)
		}
	}
	if again := must(join.DecodeOffer(must(offer.Encode()))); string(again.Identity.Reveal()) != secret || string(again.Authority.Reveal()) != secret {
		t.Error("Encode hides what it is for")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(must(join.NewToken(pki.Fingerprint{1}, time.Now(), "192.0.2.1:9995", "a:1")).Text())
	f.Add(join.TokenPrefix)
	f.Add("rootd-join-9.AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := join.ParseToken(s)
		if err != nil {
			if len(s) > 20 && strings.Contains(err.Error(), s[len(s)-20:]) {
				t.Errorf("the error quotes the token: %v", err)
			}
			return
		}
		if tok.Text() != s {
			t.Errorf("%q is read, but written %q", s, tok.Text())
		}
	})
}
