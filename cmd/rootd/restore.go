package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

var _ admin.Restores = source{}

const (
	// restoreParts is how many parts of an archive are on their way into the log at a time.
	restoreParts = 16
	// restoreVoters is how long a restore waits until all voters have it.
	restoreVoters = time.Minute

	whatRestore = "restore"
)

// Restore implements [admin.Restores]. The log carries the archive, part by part, beside the state of now; its last entry puts it in place
// at every member, once all of it has been read here and found right.
func (s source) Restore(ctx context.Context, archive io.Reader, o admin.RestoreOptions) (*admin.Restoration, error) {
	m, began := s.m, time.Now()
	if err := s.undisturbed(whatRestore, o.Force); err != nil {
		return nil, err
	}
	if err := m.votersUp(o.Force); err != nil {
		return nil, err
	}
	if err := s.carried(ctx, whatRestore, o.Alone); err != nil {
		return nil, err
	}
	a, err := snapshot.Open(archive)
	if err != nil {
		return nil, refusedBy(err)
	}
	r := &restoring{m: m}
	_, _ = rand.Read(r.id[:]) // never fails
	before := m.fsm.View().State().Peers
	answer, err := r.send(ctx, a)
	if err != nil {
		r.abandon(ctx)
		return nil, err
	}
	st := m.fsm.View().State()
	done := &admin.Restoration{
		Index: answer.Index, Peers: st.Peers, Before: before, Settings: len(st.Settings.Explicit()), Contents: st.Contents().String(),
	}
	m.log.Warn("peers and settings of an archive are back", "index", answer.Index, "peers", st.Peers)
	done.Voters, done.Missing = m.waitVoters(ctx, answer.Index)
	done.Seconds = time.Since(began).Seconds()
	return done, nil
}

// votersUp refuses a cluster of which a voter is not up: it would have the restore later than the others.
func (m *member) votersUp(force bool) error {
	st := m.fsm.View().State()
	var missing []string
	for _, v := range st.Voters.Servers {
		id, err := strconv.ParseUint(v.ID, 10, 16)
		if v.Voter && err == nil && len(st.Voters.Servers) > 1 && st.StatusOf(table.MemberID(id)) != fsm.StatusUp {
			missing = append(missing, m.memberName(v.ID))
		}
	}
	if len(missing) == 0 || force {
		return nil
	}
	return refused(whatRestore, "voters are not up: "+strings.Join(missing, ", "), "wait for them, or remove them; --force restores without them: they have it as soon as they are back")
}

func refusedBy(err error) error {
	why := &admin.Error{Status: 409, What: whatRestore, Why: err.Error()}
	if h, ok := errors.AsType[*snapshot.Error](err); ok {
		why.Hint = h.Hint()
	}
	return why
}

// restoring is one restore on its way into the log.
type restoring struct {
	m    *member
	id   fsm.RestoreID
	seq  uint32
	part []table.Record
}

func (r *restoring) step(step fsm.RestoreStep) *fsm.Restore {
	return &fsm.Restore{ID: r.id, Step: step}
}

