package vl1_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

func TestEndpointVectors(t *testing.T) {
	type vector struct {
		Parsed string    `json:"parsed"`
		Binary hexBytes  `json:"binary"`
		Scope  vl1.Scope `json:"scope"`
	}
	for _, v := range vectors[vector](t, "k-inetaddress") {
		want := slashEndpoint(t, v.Parsed)
		got, n, err := vl1.DecodeEndpoint(append(v.Binary, 0xee))
		if err != nil || got != want || n != len(v.Binary) {
			t.Errorf("%s: decoded %s (%d bytes), %v", v.Parsed, got, n, err)
		}
		if b := vl1.AppendEndpoint(nil, want); !bytes.Equal(b, v.Binary) {
			t.Errorf("%s: encoded %x, want %x", v.Parsed, b, []byte(v.Binary))
		}
		if s := vl1.ScopeOf(want.Addr()); s != v.Scope {
			t.Errorf("%s: scope %s, want %s", v.Parsed, s, v.Scope)
		}
		for i := range v.Binary {
			if _, _, err := vl1.DecodeEndpoint(v.Binary[:i]); err == nil {
				t.Errorf("%s: decoded %d of its bytes", v.Parsed, i)
			}
		}
	}
}

func TestEndpointKinds(t *testing.T) {
	for s, want := range map[string]int{
		"01112233445566": 7, "02112233445566ff": 7, "030002aabb": 5, "030000": 3,
		"05": -1, "07": -1, "ff": -1, "03": -1, "0300": -1, "030002aa": -1,
	} {
		ap, n, err := vl1.DecodeEndpoint(unhex(t, s))
		if want < 0 {
			if err == nil {
				t.Errorf("%s: decoded %s", s, ap)
			}
		} else if err != nil || n != want || ap.IsValid() {
			t.Errorf("%s: %s, %d bytes, %v", s, ap, n, err)
		}
	}
}

func TestScopes(t *testing.T) {
	for s, want := range map[string]vl1.Scope{
		"100.63.255.255": vl1.ScopeGlobal, "100.127.255.255": vl1.ScopePrivate,
		"172.15.255.255": vl1.ScopeGlobal, "172.31.255.255": vl1.ScopePrivate,
		"198.17.255.255": vl1.ScopeGlobal, "198.19.255.255": vl1.ScopePrivate, "198.20.0.0": vl1.ScopeGlobal,
		"192.169.0.0": vl1.ScopeGlobal, "223.255.255.255": vl1.ScopeGlobal, "255.0.0.1": vl1.ScopeNone,
		"fe80::2": vl1.ScopeLinkLocal, "febf::1": vl1.ScopeLinkLocal, "fec0::1": vl1.ScopeGlobal,
		"fe80::1%eth0": vl1.ScopeLoopback, "fe80:0:0:1::1": vl1.ScopeLinkLocal,
	} {
		if got := vl1.ScopeOf(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: scope %s, want %s", s, got, want)
		}
	}
}
