package replica

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
)

// lostWay is the way out for a member whose log is damaged.
const lostWay = "move the raft directory aside and start again: a member of several gets the log of the others (rootctl member readmit); the only member needs a backup"

// replayBatch is how many entries are applied at a time while the log is replayed.
const replayBatch = 256

// recovered is what recovery found.
type recovered struct {
	snapshot uint64 // index of the snapshot restored, 0: none
	entries  uint64 // replayed
	sole     bool   // this member alone is the quorum
}

// recoverState brings the state machine to the last entry known to be committed: the newest snapshot, then the log.
// Nobody else is asked.
//
// A sole voter commits by writing, so its whole log is committed. Otherwise it is what the log says (commitlog.go).
func recoverState(s *stores, o Options) (recovered, error) {
	var rec recovered
	conf, err := restoreNewest(s, o, &rec)
	if err != nil {
		return rec, err
	}
	first, last, err := s.log.bounds()
	if err != nil {
		return rec, err
	}
	if last > rec.snapshot && first > rec.snapshot+1 {
		return rec, fmt.Errorf("recover %s: %w: the log begins at index %d, but the newest snapshot ends at %d: "+
			"put the missing snapshot back, or %s", o.Dir, ErrDamaged, first, rec.snapshot, lostWay)
	}
	commit, err := s.log.load()
	if err != nil {
		return rec, err
	}
	re := replay{s: s, fsm: o.FSM, rec: &rec, conf: conf}
	if err := re.run(rec.snapshot+1, commit, true); err != nil {
		return rec, err
	}
	tail := max(commit, rec.snapshot) + 1
	if err := re.run(tail, last, false); err != nil {
		return rec, err
	}
	rec.sole = soleVoter(re.conf, o.ID)
	if rec.sole {
		if err := re.run(tail, last, true); err != nil {
			return rec, err
		}
	}
	return rec, nil
}

// restoreNewest restores the newest snapshot, if there is any, and returns its configuration. It never falls back to
// an older one: the log no longer reaches it.
func restoreNewest(s *stores, o Options, rec *recovered) (raft.Configuration, error) {
	metas, err := s.snapshots.List()
	if err != nil {
		return raft.Configuration{}, fmt.Errorf("list snapshots in %s: %w", o.Dir, err)
	}
	if len(metas) == 0 {
		return raft.Configuration{}, nil
	}
	m := metas[0]
	_, source, err := s.snapshots.Open(m.ID)
	if err == nil {
		err = o.FSM.Restore(source)
	}
	if err != nil {
		if !errors.Is(err, fsm.ErrTooNew) && !errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: %w; %s", ErrDamaged, err, lostWay)
		}
		return raft.Configuration{}, fmt.Errorf("snapshot %s in %s: %w", m.ID, o.Dir, err)
	}
	rec.snapshot = m.Index
	return m.Configuration, nil
}

// replay walks the log.
type replay struct {
	s    *stores
	fsm  *fsm.FSM
	rec  *recovered
	conf raft.Configuration // the latest one met
}

// run walks the entries from first to last, and applies them if apply is set.
func (r *replay) run(first, last uint64, apply bool) error {
	batch := make([]*raft.Log, 0, replayBatch)
	flush := func() {
		if len(batch) > 0 {
			r.fsm.ApplyBatch(batch)
			r.rec.entries += uint64(len(batch))
			batch = batch[:0]
		}
	}
	for i := first; i <= last; i++ {
		l := new(raft.Log)
		if err := r.s.log.GetLog(i, l); err != nil {
			return fmt.Errorf("read entry %d of raft log %s: %w: %w", i, r.s.path, ErrDamaged, err)
		}
		if l.Type == raft.LogConfiguration {
			r.conf = raft.DecodeConfiguration(l.Data)
		}
		if apply && (l.Type == raft.LogCommand || l.Type == raft.LogConfiguration) {
			if batch = append(batch, l); len(batch) == replayBatch {
				flush()
			}
		}
	}
	flush()
	return nil
}

// soleVoter reports whether id is the only voter.
func soleVoter(c raft.Configuration, id string) bool {
	voters := 0
	me := false
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			voters++
			me = me || s.ID == raft.ServerID(id)
		}
	}
	return me && voters == 1
}
