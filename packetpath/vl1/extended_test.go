package vl1_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

type extendedVector struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	Key       hexBytes `json:"key"`
	Armored   hexBytes `json:"armored"`
	Dearmored hexBytes `json:"dearmored"`
	Plain     hexBytes `json:"plain"`
	Proto     uint8    `json:"proto"`
}

func TestExtendedVectors(t *testing.T) {
	for i, v := range vectors[extendedVector](t, "e-hello-extended-armor") {
		from, to := secret(t, v.From), secret(t, v.To)
		p := vl1.Packet(bytes.Clone(v.Armored))
		if !p.Extended() {
			t.Errorf("%d: not recognised", i)
		}
		p, err := vl1.DearmorExtended(p, to)
		if err != nil || !bytes.Equal(p, v.Dearmored) {
			t.Errorf("%d: %v, %x", i, err, []byte(p))
			continue
		}
		protocol, id, err := vl1.PeekHello(p)
		if err != nil || protocol != v.Proto || id != from.Identity {
			t.Errorf("%d: peek: %d, %s, %v", i, protocol, id, err)
		}
		k := agree(t, to, &id.Key)
		if err := vl1.Dearmor(p, &k); err != nil || !bytes.Equal(p[27:], v.Plain) {
			t.Errorf("%d: %v", i, err)
		}
		var h vl1.Hello
		if err := vl1.DecodeHello(p, &k, &h); err != nil || h.PlanetID != 149604618 {
			t.Errorf("%d: %+v, %v", i, h, err)
		}
		wrong, err := vl1.DearmorExtended(bytes.Clone(v.Armored), from)
		if err == nil && vl1.Dearmor(wrong, &k) == nil {
			t.Errorf("%d: opened with another root's key", i)
		}
	}
}

func TestExtendedRefuses(t *testing.T) {
	_, root, _ := pair(t)
	p := vl1.NewPacket(nil, 1, 2, 3, vl1.VerbHello)
	if _, err := vl1.DearmorExtended(p, root); !errors.Is(err, vl1.ErrSuite) {
		t.Errorf("without the flag: %v", err)
	}
	p[18] |= 0x80
	if _, err := vl1.DearmorExtended(append(p, make([]byte, 31)...), root); !errors.Is(err, vl1.ErrShort) {
		t.Errorf("31 bytes of key: %v", err)
	}
	if _, err := vl1.DearmorExtended(append(p, make([]byte, 32)...), root); !errors.Is(err, vl1.ErrMAC) {
		t.Errorf("zero key: %v", err)
	}
}

func TestExtendedBothWays(t *testing.T) {
	client, root, k := pair(t)
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := vl1.Hello{Protocol: 13, Identity: client.Identity, SentTo: endpoint4, HasPlanet: true, MoonCount: 1}
	h.Moons[0] = vl1.WorldStamp{Type: vl1.WorldMoon, ID: 1, Timestamp: 2}
	p := vl1.AppendHello(vl1.NewPacket(nil, 5, root.Address, client.Address, vl1.VerbHello), &h, &k)
	plain := len(p)
	p, err = vl1.ArmorExtended(p, &k, &root.Key, ephemeral)
	if err != nil || len(p) != plain+32 || !p.Extended() {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	if bytes.Contains(p, client.Key[:32]) {
		t.Error("the identity can be read")
	}
	p.SetHops(3)
	p, err = vl1.DearmorExtended(p, root)
	if err != nil {
		t.Fatal(err)
	}
	if err := vl1.Dearmor(p, &k); err != nil {
		t.Fatal(err)
	}
	var got vl1.Hello
	if err := vl1.DecodeHello(p, &k, &got); err != nil || got != h {
		t.Errorf("%v, %+v", err, got)
	}
	if _, err := vl1.ArmorExtended(p, &k, &vl1.PublicKey{}, ephemeral); err == nil {
		t.Error("armored for the zero key")
	}
}
