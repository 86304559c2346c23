package fsm_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// newCluster returns a machine with member 1 up and tokens for members 2 to 5.
func newCluster(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	for id := table.MemberID(2); id <= 5; id++ {
		m.must(token(id, m.now))
	}
	return m
}

// admit makes member id join and be up.
func (m *machine) admit(id table.MemberID) {
	m.t.Helper()
	j := join(id)
	m.must(j)
	m.must(&fsm.MemberUp{ID: id, Name: j.Name, Address: j.Address, Endpoints: j.Endpoints, KeyHash: j.KeyHash, Feature: j.Feature})
}

// report is a health entry of the members, in their current epochs.
func (m *machine) report(ids ...table.MemberID) {
	m.t.Helper()
	h := new(fsm.Health)
	for _, id := range ids {
		mem, _ := m.View().State().Member(id)
		h.Reports = append(h.Reports, fsm.HealthReport{Member: id, Epoch: mem.Epoch})
	}
	m.must(h)
}

func (m *machine) status(id table.MemberID) fsm.Status { return m.View().State().StatusOf(id) }

func TestJoin(t *testing.T) {
	m := newCluster(t)
	m.admit(2)
	m.must(join(3))
	if got := m.status(3); got != fsm.StatusJoining {
		t.Fatalf("status %s", got)
	}
	for _, c := range []struct {
		name   string
		change func(j *fsm.MemberJoin)
		want   error
		id     table.MemberID
	}{
		{"unknown token", func(j *fsm.MemberJoin) { j.Token[7]++ }, fsm.ErrTokenUnknown, 0},
		{"used token, another key", func(j *fsm.MemberJoin) { j.Token = fsm.TokenID{3} }, fsm.ErrTokenUsed, 0},
		{"ID taken", func(j *fsm.MemberJoin) { j.ID = 3 }, fsm.ErrMemberID, 0},
		{"name taken", func(j *fsm.MemberJoin) { j.Name = "m2" }, fsm.ErrMemberName, 0},
		{"address taken", func(j *fsm.MemberJoin) { j.Address = join(3).Address }, fsm.ErrMemberAddress, 0},
		{"endpoint taken", func(j *fsm.MemberJoin) { j.Endpoints = append(j.Endpoints, join(2).Endpoints...) }, fsm.ErrMemberEndpoint, 0},
		{"key taken", func(j *fsm.MemberJoin) { j.KeyHash = join(2).KeyHash }, fsm.ErrMemberKey, 0},
		{"run again, another ID", func(j *fsm.MemberJoin) { *j = *join(3); j.ID = 9 }, nil, 3},
		{"run again, another name", func(j *fsm.MemberJoin) { *j = *join(3); j.Name = "other" }, nil, 3},
		{"run again, name taken", func(j *fsm.MemberJoin) { *j = *join(3); j.Name = "m2" }, fsm.ErrMemberName, 0},
		{"run again when up", func(j *fsm.MemberJoin) { *j = *join(2); j.Name = "other" }, nil, 2},
		{"the right one", func(*fsm.MemberJoin) {}, nil, 4},
	} {
		j := join(4)
		c.change(j)
		_, dry := m.View().State().CheckJoin(j, m.now)
		r := m.do(j)
		if !errors.Is(r.Err, c.want) || !errors.Is(dry, c.want) || r.Err == nil && r.Member != c.id {
			t.Errorf("%s: member %d, %v (beforehand: %v)", c.name, r.Member, r.Err, dry)
		}
	}
	st := m.View().State()
	if m2, _ := st.Member(2); m2.Name != "m2" || m2.Epoch != 1 {
		t.Errorf("a rerun changed a member that is up: %+v", m2)
	}
	if m3, _ := st.Member(3); m3.Name != "other" || m3.Epoch != 0 || len(st.Members) != 4 {
		t.Errorf("%+v", st.Members)
	}
	m.now += 3_600_000
	if r := m.do(join(5)); !errors.Is(r.Err, fsm.ErrTokenExpired) {
		t.Errorf("expired: %v", r.Err)
	}
	if r := m.must(join(3)); r.Member != 3 {
		t.Errorf("run again after the token has expired: member %d", r.Member)
	}
}

