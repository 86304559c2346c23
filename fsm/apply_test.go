package fsm_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

var (
	ep1 = netip.MustParseAddrPort("192.0.2.1:9993")
	ep2 = netip.MustParseAddrPort("192.0.2.2:9993")
)

func TestFirstValidatedIdentityWins(t *testing.T) {
	m := newMachine(t)
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1), Member: 1, Epoch: 1, V4: ep1}})
	m.must(fsm.Changes{
		{Address: 5, HasKey: true, Key: key(2), Member: 1, Epoch: 1, V4: ep2},
		{Address: 5, Key: vl1.PublicKey{2, 1}, Member: 1, Epoch: 1, V4: ep2},
	})
	if r := m.peer(5); r.Key != key(1) || r.V4 != ep1 {
		t.Errorf("the later identity got through: %+v", r)
	}
	if n := m.View().State().Counters.Collisions; n != 2 {
		t.Errorf("%d collisions counted, want 2", n)
	}
}

func TestAnotherLifeOfAMemberMakesItsAttachmentsStale(t *testing.T) {
	m := newMachine(t)
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1), Member: 1, Epoch: 1, V4: ep1}})
	r := m.peer(5)
	if id, ok := m.View().State().Attached(&r, false); id != 1 || !ok {
		t.Fatalf("attached to %d, %v", id, ok)
	}
	if resp := m.must(&fsm.MemberUp{ID: 1, Name: "ams"}); resp.Epoch != 2 {
		t.Fatalf("epoch %d, want 2", resp.Epoch)
	}
	if id, ok := m.View().State().Attached(&r, false); id != 1 || ok {
		t.Errorf("still attached to the old life: %d, %v", id, ok)
	}
	// What the old life proposed arrives late: the peer is alive, but not there.
	m.now += 5000
	m.must(fsm.Changes{{Address: 5, Key: key(1), Member: 1, Epoch: 1, V4: ep2}})
	if late := m.peer(5); late.V4 != ep1 || late.LastSeen != r.LastSeen+5 {
		t.Errorf("late change of an old life: %+v", late)
	}
}

func TestExpirySparesWhoWasSeenMeanwhile(t *testing.T) {
	m := newMachine(t)
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1)}, {Address: 6, HasKey: true, Key: key(1)}})
	cutoff := m.peer(5).LastSeen + 1
	m.must(&fsm.Expire{Cutoff: cutoff - 1, Addresses: []vl1.Address{5}}) // seen at the cutoff, not before
	m.now += 10_000
	m.must(&fsm.KeepAlive{Addresses: []vl1.Address{6, 7}})
	m.must(&fsm.Expire{Cutoff: cutoff, Addresses: []vl1.Address{5, 6, 7}})
	st := m.View().State()
	var r table.Record
	if st.Peer(5, &r) || !st.Peer(6, &r) || st.Peers != 1 {
		t.Errorf("peers: %d", st.Peers)
	}
	if st.Counters.Expired != 1 || st.Counters.Spared != 2 {
		t.Errorf("%+v", st.Counters)
	}
}

func TestPlanets(t *testing.T) {
	k, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	world := func(id, ts uint64, by *vl1.SigningKey) []byte {
		w := vl1.World{Type: vl1.WorldPlanet, ID: id, Timestamp: ts, UpdateKey: k.Public()}
		w.Sign(by)
		return w.AppendBinary(nil)
	}
	m := newMachine(t)
	moon := vl1.World{Type: vl1.WorldMoon, ID: 1, Timestamp: 1}
	for _, step := range []struct {
		name string
		raw  []byte
		ok   bool
	}{
		{"nonsense", []byte{1, 2, 3}, false},
		{"a moon", moon.AppendBinary(nil), false},
		{"the first", world(1, 10, k), true},
		{"older", world(1, 9, k), false},
		{"another ID", world(2, 11, k), false},
		{"signed by another key", world(1, 11, other), false},
		{"bytes after it", append(world(1, 11, k), 0), false},
		{"newer", world(1, 12, k), true},
	} {
		if r := m.do(&fsm.PublishPlanet{World: step.raw}); (r.Err == nil) != step.ok || r.Err != nil && !errors.Is(r.Err, fsm.ErrPlanet) {
			t.Errorf("%s: %v", step.name, r.Err)
		}
	}
	if p := m.View().State().Planet; p.World.Timestamp != 12 || len(p.FingerprintString()) != 64 {
		t.Errorf("%+v", p)
	}
}

