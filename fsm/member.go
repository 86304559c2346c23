package fsm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// Member is one rootd process that serves the cluster's identity.
type Member struct {
	ID        table.MemberID
	Epoch     uint16 // of its current life; 1 is the first, 0: it has joined and was never up
	Name      string
	Address   string // host:port at which other members reach it; empty: nowhere
	Endpoints []netip.AddrPort
	KeyHash   KeyHash // of its node key; zero: none
	Version   string
	Feature   uint16 // highest feature level that its software knows
	Status    Status // as entries set it: joining, up or down. [State.StatusOf] also knows suspect
	Joined    int64  // ms since 1970: when it was admitted; 0: it began the cluster
	Up        int64  // ms since 1970: when its current epoch began; 0: never
	Position  geo.Unit

	Drain      Drain
	DrainSince int64  // ms since 1970; 0: it does not drain
	Weight     uint16 // ‰ of what a usual member can carry; 0: none was set, [UsualWeight]
	Vote       Vote   // whether it shall vote
	Priority   uint8  // as leader: the voter with the greatest should lead; 0: any other with more

	// Planet4 and Planet6 are since which planet, by its timestamp in ms, clients find the member in it, by family. 0: never.
	Planet4, Planet6 uint64

	// Health is the last report of its current epoch, nil before the first.
	Health *HealthReport
	// LastReport is when that was, in ms since 1970; 0: never.
	LastReport int64
}

// Removed is a former member. Its key stays revoked and its ID taken.
type Removed struct {
	ID      table.MemberID
	Name    string
	KeyHash KeyHash
	At      int64 // ms since 1970
}

// Status is where a member is in its life. The numbers are part of the snapshot format.
type Status uint8

// The statuses of a member.
const (
	StatusNone    Status = 0 // not a member
	StatusJoining Status = 1 // admitted, has not been up yet
	StatusUp      Status = 2
	StatusDown    Status = 3 // stopped reporting: its attachments are stale until it is up again
	StatusSuspect Status = 4 // up, but silent for the setting member_suspect_after; never stored
)

// String returns the status as people read it.
func (s Status) String() string {
	switch s {
	case StatusJoining:
		return "joining"
	case StatusUp:
		return "up"
	case StatusDown:
		return "down"
	case StatusSuspect:
		return "suspect"
	}
	return "none"
}

// Member returns the member with the ID.
func (s *State) Member(id table.MemberID) (*Member, bool) {
	if i, ok := memberIndex(s.Members, id); ok {
		return &s.Members[i], true
	}
	return nil, false
}

// MemberByKeyHash returns the member with the node key.
func (s *State) MemberByKeyHash(h KeyHash) (*Member, bool) {
	i := slices.IndexFunc(s.Members, func(m Member) bool { return m.KeyHash == h })
	if i < 0 || h == (KeyHash{}) {
		return nil, false
	}
	return &s.Members[i], true
}

// StatusOf returns the status of a member by the log's own time.
func (s *State) StatusOf(id table.MemberID) Status {
	m, ok := s.Member(id)
	switch {
	case !ok:
		return StatusNone
	case m.Status == StatusUp && s.Silence(m) >= s.Settings.MemberSuspectAfter:
		return StatusSuspect
	}
	return m.Status
}

// Silence returns for how long a member has not reported. What counts is the time until the last [Health] entry, not
// the log's time: while nobody collects reports, as without a leader, nobody falls silent.
func (s *State) Silence(m *Member) time.Duration {
	return time.Duration(max(0, s.HealthTime-max(m.Up, m.LastReport))) * time.Millisecond
}

// IsRemoved reports whether the ID was that of a member that was removed.
func (s *State) IsRemoved(id table.MemberID) bool {
	_, ok := removedIndex(s.Removed, id)
	return ok
}

// IsRevoked reports whether the node key was that of a member that was removed.
func (s *State) IsRevoked(h KeyHash) bool {
	return h != KeyHash{} && slices.ContainsFunc(s.Removed, func(r Removed) bool { return r.KeyHash == h })
}

// NextMemberID returns an ID that no member has or had: the greatest one so far and 1, or the least that is free
// once all 65,535 have been reached, or 0 if there is none.
func (s *State) NextMemberID() table.MemberID {
	var last table.MemberID
	if n := len(s.Members); n > 0 {
		last = s.Members[n-1].ID
	}
	if n := len(s.Removed); n > 0 {
		last = max(last, s.Removed[n-1].ID)
	}
	if last < ^table.MemberID(0) {
		return last + 1
	}
	for id := table.MemberID(1); id != 0; id++ {
		if s.idFree(id) {
			return id
		}
	}
	return 0
}

func (s *State) idFree(id table.MemberID) bool {
	_, member := memberIndex(s.Members, id)
	return !member && !s.IsRemoved(id)
}

// Reachable returns which public endpoints of a member, as bits, other members probed and which of them answered at
// least one, by the latest reports.
func (s *State) Reachable(id table.MemberID) (asked, answered uint32) {
	for i := range s.Members {
		if h := s.Members[i].Health; h != nil {
			for _, p := range h.Probes {
				if p.Member == id {
					asked |= p.Asked
					answered |= p.Answered
				}
			}
		}
	}
	return asked, answered
}

// WorstRTT returns the longest of the shortest round trips between members, by their latest reports. 0: unknown.
func (s *State) WorstRTT() time.Duration {
	worst := uint32(0)
	for i := range s.Members {
		if h := s.Members[i].Health; h != nil {
			for _, p := range h.Probes {
				if _, ok := s.Member(p.Member); ok {
					worst = max(worst, p.RTT)
				}
			}
		}
	}
	return time.Duration(worst) * time.Microsecond
}

// memberIndex finds id in the ascending members, or where it belongs.
func memberIndex(members []Member, id table.MemberID) (int, bool) {
	lo, hi := 0, len(members)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); members[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(members) && members[lo].ID == id
}

// removedIndex finds id in the ascending former members, or where it belongs.
func removedIndex(removed []Removed, id table.MemberID) (int, bool) {
	return slices.BinarySearchFunc(removed, id, func(r Removed, id table.MemberID) int { return int(r.ID) - int(id) })
}