func TestTokens(t *testing.T) {
	m := newCluster(t)
	good := token(2, began)
	m.must(good) // again
	other := *good
	other.SecretHash[9]++
	late := token(9, m.now-3_600_000)
	for _, c := range []struct {
		name string
		cmd  fsm.Command
		want error
	}{
		{"the same ID", &other, fsm.ErrTokenExists},
		{"expired already", late, fsm.ErrTokenExpired},
		{"revoke", &fsm.TokenRevoke{ID: fsm.TokenID{5}}, nil},
		{"revoke again", &fsm.TokenRevoke{ID: fsm.TokenID{5}}, fsm.ErrTokenUnknown},
	} {
		if r := m.do(c.cmd); !errors.Is(r.Err, c.want) {
			t.Errorf("%s: %v", c.name, r.Err)
		}
	}
	m.must(join(3))
	st := m.View().State()
	for _, c := range []struct {
		name   string
		id     byte
		secret [32]byte
		now    int64
		want   error
	}{
		{"good", 2, good.SecretHash, m.now, nil},
		{"wrong secret", 2, other.SecretHash, m.now, fsm.ErrTokenSecret},
		{"at its expiry", 2, good.SecretHash, good.Expires, fsm.ErrTokenExpired},
		{"revoked", 5, token(5, 0).SecretHash, m.now, fsm.ErrTokenUnknown},
		{"used", 3, token(3, 0).SecretHash, m.now, fsm.ErrTokenUsed},
	} {
		if err := st.TokenValid(fsm.TokenID{c.id}, c.secret, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A week after their expiry, a new token makes the old ones forgotten.
	m.now += (7*24 + 1) * 3_600_000
	m.must(token(8, m.now))
	if n := len(m.View().State().Tokens); n != 4 {
		t.Errorf("%d tokens, want the 3 old ones and the new one", n)
	}
	m.now++
	m.must(token(9, m.now))
	if n := len(m.View().State().Tokens); n != 2 {
		t.Errorf("%d tokens, want the 2 new ones", n)
	}
}

func TestTokensAreBounded(t *testing.T) {
	m := newMachine(t)
	for i := range fsm.MaxTokens {
		m.must(&fsm.TokenCreate{ID: fsm.TokenID{1, byte(i >> 8), byte(i)}, Expires: m.now + 1})
	}
	if r := m.do(token(2, m.now)); !errors.Is(r.Err, fsm.ErrTokensFull) {
		t.Errorf("error %v", r.Err)
	}
}

// A member is lost when more than half of the others that are up say so, and down when it says so itself.
func TestLostOrStopped(t *testing.T) {
	m := newCluster(t)
	for id := table.MemberID(2); id <= 5; id++ {
		m.admit(id)
	}
	for _, c := range []struct {
		down fsm.MemberDown
		err  error
	}{
		{fsm.MemberDown{ID: 2, Epoch: 1, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 3}}, fsm.ErrMemberAlive},
		{fsm.MemberDown{ID: 2, Epoch: 1, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 3, 77}}, fsm.ErrMemberAlive},
		{fsm.MemberDown{ID: 2, Epoch: 2, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 3, 4}}, fsm.ErrEpoch},
		{fsm.MemberDown{ID: 2, Epoch: 1, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 3, 4}}, nil},
		// Who is down is no witness, and is not needed as one.
		{fsm.MemberDown{ID: 3, Epoch: 1, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 2}}, fsm.ErrMemberAlive},
		{fsm.MemberDown{ID: 3, Epoch: 1, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 5}}, nil},
		{fsm.MemberDown{ID: 4, Epoch: 1, Cause: fsm.DownStopped}, nil},
		{fsm.MemberDown{ID: 4, Epoch: 1, Cause: fsm.DownStopped}, fsm.ErrEpoch},
	} {
		if r := m.do(&c.down); !errors.Is(r.Err, c.err) {
			t.Errorf("%+v: %v, want %v", c.down, r.Err, c.err)
		}
	}
	for id, want := range map[table.MemberID]fsm.Status{1: fsm.StatusUp, 2: fsm.StatusDown, 3: fsm.StatusDown, 4: fsm.StatusDown, 5: fsm.StatusUp} {
		if s := m.status(id); s != want {
			t.Errorf("member %d is %s, want %s", id, s, want)
		}
	}
}

