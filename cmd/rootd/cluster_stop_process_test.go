package main_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// leaderStopped: a leader that is told to stop hands over first, and says goodbye: it is down in the log when its process
// ends, not when it has been silent for long enough.
func (f *fleet) leaderStopped(*vl1.World, *device) {
	old := f.leader(0, "")
	other := (old + 1) % len(f.members)
	began := time.Now()
	if err := f.members[old].Stop(grace); err != nil {
		f.Fatal(err)
	}
	took := time.Since(began)
	f.waitStatus(other, f.name(old), admin.StatusDown)
	f.Logf("leader stopped in %v, down at another member after %v", took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	said := f.members[old].Process().Output()
	for _, line := range []string{"leadership handed over", "member is down"} {
		if !strings.Contains(said, line) {
			f.Errorf("it did not say %q; it said:\n%s", line, said)
		}
	}
	f.leader(other, f.name(old))
	f.start(old)
	var want []string
	for i := range f.members {
		want = append(want, fmt.Sprintf("m%d up voter", i+1))
	}
	f.waitMembers(want...)
}
