package vl1_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

type packetVector struct {
	From        string       `json:"from"`
	To          string       `json:"to"`
	Key         hexBytes     `json:"key"`
	Suite       vl1.Suite    `json:"cipher"`
	Verb        vl1.Verb     `json:"verb"`
	Hello       *helloVector `json:"hello"`
	Plain       hexBytes     `json:"plain"`
	Compressed  bool         `json:"compressed"`
	PlainOnWire hexBytes     `json:"plain_on_wire"`
	ID          hexBytes     `json:"iv_before"`
	Hops        uint8        `json:"hops"`
	Armored     hexBytes     `json:"armored"`
}

type helloVector struct {
	Proto    uint8  `json:"proto"`
	Major    uint8  `json:"major"`
	Minor    uint8  `json:"minor"`
	Revision uint16 `json:"revision"`
	Clock    string `json:"timestamp"`
	SentTo   string `json:"sent_to"`
	PlanetID string `json:"planet_id"`
	PlanetTS string `json:"planet_ts"`
	Moons    []struct {
		ID        string `json:"id"`
		Timestamp string `json:"ts"`
	} `json:"moons"`
}

func decimal(tb testing.TB, s string) uint64 {
	tb.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestSalsaVectors(t *testing.T) {
	type vector struct {
		Key    hexBytes `json:"key"`
		IV     hexBytes `json:"iv"`
		Stream hexBytes `json:"keystream12"`
		Len    int      `json:"len"`
		Note   string   `json:"note"`
	}
	tested := 0
	for _, v := range vectors[vector](t, "c-salsa20") {
		if v.Note != "" {
			continue // two calls on one instance: ours has no such state
		}
		b := make([]byte, v.Len)
		vl1.Salsa12XOR(b, (*[32]byte)(v.Key), binary.LittleEndian.Uint64(v.IV))
		if !bytes.Equal(b, v.Stream) {
			t.Errorf("%d bytes: %x, want %x", v.Len, b, []byte(v.Stream))
		}
		tested++
	}
	if tested < 15 {
		t.Errorf("only %d vectors tested", tested)
	}
}

func TestSIVVectors(t *testing.T) {
	type vector struct {
		K0     hexBytes `json:"k0"`
		K1     hexBytes `json:"k1"`
		IV     hexBytes `json:"iv"`
		AAD    hexBytes `json:"aad"`
		Plain  hexBytes `json:"plain"`
		Cipher hexBytes `json:"cipher"`
		Tag    hexBytes `json:"tag"`
	}
	for _, v := range vectors[vector](t, "i-aes-gmac-siv") {
		if len(v.AAD) == 0 {
			continue // packets always have a header
		}
		var head [16]byte
		copy(head[:], v.AAD)
		p := build(v.IV, 1, 2, v.Plain)
		k0, k1 := (*[32]byte)(v.K0), (*[32]byte)(v.K1)
		vl1.SealSIV(p, k0, k1, &head)
		if tag := append(bytes.Clone(p[:8]), p[19:27]...); !bytes.Equal(tag, v.Tag) || !bytes.Equal(p[27:], v.Cipher) {
			t.Errorf("%d bytes: tag %x, want %x; cipher text %x", len(v.Plain), tag, []byte(v.Tag), p[27:])
		}
		if err := vl1.OpenSIV(p, k0, k1, &head); err != nil || !bytes.Equal(p[27:], v.Plain) {
			t.Errorf("%d bytes: open: %v", len(v.Plain), err)
		}
	}
}

func TestPacketVectors(t *testing.T) {
	for i, v := range vectors[packetVector](t, "d-packets") {
		from, to, k := secret(t, v.From), secret(t, v.To), (*vl1.Key)(v.Key)
		if agree(t, to, &from.Key) != *k {
			t.Errorf("%d: agreed on another key", i)
		}

		p := build(v.ID, to.Address, from.Address, v.PlainOnWire)
		p.SetHops(v.Hops)
		vl1.Armor(p, k, v.Suite)
		if !bytes.Equal(p, v.Armored) {
			t.Errorf("%d: suite %d, %s: armored\n%x, want\n%x", i, v.Suite, v.Verb, []byte(p), []byte(v.Armored))
			continue
		}
		checkPacket(t, i, v, p, k)
	}
}

// checkPacket takes the armored packet of a vector apart.
func checkPacket(t *testing.T, i int, v packetVector, p vl1.Packet, k *vl1.Key) {
	t.Helper()
	if p.Hops() != v.Hops || p.Suite() != v.Suite || p.Extended() || p.Fragmented() {
		t.Errorf("%d: header: hops %d, suite %s", i, p.Hops(), p.Suite())
	}
	if err := vl1.Dearmor(p, k); err != nil {
		t.Errorf("%d: %v", i, err)
		return
	}
	if !bytes.Equal(p[27:], v.PlainOnWire) || p.Compressed() != v.Compressed {
		t.Errorf("%d: decrypted %x, want %x", i, []byte(p[27:]), []byte(v.PlainOnWire))
	}
	p, err := vl1.Decompress(p, make([]byte, vl1.MaxPacket))
	if err != nil || !bytes.Equal(p[27:], v.Plain) || p.Verb() != v.Verb {
		t.Errorf("%d: decompressed: %v", i, err)
		return
	}
	if v.Hello != nil {
		checkHello(t, i, v.Hello, p, k, secret(t, v.From).Identity)
	}
}

func checkHello(t *testing.T, i int, v *helloVector, p vl1.Packet, k *vl1.Key, from vl1.Identity) {
	t.Helper()
	want := vl1.Hello{
		Protocol: v.Proto, Major: v.Major, Minor: v.Minor, Revision: v.Revision,
		Clock: decimal(t, v.Clock), Identity: from, SentTo: slashEndpoint(t, v.SentTo),
		HasPlanet: true, PlanetID: decimal(t, v.PlanetID), PlanetTimestamp: decimal(t, v.PlanetTS),
		MoonCount: len(v.Moons),
	}
	var got vl1.Hello
	if err := vl1.DecodeHello(p, k, &got); err != nil {
		t.Errorf("%d: %v", i, err)
		return
	}
	for j, m := range v.Moons {
		want.Moons[j] = vl1.WorldStamp{Type: vl1.WorldMoon, ID: decimal(t, m.ID), Timestamp: decimal(t, m.Timestamp)}
	}
	if got != want {
		t.Errorf("%d: HELLO\n%+v, want\n%+v", i, got, want)
	}
	again := vl1.AppendHello(vl1.NewPacket(nil, p.ID(), p.Dest(), p.Source(), vl1.VerbHello), &want, k)
	if !bytes.Equal(again[27:], p[27:]) {
		t.Errorf("%d: encoded HELLO %x, want %x", i, []byte(again[27:]), []byte(p[27:]))
	}
}

func TestTamperedVectors(t *testing.T) {
	type vector struct {
		Key hexBytes `json:"key"`
		Raw hexBytes `json:"raw"`
		Why string   `json:"why"`
	}
	for i, v := range vectors[vector](t, "d2-packets-tampered") {
		p, err := vl1.ParsePacket(v.Raw)
		if err == nil {
			err = vl1.Dearmor(p, (*vl1.Key)(v.Key))
		}
		if err == nil {
			t.Errorf("%d: accepted with %s", i, v.Why)
		}
	}
}

// TestEveryBitCounts flips each bit of a packet: all but the hops are authenticated.
func TestEveryBitCounts(t *testing.T) {
	a, b, k := pair(t)
	for _, suite := range []vl1.Suite{vl1.SuitePoly1305, vl1.SuiteSalsa, vl1.SuiteAES} {
		good := vl1.NewPacket(nil, 0x0123456789abcdef, b.Address, a.Address, vl1.VerbEcho)
		good = append(good, "some payload"...)
		vl1.Armor(good, &k, suite)
		for bit := range 8 * len(good) {
			p := bytes.Clone(good)
			p[bit/8] ^= 1 << (bit % 8)
			hops := bit/8 == 18 && bit%8 < 3
			err := vl1.Dearmor(p, &k)
			switch {
			case hops != (err == nil):
				t.Errorf("%s: bit %d of byte %d: %v", suite, bit%8, bit/8, err)
			case err != nil && !errors.Is(err, vl1.ErrMAC) && !errors.Is(err, vl1.ErrSuite):
				t.Errorf("%s: error %v", suite, err)
			}
		}
		for n := vl1.HeaderLen; n < len(good); n++ {
			if vl1.Dearmor(bytes.Clone(good[:n]), &k) == nil {
				t.Errorf("%s: accepted after %d bytes", suite, n)
			}
		}
	}
}

func TestHopsAreFree(t *testing.T) {
	a, b, k := pair(t)
	for _, suite := range []vl1.Suite{vl1.SuitePoly1305, vl1.SuiteSalsa, vl1.SuiteAES} {
		for armorHops := range uint8(8) {
			for hops := range uint8(8) {
				p := vl1.NewPacket(nil, 7, b.Address, a.Address, vl1.VerbNop)
				p.SetHops(armorHops)
				vl1.Armor(p, &k, suite)
				p.SetHops(hops)
				if err := vl1.Dearmor(p, &k); err != nil || p.Hops() != hops || p.Verb() != vl1.VerbNop {
					t.Errorf("%s, hops %d then %d: %v", suite, armorHops, hops, err)
				}
			}
		}
	}
}

func TestDearmorRefusesSuites(t *testing.T) {
	a, b, k := pair(t)
	for _, suite := range []byte{2, 4, 5, 6, 7} {
		p := vl1.NewPacket(nil, 7, b.Address, a.Address, vl1.VerbNop)
		p[18] |= suite << 3
		if err := vl1.Dearmor(p, &k); !errors.Is(err, vl1.ErrSuite) {
			t.Errorf("suite %d: %v", suite, err)
		}
	}
	if err := vl1.NewAESKeys(&k).Dearmor(vl1.NewPacket(nil, 7, 1, 2, 0)); !errors.Is(err, vl1.ErrSuite) {
		t.Errorf("AES keys took suite 0: %v", err)
	}
}

func TestAESKeysKept(t *testing.T) {
	a, b, k := pair(t)
	keys := vl1.NewAESKeys(&k)
	p := append(vl1.NewPacket(nil, 99, b.Address, a.Address, vl1.VerbEcho), "payload"...)
	q := bytes.Clone(p)
	keys.Armor(p)
	vl1.Armor(q, &k, vl1.SuiteAES)
	if !bytes.Equal(p, q) {
		t.Error("kept and fresh keys armor differently")
	}
	if err := keys.Dearmor(p); err != nil || string(p.Payload()) != "payload" {
		t.Errorf("%v, payload %q", err, p.Payload())
	}
}

func TestCompress(t *testing.T) {
	a, b, k := pair(t)
	scratch, buf := make([]byte, vl1.MaxPacket), make([]byte, vl1.MaxPacket)
	for _, size := range []int{0, 10, 64, 65, 300, 5000, vl1.MaxPacket - vl1.HeaderLen} {
		p := vl1.NewPacket(nil, 5, b.Address, a.Address, vl1.VerbMulticastLike)
		for i := range size {
			p = append(p, byte(i/40))
		}
		plain := vl1.Packet(bytes.Clone(p))
		p = vl1.Compress(p, scratch)
		if want := len(plain) > 92; p.Compressed() != want || want && len(p) >= len(plain) {
			t.Errorf("%d bytes: compressed to %d", size, len(p))
		}
		vl1.Armor(p, &k, vl1.SuiteSalsa)
		if err := vl1.Dearmor(p, &k); err != nil {
			t.Fatal(err)
		}
		got, err := vl1.Decompress(p, buf)
		if err != nil || !bytes.Equal(got.Payload(), plain.Payload()) || got.Verb() != plain.Verb() {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestDecompressRefuses(t *testing.T) {
	a, b, _ := pair(t)
	packet := func(payload []byte) vl1.Packet {
		p := append(vl1.NewPacket(nil, 5, b.Address, a.Address, vl1.VerbEcho), payload...)
		p[27] |= 0x80
		return p
	}
	tooLong := append(vl1.NewPacket(nil, 5, 1, 2, vl1.VerbEcho), make([]byte, vl1.MaxPacket-vl1.HeaderLen+1)...)
	tooLong = vl1.Compress(tooLong, make([]byte, vl1.MaxPacket))
	if !tooLong.Compressed() {
		t.Fatal("did not compress")
	}
	for name, p := range map[string]vl1.Packet{
		"no payload":     packet(nil),
		"empty result":   packet([]byte{0}),
		"garbage":        packet([]byte{0xff, 0xff, 0xff, 1, 2, 3}),
		"too far back":   packet([]byte{0x14, 'a', 9, 9, 0x50, 1, 2, 3, 4, 5}),
		"result too big": tooLong,
	} {
		if q, err := vl1.Decompress(p, make([]byte, 2*vl1.MaxPacket)); !errors.Is(err, vl1.ErrCompressed) {
			t.Errorf("%s: %d bytes, %v", name, len(q), err)
		}
	}
}
