package fsm

import (
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Handoffs are steps of handoffs, each of one peer in one family, in the order in which they were proposed. At most
// [MaxChanges]. Each stands for itself: one that no longer agrees with what the log says of the peer is counted, and ignored.
type Handoffs []Handoff

// Handoff is one step of a handoff. The member that proposes it is the one to which the peer is attached in the family.
type Handoff struct {
	Address vl1.Address
	Step    HandoffStep
	V6      bool
	From    table.MemberID // not 0
	Epoch   uint16         // of From; not 0
	Target  table.MemberID // not 0 and not From; 0 exactly for a [HandoffLevel] and a [HandoffRescued]
}

// HandoffStep is what happens to a handoff. The numbers are part of the log format.
type HandoffStep uint8

// The steps. A handoff that succeeds needs no step at the end: the [Change] that attaches the peer to the target ends it.
const (
	// HandoffBegin is the intent: From may send the peer to Target once the view shows it.
	HandoffBegin HandoffStep = 1
	// HandoffFailed ends it: the target did not see the peer, and From has taken it back.
	HandoffFailed HandoffStep = 2
	// HandoffCancelled ends it: nothing was sent.
	HandoffCancelled HandoffStep = 3
	// HandoffLevel is no handoff: From may send the peer self-redirects, until its path has the priority that the path of
	// the other family has. Without it the client forgets the lower one.
	HandoffLevel HandoffStep = 4
	// HandoffRescued is no handoff either: From got the peer of a dead member by a redirect through another root, and has
	// pinned it by [RescuePins] self-redirects.
	HandoffRescued HandoffStep = 5
)

const (
	// RescuePins is how many self-redirects follow a rescue, at least: they lift the path above one that had been rescued itself, a
	// moment before, without the log's knowing.
	RescuePins = 3
	// RescuePushes is how many redirects through another root a peer may have had before it came.
	RescuePushes = 3
	// PushesTaken is how many pushes clients take in a row. Those before 1.2.6 take fewer.
	PushesTaken = gatePushes
)

// Times of handoffs, in seconds by the log, and what a client takes.
const (
	// HandoffVoid is the age at which an intent that nobody ended counts no more: its member has crashed.
	HandoffVoid = 30

	gateOpens    = 35 // a client ignores pushes beyond the eighth in a row; 30 s without one end the row
	gatePushes   = 8
	oldGateOpens = 65 // the same for clients before 1.2.6, and their fifth
	oldPushes    = 5

	holdDown    = 60 // after the first failed handoff; doubles with each further one in a row
	holdDownMax = 6 * 3600
	holdTarget  = 5 // how many times longer the target that failed is avoided
	prioMost    = 253
)

// deletesPaths is the first version whose clients, at a redirect, forget paths of lower priority. Older ones only prefer
// the target.
const deletesPaths = 1<<24 | 2<<16 | 6

// prefersOnly reports whether the peer's client is of the old kind that forgets no paths.
func prefersOnly(r *table.Record) bool {
	return r.Protocol != 0 && uint32(r.Major)<<24|uint32(r.Minor)<<16|uint32(r.Revision) < deletesPaths
}

// ChecksPlanet reports whether a client of that protocol version, 0 if it is unknown, goes to members only that its planet lists. Those of
// protocol 4 go wherever a root sends them, and do not say which planet they have.
func ChecksPlanet(protocol uint8) bool { return protocol == 0 || protocol > 4 }

// SelfRedirects returns how many self-redirects a member needs to get its peer back for good after a handoff to a dead
// member: until its path, new in the client's table, is above the target's. At most 7: no more fit into one row.
func SelfRedirects(r *table.Record, v6 bool) int {
	return selfRedirects(r, r.Handoff.Prio(v6))
}

func selfRedirects(r *table.Record, prio uint8) int {
	if prefersOnly(r) {
		return 1
	}
	return min(int(prio)+3, 2*(gatePushes-1)) / 2
}

// LeftBehind reports whether the log has the peer, in a family, at a target that took it and died: the member that sent it may take
// it back, and say so once.
func (s *State) LeftBehind(r *table.Record, v6 bool, from, target table.MemberID) bool {
	h := &r.Handoff
	member, alive := s.Attached(r, v6)
	return !alive && member == target && h.Target == 0 && h.From == from && h.V6 == v6 && h.Failed != target
}

// LevelRedirects returns how many self-redirects lift the peer's path of a family to the priority of the other family's, 0 if
// it is there or the client does not care.
func LevelRedirects(r *table.Record, v6 bool) int {
	level, mine := r.Handoff.Prio(!v6), r.Handoff.Prio(v6)
	if prefersOnly(r) || level <= mine {
		return 0
	}
	return min(int(level-mine+1)/2, gatePushes-1)
}

// HandoffUnderWay reports whether an intent for the peer is under way, by the log's own time.
func (s *State) HandoffUnderWay(h *table.Handoff) bool {
	return h.Target != 0 && age(s.Seconds(), h.At) < HandoffVoid
}

// Seconds returns the log's time in seconds since [table.Epoch].
func (s *State) Seconds() uint32 { return secondsSinceEpoch(s.Time) }

// RestoredSeconds is when the cluster was restored, in the same unit.
func (s *State) RestoredSeconds() uint32 { return secondsSinceEpoch(s.Cluster.Restored) }

func age(now, at uint32) uint32 {
	if at == 0 {
		return 1 << 31
	}
	return now - min(now, at)
}

// gate reports how many pushes the peer would take now: all of a new row, or what is left of the present one.
func gate(r *table.Record, now uint32) (pushes int, fresh bool) {
	opens, most := uint32(gateOpens), gatePushes
	if prefersOnly(r) {
		opens, most = oldGateOpens, oldPushes
	}
	if age(now, r.Handoff.At) >= opens {
		return most, true
	}
	return most - min(most, int(r.Handoff.Pushes)), false
}

// GateClosed reports whether the peer takes no redirect in a family yet, or none that would leave room to take it back if it
// fails. After a handoff of one family the other one may follow at once.
func (s *State) GateClosed(r *table.Record, v6 bool) bool {
	h := &r.Handoff
	if h.At == 0 {
		return false
	}
	pushes, fresh := gate(r, s.Seconds())
	return !fresh && (h.V6 == v6 || h.Fails > 0 || pushes < 1+SelfRedirects(r, v6))
}

// PushRoom returns how many pushes the peer would take now, as far as the log knows.
func PushRoom(r *table.Record, now uint32) int {
	n, _ := gate(r, now)
	return n
}

// held reports whether a handoff to the target must wait because earlier ones failed.
func held(h *table.Handoff, target table.MemberID, now uint32) bool {
	if h.Fails == 0 {
		return false
	}
	hold := uint32(holdDown) << min(h.Fails-1, 9)
	if h.Failed == target {
		hold *= holdTarget
	}
	return age(now, h.At) < min(hold, holdDownMax)
}

// MayHandOff returns why the log would refuse an intent now, or "". It is what [HandoffBegin] is checked by, so who asks
// before it proposes is refused only if something changed meanwhile.
func (s *State) MayHandOff(r *table.Record, v6 bool, from table.MemberID, epoch uint16, target table.MemberID) Refusal {
	now := s.Seconds()
	id, ok := s.Attached(r, v6)
	m, known := s.Member(target)
	h := &r.Handoff
	switch attachedEpoch := epochOf(r, v6); {
	case !ok || id != from || attachedEpoch != epoch:
		return RefusedElsewhere
	case s.HandoffUnderWay(h):
		return RefusedUnderWay
	case target == from || !known || s.StatusOf(target) != StatusUp || m.Draining():
		return RefusedTarget
	case m.PlanetOf(v6) == 0 || ChecksPlanet(r.Protocol) && (r.Planet == 0 || r.Planet < m.PlanetOf(v6)):
		return RefusedUnpublished
	case held(h, target, now):
		return RefusedHeld
	case s.GateClosed(r, v6):
		return RefusedGate
	case s.spent(r, v6, from):
		return RefusedSpent
	}
	return Accepted
}

// Refusal is why an intent is refused.
type Refusal string

// The reasons.
const (
	Accepted           Refusal = ""
	RefusedElsewhere   Refusal = "the peer is not attached there"
	RefusedUnderWay    Refusal = "it is being handed off"
	RefusedTarget      Refusal = "the target is not up, or draining"
	RefusedUnpublished Refusal = "the peer's planet does not have the target"
	RefusedHeld        Refusal = "an earlier handoff failed"
	RefusedGate        Refusal = "the peer takes no push so soon"
	RefusedSpent       Refusal = "the peer was moved so often that it would lose its path of the other address family"
)

// spent reports whether the other family's path could not be lifted in one row to what a handoff makes of this one's. Priorities never
// sink while the client has a path. A member that drains does not care.
func (s *State) spent(r *table.Record, v6 bool, from table.MemberID) bool {
	_, both := s.Attached(r, !v6)
	m, ok := s.Member(from)
	return both && !prefersOnly(r) && r.Handoff.Prio(v6)+2 > 1+2*(gatePushes-1) && ok && !m.Draining()
}

func epochOf(r *table.Record, v6 bool) uint16 {
	if v6 {
		return r.V6Epoch
	}
	return r.V4Epoch
}
