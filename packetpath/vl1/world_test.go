package vl1_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rootd/rootd/packetpath/vl1"
)

type worldVector struct {
	Type       vl1.WorldType `json:"type"`
	ID         string        `json:"id"`
	Timestamp  string        `json:"timestamp"`
	Binary     hexBytes      `json:"binary"`
	Content    hexBytes      `json:"signed_content"`
	SigningKey struct {
		Public  string `json:"public"`
		Private string `json:"private"`
	} `json:"signing_key"`
	Roots []struct {
		Identity  string   `json:"identity"`
		Endpoints []string `json:"endpoints"`
	} `json:"roots"`
	Updates []struct {
		Case    string   `json:"case"`
		Binary  hexBytes `json:"binary"`
		Replace bool     `json:"should_replace"`
	} `json:"updates"`
}

func TestWorldVectors(t *testing.T) {
	for _, v := range vectors[worldVector](t, "f-worlds") {
		sk, err := vl1.ParseSigningKey(v.SigningKey.Public + ":" + v.SigningKey.Private)
		if err != nil {
			t.Fatal(err)
		}
		w := decodeWorld(t, v.Binary)
		want := &vl1.World{Type: v.Type, ID: decimal(t, v.ID), Timestamp: decimal(t, v.Timestamp), UpdateKey: sk.Public()}
		for _, r := range v.Roots {
			id, err := vl1.ParseIdentity(r.Identity)
			if err != nil {
				t.Fatal(err)
			}
			root := vl1.Root{Identity: id}
			for _, e := range r.Endpoints {
				root.Endpoints = append(root.Endpoints, slashEndpoint(t, e))
			}
			want.Roots = append(want.Roots, root)
		}
		want.Sign(sk)
		if diff := cmp.Diff(want, w, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("world %s differs (-want +got):\n%s", v.ID, diff)
		}
		if got := want.AppendBinary(nil); !bytes.Equal(got, v.Binary) {
			t.Errorf("world %s encoded as %x", v.ID, got)
		}
		if len(v.Content) > 0 && !bytes.Equal(w.SignedContent(), v.Content) {
			t.Errorf("world %s: signed content differs", v.ID)
		}
		if err := w.Check(); err != nil || !w.Verify(&w.UpdateKey) {
			t.Errorf("world %s: %v, or signature bad", v.ID, err)
		}
		for _, u := range v.Updates {
			err := w.ReplacedBy(decodeWorld(t, u.Binary))
			if (err == nil) != u.Replace || err != nil && !errors.Is(err, vl1.ErrWorld) {
				t.Errorf("world %s, update %s: %v", v.ID, u.Case, err)
			}
		}
		for i := range v.Binary {
			if _, _, err := vl1.DecodeWorld(v.Binary[:i]); !errors.Is(err, vl1.ErrWorld) {
				t.Fatalf("world %s decoded from %d of its bytes: %v", v.ID, i, err)
			}
		}
	}
}

func decodeWorld(t *testing.T, b []byte) *vl1.World {
	t.Helper()
	w, n, err := vl1.DecodeWorld(append(slices.Clip(b), 0xee))
	if err != nil {
		t.Fatal(err)
	}
	if n != len(b) {
		t.Fatalf("world of %d bytes took %d", len(b), n)
	}
	return w
}

func TestWorldSignatureCounts(t *testing.T) {
	b, err := os.ReadFile("testdata/pcap/one-direct/planet")
	if err != nil {
		t.Fatal(err)
	}
	if w := decodeWorld(t, b); !w.Verify(&w.UpdateKey) {
		t.Error("a good planet does not verify")
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x10
		if w, _, err := vl1.DecodeWorld(c); err == nil && w.Verify((*vl1.PublicKey)(b[17:81])) {
			t.Errorf("planet verifies with byte %d changed", i)
		}
	}
}

