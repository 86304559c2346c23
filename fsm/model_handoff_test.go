package fsm_test

import (
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// prio is the priority of a path as the model reads and writes it.
func prio(h *table.Handoff, v6 bool) *uint8 {
	if v6 {
		return &h.Prio6
	}
	return &h.Prio4
}

// handoff is one step as one would write it down from docs/log-format.md. The model's clients are all new enough to delete paths.
func (m *model) handoff(c fsm.Handoff, now uint32) {
	r, ok := m.peers[c.Address]
	if !ok {
		return
	}
	h := &r.Handoff
	member, epoch := r.V4Member, r.V4Epoch
	if c.V6 {
		member, epoch = r.V6Member, r.V6Epoch
	}
	here := member == c.From && epoch == c.Epoch && m.members[c.From].epoch == c.Epoch
	since := max(0, int64(now)-int64(h.At))
	under := h.Target != 0 && since < 30
	newRow := h.At == 0 || since >= 35
	back := min((int(*prio(h, c.V6))+3)/2, 7)
	if *prio(h, c.V6) == 0 {
		back = 2
	}
	room := 8 - int(h.Pushes)
	if newRow {
		room = 8
	}
	faded := h.Moves - uint8(min(since/1200, int64(h.Moves)))
	switch c.Step {
	case fsm.HandoffBegin:
		to := m.members[c.Target]
		hold := int64(60)
		for i := uint8(1); i < h.Fails; i++ {
			hold = min(2*hold, 1<<20)
		}
		if h.Failed == c.Target {
			hold *= 5
		}
		switch {
		case !here, under, to.status != fsm.StatusUp, to.drain != 0, m.silence(to) >= 10_000, !to.listed, m.planet == 0, r.Planet < m.planet,
			h.Fails > 0 && since < min(hold, 21_600),
			*prio(h, c.V6) > 13 && m.members[c.From].drain == 0 && m.attachedIn(r, !c.V6),
			!newRow && (h.V6 == c.V6 || h.Fails > 0 || room < 1+back):
			return
		}
		if h.Pushes++; newRow {
			h.Pushes = 1
		}
		h.Target, h.From, h.V6, h.At, h.Moves = c.Target, c.From, c.V6, now, faded
	case fsm.HandoffRescued:
		if !here || under {
			return
		}
		if newRow {
			h.Pushes = 0
		}
		h.Pushes, h.At, h.Moves = h.Pushes+3, now, faded
		*prio(h, c.V6) = 7
		m.forget(h, c.V6)
	case fsm.HandoffLevel:
		mine, other := max(1, *prio(h, c.V6)), max(1, *prio(h, !c.V6))
		n := min((int(other)-int(mine)+1)/2, 7)
		if !here || under || other <= mine || n > room {
			return
		}
		if newRow {
			h.Pushes = 0
		}
		h.Pushes, h.At, h.Moves = h.Pushes+uint8(n), now+uint32(n)-1, faded
		*prio(h, c.V6) = min(other, mine+uint8(2*n))
	default:
		late := c.Step == fsm.HandoffFailed && h.Target == 0 && h.From == c.From && h.V6 == c.V6 && member == c.Target &&
			h.Failed != c.Target && (epoch != m.members[member].epoch || len(m.members) == 0 || m.members[member].status == 0)
		if m.members[c.From].epoch != c.Epoch || !late && (h.Target != c.Target || h.From != c.From || h.V6 != c.V6) {
			return
		}
		if p := int(*prio(h, c.V6)); late {
			back = min((max(1, p-2)+3)/2, 7)
		}
		h.Target = 0
		if c.Step == fsm.HandoffCancelled {
			h.Pushes -= min(1, h.Pushes)
			break
		}
		*prio(h, c.V6) = uint8(2*back + 1)
		m.forget(h, c.V6)
		h.Pushes, h.At, h.Moves, h.Fails, h.Failed = h.Pushes+uint8(back), now+uint32(back), faded, h.Fails+1, c.Target
	}
	m.peers[c.Address] = r
}

// attachedIn reports whether a peer is attached in a family, in a life that lasts.
func (m *model) attachedIn(r table.Record, v6 bool) bool {
	member, epoch, ok := r.V4Member, r.V4Epoch, r.V4.IsValid()
	if v6 {
		member, epoch, ok = r.V6Member, r.V6Epoch, r.V6.IsValid()
	}
	return ok && m.members[member].status != 0 && m.members[member].epoch == epoch
}

// forget takes the priority of the other family if it is lower.
func (m *model) forget(h *table.Handoff, v6 bool) {
	if *prio(h, !v6) < *prio(h, v6) {
		*prio(h, !v6) = 0
	}
}

// attached is what an attachment means for a handoff.
func (m *model) attached(r *table.Record, before table.MemberID, epoch uint16, c fsm.Change, v6 bool, now uint32) {
	h := &r.Handoff
	arrived := h.Target == c.Member && h.V6 == v6
	if arrived && (c.Member != before || c.Epoch != epoch) {
		*prio(h, v6) = max(1, *prio(h, v6)) + 2
		m.forget(h, v6)
		h.Moves = h.MovesAt(now) + 1
		h.Target, h.Fails, h.Failed = 0, 0, 0
	} else if h.V6 == v6 && (c.Member != before || c.Epoch != epoch) {
		h.Target = 0
	}
	if before == 0 || before == c.Member {
		return
	}
	if *prio(h, v6) > 1 && !arrived && h.Failed != before {
		*prio(h, v6) = 0
	}
	if v6 {
		h.Since6 = now
	} else {
		h.Since4 = now
	}
}
