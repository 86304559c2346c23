package vl1_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

var benchSuites = []vl1.Suite{vl1.SuitePoly1305, vl1.SuiteSalsa, vl1.SuiteAES}

// TestNoAllocations holds the hot path to what the package promises.
func TestNoAllocations(t *testing.T) {
	a, b, k := pair(t)
	buf, scratch := make([]byte, 0, vl1.MaxPacket), make([]byte, vl1.MaxPacket)
	hello := vl1.Hello{Protocol: 12, Identity: a.Identity, SentTo: endpoint6, HasPlanet: true, MoonCount: 1}
	helloPacket := vl1.AppendHello(vl1.NewPacket(nil, 1, b.Address, a.Address, vl1.VerbHello), &hello, &k)
	members := []vl1.Address{1, 2, 3}
	compressible := append(vl1.NewPacket(nil, 1, b.Address, a.Address, vl1.VerbMulticastLike), make([]byte, 500)...)
	compressed := vl1.Compress(bytes.Clone(compressible), scratch)
	fresh := func(v vl1.Verb) vl1.Packet { return vl1.NewPacket(buf, 1, b.Address, a.Address, v) }
	var got vl1.Hello
	assembler, lastID := vl1.NewAssembler(4, 4), uint64(0)
	headPacket, piece := head(1), fragment(1, 2, 1)

	for name, f := range map[string]func(){
		"armor, suite 0":   func() { p := fresh(vl1.VerbHello)[:200]; vl1.Armor(p, &k, vl1.SuitePoly1305) },
		"armor, suite 1":   func() { p := fresh(vl1.VerbEcho)[:200]; vl1.Armor(p, &k, vl1.SuiteSalsa) },
		"dearmor, suite 0": func() { p := fresh(vl1.VerbHello)[:200]; vl1.Armor(p, &k, 0); must(vl1.Dearmor(p, &k)) },
		"dearmor, suite 1": func() { p := fresh(vl1.VerbEcho)[:200]; vl1.Armor(p, &k, 1); must(vl1.Dearmor(p, &k)) },
		"bad MAC":          func() { p := fresh(vl1.VerbEcho)[:200]; p[18] = 0x88; _ = vl1.Dearmor(p, &k) },
		"peek HELLO":       func() { _, _, err := vl1.PeekHello(helloPacket); must(err) },
		"decode HELLO":     func() { must(vl1.DecodeHello(helloPacket, &k, &got)) },
		"bad HELLO":        func() { _ = vl1.DecodeHello(helloPacket[:100], &k, &got) },
		"HELLO":            func() { vl1.AppendHello(fresh(vl1.VerbHello), &hello, &k) },
		"OK(HELLO)": func() {
			vl1.AppendOKHello(fresh(vl1.VerbOK), 1, &vl1.OKHello{SeenAt: endpoint4, Worlds: scratch[:100]})
		},
		"OK(WHOIS)":  func() { vl1.AppendOKWhois(fresh(vl1.VerbOK), 1, &a.Identity) },
		"OK(ECHO)":   func() { vl1.AppendOKEcho(fresh(vl1.VerbOK), 1, scratch[:8]) },
		"OK(GATHER)": func() { vl1.AppendOKGather(fresh(vl1.VerbOK), 1, someGroup, 5, members) },
		"ERROR":      func() { vl1.AppendError(fresh(vl1.VerbError), &vl1.ErrorMessage{Payload: scratch[:8]}) },
		"RENDEZVOUS": func() { vl1.AppendRendezvous(fresh(vl1.VerbRendezvous), vl1.Rendezvous{Endpoint: endpoint6}) },
		"PUSH":       func() { vl1.AppendPushDirectPaths(fresh(vl1.VerbPushDirectPaths), vl1.DirectPath{Endpoint: endpoint4}) },
		"LIKE": func() {
			l, err := vl1.DecodeMulticastLike(compressible)
			must(err)
			for i := range l.Len() {
				_ = l.At(i)
			}
		},
		"decompress": func() { _, err := vl1.Decompress(compressed, scratch); must(err) },
		"assemble": func() {
			lastID++
			headPacket[7], piece[7] = byte(lastID), byte(lastID)
			assembler.Head(headPacket, someSource, 0)
			if assembler.Fragment(piece, someSource, 0) == nil {
				panic("not assembled")
			}
		},
	} {
		f() // what is kept from then on may be allocated once
		for range 4 {
			f()
		}
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func BenchmarkDigest(b *testing.B) {
	h := vl1.NewHasher()
	k := identities()[0].Key
	for b.Loop() {
		h.Digest(&k)
	}
}

func BenchmarkAgree(b *testing.B) {
	id, peer, _ := pair(b)
	for b.Loop() {
		agree(b, id, &peer.Key)
	}
}

func BenchmarkArmor(b *testing.B) {
	x, y, k := pair(b)
	for _, suite := range benchSuites {
		b.Run(fmt.Sprintf("%s/200B", suite), func(b *testing.B) {
			p := vl1.NewPacket(make([]byte, 200), 1, y.Address, x.Address, vl1.VerbEcho)[:200]
			b.ReportAllocs()
			for b.Loop() {
				vl1.Armor(p, &k, suite)
			}
		})
	}
}

func BenchmarkDearmor(b *testing.B) {
	x, y, k := pair(b)
	for _, suite := range benchSuites {
		b.Run(fmt.Sprintf("%s/200B", suite), func(b *testing.B) {
			good := vl1.NewPacket(make([]byte, 200), 1, y.Address, x.Address, vl1.VerbEcho)[:200]
			vl1.Armor(good, &k, suite)
			p := bytes.Clone(good)
			b.ReportAllocs()
			for b.Loop() {
				copy(p, good)
				if err := vl1.Dearmor(p, &k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDearmorKeptAESKeys(b *testing.B) {
	x, y, k := pair(b)
	keys := vl1.NewAESKeys(&k)
	good := vl1.NewPacket(make([]byte, 200), 1, y.Address, x.Address, vl1.VerbEcho)[:200]
	keys.Armor(good)
	p := bytes.Clone(good)
	b.ReportAllocs()
	for b.Loop() {
		copy(p, good)
		if err := keys.Dearmor(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeHello(b *testing.B) {
	x, y, k := pair(b)
	h := vl1.Hello{Protocol: 12, Identity: x.Identity, SentTo: endpoint4, HasPlanet: true}
	p := vl1.AppendHello(vl1.NewPacket(nil, 1, y.Address, x.Address, vl1.VerbHello), &h, &k)
	b.ReportAllocs()
	for b.Loop() {
		if err := vl1.DecodeHello(p, &k, &h); err != nil {
			b.Fatal(err)
		}
	}
}
