package link_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/transport/link"
)

func TestWindow(t *testing.T) {
	const size = link.WindowSize
	type step struct {
		counter uint64
		want    bool
	}
	for name, steps := range map[string][]step{
		"in order":               {{0, true}, {1, true}, {1, false}, {0, false}, {2, true}},
		"begins late":            {{1 << 40, true}, {1<<40 - 1, true}, {1<<40 - size + 1, true}, {1<<40 - size, false}, {0, false}},
		"oldest that is known":   {{size - 1, true}, {0, true}, {0, false}, {size, true}, {0, false}, {1, true}},
		"far ahead":              {{0, true}, {5, true}, {100 * size, true}, {5, false}, {99*size + 1, true}, {99 * size, false}},
		"forgets words it skips": {{3, true}, {3 + 64*128, true}, {3 + 64, false}, {3 + 64*2, true}, {3 + 64*128, false}, {3 + 64*256, true}, {3 + 64*200, true}},
		"the end":                {{math.MaxUint64 - 1, true}, {math.MaxUint64, false}, {math.MaxUint64 - 1, false}, {math.MaxUint64 - 2, true}},
	} {
		var w link.Window
		for i, s := range steps {
			if got := w.Take(s.counter); got != s.want {
				t.Errorf("%s: step %d: counter %d: %v", name, i, s.counter, got)
			}
		}
	}
}

// Against a map: what is inside the window is new exactly once, what is before it never.
func TestWindowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w link.Window
		seen := map[uint64]bool{}
		latest := rapid.Uint64Range(0, 1<<50).Draw(t, "start")
		first := true
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			delta := rapid.OneOf(rapid.Int64Range(-70, 70), rapid.Int64Range(-link.WindowSize-70, link.WindowSize+70), rapid.Int64Range(0, 4*link.WindowSize)).Draw(t, "delta")
			c := uint64(max(0, int64(latest)+delta))
			want := !seen[c] && (first || c+link.WindowSize > latest)
			if got := w.Take(c); got != want {
				t.Fatalf("counter %d, latest %d: %v", c, latest, got)
			}
			if want {
				seen[c] = true
			}
			if first || c > latest {
				latest, first = c, false
			}
		}
	})
}
