package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestMetricsDocument compares the list of metrics with docs/metrics.md; UPDATE_DOCS=1 rewrites it. What the text
// above the list mentions must be in the list.
func TestMetricsDocument(t *testing.T) {
	const path, marker = "../../docs/metrics.md", "<!-- generated from cmd/rootd/metrics.go -->\n"
	var b strings.Builder
	exists := map[string]bool{}
	b.WriteString("\n| metric | type | meaning |\n|---|---|---|\n")
	for _, d := range metricDefs() {
		name := "rootd_" + d.name
		exists[name] = true
		labels := ""
		if len(d.labels) > 0 {
			labels = "{" + strings.Join(d.labels, ", ") + "}"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s |\n", name, labels, d.kind, d.help)
		if !strings.HasSuffix(d.help, ".") {
			t.Errorf("%s: its help is no sentence: %q", name, d.help)
		}
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(d.name) || (d.kind == counter) != strings.HasSuffix(d.name, "_total") {
			t.Errorf("%s: a name is snake_case, and ends with _total if and only if it counts", name)
		}
	}
	compareFile(t, path, marker, b.String())

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, mentioned := range regexp.MustCompile(`\brootd_[a-z0-9_]+[a-z0-9]\b`).FindAllString(string(text), -1) {
		if !exists[mentioned] && mentioned != "rootd_raft" {
			t.Errorf("%s mentions %s, which does not exist", path, mentioned)
		}
	}
}
