package fsm_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// filled returns a machine with n peers, one planet and a setting.
func filled(t testing.TB, n int) *machine {
	m := newMachine(t)
	w := vl1.World{Type: vl1.WorldPlanet, ID: 7, Timestamp: 8}
	m.must(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
	m.must(&fsm.Set{Key: "peer_expiry", Value: "48h"})
	for i := 0; i < n; i += fsm.MaxChanges {
		m.must(newPeers(i, min(fsm.MaxChanges, n-i)))
	}
	return m
}

// latest is filled, and writes the latest format.
func latest(t testing.TB, n int) *machine {
	m := filled(t, n)
	m.must(&fsm.Set{Key: "feature_level", Value: "2"})
	return m
}

// newPeers makes n peers known from the i-th on.
func newPeers(i, n int) fsm.Changes {
	cs := make(fsm.Changes, n)
	for j := range cs {
		c := &cs[j]
		*c = fsm.Change{Address: address(i + j), HasKey: true, Member: 1, Epoch: 1, V4: ep1}
		binary.BigEndian.PutUint64(c.Key[8:], uint64(i+j))
	}
	return cs
}

func address(i int) vl1.Address { return vl1.Address(uint64(i+1)*0x9e3779b9&0x7fffffffff | 1<<38) }

func TestDamagedSnapshotIsRefused(t *testing.T) {
	m := filled(t, 9000) // two blocks of peers
	m.must(token(2, m.now))
	m.must(join(2))
	good := snapshotOf(t, m.FSM)
	target := filled(t, 3)
	before := target.Hash()
	refused := func(name string, b []byte, want ...error) {
		t.Helper()
		err := restore(target.FSM, b)
		ok := false
		for _, w := range want {
			ok = ok || errors.Is(err, w)
		}
		if !ok {
			t.Errorf("%s: %v", name, err)
		}
		var r table.Record
		if target.Hash() != before || !target.View().Peer(address(1), &r) {
			t.Fatalf("%s: the old state is gone", name)
		}
	}
	for _, n := range []int{0, 7, 29, 30, 34, 200, len(good) / 2, len(good) - 1} {
		refused("cut off", good[:n], fsm.ErrDamaged)
	}
	for at := 0; at < len(good); at += 1 + len(good)/211 {
		b := bytes.Clone(good)
		b[at] ^= 0x10
		refused("one bit flipped", b, fsm.ErrDamaged)
	}
	refused("bytes after the end", append(bytes.Clone(good), 0), fsm.ErrDamaged)

	newer := bytes.Clone(good)
	newer[9] = 5
	binary.BigEndian.PutUint32(newer[26:], checksum(newer[:26]))
	refused("newer version", newer, fsm.ErrTooNew)

	// A record changed by someone who also repairs the checksum of its block: the state hash tells.
	const peers = 30
	meta := int(binary.BigEndian.Uint32(good[peers+1:])) + 9
	forged := bytes.Clone(good)
	block := forged[peers+meta:]
	size := 5 + int(binary.BigEndian.Uint32(block[1:]))
	block[5+20] ^= 1
	binary.BigEndian.PutUint32(block[size:], checksum(block[:size]))
	refused("forged record", forged, fsm.ErrDamaged)

	if err := restore(target.FSM, good); err != nil || target.Hash() != m.Hash() {
		t.Errorf("the good one: %v", err)
	}
}

// populated returns a machine that has everything that only a cluster has.
func populated(t testing.TB) *machine {
	m := newCluster(t)
	for id := table.MemberID(2); id <= 4; id++ {
		m.admit(id)
	}
	m.must(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1}, {Member: 2, Epoch: 1, Load: 7, Probes: []fsm.Probe{{Member: 1, Asked: 1}}}}})
	m.must(&fsm.MemberRemove{ID: 3, Force: true})
	m.must(join(5))
	return m
}

