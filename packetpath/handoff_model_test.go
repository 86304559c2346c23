package packetpath_test

import (
	"fmt"
	"testing"
)

// This is the protocol of a handoff as a state machine of its own, small enough to look at every order of events: any message may be late or
// lost, though what M sends the client arrives in order, either member may crash at any moment, the client may be unable to reach the target, the log may be slow to everybody. Time is not in
// it: a timeout may come whenever somebody waits, so the figures of the real timers do not matter for what holds here. The real code goes
// through the same crashes in cmd/rootd (TestTargetDiesDuringHandoff and its neighbours).

type oldPhase uint8

const (
	idle oldPhase = iota
	asked
	pushed
	away
	taking
	over
)

// world is everything. It is comparable, so that each state is visited once.
type world struct {
	// The log: an intent under way, where the peer is attached, and which lives are over.
	intent, attachedT, failed, endedM, endedT bool
	// What M's view has of it.
	seesIntent, seesT, seesEndT bool

	deadM, deadT bool
	reaches      bool // the client and the target reach each other
	m            oldPhase
	told         bool // T told M that the client came
	nops, selfs  int8 // that M has yet to send
	everPushed   int8
	heardT       bool // T has heard the client: it will say so to the log until it is there

	// The client: priorities of its paths, 0 for none, and which of them answered.
	prioM, prioT int8
	okM, okT     bool

	// In flight.
	redirect, helloT, okFromT, arrived, nop, helloM, okFromM bool
	selfInFlight                                             int8
	losses                                                   int8 // messages that may still be lost
}

// step is one thing that may happen next.
type step struct {
	name string
	to   world
}

func (w world) steps() (next []step) {
	do := func(name string, when bool, f func(*world)) {
		if when {
			to := w
			f(&to)
			next = append(next, step{name, to})
		}
	}
	// The old member.
	m := !w.deadM
	do("M asks the log", m && w.m == idle, func(x *world) { x.m = asked })
	do("the log accepts", w.m == asked && !w.intent && !w.failed && !w.endedM && !w.endedT && !w.attachedT, func(x *world) { x.intent = true })
	do("M gives up", m && w.m == asked && !w.seesIntent, func(x *world) { x.m = over })
	do("M sees the intent", m && w.intent && !w.seesIntent, func(x *world) { x.seesIntent = true })
	do("M redirects", m && w.m == asked && w.seesIntent && !w.seesEndT, func(x *world) { x.m, x.redirect, x.everPushed = pushed, true, 1 })
	do("M cancels", m && w.m == asked && w.seesIntent && w.seesEndT, func(x *world) { x.m, x.intent = over, false })
	do("M sees the client at T", m && w.attachedT && !w.seesT, func(x *world) { x.seesT = true })
	do("M sees the end of T", m && w.endedT && !w.seesEndT, func(x *world) { x.seesEndT = true })
	do("M knows that it came", m && w.m == pushed && (w.told || w.seesT), func(x *world) { x.m = away })
	back := func(x *world) { x.m, x.nops, x.selfs = taking, 2, 2 }
	do("M waits no longer", m && w.m == pushed, back)
	do("M takes it back from a dead T", m && (w.m == pushed || w.m == away) && w.seesEndT, back)
	do("M has been quiet for long", m && w.m == away && w.seesT && !w.seesEndT, func(x *world) { x.m = over })
	do("M says NOP", m && w.m == taking && w.nops > 0 && !w.nop, func(x *world) { x.nops--; x.nop = true })
	do("M redirects to itself", m && w.m == taking && w.selfs > 0, func(x *world) { x.selfs--; x.selfInFlight++; x.everPushed++ })
	do("the log knows that it failed", m && w.m == taking && (w.intent || w.attachedT && w.endedT && !w.failed), func(x *world) { x.intent, x.failed = false, true })
	do("M has it back", m && w.m == taking && w.nops+w.selfs == 0 && !w.intent, func(x *world) { x.m = over })
	serving := m && w.m != pushed && w.m != away
	do("M answers", w.helloM && serving, func(x *world) { x.helloM, x.okFromM = false, true })
	do("M is silent", w.helloM && !serving, func(x *world) { x.helloM = false })
	// It hears the client, and the log has it elsewhere: it says so.
	do("the log has it at M", m && w.okM && w.prioM > 0 && w.attachedT && (w.m == over || w.m == taking) && (w.endedT || w.prioT == 0), func(x *world) { x.attachedT = false; x.heardT = false; x.seesT = false })

	// The target.
	t := !w.deadT
	do("T hears the client", w.helloT && t && w.reaches, func(x *world) { x.helloT, x.heardT, x.okFromT, x.arrived = false, true, true, true })
	do("nobody hears the client", w.helloT && !(t && w.reaches), func(x *world) { x.helloT = false })
	do("M is told", w.arrived && m, func(x *world) { x.arrived, x.told = false, x.m == pushed || x.m == away })
	do("M is not told", w.arrived && !m, func(x *world) { x.arrived = false })
	do("the log has it at T", w.heardT && t && !w.endedT && !w.attachedT && w.prioT > 0, func(x *world) { x.attachedT, x.intent = true, false })

	// The client.
	do("it obeys the redirect", w.redirect, func(x *world) {
		x.redirect, x.helloT = false, true
		x.prioT, x.okT = max(1, w.prioM)+2, false
		x.prioM, x.okM = 0, false
	})
	do("T answered", w.okFromT, func(x *world) { x.okFromT = false; x.okT = x.prioT > 0 })
	do("it hears the NOP", w.nop && !w.redirect, func(x *world) { x.nop = false; x.helloM = true })
	do("M answered", w.okFromM, func(x *world) { x.okFromM = false; x.okM = true; x.prioM = max(1, w.prioM) })
	do("it obeys a self-redirect", w.selfInFlight > 0 && !w.redirect, func(x *world) {
		x.selfInFlight--
		x.prioM = max(1, w.prioM) + 2
		x.okM, x.helloM = false, true
		if x.prioT < x.prioM {
			x.prioT, x.okT = 0, false
		}
	})
	do("it looks for M", w.prioM > 0 && !w.okM && !w.helloM && !w.okFromM && serving, func(x *world) { x.helloM = true })

	// What nobody wants.
	do("M crashes", m, func(x *world) { x.deadM, x.told, x.seesIntent, x.seesT, x.seesEndT = true, false, false, false, false })
	do("the log ends M", w.deadM && !w.endedM, func(x *world) { x.endedM = true })
	do("T crashes", t, func(x *world) { x.deadT = true; x.okT = false })
	do("the log ends T", w.deadT && !w.endedT, func(x *world) { x.endedT = true })
	do("the intent is void", w.intent && (w.deadM || w.m == over), func(x *world) { x.intent = false })
	if w.losses > 0 {
		for i, at := range []func(*world) *bool{
			func(x *world) *bool { return &x.redirect }, func(x *world) *bool { return &x.helloT }, func(x *world) *bool { return &x.okFromT },
			func(x *world) *bool { return &x.arrived }, func(x *world) *bool { return &x.nop }, func(x *world) *bool { return &x.okFromM },
		} {
			do(fmt.Sprint("message ", i, " is lost"), *at(&w), func(x *world) { *at(x) = false; x.losses-- })
		}
	}
	return next
}

