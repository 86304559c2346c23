package build_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/build"
)

func TestString(t *testing.T) {
	got := build.Info{Version: "1.2.3", Commit: "0123456789ab", Modified: true, Go: "go1.26", Platform: "linux/amd64", FeatureLevel: 7}.String()
	if want := "1.2.3 (0123456789ab+changes, go1.26, linux/amd64, feature level 7)"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestCurrent(t *testing.T) {
	i := build.Current()
	if i.Version == "" || i.FeatureLevel != build.FeatureLevel || i.Go != runtime.Version() {
		t.Errorf("Current() = %+v", i)
	}
	if !strings.Contains(i.String(), runtime.GOARCH) {
		t.Errorf("%s does not name the platform", i)
	}
}
