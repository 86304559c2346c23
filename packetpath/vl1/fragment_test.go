package vl1_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
	"pgregory.net/rapid"
)

var someSource = netip.MustParseAddr("198.51.100.1")

// feed gives a datagram to an assembler.
func feed(a *vl1.Assembler, b []byte, now int64) vl1.Packet {
	if vl1.IsFragment(b) {
		return a.Fragment(b, someSource, now)
	}
	return a.Head(b, someSource, now)
}

func TestFragmentVectors(t *testing.T) {
	type vector struct {
		From      string     `json:"from"`
		To        string     `json:"to"`
		Key       hexBytes   `json:"key"`
		Suite     vl1.Suite  `json:"cipher"`
		MTU       int        `json:"mtu"`
		Plain     hexBytes   `json:"plain"`
		Datagrams []hexBytes `json:"datagrams"`
	}
	for i, v := range vectors[vector](t, "h-fragments") {
		k := (*vl1.Key)(v.Key)
		if len(v.Datagrams) == 1 {
			p := vl1.Packet(v.Datagrams[0])
			if err := vl1.Dearmor(p, k); err != nil || !bytes.Equal(p[27:], v.Plain) {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		a := vl1.NewAssembler(0, 0)
		var whole vl1.Packet
		for j, d := range v.Datagrams {
			if vl1.IsFragment(d) != (j > 0) {
				t.Errorf("%d: piece %d is taken for the wrong kind", i, j)
			}
			last := j == len(v.Datagrams)-1 && j < vl1.MaxPieces
			if whole = feed(a, d, 0); (whole != nil) != last {
				t.Errorf("%d: piece %d completes: %v", i, j, whole != nil)
				break
			}
		}
		if len(v.Datagrams) > vl1.MaxPieces {
			if whole != nil {
				t.Errorf("%d: took a packet of %d pieces", i, len(v.Datagrams))
			}
			continue
		}
		checkSplit(t, i, bytes.Clone(whole), v.MTU, v.Datagrams)
		if err := vl1.Dearmor(whole, k); err != nil || !bytes.Equal(whole[27:], v.Plain) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func checkSplit(t *testing.T, i int, p vl1.Packet, mtu int, want []hexBytes) {
	t.Helper()
	var got [][]byte
	if err := vl1.Split(p, mtu, func(b []byte) { got = append(got, bytes.Clone(b)) }); err != nil {
		t.Errorf("%d: split: %v", i, err)
	}
	if len(got) != len(want) {
		t.Errorf("%d: split in %d, want %d", i, len(got), len(want))
		return
	}
	for j := range got {
		if !bytes.Equal(got[j], want[j]) {
			t.Errorf("%d: piece %d differs", i, j)
		}
	}
}

// TestSplitAndAssemble splits random packets and feeds the pieces in any order, some twice.
func TestSplitAndAssemble(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mtu := rapid.IntRange(600, vl1.MTU).Draw(t, "mtu")
		size := rapid.IntRange(vl1.HeaderLen, mtu+6*(mtu-vl1.FragmentHeaderLen)).Draw(t, "size")
		p := vl1.NewPacket(make([]byte, 0, size), rapid.Uint64().Draw(t, "id"), 1, 2, vl1.VerbEcho)
		for len(p) < size {
			p = append(p, byte(len(p)*7))
		}
		p.SetFragmented(size > mtu)
		p.SetHops(3)
		want := bytes.Clone(p)
		var pieces [][]byte
		if err := vl1.Split(p, mtu, func(b []byte) { pieces = append(pieces, bytes.Clone(b)) }); err != nil {
			t.Fatal(err)
		}
		if size <= mtu {
			if len(pieces) != 1 || !bytes.Equal(pieces[0], want) {
				t.Fatal("a packet that fits was changed")
			}
			return
		}
		a := vl1.NewAssembler(4, 4)
		order := rapid.Permutation(pieces).Draw(t, "order")
		for i, b := range order {
			if len(b) > mtu || vl1.IsFragment(b) && vl1.Fragment(b).Hops() != 3 {
				t.Fatalf("piece of %d bytes", len(b))
			}
			got := feed(a, b, int64(i))
			if last := i == len(order)-1; last != (got != nil) || last && !bytes.Equal(got, want) {
				t.Fatalf("piece %d of %d: assembled %v", i, len(order), got != nil)
			}
			if i < len(order)-1 && rapid.Bool().Draw(t, "twice") && feed(a, b, int64(i)) != nil {
				t.Fatal("a duplicate completed the packet")
			}
		}
	})
}

func TestSplitRefuses(t *testing.T) {
	emit := func([]byte) { t.Error("emitted") }
	big := make(vl1.Packet, vl1.MTU+6*(vl1.MTU-vl1.FragmentHeaderLen)+1)
	big.SetFragmented(true)
	if err := vl1.Split(big, vl1.MTU, emit); !errors.Is(err, vl1.ErrFragment) {
		t.Errorf("eight pieces: %v", err)
	}
	big.SetFragmented(false)
	if err := vl1.Split(big[:2000], vl1.MTU, emit); !errors.Is(err, vl1.ErrFragment) {
		t.Errorf("without the flag: %v", err)
	}
	if err := vl1.Split(big[:2000], 16, emit); !errors.Is(err, vl1.ErrFragment) {
		t.Errorf("tiny MTU: %v", err)
	}
}

// fragment makes a fragment with some data.
func fragment(id uint64, total, no int) vl1.Fragment {
	b := binary.BigEndian.AppendUint64(nil, id)
	b = vl1.Address(1).Append(b)
	return append(b, 0xff, byte(total<<4|no), 0, 'd', byte(no))
}

func head(id uint64) vl1.Packet {
	p := vl1.NewPacket(nil, id, 1, 2, vl1.VerbEcho)
	p.SetFragmented(true)
	return p
}

func TestFragmentCheck(t *testing.T) {
	for _, c := range []struct {
		total, no int
		ok        bool
	}{{2, 1, true}, {7, 6, true}, {0, 0, false}, {1, 0, false}, {2, 0, false}, {2, 2, false}, {3, 5, false}, {8, 1, false}, {15, 14, false}} {
		f := fragment(1, c.total, c.no)
		if (f.Check() == nil) != c.ok {
			t.Errorf("%d of %d: %v", c.no, c.total, f.Check())
		}
		if got := vl1.NewAssembler(1, 1).Fragment(f, someSource, 0); got != nil {
			t.Error("assembled from a fragment alone")
		}
	}
	if fragment(1, 2, 1)[:16].Check() == nil {
		t.Error("a fragment without data passes")
	}
	f := fragment(0x1122334455667788, 5, 3)
	f.SetHops(9)
	if f.ID() != 0x1122334455667788 || f.Dest() != 1 || f.Total() != 5 || f.No() != 3 || f.Hops() != 1 || string(f.Data()) != "d\x03" {
		t.Errorf("accessors of %x", []byte(f))
	}
}

func TestAssemblerForgets(t *testing.T) {
	t.Run("after a second", func(t *testing.T) {
		a := vl1.NewAssembler(4, 4)
		a.Head(head(1), someSource, 1000)
		if a.Fragment(fragment(1, 2, 1), someSource, 2001) != nil {
			t.Error("a packet was completed after more than a second")
		}
		a.Head(head(2), someSource, 1000)
		if a.Fragment(fragment(2, 2, 1), someSource, 2000) == nil {
			t.Error("a packet was lost within a second")
		}
	})
	t.Run("the oldest", func(t *testing.T) {
		a := vl1.NewAssembler(2, 2)
		for id := range uint64(3) {
			a.Head(head(id), someSource, int64(id))
		}
		if a.Fragment(fragment(2, 2, 1), someSource, 3) == nil || a.Fragment(fragment(1, 2, 1), someSource, 3) == nil {
			t.Error("one of the newest was dropped")
		}
		if a.Fragment(fragment(0, 2, 1), someSource, 3) != nil {
			t.Error("the oldest is still there")
		}
	})
	t.Run("the oldest of a greedy source", func(t *testing.T) {
		a := vl1.NewAssembler(8, 2)
		other := netip.MustParseAddr("2001:db8::1")
		a.Head(head(100), other, 0)
		for id := range uint64(20) {
			a.Head(head(id), someSource, int64(id))
		}
		if a.Fragment(fragment(100, 2, 1), other, 20) == nil {
			t.Error("another source's packet was dropped")
		}
		for id := range uint64(2) {
			if id += 18; a.Fragment(fragment(id, 2, 1), someSource, 20) == nil {
				t.Errorf("packet %d is not held", id)
			}
		}
		if a.Fragment(fragment(17, 2, 1), someSource, 20) != nil {
			t.Error("the source holds more than two packets")
		}
	})
	t.Run("contradictions", func(t *testing.T) {
		a := vl1.NewAssembler(4, 4)
		a.Fragment(fragment(1, 3, 1), someSource, 0)
		a.Fragment(fragment(1, 2, 1), someSource, 0)
		if a.Head(head(1), someSource, 0) != nil {
			t.Error("completed with two of three pieces")
		}
		if a.Fragment(fragment(1, 3, 2), someSource, 0) == nil {
			t.Error("a contradicting fragment did harm")
		}
	})
	t.Run("what is too large", func(t *testing.T) {
		a := vl1.NewAssembler(4, 4)
		a.Head(append(head(1), make([]byte, 9000)...), someSource, 0)
		if got := a.Fragment(append(fragment(1, 2, 1), make([]byte, 1000)...), someSource, 0); got != nil {
			t.Errorf("assembled %d bytes", len(got))
		}
	})
}
