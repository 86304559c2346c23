package rpc

import (
	"context"
	"errors"
)

// Code is why a call was refused, for programs. Those who handle calls may use their own besides these.
type Code string

// Codes that this package uses, and that handlers should prefer where they fit.
const (
	CodeInternal    Code = "internal"     // the handler returned an error without a code
	CodeUnknownCall Code = "unknown_call" // the member has no such call: older, or newer
	CodeBusy        Code = "busy"         // too many calls in progress; not carried out
	CodeCanceled    Code = "canceled"     // the caller gave up, or the member stops
	CodeDeadline    Code = "deadline"     // the caller's time was over before the handler was done
	CodeTooLarge    Code = "too_large"    // the answer does not fit a frame
	CodeRefused     Code = "refused"      // cannot be granted as it is
	CodeNotFound    Code = "not_found"
	CodeUnavailable Code = "unavailable" // not now, such as a change without a leader
)

// Error is what a handler refused a call with. It crosses the wire: text longer than 4096 bytes is cut.
type Error struct {
	Code Code
	Text string // what and why, for people
	Hint string // the way out; may be empty
}

// Error returns the text. The hint is printed apart.
func (e *Error) Error() string {
	if e.Text == "" {
		return string(e.Code)
	}
	return e.Text
}

// Is makes errors with the same code match, so that errors.Is(err, &Error{Code: CodeBusy}) asks for it.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Text == "" && t.Hint == ""
}

// CodeOf returns the code of an error that crossed the wire, "" for any other.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// Errors of a [Caller].
var (
	// ErrLost: the connection broke while the call was in progress. It may have been carried out.
	ErrLost = errors.New("connection lost")
	// ErrClosed: the caller has stopped.
	ErrClosed = errors.New("caller closed")
	// ErrTooLarge: the body is larger than MaxBody. Nothing was sent.
	ErrTooLarge = errors.New("body too large")

	errSilent = errors.New("nothing heard any more")
	errIdle   = errors.New("not used for long")
)

// errorOf makes what crosses the wire of what a handler returned.
func errorOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Code == "" {
			return &Error{Code: CodeInternal, Text: e.Text, Hint: e.Hint}
		}
		return e
	}
	code := CodeInternal
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = CodeDeadline
	case errors.Is(err, context.Canceled):
		code = CodeCanceled
	}
	return &Error{Code: code, Text: err.Error()}
}
