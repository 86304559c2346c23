package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

// readMoons reads the moons that this root hands out: files moons.d/*.moon in the data directory, as clients have
// them. A broken one is refused; that there are none is the rule.
func readMoons(dir string) ([]packetpath.Moon, error) {
	files, err := filepath.Glob(filepath.Join(dir, "moons.d", "*.moon"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var moons []packetpath.Moon
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		w, n, err := vl1.DecodeWorld(raw)
		switch {
		case err != nil:
		case n != len(raw):
			err = fmt.Errorf("%d bytes too many", len(raw)-n)
		case w.Type != vl1.WorldMoon:
			err = fmt.Errorf("is a %v", w.Type)
		case w.Check() != nil:
			err = w.Check()
		}
		if err != nil {
			return nil, &hinted{fmt.Errorf("moon %s: %w", f, err), "look at it with rootctl planet inspect, or move it away"}
		}
		moons = append(moons, packetpath.Moon{ID: w.ID, Timestamp: w.Timestamp, Raw: raw})
	}
	return moons, nil
}
