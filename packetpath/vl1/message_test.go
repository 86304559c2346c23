package vl1_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rootd/rootd/packetpath/vl1"
)

var (
	endpoint4 = netip.MustParseAddrPort("203.0.113.9:9993")
	endpoint6 = netip.MustParseAddrPort("[2001:db8::9]:443")
	someGroup = vl1.Group{Network: 0x8056c2e21c000001, MAC: [6]byte{0x33, 0x33, 0, 0, 0, 1}, ADI: 7}
)

func packet(v vl1.Verb) vl1.Packet { return vl1.NewPacket(nil, 0x0102030405060708, 0xa1, 0xb2, v) }

// TestSizes checks the sizes of packets that the protocol's description names.
func TestSizes(t *testing.T) {
	a, _, k := pair(t)
	hello := vl1.Hello{Protocol: 12, Identity: a.Identity, SentTo: endpoint4, HasPlanet: true}
	hello6, old := hello, hello
	hello6.SentTo = endpoint6
	old.HasPlanet = false
	old.SentTo = netip.AddrPort{}
	for _, c := range []struct {
		name string
		p    vl1.Packet
		want int
	}{
		{"HELLO, IPv4", vl1.AppendHello(packet(vl1.VerbHello), &hello, &k), 137},
		{"HELLO, IPv6", vl1.AppendHello(packet(vl1.VerbHello), &hello6, &k), 149},
		{"HELLO, old", vl1.AppendHello(packet(vl1.VerbHello), &old, &k), 113},
		{"OK(HELLO), IPv4", vl1.AppendOKHello(packet(vl1.VerbOK), 1, &vl1.OKHello{SeenAt: endpoint4}), 59},
		{"OK(HELLO), IPv6", vl1.AppendOKHello(packet(vl1.VerbOK), 1, &vl1.OKHello{SeenAt: endpoint6}), 71},
		{"OK(ECHO), empty", vl1.AppendOKEcho(packet(vl1.VerbOK), 1, nil), 37},
		{"NOP", packet(vl1.VerbNop), 28},
		{"WHOIS", vl1.AppendWhois(packet(vl1.VerbWhois), 5), 33},
		{"OK(WHOIS)", vl1.AppendOKWhois(packet(vl1.VerbOK), 1, &a.Identity), 108},
		{"RENDEZVOUS, IPv4", vl1.AppendRendezvous(packet(vl1.VerbRendezvous), vl1.Rendezvous{Peer: 1, Endpoint: endpoint4}), 41},
		{"RENDEZVOUS, IPv6", vl1.AppendRendezvous(packet(vl1.VerbRendezvous), vl1.Rendezvous{Peer: 1, Endpoint: endpoint6}), 53},
		{"PUSH, IPv4", vl1.AppendPushDirectPaths(packet(vl1.VerbPushDirectPaths), vl1.DirectPath{Endpoint: endpoint4}), 41},
		{"PUSH, both", vl1.AppendPushDirectPaths(packet(vl1.VerbPushDirectPaths), vl1.DirectPath{Endpoint: endpoint4}, vl1.DirectPath{Endpoint: endpoint6}), 64},
		{"LIKE, 3", vl1.AppendMulticastLike(packet(vl1.VerbMulticastLike), someGroup, someGroup, someGroup), 28 + 3*18},
		{"GATHER", vl1.AppendMulticastGather(packet(vl1.VerbMulticastGather), &vl1.Gather{Group: someGroup}), 51},
		{"OK(GATHER), 2", vl1.AppendOKGather(packet(vl1.VerbOK), 1, someGroup, 9, []vl1.Address{1, 2}), 71},
		{"ERROR 4", vl1.AppendError(packet(vl1.VerbError), &vl1.ErrorMessage{Code: vl1.ErrorIdentityCollision}), 38},
		{"ERROR 5", vl1.AppendError(packet(vl1.VerbError), &vl1.ErrorMessage{Code: vl1.ErrorUnsupported, Payload: make([]byte, 8)}), 46},
	} {
		if len(c.p) != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, len(c.p), c.want)
		}
	}
}