// What the first version of rootd wrote means today what it meant then.
func TestVersion1(t *testing.T) {
	text, err := os.ReadFile("testdata/log-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := os.ReadFile("testdata/snapshot-v1.bin")
	if err != nil {
		t.Fatal(err)
	}
	replayed, restored := newFSM(t), newFSM(t)
	index := uint64(0)
	for line := range strings.FieldsSeq(string(text)) {
		data, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		e, err := fsm.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := fsm.Encode(e.Command)
		if err != nil {
			t.Fatal(err)
		}
		if fsm.Stamp(again, e.Time); !bytes.Equal(again, data) {
			t.Errorf("%T is written in another way today", e.Command)
		}
		index++
		replayed.Apply(&raft.Log{Index: index, Type: raft.LogCommand, Data: data})
	}
	replayed.StoreConfiguration(index+1, raft.Configuration{Servers: []raft.Server{{ID: "1", Address: "1"}}})
	if err := restore(restored, snap); err != nil {
		t.Fatal(err)
	}
	if replayed.Hash() != restored.Hash() || restored.View().State().Peers != 2 {
		t.Error("the snapshot means something else than the log")
	}
	if mem, ok := restored.View().State().Member(1); !ok || mem.Status != fsm.StatusUp || mem.Epoch != 2 {
		t.Errorf("%+v", mem)
	}
	damaged(t, snap)
}

// A snapshot of version 3, of the state that today's machine has after the same commands, is read although records were hashed otherwise,
// and written, byte by byte, until the cluster uses the level that has another.
func TestVersion3(t *testing.T) {
	snap, err := os.ReadFile("testdata/snapshot-v3.bin")
	if err != nil {
		t.Fatal(err)
	}
	m := moving(t)
	m.step(fsm.HandoffBegin, true, 1, 2)
	m.must(newPeers(0, 3))
	restored := newFSM(t)
	if err := restore(restored, snap); err != nil {
		t.Fatal(err)
	}
	if restored.Hash() != m.Hash() {
		t.Error("the snapshot means something else than the commands")
	}
	rd, err := fsm.NewReader(bytes.NewReader(snap))
	if err != nil {
		t.Fatal(err)
	}
	if err := rd.Peers(func(*table.Record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	const want = "bb2696498bcd69da2234666a326dc56194f589635ad3412fae294ca22228cce5"
	if got := rd.Hash().String(); rd.Format() != 3 || got != want || rd.State().Hash() != m.Hash() {
		t.Errorf("version %d, hash %s, want %s", rd.Format(), got, want)
	}
	damaged(t, snap)

	hash := func(m *fsm.FSM) string {
		f, err := m.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Release()
		return f.Hash().String()
	}
	if again := snapshotOf(t, restored); !bytes.Equal(again, snap) || formatOf(t, restored) != 3 || hash(restored) != want {
		t.Errorf("version %d, hash %s: written otherwise", formatOf(t, restored), hash(restored))
	}
	m.must(&fsm.MemberUp{ID: 1, Name: "m1", Feature: 2})
	for id := table.MemberID(2); id <= 3; id++ {
		j := join(id)
		m.must(&fsm.MemberUp{ID: id, Name: j.Name, Address: j.Address, Endpoints: j.Endpoints, KeyHash: j.KeyHash, Feature: 2})
	}
	m.must(&fsm.Set{Key: "feature_level", Value: "2"})
	if b := snapshotOf(t, m.FSM); b[9] != 4 || formatOf(t, m.FSM) != 4 || hash(m.FSM) != m.Hash().String() {
		t.Errorf("version %d, hash %s with level 2", b[9], hash(m.FSM))
	} else if err := restore(restored, b); err != nil || restored.Hash() != m.Hash() {
		t.Errorf("%v: hash %s, want %s", err, restored.Hash(), m.Hash())
	}
}

func formatOf(t *testing.T, m *fsm.FSM) int {
	t.Helper()
	f, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	return f.Format()
}

// damaged checks that damage of a snapshot is found.
func damaged(t *testing.T, snap []byte) {
	t.Helper()
	for at := range snap {
		b := bytes.Clone(snap)
		b[at] ^= 1
		if err := restore(newFSM(t), b); err == nil {
			t.Errorf("bit flipped at %d of %d", at, len(snap))
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(snapshotOf(f, filled(f, 3).FSM))
	f.Add(snapshotOf(f, newFSM(f)))
	f.Add(snapshotOf(f, populated(f).FSM))
	old, err := os.ReadFile("testdata/snapshot-v1.bin")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old)
	if old, err = os.ReadFile("testdata/snapshot-v3.bin"); err != nil {
		f.Fatal(err)
	}
	f.Add(old)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 30 {
			binary.BigEndian.PutUint64(b[18:], binary.BigEndian.Uint64(b[18:])%100)
			binary.BigEndian.PutUint32(b[26:], checksum(b[:26]))
		}
		m := newFSM(t)
		if err := restore(m, b); err == nil && int(b[9]) == formatOf(t, m) && !bytes.Equal(snapshotOf(t, m), b) {
			t.Error("two snapshots of one state")
		}
	})
}

func TestSnapshotWhileApplying(t *testing.T) {
	m := filled(t, 20_000)
	want := m.Hash()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink memSink
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Persist(&sink); err != nil {
			t.Error(err)
		}
		s.Release()
	})
	for i := range 20 {
		m.now += 1000
		m.must(newPeers(20_000+i*500, 500))
		m.must(&fsm.KeepAlive{Addresses: []vl1.Address{address(0)}})
	}
	wg.Wait()
	other := newFSM(t)
	if err := restore(other, sink.Bytes()); err != nil {
		t.Fatal(err)
	}
	if other.Hash() != want {
		t.Error("later entries leaked into the snapshot")
	}
}

func TestFailedWriteCancels(t *testing.T) {
	s, err := filled(t, 10).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	sink := &fullSink{}
	if err := s.Persist(sink); !errors.Is(err, errFull) || !sink.cancelled {
		t.Errorf("error %v, cancelled %v", err, sink.cancelled)
	}
}

var errFull = errors.New("no space left on device")

type fullSink struct{ memSink }

func (*fullSink) Write([]byte) (int, error) { return 0, errFull }

// A member that lags gets a snapshot while it serves: whoever reads finds every peer at every moment.
func TestRestoreWhileReading(t *testing.T) {
	const peers = 20_000
	m := filled(t, peers)
	b := snapshotOf(t, m.FSM)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var r table.Record
			st := m.View().State() // held, as a worker holds it for a batch, and longer
			for i := 0; ; i = (i + 7) % peers {
				select {
				case <-stop:
					return
				default:
				}
				if !m.View().Peer(address(i), &r) || !st.Peer(address(i), &r) {
					t.Errorf("peer %d is not found", i)
					return
				}
			}
		})
	}
	for range 5 {
		if err := restore(m.FSM, b); err != nil {
			t.Error(err)
		}
	}
	if err := restore(m.FSM, b[:len(b)-9]); err == nil {
		t.Error("restored half a snapshot")
	}
	close(stop)
	wg.Wait()
}
