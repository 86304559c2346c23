package sim_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// row is a line of the tables of measured client behaviour: what real clients did, and how the model shows the same.
// run fails the test if it does not, and returns what the model did, for the document.
type row struct {
	section string // of the protocol description
	subject string
	real    string
	run     func(t *testing.T) string
}

var update = flag.Bool("update", false, "write the table of docs/client-model.md")

const (
	document   = "../../../../docs/client-model.md"
	tableBegin = "<!-- table: written by go test ./cmd/internal/client/sim -run TestMeasured -update -->\n"
	tableEnd   = "<!-- end of table -->\n"
)

// TestMeasured drives the model through every measured row and compares the result with the document.
func TestMeasured(t *testing.T) {
	var rows []row
	for _, part := range [][]row{timerRows(), choiceRows(), redirectRows(), algebraRows(), gateRows(), softRows(), crossRows(), deathRows()} {
		rows = append(rows, part...)
	}
	model := make([]string, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, r := range rows {
			t.Run(r.section+" "+r.subject, func(t *testing.T) {
				t.Parallel()
				model[i] = r.run(t)
			})
		}
	})
	if t.Failed() {
		return
	}
	var b strings.Builder
	b.WriteString(tableBegin + "\n| section | what | real clients | the model |\n|---|---|---|---|\n")
	for i, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.section, r.subject, r.real, model[i])
	}
	b.WriteString("\n" + tableEnd)
	checkTable(t, b.String())
}

func checkTable(t *testing.T, want string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s: no table between its marks", document)
	}
	if now := before + want + after; now != string(text) {
		if !*update {
			t.Fatalf("%s does not show what the model does; run this test with -update", document)
		}
		if err := os.WriteFile(document, []byte(now), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
}

// all are the families that the measurements cover.
var all = []string{"1.4", "1.6.0", "1.8", "1.10.2", "1.10.6", "1.14"}

var (
	sticky  = all[:2]  // F1, F2
	greedy  = all[2:4] // F3, F4
	lazy    = all[4:]  // F5, F6
	early   = all[:4]  // F1 to F4
	learner = all[2:]  // F3 to F6
)

// each runs f for each family and returns the one result that all of them must have.
func each(t *testing.T, families []string, f func(t *testing.T, family string) string) string {
	t.Helper()
	first := ""
	for i, name := range families {
		got := f(t, name)
		if i == 0 {
			first = got
		} else if got != first {
			t.Errorf("%s: %s; but %s: %s", name, got, families[0], first)
		}
	}
	return first
}

// expect fails if a result is not the wanted one, and returns it.
func expect[T comparable](t *testing.T, family string, got, want T) string {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", family, got, want)
	}
	return fmt.Sprint(got)
}
