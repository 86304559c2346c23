package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// SetOperator lets somebody in from afar: who has a certificate for the key may use the admin API of all members. Expires 0
// takes that back. Expired ones are forgotten when another one is let in; at most [MaxOperators].
type SetOperator struct {
	KeyHash  KeyHash // not zero
	Name     string  // 1 to 64 bytes
	Expires  int64   // ms since 1970; 0: now
	ReadOnly bool    // may look, and change nothing
}

// Operator is somebody who was let in.
type Operator = SetOperator

// MaxOperators is the most operators that the log knows at a time.
const MaxOperators = 200

// ErrOperatorsFull refuses another operator.
var ErrOperatorsFull = errors.New("there are too many operators: revoke some")

// Kind implements [Command].
func (*SetOperator) Kind() Kind { return KindOperator }

// Operator returns who was let in with the key, if that has not expired at a time in ms since 1970.
func (s *State) Operator(key KeyHash, now int64) (*Operator, bool) {
	i, ok := operatorIndex(s.Operators, key)
	if !ok || now >= s.Operators[i].Expires {
		return nil, false
	}
	return &s.Operators[i], true
}

func operatorIndex(all []Operator, key KeyHash) (int, bool) {
	return slices.BinarySearchFunc(all, key, func(o Operator, key KeyHash) int { return bytes.Compare(o.KeyHash[:], key[:]) })
}

func (f *FSM) setOperator(c *SetOperator) error {
	i, ok := operatorIndex(f.st.Operators, c.KeyHash)
	if c.Expires <= f.st.Time {
		if ok {
			f.st.Operators = slices.Delete(slices.Clone(f.st.Operators), i, i+1)
		}
		return nil
	}
	next := slices.DeleteFunc(slices.Clone(f.st.Operators), func(o Operator) bool { return o.KeyHash == c.KeyHash || o.Expires <= f.st.Time })
	if len(next) >= MaxOperators {
		return ErrOperatorsFull
	}
	i, _ = operatorIndex(next, c.KeyHash)
	f.st.Operators = slices.Insert(next, i, *c)
	return nil
}

func (c *SetOperator) appendPayload(b []byte) ([]byte, error) {
	if c.KeyHash == (KeyHash{}) || c.Expires < 0 || c.Expires > maxTime {
		return b, fmt.Errorf("%w: operator without a key, or with an impossible time", ErrMalformed)
	}
	return c.append(b)
}

// append appends 32 bytes of the key's hash, 8 of the time, 1 if it may only look else 0, text: name.
func (c *SetOperator) append(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(append(b, c.KeyHash[:]...), uint64(c.Expires))
	var look byte
	if c.ReadOnly {
		look = 1
	}
	return appendText(append(b, look), c.Name, 1)
}

func readOperator(r *reader) *SetOperator {
	c := &SetOperator{KeyHash: r.hash(), Expires: r.time(), ReadOnly: r.flag("operator that may only look")}
	if c.Name = r.text(1); c.KeyHash == (KeyHash{}) {
		r.fail("operator without a key")
	}
	return c
}

// appendOperators appends 2 bytes of their number, then the operators, ascending by key, as in an entry.
func appendOperators(b []byte, s *State) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Operators)))
	for i := range s.Operators {
		b, _ = s.Operators[i].append(b) // it was checked when its entry was decoded
	}
	return b
}

func (s *State) readOperators(r *reader) {
	for n := int(r.uint16()); n > 0 && r.bad == ""; n-- {
		o := readOperator(r)
		if k := len(s.Operators); o.Expires == 0 || k > 0 && bytes.Compare(o.KeyHash[:], s.Operators[k-1].KeyHash[:]) <= 0 {
			r.fail("operators out of order, or without an end")
		}
		s.Operators = append(s.Operators, *o)
	}
}
