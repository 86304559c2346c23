package snapshot

import (
	"errors"
	"fmt"
	"io"
)

// What an [Error] may wrap.
var (
	ErrForeign  = errors.New("not a snapshot archive") // empty, or made by something else
	ErrDamaged  = errors.New("archive is damaged")     // cut off, or changed in any way
	ErrTooNew   = errors.New("archive is too new")     // of a later version
	ErrSealed   = errors.New("secrets do not open")    // other key, wrong passphrase
	ErrSeal     = errors.New("seal")                   // the secrets cannot be sealed with that
	ErrNoSecret = errors.New("archive has no secrets") // it was made without
)

// Error is a refusal that names the reason and the way out.
type Error struct {
	Why string
	Way string // out, see Hint
	Err error  // one of the errors above
}

// Error returns the kind of error and the reason.
func (e *Error) Error() string { return e.Err.Error() + ": " + e.Why }

// Hint returns what the operator can do.
func (e *Error) Hint() string { return e.Way }

// Unwrap returns the kind of error.
func (e *Error) Unwrap() error { return e.Err }

func damaged(format string, a ...any) error {
	return &Error{Err: ErrDamaged, Why: fmt.Sprintf(format, a...), Way: "nothing was changed. Take another copy, or another backup; rootctl snapshot verify tells a good one"}
}

// cut turns the end of the input, where something should be, into damage.
func cut(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off in %s", what)
	}
	return fmt.Errorf("read archive: %s: %w", what, err)
}
