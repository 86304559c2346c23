package vl1_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

// decodeAny runs the decoder of the packet's verb, and every decoder of an OK's body.
func decodeAny(p vl1.Packet, k *vl1.Key) {
	var h vl1.Hello
	_ = vl1.DecodeHello(p, k, &h)
	if l, err := vl1.DecodeWhois(p); err == nil {
		_ = l.At(l.Len() - 1)
	}
	_, _ = vl1.DecodeRendezvous(p)
	_, _ = vl1.DecodePushDirectPaths(p, nil)
	if l, err := vl1.DecodeMulticastLike(p); err == nil && l.Len() > 0 {
		_ = l.At(l.Len() - 1)
	}
	_, _ = vl1.DecodeMulticastGather(p)
	_, _ = vl1.DecodeNetworkConfigRequest(p)
	_, _ = vl1.DecodeFrame(p)
	_, _ = vl1.DecodeError(p)
	if _, _, body, err := vl1.DecodeOK(p); err == nil {
		var m vl1.OKHello
		if vl1.DecodeOKHello(body, &m) == nil {
			_, _, _ = vl1.DecodeWorld(m.Worlds)
		}
		_, _ = vl1.DecodeOKWhois(body)
		if g, err := vl1.DecodeOKGather(body); err == nil && g.Members.Len() > 0 {
			_ = g.Members.At(g.Members.Len() - 1)
		}
	}
}

// FuzzPacket treats the bytes as a packet from the network, and then as what a peer that knows the
// key could have sent.
func FuzzPacket(f *testing.F) {
	a, b, k := pair(f)
	for _, v := range vectors[packetVector](f, "d-packets") {
		f.Add([]byte(v.Armored))
		f.Add([]byte(build(v.ID, b.Address, a.Address, v.PlainOnWire)))
	}
	for _, v := range vectors[extendedVector](f, "e-hello-extended-armor")[:4] {
		f.Add([]byte(v.Armored))
		f.Add([]byte(v.Dearmored))
	}
	scratch, buf := make([]byte, 2*vl1.MaxPacket), make([]byte, vl1.MaxPacket)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := vl1.ParsePacket(bytes.Clone(data))
		if err != nil {
			return
		}
		if p.Extended() {
			_, _ = vl1.DearmorExtended(bytes.Clone(p), b)
		}
		if vl1.Dearmor(bytes.Clone(p), &k) == nil {
			t.Skip("made with the key")
		}
		plain, err := vl1.Decompress(p, buf)
		if err != nil {
			return
		}
		if len(plain) > vl1.MaxPacket && p.Compressed() {
			t.Fatalf("decompressed to %d bytes", len(plain))
		}
		decodeAny(plain, &k)
		if len(plain) > vl1.MaxPacket {
			return
		}
		suite := []vl1.Suite{vl1.SuitePoly1305, vl1.SuiteSalsa, vl1.SuiteAES}[len(data)%3]
		q := vl1.Compress(vl1.Packet(bytes.Clone(plain)), scratch)
		vl1.Armor(q, &k, suite)
		if err := vl1.Dearmor(q, &k); err != nil {
			t.Fatal(err)
		}
		q, err = vl1.Decompress(q, make([]byte, vl1.MaxPacket))
		if err != nil || !bytes.Equal(q[27:], plain[27:]) {
			t.Fatalf("payload changed on the way: %v", err)
		}
	})
}

// FuzzAssembler feeds an assembler the datagrams in data, each after its length in two bytes.
func FuzzAssembler(f *testing.F) {
	add := func(datagrams ...[]byte) {
		var b []byte
		for _, d := range datagrams {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(d))), d...)
		}
		f.Add(b)
	}
	add(head(1), fragment(1, 2, 1))
	add(fragment(1, 3, 2), head(1), fragment(1, 3, 1), fragment(1, 15, 0))
	add(fragment(1, 2, 1), fragment(2, 2, 1), fragment(3, 2, 1), head(3))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := vl1.NewAssembler(3, 2)
		for now := int64(0); len(data) >= 2; now += 100 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			d := data[2 : 2+n]
			data = data[2+n:]
			source := netip.AddrFrom4([4]byte{byte(n)})
			var whole vl1.Packet
			if vl1.IsFragment(d) {
				whole = a.Fragment(d, source, now)
			} else if p, err := vl1.ParsePacket(d); err == nil {
				whole = a.Head(p, source, now)
			}
			if whole != nil && (len(whole) < vl1.HeaderLen || len(whole) > vl1.MaxPacket) {
				t.Fatalf("assembled %d bytes", len(whole))
			}
		}
	})
}

func FuzzIdentityText(f *testing.F) {
	for _, v := range vectors[identityVector](f, "a-identities") {
		f.Add(v.Identity)
	}
	f.Add(identities()[0].SecretString())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := vl1.ParseIdentity(s); err == nil && id.String() != s {
			t.Errorf("%q became %s", s, id)
		}
		if id, err := vl1.ParseSecretIdentity(s); err == nil && len(id.SecretString()) != len(s) {
			t.Errorf("secret identity of %d characters became one of %d", len(s), len(id.SecretString()))
		}
		if k, err := vl1.ParseSigningKey(s); err == nil && len(k.SecretString()) != len(s) {
			t.Error("signing key changed its length")
		}
	})
}

func FuzzIdentityBinary(f *testing.F) {
	f.Add(identities()[0].AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, n, err := vl1.DecodeIdentity(b); err == nil && !bytes.Equal(id.AppendBinary(nil), b[:n]) {
			t.Errorf("%x became %s", b[:n], id)
		}
	})
}

func FuzzWorld(f *testing.F) {
	for _, v := range vectors[worldVector](f, "f-worlds") {
		f.Add([]byte(v.Binary))
	}
	if b, err := os.ReadFile("testdata/pcap/one-relay/planet"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w, n, err := vl1.DecodeWorld(b)
		if err != nil {
			return
		}
		if len(w.Roots) > vl1.MaxRoots || n > vl1.MaxWorldLen {
			t.Fatalf("%d roots, %d bytes", len(w.Roots), n)
		}
		if !bytes.Equal(w.AppendBinary(nil), b[:n]) {
			t.Errorf("%x changed", b[:n])
		}
		_ = w.Check()
	})
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"00", "04010203040016", "0600000000000000000000000000000001270f", "030001ff", "01112233445566"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ap, n, err := vl1.DecodeEndpoint(b)
		if err != nil {
			return
		}
		if n < 1 || n > len(b) {
			t.Fatalf("read %d of %d bytes", n, len(b))
		}
		if ap.IsValid() && !bytes.Equal(vl1.AppendEndpoint(nil, ap), b[:n]) {
			t.Errorf("%x became %s", b[:n], ap)
		}
		_ = vl1.ScopeOf(ap.Addr())
	})
}