// wrong says what must never be, in any state.
func (w *world) wrong() string {
	switch {
	case w.everPushed > 8:
		return "more pushes than a client takes"
	case w.redirect && !w.seesIntent && !w.deadM:
		return "a redirect that the log did not accept"
	case w.intent && w.failed:
		return "an intent that failed is under way"
	case w.intent && w.attachedT:
		return "an intent is under way although the target has the peer"
	}
	return ""
}

// lost says what must not be once nothing can happen any more but crashes and losses: then the client is served, or the log knows that its
// member is dead, so that it is rescued.
func (w *world) lost() string {
	atM := !w.deadM && w.prioM > 0 && w.okM && w.m != pushed && w.m != away
	atT := !w.deadT && w.prioT > 0 && (w.okT || w.heardT) && w.reaches
	orphan := w.attachedT && w.endedT || !w.attachedT && w.endedM
	switch {
	case !atM && !atT && w.deadM && w.attachedT && w.prioM > 0:
		// It had come back to M, which died before the log knew: as with any peer that has just come. It takes a second crash, and a
		// redirect that was under way for longer than M waits.
	case !atM && !atT && !orphan:
		return "nobody serves the client, and nobody knows"
	case w.intent:
		return "an intent is under way for ever"
	case atT && !atM && !w.attachedT && !w.endedM:
		return "the log does not know that the target has the client"
	case atM && w.m == over && w.failed && w.prioT >= w.prioM && !w.reaches:
		return "the dead path is not erased"
	}
	return ""
}

func unwanted(name string) bool {
	return name == "M crashes" || name == "T crashes" || name[:7] == "message" || name == "M asks the log"
}

func TestHandoffModel(t *testing.T) {
	for _, reaches := range []bool{true, false} {
		for losses := range int8(2) {
			start := world{reaches: reaches, losses: losses, prioM: 1, okM: true}
			came := map[world]step{start: {}}
			queue := []world{start}
			rest := 0
			fail := func(w world, why string) {
				trace := ""
				for x := w; x != start; x = came[x].to {
					trace = "\n  " + came[x].name + trace
				}
				t.Fatalf("%s: %s\n%+v", why, trace, w)
			}
			for len(queue) > 0 {
				w := queue[0]
				queue = queue[1:]
				if why := w.wrong(); why != "" {
					fail(w, why)
				}
				quiet := true
				for _, s := range w.steps() {
					if s.to == w {
						continue
					}
					quiet = quiet && unwanted(s.name)
					if _, seen := came[s.to]; !seen {
						came[s.to] = step{s.name, w}
						queue = append(queue, s.to)
					}
				}
				if quiet {
					rest++
					if why := w.lost(); why != "" {
						fail(w, why)
					}
				}
			}
			t.Logf("client reaches the target: %v, messages lost: %d: %d states, %d at rest", reaches, losses, len(came), rest)
		}
	}
}
