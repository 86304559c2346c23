package pki

import "errors"

// Errors that an [Error] wraps.
var (
	// ErrUntrusted: signed by nobody whom the bundle trusts, or no certificate of a member at all.
	ErrUntrusted = errors.New("certificate not trusted")
	// ErrExpired: the certificate's, or its CA's, time is over, or this machine's clock is ahead.
	ErrExpired = errors.New("certificate expired")
	// ErrNotYetValid: the certificate begins in the future, or this machine's clock is behind.
	ErrNotYetValid = errors.New("certificate not yet valid")
	// ErrNotAdmitted: a good certificate of a member that is none any more.
	ErrNotAdmitted = errors.New("member not admitted")
	// ErrSuperseded: one of the two members is of an epoch of the cluster that is over; see [Epoch].
	ErrSuperseded = errors.New("epoch is over")
	// ErrBroken: a file, or bytes that came over the wire, that do not hold what they should.
	ErrBroken = errors.New("not readable")
)

// Error is why something was refused, and the way out.
type Error struct {
	Err  error  // one of the errors of this package
	Why  string // what was found
	Hint string // what to do about it; may be empty
}

// Error returns the reason. The hint is printed apart.
func (e *Error) Error() string { return e.Why }

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }
