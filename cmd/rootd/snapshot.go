package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

var _ admin.Snapshots = source{}

// callState is for the leader: nothing; answer: a stream, the line of JSON and the state of [admin.Snapshots].
const callState = "state/1"

// Snapshot implements [admin.Snapshots].
func (s source) Snapshot(ctx context.Context, stale bool, w io.Writer) error {
	m := s.m
	if stale || m.cluster == nil || m.replica.IsLeader() {
		return m.giveState(ctx, stale, w)
	}
	id, err := m.cluster.leader()
	if err != nil {
		return noLeader(err)
	}
	at, ok := m.cluster.lookup(pki.MemberID(id))
	if !ok {
		return noLeader(fmt.Errorf("the address of member %d is not known", id))
	}
	state, err := m.cluster.caller.Stream(ctx, rpc.Target{ID: pki.MemberID(id), Address: at}, callState, nil)
	if err != nil {
		m.cluster.noteExpelled(err)
		return noLeader(err)
	}
	defer state.Close()
	_, err = io.Copy(w, state)
	return err
}

func noLeader(err error) error {
	return &admin.Error{
		Status: 503, What: "take snapshot", Why: fmt.Sprintf("no leader to take it from (%v)", err),
		Hint: "--stale takes what this member has, which may lack what was committed last",
	}
}

// giveState writes this member's state. As the leader it first makes sure that it is, and that it has everything that was
// acknowledged before.
func (m *member) giveState(ctx context.Context, stale bool, w io.Writer) error {
	if !stale {
		if err := m.replica.Barrier(ctx); err != nil {
			return noLeader(err)
		}
	}
	frozen, err := m.fsm.Freeze()
	if err != nil {
		return err
	}
	defer frozen.Release()
	meta := m.describe(frozen)
	meta.Stale = stale && !m.replica.IsLeader()
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	line, err := json.Marshal(admin.SnapshotHead{Meta: text, Bytes: frozen.Size()})
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<17)
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	began := time.Now()
	if err := frozen.Write(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	m.log.Info("state given", "index", meta.Index, "peers", meta.Counts.Peers, "duration", time.Since(began))
	return nil
}

// handleState gives the state to another member, whose operator asked for it.
func (c *cluster) handleState(ctx context.Context, _ pki.Peer, _ []byte, w io.Writer) error {
	err := c.m.giveState(ctx, false, w)
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return &rpc.Error{Code: rpc.CodeInternal, Text: e.Why, Hint: e.Hint}
	}
	return err
}

// leader returns the leader, which is another member.
func (c *cluster) leader() (table.MemberID, error) {
	text, _ := c.m.replica.Leader()
	id, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%w: no leader is known", replica.ErrNotLeader)
	}
	if table.MemberID(id) == c.m.id {
		return 0, fmt.Errorf("%w: leadership is just changing", replica.ErrNotLeader)
	}
	return table.MemberID(id), nil
}

// NoteBackup implements [admin.Snapshots].
func (s source) NoteBackup(ctx context.Context, b admin.Backup) (*admin.Backups, error) {
	const what = "note backup"
	c := &fsm.Backup{Index: b.Index, Taken: b.Taken.UnixMilli(), Where: b.Where}
	if b.Identity {
		c.Holds |= fsm.HoldsIdentity
	}
	if b.Authority {
		c.Holds |= fsm.HoldsAuthority
	}
	if b.PlanetKey != "" {
		key, err := hex.DecodeString(b.PlanetKey)
		if err != nil || len(key) != len(c.PlanetKey) {
			return nil, &admin.Error{Status: 400, What: what, Why: "planet_key is no SHA-256"}
		}
		c.Holds, c.PlanetKey = c.Holds|fsm.HoldsPlanetKey, [32]byte(key)
	}
	if _, err := fsm.Encode(c); err != nil {
		return nil, &admin.Error{Status: 400, What: what, Why: err.Error()}
	}
	r, err := s.m.propose(ctx, c)
	if err != nil {
		return nil, changed(what, r, err)
	}
	return s.Backups(ctx)
}

// Backups implements [admin.Snapshots].
func (s source) Backups(context.Context) (*admin.Backups, error) {
	st := s.m.fsm.View().State()
	b := &admin.Backups{Last: backup(&st.Backups.Last), Key: backup(&st.Backups.Key), Time: time.UnixMilli(st.Time).UTC()}
	if key, ok := planetKey(st); ok {
		b.PlanetKey, b.KeySafe = hex.EncodeToString(key[:]), st.Backups.Key.PlanetKey == key
	}
	return b, nil
}

// planetKey returns the SHA-256 of the key that signs the present planet.
func planetKey(st *fsm.State) ([32]byte, bool) {
	if st.Planet == nil {
		return [32]byte{}, false
	}
	return sha256.Sum256(st.Planet.World.UpdateKey[:]), true
}

func backup(b *fsm.Backup) *admin.Backup {
	if b.Taken == 0 {
		return nil
	}
	a := &admin.Backup{
		Taken: time.UnixMilli(b.Taken).UTC(), Index: b.Index, Where: b.Where,
		Identity: b.Holds&fsm.HoldsIdentity != 0, Authority: b.Holds&fsm.HoldsAuthority != 0,
	}
	if b.Holds&fsm.HoldsPlanetKey != 0 {
		a.PlanetKey = hex.EncodeToString(b.PlanetKey[:])
	}
	return a
}
