package admin

import (
	"errors"
	"net/http"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// Error is why a request was refused: what was wanted, why it did not work, and the way out.
type Error struct {
	Status int    `json:"status"` // HTTP status
	What   string `json:"what"`
	Why    string `json:"why"`
	Hint   string `json:"hint,omitempty"`
}

// Error returns "what: why"; the hint is printed apart.
func (e *Error) Error() string {
	if e.What == "" {
		return e.Why
	}
	return e.What + ": " + e.Why
}

// Is makes [ErrNotFound] and [ErrRefused] match what comes over the wire.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrRefused:
		return e.Status == http.StatusConflict || e.Status == http.StatusBadRequest
	}
	return false
}

// Errors that a [Source] wraps to choose the status of the answer.
var (
	// ErrNotFound: the peer, or whatever was named, is not known here (404).
	ErrNotFound = errors.New("not found")
	// ErrRefused: the request cannot be granted as it is (409), such as a planet that clients would not take.
	ErrRefused = errors.New("refused")
	// ErrUnavailable: not now (503), such as a change without a leader.
	ErrUnavailable = errors.New("unavailable")
)

// errorFor makes an Error of what a Source returned.
func errorFor(what string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		c := *e
		if c.What == "" {
			c.What = what
		}
		if c.Status < 400 {
			c.Status = http.StatusInternalServerError
		}
		return &c
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrRefused):
		status = http.StatusConflict
	case errors.Is(err, ErrUnavailable):
		status = http.StatusServiceUnavailable
	}
	return &Error{Status: status, What: what, Why: err.Error()}
}

// Elsewhere reports whether another member may do better: this one does not run, or is for the moment without a leader.
func Elsewhere(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == 0 || e.Status == http.StatusServiceUnavailable)
}

// hintIn finds the way out in an error of another package.
func hintIn(err error) string {
	if e, ok := errors.AsType[*pki.Error](err); ok {
		return e.Hint
	}
	if errors.Is(err, mux.ErrNotServed) {
		return "does that member run this version of rootd?"
	}
	return ""
}