// Silence counts only while someone listens: it is measured at the health entries.
func TestSuspectThenDown(t *testing.T) {
	m := newCluster(t)
	m.admit(2)
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1), Member: 2, Epoch: 1, V4: ep1}})
	m.now += 60_000
	m.must(&fsm.Set{Key: "max_peers"}) // time passes, and nobody collects reports
	if s := m.status(2); s != fsm.StatusUp {
		t.Fatalf("status %s without any health entry", s)
	}
	m.report(1, 2)
	down := &fsm.MemberDown{ID: 2, Epoch: 1}
	for _, c := range []struct {
		after int64
		want  fsm.Status
		down  error
	}{
		{9_999, fsm.StatusUp, fsm.ErrMemberAlive}, {1, fsm.StatusSuspect, fsm.ErrMemberAlive}, {19_999, fsm.StatusSuspect, fsm.ErrMemberAlive}, {1, fsm.StatusSuspect, nil},
	} {
		m.now += c.after
		m.report(1)
		if s := m.status(2); s != c.want || m.status(1) != fsm.StatusUp {
			t.Errorf("status %s, want %s", s, c.want)
		}
		if r := m.do(down); !errors.Is(r.Err, c.down) {
			t.Errorf("down: %v, want %v", r.Err, c.down)
		}
	}
	st := m.View().State()
	r := m.peer(5)
	if _, ok := st.Attached(&r, false); ok || m.status(2) != fsm.StatusDown {
		t.Errorf("attached to a member that is %s", m.status(2))
	}
	if r := m.do(down); !errors.Is(r.Err, fsm.ErrEpoch) {
		t.Errorf("down twice: %v", r.Err)
	}
	// What it still says of its old life counts no more, until it is up again.
	m.must(&fsm.Health{Reports: []fsm.HealthReport{{Member: 2, Epoch: 1}, {Member: 9, Epoch: 1}}})
	if mem, _ := m.View().State().Member(2); mem.Status != fsm.StatusDown || mem.LastReport == m.now {
		t.Errorf("a report of the old life counts: %+v", mem)
	}
	if r := m.must(&fsm.MemberUp{ID: 2, Name: "m2", KeyHash: fsm.KeyHash{2}}); r.Epoch != 3 || m.status(2) != fsm.StatusUp {
		t.Errorf("epoch %d, %s", r.Epoch, m.status(2))
	}
	if mem, _ := m.View().State().Member(2); mem.Address != join(2).Address || mem.Health != nil || mem.LastReport != 0 {
		t.Errorf("%+v", mem)
	}
}

func TestRemove(t *testing.T) {
	m := newCluster(t)
	if r := m.do(&fsm.MemberRemove{ID: 1, Force: true}); !errors.Is(r.Err, fsm.ErrLastMember) {
		t.Errorf("the last one: %v", r.Err)
	}
	m.admit(2)
	m.must(join(3))
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1), Member: 2, Epoch: 1, V4: ep1}})
	for _, c := range []struct {
		name string
		cmd  fsm.Command
		want error
	}{
		{"unknown", &fsm.MemberRemove{ID: 9}, fsm.ErrMemberUnknown},
		{"alive", &fsm.MemberRemove{ID: 2}, fsm.ErrMemberAlive},
		{"joining", &fsm.MemberRemove{ID: 3}, nil},
		{"forced", &fsm.MemberRemove{ID: 2, Force: true}, nil},
		{"again", &fsm.MemberRemove{ID: 2}, nil},
		{"up again", &fsm.MemberUp{ID: 2, Name: "m2"}, fsm.ErrMemberRemoved},
		{"up with its key", &fsm.MemberUp{ID: 1, Name: "m1", KeyHash: fsm.KeyHash{2}}, fsm.ErrMemberRemoved},
		{"join again", join(2), fsm.ErrMemberRemoved},
		{"join with its key", &fsm.MemberJoin{ID: 8, Name: "x", Address: "x:1", KeyHash: fsm.KeyHash{2}, Token: fsm.TokenID{4}}, fsm.ErrMemberRemoved},
		{"join with its ID", &fsm.MemberJoin{ID: 2, Name: "x", Address: "x:1", KeyHash: fsm.KeyHash{8}, Token: fsm.TokenID{4}}, fsm.ErrMemberID},
		{"never joined", &fsm.MemberUp{ID: 7, Name: "m7", Feature: 1}, fsm.ErrMemberUnknown},
		{"a key of another", &fsm.MemberUp{ID: 1, Name: "m1", KeyHash: fsm.KeyHash{1}}, nil},
	} {
		if r := m.do(c.cmd); !errors.Is(r.Err, c.want) {
			t.Errorf("%s: %v", c.name, r.Err)
		}
	}
	st := m.View().State()
	r := m.peer(5)
	if _, ok := st.Attached(&r, false); ok {
		t.Error("still attached to a removed member")
	}
	if !st.IsRemoved(2) || !st.IsRemoved(3) || st.IsRemoved(1) || !st.IsRevoked(fsm.KeyHash{2}) || st.IsRevoked(fsm.KeyHash{}) {
		t.Errorf("%+v", st.Removed)
	}
	if id := st.NextMemberID(); id != 4 {
		t.Errorf("next ID %d: one that was removed must not come back", id)
	}
	if mem, ok := st.MemberByKeyHash(fsm.KeyHash{1}); !ok || mem.ID != 1 {
		t.Error("member 1 is not found by its key")
	}
	if _, ok := st.MemberByKeyHash(fsm.KeyHash{}); ok {
		t.Error("no key finds a member")
	}
}

func TestMemberIDsAtTheEnd(t *testing.T) {
	m := newCluster(t)
	j := join(2)
	j.ID = 65535
	m.must(j)
	if id := m.View().State().NextMemberID(); id != 2 {
		t.Errorf("next ID %d, want the first gap", id)
	}
}