func TestSettings(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		key, value, want string
		ok               bool
	}{
		{"peer_expiry", "36h", "36h0m0s", true},
		{"peer_expiry", "1s", "36h0m0s", false},
		{"peer_expiry", "soon", "36h0m0s", false},
		{"peer_expiry", "", "720h0m0s", true},
		{"max_peers", "0", "50000000", false},
		{"max_peers", "12", "12", true},
		{"colour", "red", "", false},
	} {
		r := m.do(&fsm.Set{Key: c.key, Value: c.value})
		s := m.View().State().Settings
		if got, _ := s.Value(c.key); (r.Err == nil) != c.ok || got != c.want {
			t.Errorf("%s = %q: got %q, error %v", c.key, c.value, got, r.Err)
		}
	}
}

func TestOnlyOneBootstrap(t *testing.T) {
	m := &machine{FSM: newFSM(t), t: t, now: began}
	if r := m.do(&fsm.KeepAlive{Addresses: []vl1.Address{1}}); !errors.Is(r.Err, fsm.ErrNotBootstrapped) {
		t.Errorf("before: %v", r.Err)
	}
	m.must(bootstrap())
	if r := m.do(bootstrap()); !errors.Is(r.Err, fsm.ErrBootstrapped) {
		t.Errorf("second: %v", r.Err)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	m := newMachine(t)
	m.now += 60_000
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1)}})
	seen := m.peer(5).LastSeen
	m.now -= 50_000
	m.must(&fsm.KeepAlive{Addresses: []vl1.Address{5}})
	if r := m.peer(5); r.LastSeen != seen || m.View().State().Time != m.now+50_000 {
		t.Errorf("last seen %d, was %d; time %d", r.LastSeen, seen, m.View().State().Time)
	}
}

// What this binary cannot read is never skipped: it halts, serves on, and takes no snapshot that would hide it.
func TestHaltsAtWhatItCannotRead(t *testing.T) {
	good := entry(t, &fsm.KeepAlive{Addresses: []vl1.Address{5}}, began)
	damaged := append([]byte(nil), good...)
	damaged[12] ^= 4
	for name, data := range map[string][]byte{
		"newer kind": seal(append([]byte{1, 200}, good[2:len(good)-4]...)),
		"damaged":    damaged,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1)}})
			before, index := m.Hash(), m.index
			m.Apply(&raft.Log{Index: index + 1, Type: raft.LogCommand, Data: data})
			m.index++
			if r := m.do(&fsm.Expire{Cutoff: 1 << 31, Addresses: []vl1.Address{5}}); !errors.Is(r.Err, fsm.ErrHalted) {
				t.Errorf("went on: %v", r.Err)
			}
			st := m.View().State()
			if st.Halted == "" || st.Index != index || m.Hash() != before {
				t.Errorf("halted %q at %d, want index %d and an unchanged state", st.Halted, st.Index, index)
			}
			if _, err := m.Snapshot(); !errors.Is(err, fsm.ErrHalted) {
				t.Errorf("snapshot: %v", err)
			}
		})
	}
}

func TestConfigurationReachesTheState(t *testing.T) {
	m := newMachine(t)
	m.index++
	m.StoreConfiguration(m.index, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "b"}, {ID: "c", Suffrage: raft.Nonvoter}}})
	v := m.View().State().Voters
	if v.Index != m.index || len(v.Servers) != 2 || !v.Servers[0].Voter || v.Servers[1].Voter {
		t.Errorf("%+v", v)
	}
}

// The hash is part of the format: members of different versions compare it.
func TestHashStaysTheSame(t *testing.T) {
	m := newMachine(t)
	m.must(fsm.Changes{
		{Address: 5, HasKey: true, Key: key(1), Member: 1, Epoch: 1, V4: ep1, V6: netip.MustParseAddrPort("[2001:db8::1]:7"), Protocol: 11, Planet: 8},
		{Address: 6, HasKey: true, Key: key(2)},
	})
	const want = "b0c95a9c8311ed2e9c2dc4d4efc74520703be78ed6272837c77e657f4a51c46b"
	if got := m.Hash().String(); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}
