package fsm

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm/table"
)

// Each record has one form: what is read is written as it was, so that the hash of the bytes is that of the record.
func TestOneFormOfARecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), recordSize, recordSize).Draw(t, "bytes")
		for _, part := range [][2]int{{69, 75}, {75, 93}, {handoffAt, recordSize}} {
			if rapid.Bool().Draw(t, "nothing there") {
				clear(b[part[0]:part[1]])
			}
		}
		b[138] &= 3 // the family of a handoff
		var r table.Record
		if readRecord(b, &r) != "" {
			return
		}
		if again := appendRecord(nil, &r); !bytes.Equal(again, b) {
			t.Fatalf("%x is written as %x", b, again)
		}
		var x, y sum
		x.addEncoded((*[recordSize]byte)(b))
		if y.add(&r); x != y {
			t.Fatal("the hash of the bytes is not that of the record")
		}
		if y.remove(&r); y != (sum{}) {
			t.Fatal("a record that was added and removed leaves something in the sum")
		}
	})
}

// The hash is part of the format. These figures were computed from docs/log-format.md by another program.
func TestRecordHash(t *testing.T) {
	r := table.Record{
		Address: 0x1234567890, V4: netip.MustParseAddrPort("192.0.2.1:5"), V4Member: 3, V4Epoch: 4,
		V6: netip.MustParseAddrPort("[2001:db8::1]:7"), V6Member: 8, V6Epoch: 9, LastSeen: 10, Planet: 11, Protocol: 12, Major: 13, Minor: 14, Revision: 15,
		Position: [3]int16{16, -17, 18}, Flags: 19,
	}
	for i := range r.Key {
		r.Key[i] = byte(i)
	}
	moved := r
	moved.Handoff = table.Handoff{
		Target: 20, From: 21, V6: true, At: 22, Pushes: 23, Prio4: 24, Prio6: 25, Fails: 26, Failed: 27, Moves: 28, Since4: 29, Since6: 30,
	}
	for _, c := range []struct {
		r    table.Record
		want sum
	}{
		{table.Record{Address: r.Address, Key: r.Key}, sum{0x92e62cea10f0b9b2, 0xef61dfe719e9df81}},
		{r, sum{0x0447bd3827f3f68e, 0x90ab682ac0f5da26}},
		{moved, sum{0x7aef9ea98b553d0a, 0x5698605c87b3a2c9}},
	} {
		var s sum
		if s.add(&c.r); s != c.want {
			t.Errorf("sum %x, want %x, of %+v", s, c.want, c.r)
		}
	}
}
