package fsm

import "github.com/rootd/rootd/fsm/table"

func (f *FSM) handoffs(hs Handoffs) {
	now := f.seen()
	f.as = f.as[:0]
	for i := range hs {
		f.as = append(f.as, hs[i].Address)
	}
	var at table.Cursor
	f.st.peers.Visit(&at, f.as)
	for i := range hs {
		h := &hs[i]
		r := &f.rec
		if !at.Next() {
			f.st.Counters.HandoffsRefused++
			continue
		}
		if at.Record(r); !f.handoff(r, h, now) {
			f.st.Counters.HandoffsRefused++
			continue
		}
		at.Words().SetHandoff(&r.Handoff)
		if f.update(&at); f.st.Halted != "" {
			return
		}
	}
}

// handoff changes the handoff of r by one step, or reports that the step no longer agrees with it.
func (f *FSM) handoff(r *table.Record, h *Handoff, now uint32) bool {
	switch h.Step {
	case HandoffBegin:
		return f.beginHandoff(r, h, now)
	case HandoffLevel:
		return f.levelHandoff(r, h, now)
	case HandoffRescued:
		return f.rescued(r, h, now)
	}
	m, ok := f.st.Member(h.From)
	x := &r.Handoff
	late := h.Step == HandoffFailed && f.st.LeftBehind(r, h.V6, h.From, h.Target)
	if !ok || m.Epoch != h.Epoch || !late && (x.Target != h.Target || x.From != h.From || x.V6 != h.V6) {
		return false
	}
	x.Target = 0
	if h.Step == HandoffCancelled {
		x.Pushes -= min(x.Pushes, 1)
		f.st.Counters.HandoffsCancelled++
		return true
	}
	prio := x.Prio(h.V6)
	if late {
		prio -= min(2, prio-1) // it was lifted when the target took the peer
	}
	n := selfRedirects(r, prio)
	if !prefersOnly(r) {
		lift(x, h.V6, uint8(1+2*n))
	}
	x.Moves = x.MovesAt(now)
	x.At, x.Pushes = now+uint32(n), x.Pushes+uint8(n)
	x.Fails, x.Failed = x.Fails+min(1, 255-x.Fails), h.Target
	f.st.Counters.HandoffsFailed++
	return true
}

func (f *FSM) beginHandoff(r *table.Record, h *Handoff, now uint32) bool {
	if f.st.MayHandOff(r, h.V6, h.From, h.Epoch, h.Target) != Accepted {
		return false
	}
	x := &r.Handoff
	if x.Target != 0 {
		f.st.Counters.HandoffsVoid++ // the one before was never ended
	}
	push(r, 1, now)
	x.Target, x.From, x.V6, x.At = h.Target, h.From, h.V6, now
	f.st.Counters.Handoffs++
	return true
}

// levelHandoff makes room for self-redirects that lift a path to the priority of the other family's.
func (f *FSM) levelHandoff(r *table.Record, h *Handoff, now uint32) bool {
	x := &r.Handoff
	id, ok := f.st.Attached(r, h.V6)
	n := LevelRedirects(r, h.V6)
	room, _ := gate(r, now)
	if !ok || id != h.From || epochOf(r, h.V6) != h.Epoch || f.st.HandoffUnderWay(x) || n == 0 || n > room {
		return false
	}
	push(r, n, now)
	x.At = now + uint32(n) - 1
	setPrio(x, h.V6, min(x.Prio(!h.V6), x.Prio(h.V6)+uint8(2*n)))
	f.st.Counters.HandoffLevels++
	return true
}

// rescued notes that a peer came by a rescue: the path of a redirect from elsewhere has priority 3, and each pin adds 2.
func (f *FSM) rescued(r *table.Record, h *Handoff, now uint32) bool {
	x := &r.Handoff
	id, ok := f.st.Attached(r, h.V6)
	if !ok || id != h.From || epochOf(r, h.V6) != h.Epoch || f.st.HandoffUnderWay(x) {
		return false
	}
	push(r, RescuePushes+RescuePins, now)
	x.At = now
	if !prefersOnly(r) {
		lift(x, h.V6, 3+2*RescuePins)
	}
	return true
}

// push notes n pushes from now on: in the present row, or in a new one.
func push(r *table.Record, n int, now uint32) {
	x := &r.Handoff
	x.Moves = x.MovesAt(now)
	if _, fresh := gate(r, now); fresh {
		x.Pushes = 0
	}
	x.Pushes += uint8(min(n, 255-int(x.Pushes)))
}

// lift sets the priority of a path that the client got by redirects. A path of the other family with a lower one is forgotten by
// the client: when it comes back it has the lowest.
func lift(x *table.Handoff, v6 bool, prio uint8) {
	setPrio(x, v6, prio)
	if x.Prio(!v6) < prio {
		setPrio(x, !v6, 0)
	}
}

func setPrio(x *table.Handoff, v6 bool, prio uint8) {
	if v6 {
		x.Prio6 = prio
	} else {
		x.Prio4 = prio
	}
}

// arrived brings the handoff of the peer at hand up to date with an attachment that it got: in a family, to a member that may or may not be
// the one of before. same: it is also the same epoch.
func (f *FSM) arrived(at *table.Cursor, v6 bool, before table.MemberID, same bool, now uint32) {
	w := at.Words()
	member, _ := w.Attached(v6)
	if !w.HandedOff() && (before == 0 || before == member) {
		return // nothing was under way, and it did not move
	}
	r := &f.rec
	at.Record(r)
	f.arrivedAt(r, v6, member, before, same, now)
	w.SetHandoff(&r.Handoff)
}

// arrivedAt is arrived for a peer whose record had to be taken apart: its handoff may have ended, or it moved.
func (f *FSM) arrivedAt(r *table.Record, v6 bool, member, before table.MemberID, same bool, now uint32) {
	x := &r.Handoff
	done := false
	if x.Target != 0 && x.V6 == v6 && !(same && member == before) {
		if done = member == x.Target; done {
			f.completed(r, now)
		} else {
			x.Target = 0 // it went elsewhere by itself
			f.st.Counters.HandoffsVoid++
		}
	}
	if before == 0 || before == member {
		return
	}
	if v6 {
		x.Since6 = now
	} else {
		x.Since4 = now
	}
	if !done && x.Prio(v6) > 1 && x.Failed != before {
		setPrio(x, v6, 0) // a path that the client found by itself
	}
}

// completed ends the handoff of r: the target has it.
func (f *FSM) completed(r *table.Record, now uint32) {
	x := &r.Handoff
	if !prefersOnly(r) {
		lift(x, x.V6, min(x.Prio(x.V6), prioMost)+2)
	}
	x.Moves = x.MovesAt(now)
	x.Moves += min(1, 255-x.Moves)
	x.Target, x.Fails, x.Failed = 0, 0, 0
	f.st.Counters.HandoffsDone++
}
