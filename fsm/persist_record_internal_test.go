package fsm

import (
	"bytes"
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
		x, y := hashEncoded(b)
		if p, q := hashRecord(&r); p != x || q != y {
			t.Fatal("the hash of the bytes is not that of the record")
		}
		if r.Handoff == (table.Handoff{}) {
			if p, q := hashEncoded(b[:handoffAt]); p != x || q != y {
				t.Fatal("a record without a handoff has another hash in older snapshots")
			}
		}
	})
}
