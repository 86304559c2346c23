package main

import (
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/variant"
)

// TestBadVersions: an upgrade to a build that crashes, or that answers no HELLO, stops at the first member, with the
// others serving; a rollback brings it back.
func TestBadVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	t.Parallel()
	h := newHands(t, 0)
	h.grow()
	for v, why := range map[variant.Variant]string{
		variant.Crash: "it did not come back within 6s: ",
		variant.Deaf:  "it does not answer a HELLO at ",
	} {
		bad, _ := h.variant(v)
		h.builds(bad, h.rootd)
		fleet := h.fleet("60s")
		h.well(fleet)
		impatient := h.fleet("6s")
		code, out := h.run(0, "upgrade", "--fleet", impatient, "--yes", "--save", "")
		if code != 1 || !strings.Contains(out, "stopped at member ") || !strings.Contains(out, why) || !strings.Contains(out, "--rollback") {
			t.Fatalf("%s: exit code %d:\n%s", v, code, out)
		}
		t.Logf("%s: %s", v, out)
		if _, out = h.run(0, "fleet", "status", "--fleet", fleet); strings.Count(out, "  yes") != 2 {
			t.Errorf("%s: the others do not serve:\n%s", v, out)
		}
		code, out = h.run(0, "upgrade", "--fleet", fleet, "--yes", "--rollback", "--save", "")
		if code != 0 || strings.Count(out, "devel -> devel")+strings.Count(out, string(v)+" -> devel") != 1 {
			t.Fatalf("%s: rollback: exit code %d:\n%s", v, code, out)
		}
		h.well(fleet)
		h.equal("taken back from " + string(v))
	}
}
