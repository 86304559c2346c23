package vl1_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

type identityVector struct {
	Category  string   `json:"category"`
	Identity  string   `json:"identity"`
	Parses    bool     `json:"from_string_ok"`
	Validates bool     `json:"locally_validate"`
	Binary    hexBytes `json:"binary"`
}

// stricter lists what the reference's parser takes and ours refuses: no real identity looks like that.
var stricter = map[string]bool{
	"format: non-hex key char": true,
	"format: leading space":    true,
	"format: trailing newline": true,
	"format: address 9 digits": true,
	"format: 0x address":       true,
	"format: double colon":     true,
}

func TestIdentityVectors(t *testing.T) {
	h := vl1.NewHasher()
	for _, v := range vectors[identityVector](t, "a-identities") {
		id, err := vl1.ParseIdentity(v.Identity)
		if parses := v.Parses && !stricter[v.Category]; parses != (err == nil) {
			t.Errorf("%s: %s: parses: %v, want %v", v.Category, v.Identity, err, parses)
			continue
		}
		if err != nil {
			if !errors.Is(err, vl1.ErrIdentity) {
				t.Errorf("%s: error %v does not wrap ErrIdentity", v.Category, err)
			}
			continue
		}
		if got := id.AppendBinary(nil); !bytes.Equal(got, v.Binary) {
			t.Errorf("%s: binary form %x, want %x", v.Identity, got, v.Binary)
		}
		if got, n, err := vl1.DecodeIdentity(v.Binary); err != nil || n != vl1.IdentityLen || got != id {
			t.Errorf("%s: decoded %v, %d, %v", v.Identity, got, n, err)
		}
		if id.String() != v.Identity {
			t.Errorf("text form %s, want %s", id, v.Identity)
		}
		if err := h.Validate(&id); (err == nil) != v.Validates {
			t.Errorf("%s: %s: validates: %v, want %v", v.Category, v.Identity, err, v.Validates)
		}
	}
}

func TestDigestVectors(t *testing.T) {
	type vector struct {
		Public hexBytes `json:"public"`
		Digest hexBytes `json:"digest"`
	}
	h := vl1.NewHasher()
	for _, v := range vectors[vector](t, "a2-memoryhard-hash") {
		if d := h.Digest((*vl1.PublicKey)(v.Public)); !bytes.Equal(d[:], v.Digest) {
			t.Errorf("digest of %x = %x, want %x", []byte(v.Public), d, []byte(v.Digest))
		}
	}
}

func TestGenerate(t *testing.T) {
	h := vl1.NewHasher()
	id, err := h.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Validate(&id.Identity); err != nil {
		t.Error(err)
	}
	again, err := vl1.ParseSecretIdentity(id.SecretString())
	if err != nil {
		t.Fatal(err)
	}
	if again.Identity != id.Identity || again.SecretString() != id.SecretString() {
		t.Error("a generated identity does not survive its text form")
	}
	peer := identities()[0]
	if agree(t, again, &peer.Key) != agree(t, peer, &id.Key) {
		t.Error("both sides agree on different keys")
	}
}

