package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	exchangeTimeout = 10 * time.Second
	firstRetry      = 250 * time.Millisecond
	maxRetry        = 10 * time.Second
	maxGeneration   = 1 << 31
	offerBurst      = 64 // offers of a member that are taken at once
)

var (
	errRemoved = errors.New("it has been removed meanwhile")
	errFull    = errors.New("no room for another session")
	errTooMany = errors.New("too many of them: it offers keys in a loop")
)

// HandleOffer takes the offer of a member, as its [Exchange] brought it, and returns the answer. The caller has made
// sure that it comes from this member. Errors: [ErrUnknownMember], [ErrClosed], or what is wrong with the offer.
func (l *Link) HandleOffer(from uint16, offer []byte) (answer []byte, err error) {
	answer, err = l.handleOffer(from, offer)
	if err != nil {
		l.tally.add(countRefusedOffers, 1)
		return nil, fmt.Errorf("link: offer of member %d: %w", from, err)
	}
	return answer, nil
}

func (l *Link) handleOffer(from uint16, offer []byte) ([]byte, error) {
	m := l.members.Load().get(from)
	if m == nil {
		return nil, ErrUnknownMember
	}
	h, err := parseHello(offer, helloOffer)
	if err != nil {
		return nil, err
	}
	switch {
	case h.from != from || h.to != l.o.Self:
		return nil, fmt.Errorf("it is one of member %d to member %d", h.from, h.to)
	case h.generation >= maxGeneration:
		return nil, fmt.Errorf("generation %d: no member gets as far", h.generation)
	}
	if !l.takesOffer(m) {
		return nil, errTooMany
	}
	own, err := newEphemeral()
	if err != nil {
		return nil, err
	}
	secret, err := agree(own, h.public)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	reply := hello{what: helloAnswer, from: l.o.Self, to: from, epoch: l.epoch, public: [32]byte(own.PublicKey().Bytes())}
	if reply.generation = h.generation; h.epoch == m.epoch { // else none of its sessions is left to come after
		reply.generation = max(h.generation, m.generation+1)
	}
	if reply.index, err = l.reserve(m); err != nil {
		return nil, err
	}
	answer := reply.encode()
	if err := l.establish(m, &h, &reply, secret, offer, answer, from); err != nil {
		return nil, err
	}
	return answer, nil
}

// takesOffer bounds the key agreements that a member can make us do. A member in good order offers once in a probe interval at
// most, and that only while it hears nothing.
func (l *Link) takesOffer(m *member) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, each := l.now(), int64(l.o.OfferInterval)
	if m.offers = max(m.offers, now); m.offers-now > (offerBurst-1)*each {
		return false
	}
	m.offers += each
	return true
}

// reserve returns an index for a session with a member. The link is locked.
func (l *Link) reserve(m *member) (uint32, error) {
	switch {
	case l.closed:
		return 0, ErrClosed
	case m.removed:
		return 0, errRemoved
	}
	index, ok := l.keys.reserve()
	if !ok {
		return 0, errFull
	}
	return index, nil
}

// establish makes and installs the session that an offer and its answer agreed on. Own's index is reserved; it is
// released if this fails. The link is locked.
func (l *Link) establish(m *member, other, own *hello, secret, offer, answer []byte, offerer uint16) error {
	there, back, err := deriveKeys(secret, offer, answer)
	if err != nil {
		l.keys.release(own.index)
		return err
	}
	s := &session{
		member: m, offerer: offerer, created: l.now(), local: own.index, remote: other.index,
		generation: max(own.generation, other.generation), seal: there, open: back, limit: 2 * l.o.RotatePackets,
	}
	if offerer != l.o.Self {
		s.seal, s.open = back, there
	}
	l.install(s, other.epoch)
	return nil
}

// wantsExchange reports whether it is time to offer new keys to a member. The link is locked.
func (l *Link) wantsExchange(m *member, now int64) bool {
	if m.exchanging || m.removed || now < m.nextTry {
		return false
	}
	s := m.sending.Load()
	if s == nil { // unless the other side has just offered, and is about to speak
		n := len(m.sessions)
		return n == 0 || now-m.sessions[n-1].created >= int64(l.o.ProbeInterval)
	}
	// The lower number replaces old keys, the other only if that does not happen.
	due := int64(l.o.RotateAfter)
	if l.o.Self > m.id {
		due += due / 8
	}
	silent := now - max(m.heard.Load(), s.created)
	return s.rotate.Load() || now-s.created >= due || silent >= int64(l.deadAfter())
}

// deadAfter is how long nothing is heard from who is dead.
func (l *Link) deadAfter() time.Duration { return 3*l.o.ProbeInterval + l.o.ProbeInterval/2 }

// exchange offers new keys to a member, and sets when to try again.
func (l *Link) exchange(ctx context.Context, m *member) {
	began := l.now()
	err := l.offer(ctx, m)
	failures, wait := l.exchanged(m, err)
	switch {
	case ctx.Err() != nil || errors.Is(err, errRemoved):
	case err == nil && failures > 0:
		l.log.Info("keys agreed again", "member", m.id, "duration", time.Duration(l.now()-began))
	case err != nil:
		l.tally.add(countFailedExchanges, 1)
		if failures == 0 { // the following ones say nothing new
			l.log.Warn("no new keys", "member", m.id, "error", err, "retry_in", wait)
		}
	}
	if err == nil {
		l.poke() // the other side waits for a word
	}
}

// exchanged notes how an exchange ended. It returns how many had failed before it, and the time until the next may begin.
func (l *Link) exchanged(m *member, err error) (failures int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.exchanging = false
	failures, wait = m.failures, l.o.ProbeInterval
	if m.failures = 0; err != nil {
		m.failures = failures + 1
		wait = min(firstRetry<<min(failures, 8), maxRetry)
		wait += time.Duration(random64() % uint64(wait/4))
	}
	m.nextTry = l.now() + int64(wait)
	return failures, wait
}

// offer makes one exchange.
func (l *Link) offer(ctx context.Context, m *member) error {
	own, err := newEphemeral()
	if err != nil {
		return err
	}
	h := hello{what: helloOffer, from: l.o.Self, to: m.id, epoch: l.epoch, public: [32]byte(own.PublicKey().Bytes())}
	l.mu.Lock()
	h.generation = m.generation + 1
	h.index, err = l.reserve(m)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	offer := h.encode()
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	answer, err := l.o.Exchange(ctx, m.id, bytes.Clone(offer))
	var reply hello
	var secret []byte
	if err == nil {
		reply, err = parseAnswer(answer, &h)
	}
	if err == nil {
		secret, err = agree(own, reply.public)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
	case l.closed:
		err = ErrClosed
	case m.removed:
		err = errRemoved
	}
	if err != nil {
		l.keys.release(h.index)
		return err
	}
	return l.establish(m, &reply, &h, secret, offer, answer, l.o.Self)
}

// parseAnswer reads the answer to an offer.
func parseAnswer(b []byte, offer *hello) (hello, error) {
	h, err := parseHello(b, helloAnswer)
	switch {
	case err != nil:
		return h, fmt.Errorf("answer: %w", err)
	case h.from != offer.to || h.to != offer.from:
		return h, fmt.Errorf("answer: it is one of member %d to member %d", h.from, h.to)
	case h.generation < offer.generation:
		return h, fmt.Errorf("answer: generation %d after an offer of %d", h.generation, offer.generation)
	}
	return h, nil
}
