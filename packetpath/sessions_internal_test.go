package packetpath

import (
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/packetpath/vl1"
)

// neighbours returns n addresses of one shard.
func neighbours(n int) (as []vl1.Address) {
	for a := vl1.Address(1); len(as) < n; a++ {
		if hashAddress(a)%sessionShards == 7 {
			as = append(as, a)
		}
	}
	return as
}

// TestSessionTableIsAMap: whatever is inserted, removed and inserted again, in a shard that grows and is rebuilt.
func TestSessionTableIsAMap(t *testing.T) {
	as := neighbours(80)
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, len(as)+1).Draw(t, "most")
		tab, model := newSessionTable(most), map[vl1.Address]*session{}
		gone := map[vl1.Address]*session{}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			a := rapid.SampledFrom(as).Draw(t, "address")
			if rapid.Bool().Draw(t, "insert") {
				s := &session{id: vl1.Identity{Address: a}}
				got, old := tab.insert(s), model[a]
				switch {
				case old != nil:
					s = old
				case len(model) >= most:
					s = nil
				default:
					model[a] = s
				}
				if got != s {
					t.Fatalf("insert returned %p, want %p", got, s)
				}
			} else if s := model[a]; s != nil {
				tab.remove(s)
				delete(model, a)
				gone[a] = s
			} else if s := gone[a]; s != nil {
				tab.remove(s) // again
			}
			if s := gone[a]; s != nil && model[a] != nil {
				tab.remove(s) // of the same address, and not the one that is there
			}
			if got := tab.get(a); got != model[a] {
				t.Fatalf("get returned %p, want %p", got, model[a])
			}
		}
		for _, a := range as {
			if got := tab.get(a); got != model[a] {
				t.Fatalf("get returned %p at the end, want %p", got, model[a])
			}
		}
		all := map[vl1.Address]*session{}
		for i := range sessionShards {
			tab.each(i, func(s *session) { all[s.id.Address] = s })
		}
		if !maps.Equal(all, model) || tab.len() != len(model) {
			t.Fatalf("%d sessions, counted %d, want %d", len(all), tab.len(), len(model))
		}
	})
}

// TestSessionsBesideWriters: who is there is found, and nobody is taken for another one, while others of the shard come and go.
func TestSessionsBesideWriters(t *testing.T) {
	as := neighbours(300)
	stay, come := as[:20], as[20:]
	tab := newSessionTable(len(as))
	for _, a := range stay {
		tab.insert(&session{id: vl1.Identity{Address: a}})
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	for range 2 {
		wg.Go(func() {
			for !done.Load() {
				for _, a := range stay {
					if s := tab.get(a); s == nil || s.id.Address != a {
						t.Errorf("%v: got %v", a, s)
						return
					}
				}
				for _, a := range come {
					if s := tab.get(a); s != nil && s.id.Address != a {
						t.Errorf("%v: got the session of %v", a, s.id.Address)
						return
					}
				}
			}
		})
	}
	for n := 1; n <= len(come); n++ { // more at a time, so that arrays grow
		for _, a := range come[:n] {
			tab.insert(&session{id: vl1.Identity{Address: a}})
		}
		for _, a := range come[:n] {
			tab.remove(tab.get(a))
		}
	}
	done.Store(true)
	wg.Wait()
	if n := tab.len(); n != len(stay) {
		t.Errorf("%d sessions, want %d", n, len(stay))
	}
}
