package main

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootd/rootd/packetpath/vl1"
)

// scenario is a kind of load.
type scenario struct {
	name  string
	asked float64 // the greatest ratio that is good enough
	// rest is how long the clients must have been silent before, as a root answers each only now and then.
	rest time.Duration
	// run loads a server for a while. It returns how many packets it sent and how many came back: the packets
	// themselves from the reflector, relays or answers from a root.
	run func(l *load, at netip.AddrPort, d time.Duration) (sent, back int)
}

const (
	window    = 1024 // packets under way, where as many are sent as come back: the server's core is never idle
	lightRate = 10_000
	halfRate  = 60_000
	burst     = 32                      // packets of one client in a row
	turnEvery = 1200 * time.Millisecond // a root answers a client's HELLO once a second
)

func scenarios() []scenario {
	return []scenario{
		{"relay, unrelated packets", 1.20, 0, func(l *load, at netip.AddrPort, d time.Duration) (int, int) {
			return l.closed(at, d, 0, 1, (*load).frame)
		}},
		{"relay, bursts of 32 of a flow", 0.50, 0, func(l *load, at netip.AddrPort, d time.Duration) (int, int) {
			return l.closed(at, d, 0, burst, (*load).frame)
		}},
		{"relay, 10,000/s", 1.20, 0, func(l *load, at netip.AddrPort, d time.Duration) (int, int) {
			return l.open(at, d, lightRate, (*load).timedFrame)
		}},
		{"relay, 60,000/s", 1.50, 0, func(l *load, at netip.AddrPort, d time.Duration) (int, int) {
			return l.open(at, d, halfRate, (*load).timedFrame)
		}},
		exchange("HELLO", (*load).hello),
		exchange("ECHO", func(l *load, p *peer, buf []byte) []byte { return l.request(p, vl1.VerbEcho, buf) }),
		exchange("WHOIS", func(l *load, p *peer, buf []byte) []byte { return l.request(p, vl1.VerbWhois, buf) }),
	}
}

// exchange is one request of every client, as many under way as with relays.
func exchange(name string, build func(*load, *peer, []byte) []byte) scenario {
	return scenario{name, 1.50, turnEvery, func(l *load, at netip.AddrPort, _ time.Duration) (int, int) {
		return l.closed(at, time.Minute, len(l.clients), 1, build)
	}}
}

// frame is a packet of a client to another: the same each time.
func (l *load) frame(p *peer, _ []byte) []byte { return l.frames[p.number*frameSize:][:frameSize] }

// timedFrame is frame, with a look at the clock.
func (l *load) timedFrame(p *peer, _ []byte) []byte {
	l.timed, p.sent = true, time.Now().UnixNano()
	return l.frame(p, nil)
}

// closed sends as many packets as come back, each client in its turn some in a row: for a while, or until so many are
// sent if that is not 0.
func (l *load) closed(at netip.AddrPort, d time.Duration, most, row int, build func(*load, *peer, []byte) []byte) (sent, back int) {
	buf := make([]byte, 0, bufferSize)
	begun, lost := l.came(), 0
	for end := time.Now().Add(d); time.Now().Before(end) && (most == 0 || sent < most); {
		for n := 0; n < 2*sendBatch && sent-lost-(l.came()-begun) < window && (most == 0 || sent < most); n += row {
			b := build(l, l.turn(), buf)
			for range row {
				l.post(l.current, at, b)
			}
			sent += row
		}
		l.flush()
		for idle := time.Now(); !l.receive() && sent-lost-(l.came()-begun) >= window; {
			if time.Since(idle) > 200*time.Millisecond {
				lost = sent - (l.came() - begun)
			}
		}
	}
	l.settle()
	return sent, l.came() - begun
}

// open sends packets at a rate.
func (l *load) open(at netip.AddrPort, d time.Duration, perSecond int, build func(*load, *peer, []byte) []byte) (sent, back int) {
	buf := make([]byte, 0, bufferSize)
	before := l.came()
	begin := time.Now()
	for passed, last := time.Duration(0), time.Duration(0); ; last = passed {
		passed = time.Since(begin)
		l.away = max(l.away, passed-last)
		if passed > d {
			break
		}
		for due := int(float64(perSecond) * passed.Seconds()); sent < due; sent++ {
			l.post(l.turn(), at, build(l, l.current, buf))
		}
		l.flush()
		l.receive()
		if l.nap > 0 {
			nap := unix.NsecToTimespec(int64(l.nap)) // shorter than Go's poller can sleep
			_ = unix.Nanosleep(&nap, nil)
		}
	}
	l.settle()
	return sent, l.came() - before
}

// came is how many packets came back so far.
func (l *load) came() int { return l.relayed + l.answered }

// settle waits for what is under way.
func (l *load) settle() {
	for last := time.Now(); time.Since(last) < 50*time.Millisecond; time.Sleep(time.Millisecond) { //nolint:forbidigo // a measured pause
		if l.receive() {
			last = time.Now()
			l.flush()
		}
	}
}
