package table

import (
	"sync/atomic"
	"testing"
	"time"
)

// What holds readers and the writer together is the order of stores: here a slot of which all words change at once, in all sizes of changes.
// Without the odd sequence, with undo stored after it, or with the even sequence before the words, readers find a mixture.
func TestStoreOrder(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	const a = 0x1234567890
	if err := tab.Put(&Record{Address: a}); err != nil {
		t.Fatal(err)
	}
	h := Hash(a)
	s := tab.dir.Load().segment(h)
	at, _ := s.find(h, a)
	place := uint64(s.placeOf(at))
	version := func(v uint64, w *words) { // words 1 to 4 change with every version, 6 and 7 with every fourth
		for j := 1; j <= 4; j++ {
			w[j] = v
		}
		w[5] = v<<16 | place
		w[6], w[7] = v/4, v/4
	}
	var w words
	version(0, &w)
	tab.keep(&w, s, at)

	var stop atomic.Bool
	var undone, reads int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			var got, want words
			var e entry
			if tab.readIn(s, h, a, &got, &e) != found {
				continue
			}
			want[0] = got[0]
			version(got[1], &want)
			if got != want {
				t.Errorf("read %x", got)
				return
			}
			reads++
			undone += int(got[0] & 1)
		}
	}()
	v := uint64(0)
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
		for range 1000 {
			v++
			version(v, &w)
			tab.keep(&w, s, at)
		}
	}
	stop.Store(true)
	<-done
	t.Logf("%d changes, %d reads, %d of them with undo", v, reads, undone)
}
