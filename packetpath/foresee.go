package packetpath

import (
	"unsafe"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// ahead is what a worker knows of a batch before it handles it.
type ahead struct {
	whose    [batchSize]vl1.Address // whose sessions are needed
	local    [batchSize]bool        // whether the packet is for the root
	sessions [batchSize]*session
	peers    [batchSize]vl1.Address // whose records are needed
	lines    prefetch.Lines
}

// foresee asks for the memory that the packets of a batch are going to need, step by step, so that they wait for it
// together and not each for its own: with many peers, almost every packet is of one whose session is in no cache. It is a
// hint: wherever it errs, the packet itself finds what it needs.
func (w *worker) foresee(batch []udp.Message) {
	r, a := w.root, &w.ahead
	lines := &a.lines
	n, peers := 0, 0
	state := r.view.State()
	shared := r.link != nil && len(state.Members) > 1
	for i := range batch {
		b := batch[i].Buf[:batch[i].N]
		if len(b) < vl1.HeaderLen {
			continue
		}
		peer := vl1.AddressFrom(b[8:])
		a.local[n] = peer == r.self.Address
		logged := shared // whether to look up where the log has the peer
		if a.local[n] {
			peer = vl1.Packet(b).Source()
			logged = logged && vl1.Packet(b).Verb() == vl1.VerbHello
		} else {
			w.foreseeRelay(b, &batch[i], lines)
		}
		if logged {
			a.peers[peers] = peer
			peers++
		}
		a.whose[n] = peer
		lines.Add(unsafe.Pointer(r.sessions.home(peer)))
		n++
	}
	lines.Fetch()
	if peers > 0 {
		state.Table().Prefetch(a.peers[:peers])
	}
	for i, peer := range a.whose[:n] {
		s := r.sessions.get(peer)
		a.sessions[i] = s
		if s == nil {
			continue
		}
		lines.Add(unsafe.Pointer(s))
		lines.Add(unsafe.Pointer(&s.first))
		lines.Add(unsafe.Pointer(&s.first.heard))
		if a.local[i] {
			lines.Add(unsafe.Pointer(&s.id.Key))
			lines.Add(unsafe.Pointer(&s.key))
			lines.Add(unsafe.Pointer(&s.probe))
			lines.Add(unsafe.Pointer(&s.hellos))
			lines.Add(unsafe.Pointer(&s.leaving))
			lines.Add(unsafe.Pointer(&s.considered))
		}
	}
	lines.Fetch()
	for _, s := range a.sessions[:n] {
		if s == nil {
			continue
		}
		if p := s.best.Load(); p != nil && p != &s.first {
			lines.Add(unsafe.Pointer(p))
			lines.Add(unsafe.Pointer(&p.heard))
		}
	}
	lines.Fetch()
}

// foreseeVisit asks for what the keeper is going to look at.
func foreseeVisit(s *session, lines *prefetch.Lines) {
	lines.Add(unsafe.Pointer(s))
	lines.Add(unsafe.Pointer(&s.first))
	lines.Add(unsafe.Pointer(&s.first.heard))
	lines.Add(unsafe.Pointer(&s.first.confirmed))
	lines.Add(unsafe.Pointer(&s.checked))
	lines.Add(unsafe.Pointer(&s.paths))
}

// foreseeRelay asks for what limits the relay of a packet.
func (w *worker) foreseeRelay(b []byte, m *udp.Message, lines *prefetch.Lines) {
	r := w.root
	if r.limits.RelayFrom != 0 {
		lines.Add(unsafe.Pointer(r.sources.bucket(m.Addr)))
	}
	if p := vl1.Packet(b); r.limits.IntroductionInterval != 0 && !vl1.IsFragment(b) && p.Hops() == 0 {
		set, _ := r.pairs.set(p.Source(), p.Dest())
		lines.Add(unsafe.Pointer(set))
	}
}
