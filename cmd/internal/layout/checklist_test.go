package layout_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestChecklistNamesRealTests: a row of docs/checklist.md is worth something only while its test exists.
func TestChecklistNamesRealTests(t *testing.T) {
	page, err := os.ReadFile("../../../docs/checklist.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("git", "-C", "../../..", "grep", "-h", "-o", "-E", "^func (Test|Fuzz)[A-Za-z0-9]+", "--", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		have[strings.TrimPrefix(strings.TrimSpace(line), "func ")] = true
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 30 {
		t.Fatalf("only %d tests named", len(named))
	}
	for _, m := range named {
		if !have[m[1]] {
			t.Errorf("%s does not exist", m[1])
		}
	}
}
