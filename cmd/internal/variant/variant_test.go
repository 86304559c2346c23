package variant_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/variant"
)

// TestBuild: every variant can be built from the present sources, and is what it says.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles rootd four times")
	}
	for v, want := range map[variant.Variant]string{
		variant.Next: "rootd next (", variant.Deaf: "rootd deaf (", variant.Forget: "rootd forget (", variant.Crash: "panic: a bug",
	} {
		dir := t.TempDir()
		if err := variant.Build(t.Context(), dir, v, "./cmd/rootd"); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "rootd"), "-version").CombinedOutput()
		if !strings.Contains(string(out), want) || (err == nil) != (v != variant.Crash) {
			t.Errorf("%s: %v: %s", v, err, out)
		}
		if v == variant.Next && !strings.Contains(string(out), "feature level 3") {
			t.Errorf("%s", out)
		}
	}
}
