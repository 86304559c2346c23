package mux

import (
	"errors"
	"fmt"
	"io"

	"github.com/rootd/rootd/transport/pki"
)

// Proto is an ALPN name. The number at its end changes when the protocol does.
type Proto string

// Protocols of the port.
const (
	Raft  Proto = "rootd-raft/1"
	RPC   Proto = "rootd-rpc/1"
	Admin Proto = "rootd-admin/1"
	Join  Proto = "rootd-join/1"
)

// Protos lists all protocols.
func Protos() []Proto { return []Proto{Raft, RPC, Admin, Join} }

// known returns the protocol of that name.
func known(alpn string) (Proto, bool) {
	for _, p := range Protos() {
		if string(p) == alpn {
			return p, true
		}
	}
	return "", false
}

// guest reports whether clients need no certificate.
func (p Proto) guest() bool { return p == Join }

// Code is why a server refuses, as it stands in byte 0 of its greeting. Values are never reused.
type Code byte

// Codes of a greeting.
const (
	Welcome     Code = 0
	NotAdmitted Code = 1
	Untrusted   Code = 2
	Expired     Code = 3
	NotYetValid Code = 4
	Busy        Code = 5
	NotServed   Code = 6
	Superseded  Code = 7

	codes = 8
)

// Errors that a [Refusal] wraps besides those of package pki.
var (
	// ErrBusy: too many connections or handshakes; try later.
	ErrBusy = errors.New("busy")
	// ErrNotServed: the member does not offer this protocol (now).
	ErrNotServed = errors.New("protocol not served")
	// ErrWrongMember: a member of the cluster answered, but not the one that was to be dialed.
	ErrWrongMember = errors.New("another member answers")
	// ErrClosed: the mux has stopped.
	ErrClosed = errors.New("mux closed")

	errRefused = errors.New("refused for a reason this version does not know")
)

// sentinel returns the error that the code stands for.
func (c Code) sentinel() error {
	switch c {
	case NotAdmitted:
		return pki.ErrNotAdmitted
	case Untrusted:
		return pki.ErrUntrusted
	case Expired:
		return pki.ErrExpired
	case NotYetValid:
		return pki.ErrNotYetValid
	case Busy:
		return ErrBusy
	case NotServed:
		return ErrNotServed
	case Superseded:
		return pki.ErrSuperseded
	}
	return errRefused
}

// codeOf is the reverse of sentinel.
func codeOf(err error) Code {
	for _, c := range []Code{NotAdmitted, Expired, NotYetValid, Busy, NotServed, Superseded} {
		if errors.Is(err, c.sentinel()) {
			return c
		}
	}
	return Untrusted
}

// Refusal is the answer of a member that does not want the connection.
type Refusal struct {
	Code Code
	Why  string // in the words of the member that refused
}

// Error returns the reason.
func (r *Refusal) Error() string { return "refused: " + r.Why }

// Unwrap returns [ErrBusy], [ErrNotServed] or an error of package pki.
func (r *Refusal) Unwrap() error { return r.Code.sentinel() }

const maxReason = 255 // bytes

// appendGreeting encodes a greeting.
func appendGreeting(b []byte, r *Refusal) []byte {
	if r == nil {
		return append(b, byte(Welcome))
	}
	why := r.Why
	if len(why) > maxReason {
		why = why[:maxReason]
	}
	return append(append(b, byte(r.Code), byte(len(why))), why...)
}

// readGreeting returns nil for a welcome and a [*Refusal] for a refusal. It reads no byte beyond the greeting.
func readGreeting(r io.Reader) error {
	var b [maxReason]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return err
	}
	code := Code(b[0])
	if code == Welcome {
		return nil
	}
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	why := b[:b[0]]
	if _, err := io.ReadFull(r, why); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	for i, c := range why { // it may end up on a terminal
		if c < ' ' || c == 0x7f {
			why[i] = '?'
		}
	}
	return &Refusal{Code: code, Why: string(why)}
}
