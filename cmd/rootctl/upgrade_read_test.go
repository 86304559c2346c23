package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rootd/rootd/transport/admin"
)

// TestReadHistory: a later run of the tool learns from the history of its operation, and of no other, who has been touched and who had a turn.
func TestReadHistory(t *testing.T) {
	for _, c := range []struct{ history, begun, done, runs string }{
		{},
		{"upgrade, feature level 1|begin a/m1 0.4.0", "a/m1", "", ""},
		{"begin a/m1 0.4.0|done a/m1 0.5.0|begin a/m2 0.4.0|stopped at a/m2: it is down", "a/m1 a/m2", "a/m1", ""},
		{"begin a/m1 0.4.0|done a/m1 0.5.0|begin a/m2 0.4.0|begin a/m2 0.5.0|taken back a/m2 0.4.0", "a/m1", "a/m1", ""},
		{"begin a/m1 0.4.0|done a/m1 0.5.0|begin a/m1 0.5.0|taken back a/m1 0.4.0", "", "", ""},
		{"begin a/m1 0.4.0|done a/m1 0.5.0|begin a/m1 0.5.0|taken back a/m1 0.4.0|begin a/m1 0.4.0", "a/m1", "", ""},
		{"begin a/m1 0.4.0|done a/m1 0.5.0|begin a/m1 0.5.0", "a/m1 a/m1", "", ""},
		{"rollback, feature level 1|takes back before|begin b/m1 0.5.0|taken back b/m1 0.4.0|begin b/m2 0.5.0", "b/m2 b/m2", "", ""},
		{"begin a/m1 0.4.0|command of a/m1: process 7 on h|done a/m1 0.5.0|begin a/m2 0.4.0|command of a/m2: process 8 on h", "a/m1 a/m2", "a/m1", "a/m2 process 8 on h"},
		{"begin a/m1 0.4.0|command of a/m1: process 7 on h|stopped at a/m1: it is down", "a/m1", "", ""},
		{"begin a/m1 0.4.0|command of a/m1: process 7 on h|begin a/m1 0.4.0|command of a/m1: process 9 on h", "a/m1 a/m1", "", "a/m1 process 9 on h"},
	} {
		s := &sight{operation: &admin.Operation{History: []admin.OperationLine{{ID: "other", Text: "begin a/m9 0.3.0"}}}}
		for _, line := range []string{"upgrade, feature level 7", "begin b/m1 0.4.0", "done b/m1 0.5.0", "begin b/m2 0.4.0", "done b/m2 0.5.0"} {
			s.operation.History = append(s.operation.History, admin.OperationLine{ID: "before", Text: line})
		}
		for line := range strings.SplitSeq(c.history, "|") {
			s.operation.History = append(s.operation.History, admin.OperationLine{ID: "this", Text: line})
		}
		r := &rolling{done: map[string]bool{}, levels: map[string]int{}, runs: map[string]string{}}
		r.read(s, "this")
		var runs []string
		for name, where := range r.runs {
			runs = append(runs, name+" "+where)
		}
		if got := strings.Join(runs, " "); got != c.runs {
			t.Errorf("%q: runs %q", c.history, got)
		}
		if begun, done := strings.Join(r.begun, " "), strings.Join(slices.Sorted(maps.Keys(r.done)), " "); begun != c.begun || done != c.done {
			t.Errorf("%q: begun %q, done %q", c.history, begun, done)
		}
	}
}
