package snapshot

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// PeerDiff is a peer that is not the same in two archives. One of Old and New is nil if it is in one alone.
type PeerDiff struct{ Old, New *table.Record }

// Identity reports whether it is another identity with the same address.
func (d *PeerDiff) Identity() bool { return d.Old != nil && d.New != nil && d.Old.Key != d.New.Key }

// Moved reports whether it is attached to other members.
func (d *PeerDiff) Moved() bool {
	return d.Old != nil && d.New != nil && (d.Old.V4Member != d.New.V4Member || d.Old.V6Member != d.New.V6Member)
}

// SeenOnly reports whether it was just seen at another time.
func (d *PeerDiff) SeenOnly() bool {
	if d.Old == nil || d.New == nil {
		return false
	}
	old := *d.Old
	old.LastSeen = d.New.LastSeen
	return old == *d.New
}

// Diff is what became of the state of one archive in another.
type Diff struct {
	Same                               bool // state hash and index
	Added, Removed, Changed, Unchanged int  // peers
	Moved, SeenOnly, Identities        int  // of those changed
	Old, New                           *fsm.State
}

// Compare reads two archives to their ends, verifies both, and shows every peer that is not the same in both, in no order that
// means anything. The records are used again for the next call. Nothing is proved before it returns nil. Memory does not depend on the number of peers: both must have
// been written in the order of [table.Hash], as all are.
func Compare(a, b *Archive, yield func(*PeerDiff) error) (*Diff, error) {
	old, next := newPuller(a), newPuller(b)
	defer old.stop()
	defer next.stop()
	d := new(Diff)
	x, y := old.next(), next.next()
	for x != nil || y != nil {
		var p PeerDiff
		switch {
		case y == nil || x != nil && table.Hash(x.Address) < table.Hash(y.Address):
			p.Old = x
			d.Removed++
		case x == nil || table.Hash(x.Address) > table.Hash(y.Address):
			p.New = y
			d.Added++
		default:
			p.Old, p.New = x, y
		}
		if p.Old != nil && p.New != nil && *p.Old == *p.New {
			d.Unchanged++
		} else {
			d.count(&p)
			if err := yield(&p); err != nil {
				return nil, err
			}
		}
		if p.Old != nil {
			x = old.next()
		}
		if p.New != nil {
			y = next.next()
		}
	}
	if old.err != nil {
		return nil, fmt.Errorf("the old one: %w", old.err)
	}
	if next.err != nil {
		return nil, fmt.Errorf("the new one: %w", next.err)
	}
	d.Old, d.New = old.state, next.state
	d.Same = a.meta.StateHash == b.meta.StateHash && a.meta.Index == b.meta.Index
	return d, nil
}

func (d *Diff) count(p *PeerDiff) {
	if p.Old == nil || p.New == nil {
		return
	}
	d.Changed++
	switch {
	case p.Identity():
		d.Identities++
	case p.Moved():
		d.Moved++
	case p.SeenOnly():
		d.SeenOnly++
	}
}

// puller reads the peers of an archive one by one.
type puller struct {
	pull  func() (*table.Record, bool)
	stop  func()
	state *fsm.State
	rec   table.Record
	last  uint64
	err   error
}

var errStop = errors.New("stopped")

func newPuller(a *Archive) *puller {
	p := new(puller)
	p.pull, p.stop = iter.Pull(func(yield func(*table.Record) bool) {
		p.err = a.Peers(func(s *fsm.State) error { p.state = s; return nil }, func(r *table.Record) error {
			if h := table.Hash(r.Address); h < p.last {
				return errors.New("compare archives: peers are not in the order of their hashes")
			} else {
				p.last = h
			}
			if !yield(r) {
				return errStop
			}
			return nil
		})
	})
	return p
}

// next returns the next peer, nil at the end.
func (p *puller) next() *table.Record {
	r, ok := p.pull()
	if !ok {
		return nil
	}
	p.rec = *r
	return &p.rec
}

// SettingDiff is a setting that is not the same; "" is one that is not set.
type SettingDiff struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Settings returns the settings that are not the same, by key.
func (d *Diff) Settings() (list []SettingDiff) {
	all := map[string]SettingDiff{}
	for _, kv := range d.Old.Settings.Explicit() {
		all[kv.Key] = SettingDiff{Key: kv.Key, Old: kv.Value}
	}
	for _, kv := range d.New.Settings.Explicit() {
		s := all[kv.Key]
		s.Key, s.New = kv.Key, kv.Value
		all[kv.Key] = s
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if s := all[key]; s.Old != s.New {
			list = append(list, s)
		}
	}
	return list
}