func TestEpochsGoRound(t *testing.T) {
	m := newMachine(t)
	for range 65534 {
		m.must(&fsm.MemberUp{ID: 1, Name: "ams"})
	}
	if r := m.must(&fsm.MemberUp{ID: 1, Name: "ams"}); r.Epoch != 1 {
		t.Errorf("epoch %d after 65535, want 1", r.Epoch)
	}
}

func TestFeatureIsWhatAllKnow(t *testing.T) {
	m := newCluster(t)
	m.must(&fsm.MemberUp{ID: 1, Name: "m1", Feature: 3})
	m.admit(2)
	if f := m.View().State().Feature(); f != 1 {
		t.Errorf("feature %d, want 1", f)
	}
}

func TestReachable(t *testing.T) {
	m := newCluster(t)
	m.admit(2)
	m.admit(3)
	m.must(&fsm.Health{Reports: []fsm.HealthReport{
		{Member: 1, Epoch: 1, Probes: []fsm.Probe{{Member: 3, Asked: 3, Answered: 1}}},
		{Member: 2, Epoch: 1, Probes: []fsm.Probe{{Member: 1, Asked: 8}, {Member: 3, Asked: 7, Answered: 4}}},
	}})
	if asked, answered := m.View().State().Reachable(3); asked != 7 || answered != 5 {
		t.Errorf("asked %b, answered %b", asked, answered)
	}
}

func TestMemberSettings(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{"member_down_after", "8s", false}, // not after suspect
		{"member_suspect_after", "5s", true},
		{"member_down_after", "8s", true},
		{"member_suspect_after", "", false},
		{"voters", "10", false},
		{"voters", "3", true},
	} {
		if r := m.do(&fsm.Set{Key: c.key, Value: c.value}); (r.Err == nil) != c.ok || r.Err != nil && !errors.Is(r.Err, fsm.ErrSetting) {
			t.Errorf("%s = %q: %v", c.key, c.value, r.Err)
		}
	}
	other := newFSM(t)
	if err := restore(other, snapshotOf(t, m.FSM)); err != nil {
		t.Fatal(err)
	}
	if s := other.View().State().Settings; s.MemberSuspectAfter != 5*time.Second || s.MemberDownAfter != 8*time.Second || s.Voters != 3 {
		t.Errorf("%+v", s)
	}
}

func TestWorstRTT(t *testing.T) {
	m := newCluster(t)
	m.admit(2)
	m.must(&fsm.Health{Reports: []fsm.HealthReport{
		{Member: 1, Epoch: 1, Probes: []fsm.Probe{{Member: 2, RTT: 80_000}, {Member: 9, RTT: 900_000}}},
		{Member: 2, Epoch: 1, Probes: []fsm.Probe{{Member: 1, RTT: 70_000}}},
	}})
	if rtt := m.View().State().WorstRTT(); rtt != 80*time.Millisecond {
		t.Errorf("%v", rtt)
	}
}

// The feature level goes up when everybody understands it, never down, and nobody older may begin a life then.
func TestFeatureLevel(t *testing.T) {
	m := newCluster(t)
	up := func(id table.MemberID, feature uint16) *fsm.MemberUp {
		j := join(id)
		return &fsm.MemberUp{ID: id, Name: j.Name, Address: j.Address, Endpoints: j.Endpoints, KeyHash: j.KeyHash, Feature: feature}
	}
	m.admit(2)
	for i, c := range []struct {
		cmd  fsm.Command
		err  error
		want uint16
	}{
		{up(2, 1), nil, 1},
		{&fsm.Set{Key: "feature_level", Value: "2"}, fsm.ErrFeature, 1},
		{up(2, 3), nil, 1},
		{&fsm.Set{Key: "feature_level", Value: "4"}, fsm.ErrFeature, 1},
		{&fsm.Set{Key: "feature_level", Value: "2"}, nil, 2},
		{&fsm.Set{Key: "feature_level", Value: "1"}, fsm.ErrFeature, 2},
		{&fsm.Set{Key: "feature_level"}, fsm.ErrFeature, 2},
		{up(2, 1), fsm.ErrFeature, 2},
		{up(2, 2), nil, 2},
	} {
		if r := m.do(c.cmd); !errors.Is(r.Err, c.err) {
			t.Errorf("step %d: %v, want %v", i, r.Err, c.err)
		}
		if got := m.View().State().Feature(); got != c.want {
			t.Errorf("step %d: feature level %d, want %d", i, got, c.want)
		}
	}
	late := join(3)
	late.Token, late.Feature = fsm.TokenID{9}, 1
	m.must(token(9, m.now+60_000))
	if r := m.do(late); !errors.Is(r.Err, fsm.ErrFeature) {
		t.Errorf("an old member joins: %v", r.Err)
	}
}
