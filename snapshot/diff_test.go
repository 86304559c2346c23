package snapshot_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
)

func TestCompare(t *testing.T) {
	c := newCluster(t, 5000)
	old := c.archive(c.secrets, snapshot.Seal{})
	c.addPeers(10_000, 7)
	c.do(&fsm.MemberUp{ID: 2, Name: "nyc"})
	moved := change(3)
	moved.Member = 2
	c.do(fsm.Changes{moved})
	c.do(&fsm.Expire{Cutoff: 1 << 31, Addresses: []vl1.Address{5, 9}})
	c.do(&fsm.Set{Key: "max_peers", Value: "77777"})
	c.do(&fsm.Set{Key: "peer_expiry", Value: ""})
	next := c.archive(c.secrets, snapshot.Seal{})

	var added, removed, changed []vl1.Address
	d, err := snapshot.Compare(open(t, old), open(t, next), func(p *snapshot.PeerDiff) error {
		switch {
		case p.Old == nil:
			added = append(added, p.New.Address)
		case p.New == nil:
			removed = append(removed, p.Old.Address)
		default:
			changed = append(changed, p.New.Address)
			if !p.Moved() || p.Identity() || p.SeenOnly() {
				t.Errorf("peer %v: %+v", p.New.Address, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(added)
	slices.Sort(removed)
	want := [][]vl1.Address{{10_000, 10_001, 10_002, 10_003, 10_004, 10_005, 10_006}, {5, 9}, {3}}
	if diff := cmp.Diff(want, [][]vl1.Address{added, removed, changed}); diff != "" {
		t.Errorf("added, removed, changed (-want +got):\n%s", diff)
	}
	if d.Added != 7 || d.Removed != 2 || d.Changed != 1 || d.Moved != 1 || d.Unchanged != 4997 || d.Same {
		t.Errorf("counts %+v", d)
	}
	settings := []snapshot.SettingDiff{{Key: "max_peers", New: "77777"}, {Key: "peer_expiry", Old: "48h0m0s"}}
	if diff := cmp.Diff(settings, d.Settings()); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}

	nothing := func(p *snapshot.PeerDiff) error { t.Errorf("difference %+v", p); return nil }
	if d, err := snapshot.Compare(open(t, old), open(t, old), nothing); err != nil || !d.Same || len(d.Settings()) != 0 {
		t.Errorf("an archive differs from itself: %+v, %v", d, err)
	}
	if _, err := snapshot.Compare(open(t, old), open(t, next[:len(next)-600]), func(*snapshot.PeerDiff) error { return nil }); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("a damaged archive is compared: %v", err)
	}
	stop := errors.New("enough")
	if _, err := snapshot.Compare(open(t, old), open(t, next), func(*snapshot.PeerDiff) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("it cannot be stopped: %v", err)
	}
}
