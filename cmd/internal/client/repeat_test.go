package client_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// pair is a client that knows the root and another client, which is the test.
func newPair(t *testing.T, repeats bool) (b *bench, other *vl1.SecretIdentity, key vl1.Key) {
	t.Helper()
	b = newBench(t, "1.14")
	f := b.c.Family()
	id, err := client.Synthetic(rand.NewPCG(9, 9))
	if err != nil {
		t.Fatal(err)
	}
	other, err = client.Synthetic(rand.NewPCG(10, 10))
	if err != nil {
		t.Fatal(err)
	}
	planet := b.c.Planet()
	if b.c, err = client.New(client.Options{
		Family: f, Identity: id, Planet: planet, Seed: 1, Sockets: [2]int{2, 1}, Networks: []uint64{1}, Repeats: repeats,
	}); err != nil {
		t.Fatal(err)
	}
	if key, err = other.Agree(&id.Key); err != nil {
		t.Fatal(err)
	}
	if err := b.c.Meet(&b.e, b.root.Identity, b.eps[0]); err != nil {
		t.Fatal(err)
	}
	if err := b.c.Meet(&b.e, other.Identity, netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	return b, other, key
}

func TestRepeat(t *testing.T) {
	b, other, key := newPair(t, true)
	to := other.Identity.Address
	if b.c.Repeat(&b.e, to) || b.c.Repeat(&b.e, 1) {
		t.Error("Repeat sent something before there was a frame")
	}
	if err := b.c.SendFrame(&b.e, 1, to, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if !b.c.Repeat(&b.e, to) || len(b.sent) != 2 {
		t.Fatalf("%d datagrams, want the frame and its repetition", len(b.sent))
	}
	if !slices.Equal(b.sent[0].b, b.sent[1].b) || b.sent[0].to != b.sent[1].to {
		t.Errorf("repeated %x to %v, want %x to %v", b.sent[1].b, b.sent[1].to, b.sent[0].b, b.sent[0].to)
	}
	p := vl1.Packet(b.sent[1].b)
	if err := vl1.Dearmor(p, &key); err != nil || p.Verb() != vl1.VerbFrame {
		t.Errorf("the repeated frame is not authentic: %v", err)
	}
	if s := b.c.Stats(b.e.Now); s.FramesSent != 2 || s.SentPackets != 2 {
		t.Errorf("%d frames in %d packets, want 2 in 2", s.FramesSent, s.SentPackets)
	}
}

// TestRepeatedFrames gives a client that recognises repetitions and one that does not the same packets: they must see
// the same.
func TestRepeatedFrames(t *testing.T) {
	type delivery struct {
		data string
		hops uint8
	}
	var seen [2][]delivery
	var stats [2]client.Stats
	repeated := 0
	for k, repeats := range []bool{false, true} {
		b, other, key := newPair(t, repeats)
		b.e.Deliver = func(_ *client.Client, _ vl1.Address, hops uint8, data []byte) {
			seen[k] = append(seen[k], delivery{string(data), hops})
			if b.e.Repeated {
				repeated++
			}
		}
		frame := func(text string, id uint64, network uint64) vl1.Packet {
			p := vl1.NewPacket(nil, id, b.c.Address(), other.Identity.Address, vl1.VerbFrame)
			p = vl1.AppendFrame(p, &vl1.Frame{Network: network, EtherType: 0x88b5, Payload: []byte(text)})
			vl1.Armor(p, &key, vl1.SuiteSalsa)
			p.SetHops(1)
			return p
		}
		one, two, foreign := frame("one", 1, 1), frame("two", 2, 1), frame("foreign", 3, 2)
		farther := slices.Clone(one)
		farther.SetHops(2)
		forged := slices.Clone(two)
		forged[len(forged)-1] ^= 1
		wrongHeader := slices.Clone(two)
		wrongHeader[3] ^= 1
		shorter := slices.Clone(two[:len(two)-1])
		for _, p := range []vl1.Packet{one, one, farther, one, two, forged, wrongHeader, shorter, two, one, foreign, foreign} {
			b.e.Now += 10
			b.c.Receive(&b.e, 0, b.eps[0], slices.Clone(p))
		}
		stats[k] = b.c.Stats(b.e.Now)
	}
	if !slices.Equal(seen[0], seen[1]) || len(seen[0]) != 7 {
		t.Errorf("delivered\n%v, with repetitions\n%v; want seven frames both times", seen[0], seen[1])
	}
	if stats[0] != stats[1] || stats[1].BadMAC != 3 {
		t.Errorf("counted\n%+v, with repetitions\n%+v; want the same, and three bad MACs", stats[0], stats[1])
	}
	if repeated != 4 {
		t.Errorf("%d frames taken for repetitions, want 4", repeated)
	}
}