func TestParseIdentityRefuses(t *testing.T) {
	good := identities()[0].Identity.String()
	for name, s := range map[string]string{
		"secret":           identities()[0].SecretString(),
		"upper case":       strings.ToUpper(good),
		"bad digit":        good[:len(good)-1] + "g",
		"reserved address": "0000000000" + good[10:],
		"trailing colon":   good + ":",
		"type 1":           strings.Replace(good, ":0:", ":1:", 1),
	} {
		if id, err := vl1.ParseIdentity(s); !errors.Is(err, vl1.ErrIdentity) {
			t.Errorf("%s: %v, %v", name, id, err)
		} else if name == "secret" && strings.Contains(err.Error(), s[len(s)-32:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestDecodeIdentityRefuses(t *testing.T) {
	good := identities()[0].Identity.AppendBinary(nil)
	for name, f := range map[string]func(b []byte) []byte{
		"short":            func(b []byte) []byte { return b[:70] },
		"type 1":           func(b []byte) []byte { b[5] = 1; return b },
		"secret":           func(b []byte) []byte { b[70] = 64; return append(b, make([]byte, 64)...) },
		"secret length 1":  func(b []byte) []byte { b[70] = 1; return append(b, 0) },
		"reserved address": func(b []byte) []byte { b[0] = 0xff; return b },
	} {
		if id, n, err := vl1.DecodeIdentity(f(bytes.Clone(good))); err == nil {
			t.Errorf("%s: decoded %v (%d bytes)", name, id, n)
		}
	}
}

func TestParseSecretIdentityRefuses(t *testing.T) {
	a, b := identities()[0].SecretString(), identities()[1].SecretString()
	for name, s := range map[string]string{
		"empty":            "",
		"public only":      a[:141],
		"colon only":       a[:142],
		"short secret":     a[:len(a)-2],
		"long secret":      a + "00",
		"bad digit":        a[:len(a)-1] + "x",
		"another's secret": a[:142] + b[142:],
		"no colon":         a[:141] + "-" + a[142:],
	} {
		_, err := vl1.ParseSecretIdentity(s)
		if !errors.Is(err, vl1.ErrIdentity) {
			t.Errorf("%s: error %v", name, err)
		} else if strings.Contains(err.Error(), a[150:180]) || strings.Contains(err.Error(), "'x'") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

// TestSecretsStayHidden prints everything that holds a secret in every way it could be printed.
func TestSecretsStayHidden(t *testing.T) {
	a, _, k := pair(t)
	sk, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{
		a, *a, k, &k, sk, *sk,
		struct{ ID *vl1.SecretIdentity }{a},
		struct{ id vl1.SecretIdentity }{*a},
		struct{ k vl1.SigningKey }{*sk},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		log.Info("test", "value", v)
	}
	shown := out.String()
	secretHex := a.SecretString()[142:]
	signingHex := sk.SecretString()[129:]
	for name, s := range map[string]string{
		"X25519 key":         secretHex[:64],
		"Ed25519 seed":       secretHex[64:],
		"signing key":        signingHex[:64],
		"signing seed":       signingHex[64:],
		"agreed key":         hex.EncodeToString(k[:]),
		"agreed key, list":   strings.Trim(fmt.Sprint(k[:]), "[]"),
		"Ed25519 seed, list": strings.Trim(fmt.Sprint(unhex(t, secretHex[64:])), "[]"),
	} {
		if strings.Contains(shown, s) {
			t.Errorf("%s is shown", name)
		}
	}
	if !strings.Contains(shown, a.Identity.String()) {
		t.Error("the public identity is not shown")
	}
	if err := json.Unmarshal([]byte(`"`+a.Identity.String()+`"`), &vl1.SecretIdentity{}); err == nil {
		t.Error("a secret identity was unmarshalled from a public one")
	}
}

func TestAgreeVectors(t *testing.T) {
	type vector struct {
		A     string   `json:"a"`
		B     string   `json:"b"`
		Key48 hexBytes `json:"key48"`
		AES0  hexBytes `json:"aes_k0"`
		AES1  hexBytes `json:"aes_k1"`
	}
	for _, v := range vectors[vector](t, "b-agree") {
		a, b := secret(t, v.A), secret(t, v.B)
		k := agree(t, a, &b.Key)
		if !bytes.Equal(k[:], v.Key48) {
			t.Errorf("key of %s and %s is %x, want %x", a.Address, b.Address, k[:], []byte(v.Key48))
		}
		if agree(t, b, &a.Key) != k {
			t.Errorf("key of %s and %s differs from that of the other side", a.Address, b.Address)
		}
		k0, k1 := vl1.DeriveLabel(&k, '0'), vl1.DeriveLabel(&k, '1')
		if !bytes.Equal(k0[:], v.AES0) || !bytes.Equal(k1[:], v.AES1) {
			t.Errorf("derived keys of %s and %s are %x and %x", a.Address, b.Address, k0, k1)
		}
	}
}

func TestAgreeRefusesLowOrder(t *testing.T) {
	if k, err := identities()[0].Agree(&vl1.PublicKey{}); err == nil || k != (vl1.Key{}) {
		t.Errorf("agreed with the zero key: %v", err)
	}
}

func TestDeriveLabelVectors(t *testing.T) {
	type vector struct {
		Key     hexBytes `json:"key48"`
		Label   byte     `json:"label"`
		Context byte     `json:"context"`
		Iter    uint32   `json:"iter"`
		Out     hexBytes `json:"out48"`
	}
	for _, v := range vectors[vector](t, "j-kbkdf") {
		if v.Context != 0 || v.Iter != 0 {
			continue // never used in packets
		}
		if got := vl1.DeriveLabel((*vl1.Key)(v.Key), v.Label); !bytes.Equal(got[:], v.Out) {
			t.Errorf("label %q: %x, want %x", v.Label, got, []byte(v.Out))
		}
	}
}

func TestSignatureVectors(t *testing.T) {
	type vector struct {
		Case      string   `json:"case"`
		Public    hexBytes `json:"public"`
		Private   hexBytes `json:"private"`
		Msg       hexBytes `json:"msg"`
		Signature hexBytes `json:"signature"`
		Verify    bool     `json:"verify"`
	}
	signed := 0
	for _, v := range vectors[vector](t, "g-signatures") {
		public := (*vl1.PublicKey)(v.Public)
		if got := public.Verify(v.Msg, (*vl1.Signature)(v.Signature)); got != v.Verify {
			t.Errorf("%s: verify = %v, want %v", v.Case, got, v.Verify)
		}
		if !v.Verify || len(v.Private) == 0 {
			continue
		}
		sk, err := vl1.ParseSigningKey(public.String() + ":" + hex.EncodeToString(v.Private))
		if err != nil {
			t.Errorf("%s: %v", v.Case, err)
			continue
		}
		if sig := sk.Sign(v.Msg); !bytes.Equal(sig[:], v.Signature) {
			t.Errorf("%s: signature %x, want %x", v.Case, sig, []byte(v.Signature))
		}
		signed++
	}
	if signed == 0 {
		t.Error("no vector to sign")
	}
}

func TestSigningKeyText(t *testing.T) {
	sk, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := vl1.ParseSigningKey(sk.SecretString())
	if err != nil || again.Public() != sk.Public() {
		t.Errorf("signing key does not survive its text form: %v", err)
	}
	other, _ := vl1.GenerateSigningKey()
	for _, s := range []string{
		"", sk.SecretString()[:128], sk.SecretString()[:129], sk.SecretString() + "0",
		other.SecretString()[:129] + sk.SecretString()[129:],
	} {
		if _, err := vl1.ParseSigningKey(s); !errors.Is(err, vl1.ErrIdentity) {
			t.Errorf("ParseSigningKey of %d characters: %v", len(s), err)
		}
	}
}

func TestAddress(t *testing.T) {
	for s, want := range map[string]vl1.Address{"0123456789": 0x0123456789, "ffFFffffff": 0xffffffffff} {
		if got, err := vl1.ParseAddress(s); err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "012345678", "01234567890", "012345678g", " 123456789"} {
		if a, err := vl1.ParseAddress(s); !errors.Is(err, vl1.ErrAddress) {
			t.Errorf("ParseAddress(%q) = %s, %v", s, a, err)
		}
	}
	for a, want := range map[vl1.Address]bool{0: true, 1: false, 0xff00000000: true, 0xfeffffffff: false, 1 << 40: true} {
		if a.Reserved() != want {
			t.Errorf("%s reserved = %v", a, a.Reserved())
		}
	}
}

func TestText(t *testing.T) {
	type node struct {
		Address  vl1.Address
		Identity vl1.Identity
	}
	id := identities()[0].Identity
	b, err := json.Marshal(node{id.Address, id})
	if err != nil {
		t.Fatal(err)
	}
	var got node
	if err := json.Unmarshal(b, &got); err != nil || got != (node{id.Address, id}) {
		t.Errorf("%s: %v", b, err)
	}
	for _, bad := range []string{`{"Address":"12"}`, `{"Identity":"0000000001:0:00"}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was unmarshalled", bad)
		}
	}
}
