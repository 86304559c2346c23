package mux

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

func FuzzGreeting(f *testing.F) {
	f.Add(appendGreeting(nil, nil))
	f.Add(appendGreeting(nil, &Refusal{Code: NotAdmitted, Why: "removed"}))
	f.Add([]byte{5, 200, 'x'})
	f.Add([]byte{99, 2, '\x1b', '['})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		err := readGreeting(r)
		refusal, refused := errors.AsType[*Refusal](err)
		switch {
		case err == nil && (in[0] != 0 || r.Len() != len(in)-1):
			t.Fatal("welcome with or without a reason")
		case refused && (refusal.Code != Code(in[0]) || len(refusal.Why) != int(in[1]) || refusal.Unwrap() == nil):
			t.Fatalf("refusal %+v", refusal)
		case refused && strings.ContainsFunc(refusal.Why, func(r rune) bool { return r < ' ' }):
			t.Fatalf("control characters in %q", refusal.Why)
		}
	})
}

func TestGreetingCodes(t *testing.T) {
	t.Parallel()
	for _, want := range []error{pki.ErrNotAdmitted, pki.ErrUntrusted, pki.ErrExpired, pki.ErrNotYetValid, ErrBusy, ErrNotServed, pki.ErrSuperseded} {
		b := appendGreeting(nil, &Refusal{Code: codeOf(want), Why: strings.Repeat("y", 300)})
		if err := readGreeting(bytes.NewReader(b)); !errors.Is(err, want) {
			t.Errorf("%v became %v", want, err)
		}
	}
	if err := readGreeting(bytes.NewReader([]byte{200, 1, 'x'})); err == nil || errors.Is(err, ErrBusy) {
		t.Errorf("unknown code: %v", err)
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	th := throttle{last: map[complaint]time.Time{}}
	now := time.Unix(1000, 0)
	passed := 0
	for range 100 {
		if th.pass(complaint{3, Expired}, now) {
			passed++
		}
		now = now.Add(time.Minute)
	}
	if passed != 10 {
		t.Errorf("%d of 100 minutes logged", passed)
	}
	for i := range 10 * maxComplaints {
		th.pass(complaint{pki.MemberID(i), Busy}, now)
	}
	if len(th.last) > maxComplaints {
		t.Errorf("%d remembered", len(th.last))
	}
}