// send sends the whole archive, which is proved only at its end: that is why the last step comes after it.
func (r *restoring) send(ctx context.Context, a *snapshot.Archive) (fsm.Response, error) {
	var archived *fsm.State
	g, parts := errgroup.WithContext(ctx)
	g.SetLimit(restoreParts)
	flush := func() error {
		if len(r.part) == 0 {
			return parts.Err()
		}
		c := r.step(fsm.RestorePart)
		c.Seq, c.Records = r.seq, r.part
		r.seq, r.part = r.seq+1, nil
		g.Go(func() error { _, err := r.m.propose(parts, c); return err })
		return parts.Err()
	}
	err := a.Peers(func(st *fsm.State) error {
		archived = st
		return r.begin(parts, st, uint64(a.Meta().Counts.Peers))
	}, func(p *table.Record) error {
		if r.part == nil {
			r.part = make([]table.Record, 0, fsm.MaxRestoreRecords)
		}
		if r.part = append(r.part, *p); len(r.part) == fsm.MaxRestoreRecords {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if gerr := g.Wait(); gerr != nil { // it is why reading ended, too
		return fsm.Response{}, changed(whatRestore, fsm.Response{}, gerr)
	}
	if err != nil {
		if _, ok := errors.AsType[*admin.Error](err); ok {
			return fsm.Response{}, err
		}
		return fsm.Response{}, refusedBy(err)
	}
	end := r.step(fsm.RestoreEnd)
	end.Peers, end.Sum = uint64(archived.Peers), archived.PeersSum()
	answer, err := r.m.propose(ctx, end)
	return answer, changed(whatRestore, answer, err)
}

// begin refuses an archive of another cluster, and makes room.
func (r *restoring) begin(ctx context.Context, st *fsm.State, peers uint64) error {
	own := r.m.fsm.View().State()
	if st.Cluster.ID != own.Cluster.ID || st.Cluster.Root != own.Cluster.Root {
		return refused(whatRestore, fmt.Sprintf("the archive is of cluster %s (%s), root %v; this is cluster %s, root %v",
			hex.EncodeToString(st.Cluster.ID[:]), st.Cluster.Name, st.Cluster.Root.Address, hex.EncodeToString(own.Cluster.ID[:]), own.Cluster.Root.Address),
			"rootctl init --from makes the first member of that cluster, on a machine of its own")
	}
	c := r.step(fsm.RestoreBegin)
	c.Peers, c.Settings = peers, st.Settings.Explicit()
	answer, err := r.m.propose(ctx, c)
	return changed(whatRestore, answer, err)
}

// abandon frees the memory that the restore has taken. If it does not come through, the members do it by themselves.
func (r *restoring) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := r.m.propose(ctx, r.step(fsm.RestoreAbandon)); err != nil && !errors.Is(err, errRefused) {
		r.m.log.Warn("restore not given up yet", "error", err)
	}
}

// waitVoters waits until all voters that are up have a restore, and nothing before it in their logs: whoever joins now begins with it, whichever of
// them leads. It says which have it.
func (m *member) waitVoters(ctx context.Context, index uint64) (have, missing []string) {
	ctx, cancel := context.WithTimeout(ctx, restoreVoters)
	defer cancel()
	for {
		have, missing = nil, nil
		waits := false // for one that is up
		st := m.fsm.View().State()
		for _, v := range st.Voters.Servers {
			if !v.Voter {
				continue
			}
			is := m.restoredAt(ctx, v.ID, index)
			if is == restoredNot {
				missing = append(missing, m.memberName(v.ID))
			} else {
				have = append(have, m.memberName(v.ID))
			}
			id, err := strconv.ParseUint(v.ID, 10, 16)
			waits = waits || is != restoredAlone && err == nil && st.StatusOf(table.MemberID(id)) == fsm.StatusUp
		}
		if !waits || !sleep(ctx, 200*time.Millisecond) {
			return have, missing
		}
	}
}

// callRestored asks a member for the index of a restore, as text; the answer is one of the following.
const (
	callRestored = "restored/1"

	restoredNot   = "no"    // the entry is not applied yet
	restoredLong  = "long"  // it is, and the log begins before it
	restoredAlone = "alone" // it is, and the log begins after it
)

// restoredAt asks a member how far it is with a restore.
func (m *member) restoredAt(ctx context.Context, text string, index uint64) string {
	id, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return restoredNot
	}
	if m.cluster == nil || table.MemberID(id) == m.id {
		return m.hasRestore(index)
	}
	b, err := m.cluster.call(ctx, table.MemberID(id), callRestored, strconv.AppendUint(nil, index, 10))
	if err != nil {
		return restoredNot
	}
	return string(b)
}

func (m *member) hasRestore(index uint64) string {
	switch {
	case m.fsm.View().State().Index < index:
		return restoredNot
	case m.replica.HoldsRestore():
		return restoredLong
	}
	return restoredAlone
}

func (c *cluster) handleRestored(_ context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	index, err := strconv.ParseUint(string(body), 10, 64)
	if err != nil {
		return nil, err
	}
	return []byte(c.m.hasRestore(index)), nil
}

// compact shortens the log after a restore, which has made it as large as the archive; also one that was not shortened in an earlier life.
func (m *member) compact(ctx context.Context) error {
	for sleep(ctx, 200*time.Millisecond) {
		if !m.replica.HoldsRestore() {
			continue
		}
		if err := m.replica.Compact(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("log not shortened", "error", err)
			sleep(ctx, 5*time.Second)
		}
	}
	return nil
}
