package fsm_test

import (
	"bytes"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

// model is the state machine as one would write it without thinking of speed.
type model struct {
	time      int64
	peers     map[vl1.Address]table.Record
	members   map[table.MemberID]modelMember
	removed   map[table.MemberID]fsm.KeyHash
	tokens    map[fsm.TokenID]modelToken
	health    int64
	maxPeers  int
	planet    uint64
	rtts      map[rttKey]geo.RTT
	place     string // of 10.0.0.0/8
	restores  byte   // epoch of the cluster
	backups   []fsm.Backup
	operators map[fsm.KeyHash]fsm.Operator

	operation fsm.OperationID
	running   bool
	steps     int
}

func (m *model) apply(c fsm.Command, ms int64) {
	m.time = max(m.time, ms)
	seen := uint32(m.time/1000 - table.Epoch.Unix())
	switch c := c.(type) {
	case fsm.Changes:
		for _, x := range c {
			m.change(x, seen)
		}
	case *fsm.KeepAlive:
		for _, a := range c.Addresses {
			if r, ok := m.peers[a]; ok {
				r.LastSeen = max(r.LastSeen, seen)
				m.peers[a] = r
			}
		}
	case *fsm.Expire:
		for _, a := range c.Addresses {
			if r, ok := m.peers[a]; ok && r.LastSeen < c.Cutoff {
				delete(m.peers, a)
			}
		}
	case *fsm.Set:
		if c.Key == "geo/10.0.0.0/8" && (c.Value == "" || c.Value == "52.37,4.89") {
			m.place = c.Value
		}
		if c.Key == "max_peers" && c.Value == "30" {
			m.maxPeers = 30
		} else if c.Key == "max_peers" && c.Value == "" {
			m.maxPeers = 50_000_000
		}
	case *fsm.SetMany:
		if most := c.Settings[1].Value; most != "none" { // all or nothing
			if m.place, m.maxPeers = c.Settings[0].Value, 50_000_000; most != "" {
				m.maxPeers = 30
			}
		}
	case *fsm.PublishPlanet:
		if m.planet == 0 { // the generated ones are not signed: only the first is taken
			w, _, _ := vl1.DecodeWorld(c.World)
			m.planet = w.Timestamp
		}
	case fsm.Handoffs:
		for _, h := range c {
			m.handoff(h, seen)
		}
	case *fsm.RoundTrips:
		m.roundTrips(c)
	case *fsm.SetOperator:
		maps.DeleteFunc(m.operators, func(k fsm.KeyHash, o fsm.Operator) bool {
			return k == c.KeyHash || c.Expires > m.time && o.Expires <= m.time
		})
		if c.Expires > m.time {
			m.operators[c.KeyHash] = *c
		}
	case *fsm.Backup:
		b := *c
		b.Taken = min(b.Taken, m.time)
		m.backups = append(m.backups, b)
	default:
		m.member(c)
	}
}

func (m *model) change(c fsm.Change, seen uint32) {
	r, ok := m.peers[c.Address]
	switch {
	case !ok && (!c.HasKey || len(m.peers) >= m.maxPeers):
		return
	case !ok:
		r = table.Record{Address: c.Address, Key: c.Key}
	case c.HasKey && c.Key != r.Key, !bytes.Equal(c.Key[:2], r.Key[:2]):
		return
	}
	only := fsm.Change{Address: c.Address, Key: c.Key, Member: c.Member, Epoch: c.Epoch, Position: c.Position, Radius: c.Radius, HasPosition: true}
	if c != only {
		r.LastSeen = max(r.LastSeen, seen)
	}
	if current := c.Member != 0 && m.members[c.Member].epoch == c.Epoch; current && c.V4 != (netip.AddrPort{}) {
		was := r
		r.V4, r.V4Member, r.V4Epoch = c.V4, c.Member, c.Epoch
		m.attached(&r, was.V4Member, was.V4Epoch, c, false, seen)
	}
	if current := c.Member != 0 && m.members[c.Member].epoch == c.Epoch; current && c.V6 != (netip.AddrPort{}) {
		was := r
		r.V6, r.V6Member, r.V6Epoch = c.V6, c.Member, c.Epoch
		m.attached(&r, was.V6Member, was.V6Epoch, c, true, seen)
	}
	if c.Protocol != 0 {
		r.Protocol, r.Major, r.Minor, r.Revision = c.Protocol, c.Major, c.Minor, c.Revision
	}
	if c.Planet != 0 {
		r.Planet = c.Planet
	}
	if c.HasPosition {
		r.Position, r.Flags = c.Position, c.Radius
	}
	m.peers[c.Address] = r
}

// TestModel applies random logs one by one and in random batches with snapshots and restores in between, and
// compares with the model, and both with each other.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cmds := append([]fsm.Command{bootstrap()}, rapid.SliceOfN(commands(), 1, 60).Draw(rt, "log")...)
		mod := &model{peers: map[vl1.Address]table.Record{}, maxPeers: 50_000_000, members: map[table.MemberID]modelMember{}, removed: map[table.MemberID]fsm.KeyHash{}, operators: map[fsm.KeyHash]fsm.Operator{}, tokens: map[fsm.TokenID]modelToken{}, rtts: map[rttKey]geo.RTT{}}
		var logs []*raft.Log
		now := began
		for i, c := range cmds {
			now += rapid.Int64Range(-5_000, rapid.SampledFrom([]int64{20_000, 100_000_000}).Draw(rt, "at most")).Draw(rt, "pass")
			logs = append(logs, &raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: entry(t, c, now)})
			mod.apply(c, now)
		}

		one := newFSM(t)
		var hashes []fsm.Hash
		var states []*fsm.State
		for _, l := range logs {
			one.Apply(l)
			hashes = append(hashes, one.Hash())
			states = append(states, one.View().State())
		}
		for i, st := range states {
			if st.Hash() != hashes[i] {
				rt.Fatalf("the state after entry %d was changed by a later one", i)
			}
		}
		compare(rt, mod, one)

		other := newFSM(t)
		for i := 0; i < len(logs); {
			n := min(rapid.IntRange(1, 20).Draw(rt, "batch"), len(logs)-i)
			back := rapid.IntRange(0, i).Draw(rt, "again") // what was applied before is skipped
			other.ApplyBatch(logs[i-min(back, 3) : i+n])
			if i += n; other.Hash() != hashes[i-1] {
				rt.Fatalf("hash differs after entry %d", i)
			}
			if rapid.Bool().Draw(rt, "snapshot") {
				b := snapshotOf(t, other)
				other = newFSM(t)
				if err := restore(other, b); err != nil {
					rt.Fatal(err)
				}
				if again := snapshotOf(t, other); !bytes.Equal(b, again) {
					rt.Fatal("a restored state has another snapshot")
				}
				if other.Hash() != hashes[i-1] {
					rt.Fatalf("hash differs after restoring a snapshot of entry %d", i)
				}
			}
		}
		compare(rt, mod, other)
	})
}