func TestHelloForms(t *testing.T) {
	a, b, k := pair(t)
	full := vl1.Hello{
		Protocol: 12, Major: 1, Minor: 14, Revision: 2, Clock: 1 << 40, Identity: a.Identity, SentTo: endpoint6,
		HasPlanet: true, PlanetID: 5, PlanetTimestamp: 6, MoonCount: 2,
	}
	full.Moons[0] = vl1.WorldStamp{Type: vl1.WorldMoon, ID: 1, Timestamp: 2}
	full.Moons[1] = vl1.WorldStamp{Type: vl1.WorldMoon, ID: 3}
	p := vl1.AppendHello(vl1.NewPacket(nil, 77, b.Address, a.Address, vl1.VerbHello), &full, &k)

	without := func(f func(*vl1.Hello)) vl1.Hello { h := full; f(&h); return h }
	noMoons := without(func(h *vl1.Hello) { h.MoonCount, h.Moons = 0, [vl1.MaxHelloMoons]vl1.WorldStamp{} })
	oneMoon := without(func(h *vl1.Hello) { h.MoonCount, h.Moons[1] = 1, vl1.WorldStamp{} })
	noPlanet := noMoons
	noPlanet.HasPlanet, noPlanet.PlanetID, noPlanet.PlanetTimestamp = false, 0, 0
	noEndpoint := noPlanet
	noEndpoint.SentTo = netip.AddrPort{}

	for _, c := range []struct {
		name string
		size int
		want vl1.Hello
	}{
		{"whole", len(p), full},
		{"second moon cut", len(p) - 1, oneMoon},
		{"no moon records", 149, noMoons},
		{"one byte of the count", 148, noMoons},
		{"ends after planet", 147, noMoons},
		{"planet cut", 146, noPlanet},
		{"ends after endpoint", 131, noPlanet},
		{"ends after identity", 112, noEndpoint},
	} {
		q := vl1.Packet(bytes.Clone(p[:c.size]))
		vl1.Armor(q, &k, vl1.SuitePoly1305)
		if err := vl1.Dearmor(q, &k); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(q)
		var got vl1.Hello
		if err := vl1.DecodeHello(q, &k, &got); err != nil || got != c.want {
			t.Errorf("%s: %v\n%+v, want\n%+v", c.name, err, got, c.want)
		}
		if !bytes.Equal(q, before) {
			t.Errorf("%s: decoding changed the packet", c.name)
		}
	}
	for _, suite := range []vl1.Suite{vl1.SuiteSalsa, vl1.SuiteAES} {
		q := vl1.Packet(bytes.Clone(p))
		vl1.Armor(q, &k, suite)
		if err := vl1.Dearmor(q, &k); err != nil {
			t.Fatal(err)
		}
		want := full
		if suite == vl1.SuiteAES {
			want = noMoons
		}
		var got vl1.Hello
		if err := vl1.DecodeHello(q, &k, &got); err != nil || got != want {
			t.Errorf("in suite %s: %v, %+v", suite, err, got)
		}
	}
}

func TestHelloRefused(t *testing.T) {
	a, b, k := pair(t)
	make := func(f func(vl1.Packet) vl1.Packet) vl1.Packet {
		h := vl1.Hello{Protocol: 4, Identity: a.Identity, SentTo: endpoint4}
		return f(vl1.AppendHello(vl1.NewPacket(nil, 77, b.Address, a.Address, vl1.VerbHello), &h, &k))
	}
	for _, c := range []struct {
		name string
		want error
		f    func(vl1.Packet) vl1.Packet
	}{
		{"good", nil, func(p vl1.Packet) vl1.Packet { return p }},
		{"another verb", vl1.ErrVerb, func(p vl1.Packet) vl1.Packet { p[27] = byte(vl1.VerbOK); return p }},
		{"compressed", vl1.ErrVerb, func(p vl1.Packet) vl1.Packet { p[27] |= 0x80; return p }},
		{"short", vl1.ErrShort, func(p vl1.Packet) vl1.Packet { return p[:111] }},
		{"protocol 3", vl1.ErrProtocol, func(p vl1.Packet) vl1.Packet { p[28] = 3; return p }},
		{"another source", vl1.ErrSource, func(p vl1.Packet) vl1.Packet { b.Address.Put(p[13:]); return p }},
		{"identity type 1", vl1.ErrIdentity, func(p vl1.Packet) vl1.Packet { p[46] = 1; return p }},
		{"with a secret", vl1.ErrIdentity, func(p vl1.Packet) vl1.Packet { p[111] = 64; return p }},
	} {
		var h vl1.Hello
		if err := vl1.DecodeHello(make(c.f), &k, &h); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if _, _, err := vl1.PeekHello(make(c.f)); !errors.Is(err, c.want) {
			t.Errorf("%s: peek: %v, want %v", c.name, err, c.want)
		}
	}
	var h vl1.Hello
	bad := make(func(p vl1.Packet) vl1.Packet { p[112] = 9; return p })
	if err := vl1.DecodeHello(bad, &k, &h); !errors.Is(err, vl1.ErrEndpoint) {
		t.Errorf("endpoint of an unknown type: %v", err)
	}
}

