package fsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rootd/rootd/fsm/table"
)

// Refusals of entries about members.
var (
	ErrMemberUnknown = errors.New("there is no such member")
	ErrMemberAlive   = errors.New("the member is alive")
	ErrLastMember    = errors.New("it is the last member")
	ErrEpoch         = errors.New("it is not the current epoch of the member")
)

// setMember adds or replaces a member. Readers keep the slice that they have.
func (f *FSM) setMember(m *Member) {
	members := slices.Clone(f.st.Members)
	i, ok := memberIndex(members, m.ID)
	if ok {
		members[i] = *m
	} else {
		members = slices.Insert(members, i, *m)
	}
	f.st.Members = members
}

func nextEpoch(e uint16) uint16 {
	if e++; e == 0 {
		e = 1 // 0 means none
	}
	return e
}

func (f *FSM) memberUp(c *MemberUp) (uint16, error) {
	if f.st.IsRemoved(c.ID) || f.st.IsRevoked(c.KeyHash) {
		return 0, ErrMemberRemoved
	}
	m := Member{ID: c.ID}
	if held, ok := f.st.Member(c.ID); ok {
		m = *held
	} else if c.Kind() == KindMemberUp2 && len(f.st.Members) > 0 {
		return 0, fmt.Errorf("%w: %d", ErrMemberUnknown, c.ID)
	}
	if c.Feature != 0 { // else it is alone, and has no cluster port
		if err := f.st.understands(c.Name, c.Version, c.Feature); err != nil {
			return 0, err
		}
	}
	if other, ok := f.st.MemberByKeyHash(c.KeyHash); ok && other.ID != c.ID {
		return 0, fmt.Errorf("%w: %s", ErrMemberKey, other.Name)
	}
	if c.Address != "" {
		m.Address = c.Address
	}
	if c.KeyHash != (KeyHash{}) {
		m.KeyHash = c.KeyHash
	}
	v4, _ := f.st.PublishedEndpoint(&m, false)
	v6, _ := f.st.PublishedEndpoint(&m, true)
	if c.Position.Known() {
		m.Position = c.Position
	}
	m.Name, m.Endpoints, m.Version, m.Feature = c.Name, c.Endpoints, c.Version, c.Feature
	f.st.published(&m, v4, v6)
	if m.Drain == DrainStopping {
		m.Drain, m.DrainSince = DrainNone, 0
	}
	m.Epoch, m.Status, m.Up = nextEpoch(m.Epoch), StatusUp, f.st.Time
	m.Health, m.LastReport = nil, 0
	f.setMember(&m)
	return m.Epoch, nil
}

func (f *FSM) memberRemove(c *MemberRemove) error {
	i, ok := memberIndex(f.st.Members, c.ID)
	status := f.st.StatusOf(c.ID)
	switch {
	case !ok && f.st.IsRemoved(c.ID):
		return nil
	case !ok:
		return fmt.Errorf("%w: %d", ErrMemberUnknown, c.ID)
	case len(f.st.Members) == 1:
		return ErrLastMember
	case !c.Force && (status == StatusUp || status == StatusSuspect):
		return fmt.Errorf("%w: %s", ErrMemberAlive, f.st.Members[i].Name)
	}
	m := &f.st.Members[i]
	at, _ := removedIndex(f.st.Removed, c.ID)
	gone := Removed{ID: m.ID, Name: m.Name, KeyHash: m.KeyHash, At: f.st.Time}
	f.st.Removed = slices.Insert(slices.Clone(f.st.Removed), at, gone)
	f.st.Members = slices.Delete(slices.Clone(f.st.Members), i, i+1)
	f.st.RTTs = f.st.RTTs.only(f.st.Members)
	return nil
}

// memberDown ends the epoch of a member: the next one is nobody's, so everything of the old one is stale, also what the
// member itself still proposes.
func (f *FSM) memberDown(c *MemberDown) error {
	m, ok := f.st.Member(c.ID)
	switch {
	case !ok:
		return fmt.Errorf("%w: %d", ErrMemberUnknown, c.ID)
	case m.Status != StatusUp || m.Epoch != c.Epoch:
		return fmt.Errorf("%w: %d of %s, which is at %d and %s", ErrEpoch, c.Epoch, m.Name, m.Epoch, m.Status)
	case c.Cause == DownSilent && f.st.Silence(m) < f.st.Settings.MemberDownAfter:
		return fmt.Errorf("%w: %s reported %s before the last health entry", ErrMemberAlive, m.Name, f.st.Silence(m))
	case c.Cause == DownLost && !f.st.lostTo(m.ID, c.Witnesses):
		return fmt.Errorf("%w: only %d others do not hear %s", ErrMemberAlive, len(c.Witnesses), m.Name)
	}
	down := *m
	down.Status, down.Epoch = StatusDown, nextEpoch(m.Epoch)
	f.setMember(&down)
	return nil
}

// lostTo reports whether the witnesses are most of the other members that are up.
func (s *State) lostTo(id table.MemberID, witnesses []table.MemberID) bool {
	up, say := 0, 0
	for i := range s.Members {
		m := &s.Members[i]
		if m.ID == id || m.Status != StatusUp {
			continue
		}
		up++
		if slices.Contains(witnesses, m.ID) {
			say++
		}
	}
	return say > up/2
}

func (f *FSM) health(c *Health) {
	f.impatience()
	f.st.HealthTime = f.st.Time
	members := slices.Clone(f.st.Members)
	for i := range c.Reports {
		h := &c.Reports[i]
		if at, ok := memberIndex(members, h.Member); ok && members[at].Status == StatusUp && members[at].Epoch == h.Epoch {
			members[at].Health, members[at].LastReport = h, f.st.Time
		}
	}
	f.st.Members = members
}
