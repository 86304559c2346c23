// Package build says what this binary is: its version, the commit it was made from, and the feature level it
// understands. Version is set by the linker (-X), the rest comes from what the Go tool chain recorded. Nothing flows
// in; any goroutine may ask.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// FeatureLevel counts the kinds of log entries and messages between members that this binary understands. A cluster
// uses only what the lowest level among its members allows. It grows by one with each release that adds any, or writes the state in a way
// that older software does not read: 2 has snapshots of version 4.
const FeatureLevel = 2

// version is set by make with -ldflags "-X github.com/rootd/rootd/cmd/internal/build.version=1.2.3". It is never
// assigned in code.
var version string

// Info is what `version` prints.
type Info struct {
	Version      string `json:"version"` // "devel" when built by hand
	Commit       string `json:"commit,omitempty"`
	Modified     bool   `json:"modified,omitempty"` // built from a tree with changes
	Go           string `json:"go"`
	Platform     string `json:"platform"`
	FeatureLevel int    `json:"feature_level"`
}

// Current returns the Info of the running binary.
func Current() Info {
	i := Info{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, FeatureLevel: FeatureLevel}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = s.Value[:min(12, len(s.Value))]
			case "vcs.modified":
				i.Modified = s.Value == "true"
			}
		}
	}
	if i.Version == "" {
		i.Version = "devel"
	}
	return i
}

// String returns one line: "1.2.3 (0123456789ab, go1.26.8, linux/amd64)".
func (i Info) String() string {
	s := i.Version + " ("
	if i.Commit != "" {
		s += i.Commit
		if i.Modified {
			s += "+changes"
		}
		s += ", "
	}
	return s + fmt.Sprintf("%s, %s, feature level %d)", i.Go, i.Platform, i.FeatureLevel)
}
