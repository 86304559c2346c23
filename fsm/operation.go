package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrOperation is wrapped by refusals of a step of an [Operation].
var ErrOperation = errors.New("operation")

// MaxOperationSteps is how many steps of operations the log remembers; the oldest go first.
const MaxOperationSteps = 256

// maxStep is the longest text of a step, in bytes.
const maxStep = 512

// OperationID names one operation: random, not zero.
type OperationID = [8]byte

// Operation is what an operator's tool does to the whole cluster, step by step: at most one at a time, so that two of them
// do not meet half-way. The zero value: none.
type Operation struct {
	ID    OperationID
	Kind  string // "upgrade", "restart"
	By    string // who, for people
	Began int64  // ms since 1970, as all times of the log
	Last  int64  // its last step
	Over  bool   // it has ended
}

// Running reports whether an operation has begun and not ended, be it because its tool was killed.
func (o *Operation) Running() bool { return o.ID != OperationID{} && !o.Over }

// OperationStep is a line of the history of operations.
type OperationStep struct {
	ID   OperationID
	At   int64
	Text string
}

// Operate takes a step of an operation. The first one begins it, and is refused with [ErrOperation] while another one runs;
// so is a step of one that does not run. The same beginning again changes nothing: its tool resumes.
type Operate struct {
	ID    OperationID
	Phase OperationPhase
	What  string // of a beginning: as in [Operation], also what follows
	By    string
	Text  string // what happens, at most 512 bytes
}

// OperationPhase is where in its life an operation is. The numbers are part of the log format.
type OperationPhase uint8

// The phases.
const (
	OperationBegin OperationPhase = 1
	OperationGoOn  OperationPhase = 2
	OperationEnd   OperationPhase = 3
)

// Kind implements [Command].
func (*Operate) Kind() Kind { return KindOperate }

func (f *FSM) operate(c *Operate) error {
	o := f.st.Operation
	switch {
	case c.Phase == OperationBegin && o.Running() && o.ID != c.ID:
		return fmt.Errorf("%w: %s by %s is under way", ErrOperation, o.Kind, o.By)
	case c.Phase == OperationBegin && o.Running():
		return nil
	case c.Phase == OperationBegin && o.ID == c.ID:
		return fmt.Errorf("%w: this %s has ended", ErrOperation, o.Kind)
	case c.Phase == OperationBegin:
		o = Operation{ID: c.ID, Kind: c.What, By: c.By, Began: f.st.Time}
	case !o.Running() || o.ID != c.ID:
		return fmt.Errorf("%w: it is not under way", ErrOperation)
	}
	o.Last, o.Over = f.st.Time, c.Phase == OperationEnd
	f.st.Operation = o
	steps := append(slices.Clone(f.st.OperationSteps), OperationStep{ID: c.ID, At: f.st.Time, Text: c.Text})
	f.st.OperationSteps = steps[max(0, len(steps)-MaxOperationSteps):]
	return nil
}

// Payload of an operate entry:
//
//	8   ID
//	1   phase
//	..  if it begins: text: kind, not empty; text: by
//	2   size of what happens, at most 512; then that
func (c *Operate) appendPayload(b []byte) ([]byte, error) {
	if why := c.check(); why != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	b = append(append(b, c.ID[:]...), byte(c.Phase))
	if c.Phase == OperationBegin {
		var err error
		if b, err = appendText(b, c.What, 1); err != nil {
			return b, err
		}
		if b, err = appendText(b, c.By, 0); err != nil {
			return b, err
		}
	}
	return appendString(b, c.Text), nil
}

func (c *Operate) check() string {
	switch {
	case c.ID == OperationID{}:
		return "operation without ID"
	case c.Phase < OperationBegin || c.Phase > OperationEnd:
		return "unknown phase of an operation"
	case len(c.Text) > maxStep:
		return "step of an operation too long"
	case c.Phase != OperationBegin && (c.What != "" || c.By != ""):
		return "only a beginning says what an operation is"
	}
	return ""
}

func readOperate(r *reader) *Operate {
	c := &Operate{ID: r.tokenID(), Phase: OperationPhase(r.byte())}
	if c.Phase == OperationBegin {
		c.What, c.By = r.text(1), r.text(0)
	}
	c.Text = string(r.take(int(r.uint16())))
	if why := c.check(); why != "" {
		r.fail(why)
	}
	return c
}

// appendOperation appends the operation and the history, since version 3 of the snapshot:
//
//	8    ID of the last operation, zero: none, then only the number of steps follows
//	8    began   8  last step   1  1 if over   text: kind   text: by
//	2    number of steps, then for each: ID (8), at (8), string: what happened
func appendOperation(b []byte, s *State) []byte {
	o := &s.Operation
	b = append(b, o.ID[:]...)
	if o.ID != (OperationID{}) {
		b = binary.BigEndian.AppendUint64(b, uint64(o.Began))
		b = binary.BigEndian.AppendUint64(b, uint64(o.Last))
		var over byte
		if o.Over {
			over = 1
		}
		b = append(append(b, over, byte(len(o.Kind))), o.Kind...)
		b = append(append(b, byte(len(o.By))), o.By...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.OperationSteps)))
	for _, step := range s.OperationSteps {
		b = binary.BigEndian.AppendUint64(append(b, step.ID[:]...), uint64(step.At))
		b = appendString(b, step.Text)
	}
	return b
}

func (s *State) readOperation(r *reader) {
	o := &s.Operation
	copy(o.ID[:], r.take(len(o.ID)))
	if o.ID != (OperationID{}) {
		o.Began, o.Last = r.time(), r.time()
		o.Over = r.byte() == 1
		o.Kind, o.By = r.text(1), r.text(0)
	}
	n := int(r.uint16())
	if n > MaxOperationSteps {
		r.fail("too many steps of operations")
	}
	for ; n > 0 && r.bad == ""; n-- {
		step := OperationStep{}
		copy(step.ID[:], r.take(len(step.ID)))
		step.At = r.time()
		step.Text = string(r.take(int(r.uint16())))
		s.OperationSteps = append(s.OperationSteps, step)
	}
}