func TestWorldLimits(t *testing.T) {
	ids := identities()
	ep := netip.MustParseAddrPort("203.0.113.1:9993")
	world := func(roots, endpoints int) *vl1.World {
		w := &vl1.World{Type: vl1.WorldPlanet}
		for i := range roots {
			w.Roots = append(w.Roots, vl1.Root{Identity: ids[i].Identity, Endpoints: slices.Repeat([]netip.AddrPort{ep}, endpoints)})
		}
		return w
	}
	twice, reserved, invalid := world(2, 1), world(1, 1), world(1, 1)
	twice.Roots[1].Identity = twice.Roots[0].Identity
	reserved.Roots[0].Identity.Address = 0
	invalid.Roots[0].Endpoints[0] = netip.AddrPort{}
	withDictionary := world(1, 1)
	withDictionary.Dictionary = []byte("x")
	null := world(1, 1)
	null.Type = vl1.WorldNull
	for name, c := range map[string]struct {
		w       *vl1.World
		ok      bool
		decodes bool
	}{
		"largest":               {world(4, 32), true, true},
		"five roots":            {world(5, 1), false, false},
		"33 endpoints":          {world(1, 33), false, false},
		"a root twice":          {twice, false, true},
		"reserved address":      {reserved, false, false},
		"invalid endpoint":      {invalid, false, false},
		"planet and dictionary": {withDictionary, false, true},
		"null world":            {null, false, false},
	} {
		if err := c.w.Check(); (err == nil) != c.ok || err != nil && !errors.Is(err, vl1.ErrWorld) {
			t.Errorf("%s: check: %v", name, err)
		}
		if _, _, err := vl1.DecodeWorld(c.w.AppendBinary(nil)); (err == nil) != c.decodes {
			t.Errorf("%s: decode: %v", name, err)
		}
	}
}

func TestInterleave(t *testing.T) {
	var eps []netip.AddrPort
	for s := range strings.FieldsSeq("1.0.0.1:1 1.0.0.2:1 1.0.0.3:1 1.0.0.4:1 [2001::1]:1 [2001::2]:1") {
		eps = append(eps, netip.MustParseAddrPort(s))
	}
	families := func(eps []netip.AddrPort) string {
		var b strings.Builder
		for _, ap := range eps {
			if ap.Addr().Is4() {
				b.WriteByte('4')
			} else {
				b.WriteByte('6')
			}
		}
		return b.String()
	}
	for _, c := range []struct {
		in   []netip.AddrPort
		want string
	}{
		{nil, ""},
		{eps[:3], "444"},
		{eps[4:], "66"},
		{eps[2:], "4646"},
		{eps, "464464"},
		{eps[3:], "466"},
	} {
		got := vl1.Interleave(c.in)
		if f := families(got); f != c.want {
			t.Errorf("%s became %s, want %s", families(c.in), f, c.want)
		}
		for _, is4 := range []bool{true, false} {
			other := func(ap netip.AddrPort) bool { return ap.Addr().Is4() != is4 }
			if !slices.Equal(slices.DeleteFunc(slices.Clone(c.in), other), slices.DeleteFunc(slices.Clone(got), other)) {
				t.Errorf("order within a family changed: %v", got)
			}
		}
	}
}

// TestMoonDictionary checks that a moon's dictionary is kept and signed.
func TestMoonDictionary(t *testing.T) {
	sk, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &vl1.World{Type: vl1.WorldMoon, ID: 7, Timestamp: 8, UpdateKey: sk.Public(), Dictionary: []byte("k=v\n")}
	w.Sign(sk)
	b := w.AppendBinary(nil)
	got := decodeWorld(t, b)
	public := sk.Public()
	if string(got.Dictionary) != "k=v\n" || !got.Verify(&public) {
		t.Errorf("moon %s", hex.EncodeToString(b))
	}
	b[len(b)-2] ^= 1
	if decodeWorld(t, b).Verify(&public) {
		t.Error("the dictionary is not signed")
	}
}