// TestMessages encodes and decodes each message, and decodes every beginning of it.
func TestMessages(t *testing.T) {
	a := identities()[0].Identity
	okHello := vl1.OKHello{Clock: 1, Protocol: 11, Major: 2, Minor: 3, Revision: 4, SeenAt: endpoint6, Worlds: []byte("world")}
	paths := []vl1.DirectPath{{Endpoint: endpoint4, Flags: vl1.PathRedirect}, {Endpoint: endpoint6}}
	gather := vl1.Gather{Group: someGroup, Limit: 32, Certificate: []byte("cert")}
	frame := vl1.Frame{Network: 5, EtherType: 0x800, Payload: []byte("frame")}
	config := vl1.NetworkConfigRequest{Network: 9, Rest: []byte("rest")}
	refusal := vl1.ErrorMessage{InRe: vl1.VerbNetworkConfigRequest, InReID: 3, Code: vl1.ErrorUnsupported, Payload: []byte("12345678")}

	ok := func(inRe vl1.Verb, decode func(body []byte) (any, error)) func(vl1.Packet) (any, error) {
		return func(p vl1.Packet) (any, error) {
			verb, id, body, err := vl1.DecodeOK(p)
			if err != nil {
				return nil, err
			}
			if verb != inRe || id != 99 {
				t.Errorf("OK(%s): answers %s %d", inRe, verb, id)
			}
			return decode(body)
		}
	}
	for _, c := range []struct {
		name   string
		p      vl1.Packet
		decode func(vl1.Packet) (any, error)
		want   any
		min    int // length from which on the message decodes without error
	}{
		{
			"OK(HELLO)", vl1.AppendOKHello(packet(vl1.VerbOK), 99, &okHello),
			ok(vl1.VerbHello, func(b []byte) (any, error) { var m vl1.OKHello; err := vl1.DecodeOKHello(b, &m); return m, err }),
			okHello, -1,
		}, {
			"OK(WHOIS)", vl1.AppendOKWhois(packet(vl1.VerbOK), 99, &a),
			ok(vl1.VerbWhois, func(b []byte) (any, error) { return vl1.DecodeOKWhois(b) }), a, 108,
		}, {
			"OK(ECHO)", vl1.AppendOKEcho(packet(vl1.VerbOK), 99, []byte("echo")),
			ok(vl1.VerbEcho, func(b []byte) (any, error) { return string(b), nil }), "echo", 37,
		}, {
			"OK(GATHER)", vl1.AppendOKGather(packet(vl1.VerbOK), 99, someGroup, 7, []vl1.Address{1, 0xfe00000002}),
			ok(vl1.VerbMulticastGather, func(b []byte) (any, error) { return vl1.DecodeOKGather(b) }),
			vl1.OKGather{Group: someGroup, Total: 7, Members: vl1.AddressList{0, 0, 0, 0, 1, 0xfe, 0, 0, 0, 2}},
			71,
		}, {
			"ERROR", vl1.AppendError(packet(vl1.VerbError), &refusal),
			func(p vl1.Packet) (any, error) { return vl1.DecodeError(p) }, refusal, 38,
		}, {
			"WHOIS", vl1.AppendWhois(packet(vl1.VerbWhois), 0x123456789a),
			func(p vl1.Packet) (any, error) {
				l, err := vl1.DecodeWhois(p)
				if err != nil {
					return nil, err
				}
				return l.At(l.Len() - 1), nil
			}, vl1.Address(0x123456789a), 33,
		}, {
			"RENDEZVOUS 4", vl1.AppendRendezvous(packet(vl1.VerbRendezvous), vl1.Rendezvous{Peer: 5, Endpoint: endpoint4}),
			func(p vl1.Packet) (any, error) { return vl1.DecodeRendezvous(p) },
			vl1.Rendezvous{Peer: 5, Endpoint: endpoint4},
			41,
		}, {
			"RENDEZVOUS 6", vl1.AppendRendezvous(packet(vl1.VerbRendezvous), vl1.Rendezvous{Peer: 5, Endpoint: endpoint6}),
			func(p vl1.Packet) (any, error) { return vl1.DecodeRendezvous(p) },
			vl1.Rendezvous{Peer: 5, Endpoint: endpoint6},
			53,
		}, {
			"PUSH", vl1.AppendPushDirectPaths(packet(vl1.VerbPushDirectPaths), paths...),
			func(p vl1.Packet) (any, error) { return vl1.DecodePushDirectPaths(p, nil) }, paths, 64,
		}, {
			"LIKE", vl1.AppendMulticastLike(packet(vl1.VerbMulticastLike), vl1.Group{}, someGroup),
			func(p vl1.Packet) (any, error) {
				l, err := vl1.DecodeMulticastLike(p)
				if err != nil || l.Len() == 0 {
					return nil, err
				}
				return l.At(l.Len() - 1), nil
			}, someGroup, 28,
		}, {
			"GATHER", vl1.AppendMulticastGather(packet(vl1.VerbMulticastGather), &gather),
			func(p vl1.Packet) (any, error) { return vl1.DecodeMulticastGather(p) }, gather, 51,
		}, {
			"FRAME", vl1.AppendFrame(packet(vl1.VerbFrame), &frame),
			func(p vl1.Packet) (any, error) { return vl1.DecodeFrame(p) }, frame, 38,
		}, {
			"NETWORK_CONFIG_REQUEST", vl1.AppendNetworkConfigRequest(packet(vl1.VerbNetworkConfigRequest), &config),
			func(p vl1.Packet) (any, error) { return vl1.DecodeNetworkConfigRequest(p) }, config, 36,
		},
	} {
		got, err := c.decode(c.p)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", c.name, diff)
		}
		for n := vl1.HeaderLen; n < len(c.p) && c.min >= 0; n++ {
			if _, err := c.decode(c.p[:n]); (err == nil) != (n >= c.min) {
				t.Errorf("%s: %d of its bytes: %v", c.name, n, err)
			}
		}
		other := vl1.Packet(bytes.Clone(c.p))
		other[27] = 0x1f
		if _, err := c.decode(other); !errors.Is(err, vl1.ErrVerb) {
			t.Errorf("%s: with another verb: %v", c.name, err)
		}
	}
}

