package link

import (
	"context"
	"sync"
	"time"
)

// upkeep does what needs no datagram to come: it agrees on keys, forgets old ones, probes paths and chooses routes.
type upkeep struct {
	link      *Link
	sender    *Sender
	nextProbe int64 // link's clock
	exchanges sync.WaitGroup
}

func newUpkeep(l *Link) *upkeep { return &upkeep{link: l, sender: l.NewSender()} }

// run works until ctx ends, and waits for the exchanges it has begun.
func (u *upkeep) run(ctx context.Context) {
	ticker := time.NewTicker(min(u.link.o.ProbeInterval/4, 250*time.Millisecond))
	defer ticker.Stop()
	defer u.exchanges.Wait()
	for {
		u.turn(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-u.link.wake:
		}
	}
}

func (u *upkeep) turn(ctx context.Context) {
	l := u.link
	now := l.now()
	due := now >= u.nextProbe
	if due {
		u.nextProbe = now + int64(l.o.ProbeInterval)
	}
	members := l.members.Load().all
	u.agree(ctx, members, now)
	for _, m := range members {
		u.speak(m, now, due)
	}
	u.sender.Flush()
}

// agree sees to keys and routes.
func (u *upkeep) agree(ctx context.Context, members []*member, now int64) {
	l := u.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range members {
		l.dropSessions(m, func(s *session) bool { return now >= s.until.Load() })
		l.choose(m)
		if m.reroute(now, l.deadAfter()) {
			l.tally.add(countReroutes, 1)
		}
		if l.wantsExchange(m, now) {
			m.exchanging = true
			u.exchanges.Go(func() { l.exchange(ctx, m) })
		}
	}
}

// speak probes the paths of a member when that is due. With keys on which nothing has been heard it speaks more often,
// without measuring: the other side may wait for a word to use them.
func (u *upkeep) speak(m *member, now int64, due bool) {
	k := m.sending.Load()
	if k == nil || !due && k.heard.Load() {
		return
	}
	for _, p := range *m.paths.Load() {
		sequence := uint32(0)
		if due {
			sequence = p.probe(now)
		}
		u.sender.probe(k, p, typeProbe, p.number, sequence, now)
	}
}
