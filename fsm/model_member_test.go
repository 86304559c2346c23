package fsm_test

import (
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// modelMember is what the model knows of a member.
type modelMember struct {
	epoch         uint16
	name, address string
	key           fsm.KeyHash
	status        fsm.Status
	up, last      int64
	drain         fsm.Drain
	vote          fsm.Vote
	priority      uint8
	listed        bool // the generated planets have its endpoints
	position      geo.Unit
}

// modelToken is what the model knows of a token.
type modelToken struct {
	expires int64
	used    table.MemberID // 0: not yet
	key     fsm.KeyHash
}

// member applies commands about members. In this model a member always has the name and address of the join
// helper, or those of the old kind of member up.
func (m *model) member(c fsm.Command) {
	switch c := c.(type) {
	case *fsm.TokenCreate:
		maps.DeleteFunc(m.tokens, func(_ fsm.TokenID, t modelToken) bool { return m.time-t.expires > 7*86_400_000 && m.time < c.Expires })
		if _, ok := m.tokens[c.ID]; !ok && m.time < c.Expires {
			m.tokens[c.ID] = modelToken{expires: c.Expires}
		}
	case *fsm.TokenRevoke:
		delete(m.tokens, c.ID)
	case *fsm.MemberJoin:
		m.join(c)
	case *fsm.MemberUp:
		m.up(c)
	case *fsm.Health:
		m.health = m.time
		for _, h := range c.Reports {
			if x := m.members[h.Member]; x.status == fsm.StatusUp && x.epoch == h.Epoch {
				x.last = m.time
				m.members[h.Member] = x
			}
		}
	case *fsm.MemberDown:
		if x := m.members[c.ID]; x.status == fsm.StatusUp && x.epoch == c.Epoch && m.over(c, x) {
			x.status = fsm.StatusDown
			x.epoch++
			m.members[c.ID] = x
		}
	case *fsm.MemberSet:
		if x, ok := m.members[c.ID]; ok {
			x.drain = c.Drain
			if c.SetVote {
				x.vote = c.Vote
			}
			if c.SetPriority {
				x.priority = c.Priority
			}
			if c.Position.Known() {
				x.position = c.Position
			}
			m.members[c.ID] = x
		}
	case *fsm.NewEpoch:
		m.restored(c)
	case *fsm.Operate:
		m.operate(c)
	case *fsm.MemberRemove:
		x, ok := m.members[c.ID]
		if ok && len(m.members) > 1 && (c.Force || x.status != fsm.StatusUp) {
			delete(m.members, c.ID)
			m.removed[c.ID] = x.key
		}
	}
}

func (m *model) operate(c *fsm.Operate) {
	switch {
	case c.Phase == fsm.OperationBegin && m.operation != c.ID && !m.running:
		m.operation, m.running = c.ID, true
	case c.Phase == fsm.OperationBegin || !m.running || m.operation != c.ID:
		return
	}
	m.running = c.Phase != fsm.OperationEnd
	m.steps = min(m.steps+1, fsm.MaxOperationSteps)
}

func (m *model) over(c *fsm.MemberDown, x modelMember) bool {
	switch c.Cause {
	case fsm.DownSilent:
		return m.silence(x) >= 30_000
	case fsm.DownStopped:
		return true
	}
	up, say := 0, 0
	for id, o := range m.members {
		if id != c.ID && o.status == fsm.StatusUp {
			up++
			for _, w := range c.Witnesses {
				if w == id {
					say++
				}
			}
		}
	}
	return 2*say > up
}

// restored is what a new epoch makes of the members.
func (m *model) restored(c *fsm.NewEpoch) {
	x, known := m.members[c.ID]
	if _, gone := m.removed[c.ID]; gone || byte(c.Epoch.Number) <= m.restores || m.revoked(c.KeyHash) || known && x.key != c.KeyHash {
		return
	}
	for id, o := range m.members {
		if id != c.ID && o.key == c.KeyHash {
			return
		}
	}
	clear(m.operators)
	for id, o := range m.members {
		if id != c.ID {
			m.removed[id] = o.key
		}
	}
	switch x.status {
	case fsm.StatusNone:
		x.status = fsm.StatusJoining
	case fsm.StatusUp, fsm.StatusDown:
		x.status = fsm.StatusDown
		x.epoch++
	}
	x.name, x.address, x.key, x.last, x.listed = c.Name, c.Address, c.KeyHash, 0, false
	m.members = map[table.MemberID]modelMember{c.ID: x}
	m.running = false
	m.tokens, m.health, m.restores = map[fsm.TokenID]modelToken{}, 0, byte(c.Epoch.Number)
}

func (m *model) silence(x modelMember) int64 { return m.health - max(x.up, x.last) }

func (m *model) join(c *fsm.MemberJoin) {
	t, ok := m.tokens[c.Token]
	if !ok {
		return
	}
	self := c.ID
	if t.used != 0 {
		self = t.used
		if t.key != c.KeyHash || m.members[self].status != fsm.StatusJoining {
			return
		}
	} else if _, gone := m.removed[c.ID]; gone || m.members[c.ID].status != 0 || m.time >= t.expires || m.revoked(c.KeyHash) {
		return
	}
	for id, x := range m.members {
		if id != self && (x.name == c.Name || x.address == c.Address || x.key == c.KeyHash) {
			return
		}
	}
	m.members[self] = modelMember{name: c.Name, address: c.Address, key: c.KeyHash, status: fsm.StatusJoining}
	m.tokens[c.Token] = modelToken{expires: t.expires, used: self, key: c.KeyHash}
}

func (m *model) revoked(k fsm.KeyHash) bool {
	return k != fsm.KeyHash{} && slices.Contains(slices.Collect(maps.Values(m.removed)), k)
}

func (m *model) up(c *fsm.MemberUp) {
	x, known := m.members[c.ID]
	_, gone := m.removed[c.ID]
	if gone || m.revoked(c.KeyHash) || !known && c.Feature != 0 && len(m.members) > 0 {
		return
	}
	for id, other := range m.members {
		if id != c.ID && c.KeyHash != (fsm.KeyHash{}) && other.key == c.KeyHash {
			return
		}
	}
	x.epoch++
	x.name, x.status, x.up, x.last = c.Name, fsm.StatusUp, m.time, 0
	x.listed = slices.Contains(c.Endpoints, listed4)
	if x.drain == fsm.DrainStopping {
		x.drain = fsm.DrainNone
	}
	if c.Feature != 0 {
		x.address, x.key = c.Address, c.KeyHash
	}
	if c.Position.Known() {
		x.position = c.Position
	}
	m.members[c.ID] = x
}

func (m *model) compareMembers(t *rapid.T, st *fsm.State) {
	got := map[table.MemberID]modelMember{}
	for _, x := range st.Members {
		got[x.ID] = modelMember{x.Epoch, x.Name, x.Address, x.KeyHash, x.Status, x.Up, x.LastReport, x.Drain, x.Vote, x.Priority, slices.Contains(x.Endpoints, listed4), x.Position}
		for _, since := range []uint64{x.Planet4, x.Planet6} {
			if want := m.planet; x.Status != fsm.StatusJoining && (since == want) != (m.members[x.ID].listed || want == 0) {
				t.Fatalf("member %d is in the planet of %d, model has %v, %d", x.ID, since, m.members[x.ID].listed, want)
			}
		}
		status := x.Status
		if status == fsm.StatusUp && m.silence(m.members[x.ID]) >= 10_000 {
			status = fsm.StatusSuspect
		}
		if s := st.StatusOf(x.ID); s != status {
			t.Fatalf("member %d is %s, model has %s", x.ID, s, status)
		}
	}
	if d := cmp.Diff(m.members, got, cmp.AllowUnexported(modelMember{})); d != "" {
		t.Fatalf("members (-model +machine):\n%s", d)
	}
	gone := map[table.MemberID]fsm.KeyHash{}
	for _, x := range st.Removed {
		gone[x.ID] = x.KeyHash
	}
	if d := cmp.Diff(m.removed, gone); d != "" {
		t.Fatalf("removed (-model +machine):\n%s", d)
	}
	tokens := map[fsm.TokenID]modelToken{}
	for _, x := range st.Tokens {
		tokens[x.ID] = modelToken{x.Expires, x.Member, x.KeyHash}
	}
	if d := cmp.Diff(m.tokens, tokens, cmp.AllowUnexported(modelToken{})); d != "" {
		t.Fatalf("tokens (-model +machine):\n%s", d)
	}
	if id := st.NextMemberID(); m.members[id].status != 0 || st.IsRemoved(id) {
		t.Fatalf("member ID %d is offered and taken", id)
	}
}