func TestOKHelloForms(t *testing.T) {
	p := vl1.AppendOKHello(packet(vl1.VerbOK), 1, &vl1.OKHello{SeenAt: endpoint4, Worlds: []byte("world")})
	for n, ok := range map[int]bool{49: false, 50: true, 51: false, 56: false, 57: true, 58: true, 59: false, 63: false, 64: true} {
		var m vl1.OKHello
		if err := vl1.DecodeOKHello(p[37:n], &m); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestPushedRecords(t *testing.T) {
	p := append(packet(vl1.VerbPushDirectPaths), unhex(t, "0004"+
		"02"+"0003aabbcc"+"04"+"06"+"cb0071092709"+ // an extension to skip
		"00"+"0000"+"05"+"02"+"ffff"+ // a type to skip
		"00"+"0000"+"04"+"05"+"cb00710927"+ // a wrong length
		"01"+"0000"+"06"+"12"+"20010db800000000000000000000000901bb")...)
	got, err := vl1.DecodePushDirectPaths(p, nil)
	want := []vl1.DirectPath{{Flags: vl1.PathRedirect, Endpoint: endpoint4}, {Flags: vl1.PathForget, Endpoint: endpoint6}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRendezvousRefused(t *testing.T) {
	for _, s := range []string{"00000000000500000" + "4cb007109", "000000000005270906cb0071092222"} {
		if m, err := vl1.DecodeRendezvous(append(packet(vl1.VerbRendezvous), unhex(t, s)...)); !errors.Is(err, vl1.ErrEndpoint) {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for v := range vl1.Verb(vl1.NumVerbs) {
		if s := v.String(); s == "" || seen[s] {
			t.Errorf("verb %d has the name %q", v, s)
		} else {
			seen[s] = true
		}
	}
	for got, want := range map[string]string{
		vl1.VerbHello.String():                "HELLO",
		vl1.Verb(0x1f).String():               "VERB_0x1f",
		vl1.SuiteAES.String():                 "aes-gmac-siv",
		vl1.Suite(6).String():                 "suite-6",
		vl1.ErrorIdentityCollision.String():   "identity collision",
		vl1.ErrorCode(0x77).String():          "error 0x77",
		vl1.WorldPlanet.String():              "planet",
		vl1.WorldType(9).String():             "world type 9",
		vl1.ScopeGlobal.String():              "global",
		vl1.Scope(99).String():                "unknown",
		vl1.Address(0xab).String():            "00000000ab",
		identities()[0].Address.String()[:10]: identities()[0].String()[:10],
	} {
		if got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}