func compare(t *rapid.T, m *model, f *fsm.FSM) {
	st := f.View().State()
	got := map[vl1.Address]table.Record{}
	for cursor, done := uint64(0), false; !done; {
		cursor, done = st.Table().Scan(cursor, 1000, func(r *table.Record) { got[r.Address] = *r })
	}
	if d := cmp.Diff(m.peers, got, addrPorts); d != "" {
		t.Fatalf("peers (-model +machine):\n%s", d)
	}
	if st.Peers != len(m.peers) || st.Time != m.time {
		t.Fatalf("%d peers at %d, model has %d at %d", st.Peers, st.Time, len(m.peers), m.time)
	}
	if got, _ := st.Settings.Value("geo/10.0.0.0/8"); got != m.place {
		t.Fatalf("10.0.0.0/8 is at %q, model has %q", got, m.place)
	}
	m.compareMembers(t, st)
	m.compareRTTs(t, st)
	if o := st.Operation; o.ID != m.operation || o.Running() != m.running || len(st.OperationSteps) != m.steps {
		t.Fatalf("operation %+v after %d steps, model has %x, running %v, %d", o, len(st.OperationSteps), m.operation, m.running, m.steps)
	}
	if byte(st.Cluster.Epoch.Number) != m.restores {
		t.Fatalf("epoch %v, model has %d", st.Cluster.Epoch, m.restores)
	}
	if st.Planet != nil && st.Planet.World.Timestamp != m.planet || st.Planet == nil && m.planet != 0 {
		t.Fatalf("planet %v, model has %d", st.Planet, m.planet)
	}
	operators := map[fsm.KeyHash]fsm.Operator{}
	for _, o := range st.Operators {
		operators[o.KeyHash] = o
	}
	if d := cmp.Diff(m.operators, operators); d != "" {
		t.Fatalf("operators (-model +machine):\n%s", d)
	}
	var want fsm.Backups
	for _, b := range m.backups { // of equals the latest in the log
		if b.Taken >= want.Last.Taken {
			want.Last = b
		}
		if b.Holds >= fsm.HoldsPlanetKey && b.Taken >= want.Key.Taken {
			want.Key = b
		}
	}
	if st.Backups != want {
		t.Fatalf("backups %+v, model has %+v", st.Backups, want)
	}
}
