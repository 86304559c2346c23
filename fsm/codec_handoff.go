package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Payload of a handoffs entry: one group per run of steps by the same member and epoch.
//
//	size
//	2    member, not 0
//	2    its epoch, not 0
//	2    number of steps, at least 1
//	..   steps, each:
//	       1  step (lower three bits), 0x08: IPv6; the others are 0
//	       5  address of the peer
//	       2  target, if the step is 1 to 3: not 0 and not the member
//
// Payload of a member set entry:
//
//	2    member, not 0
//	1    which of the following are there, at least one: 0x01 drain, 0x02 weight, 0x04 vote, 0x08 priority, 0x10 position; the others are 0
//	1    drain
//	2    weight in ‰, not 0
//	1    vote: 0 auto, 1 voter, 2 standby
//	1    priority as leader
//	6    position: unit vector, not zero
const (
	stepMask  = 0x07
	stepV6    = 0x08
	stepLeast = 1 + vl1.AddressLen

	setDrain    = 0x01
	setWeight   = 0x02
	setVote     = 0x04
	setPriority = 0x08
	setPosition = 0x10
	setAny      = setDrain | setWeight | setVote | setPriority | setPosition
)

// Kind implements [Command].
func (Handoffs) Kind() Kind { return KindHandoffs }

func (hs Handoffs) appendPayload(b []byte) ([]byte, error) {
	if len(hs) == 0 || len(hs) > MaxChanges {
		return b, fmt.Errorf("%w: %d handoffs, not 1 to %d", ErrMalformed, len(hs), MaxChanges)
	}
	for len(hs) > 0 {
		n := 1
		for n < len(hs) && hs[n].From == hs[0].From && hs[n].Epoch == hs[0].Epoch {
			n++
		}
		b = binary.BigEndian.AppendUint16(b, uint16(hs[0].From))
		b = binary.BigEndian.AppendUint16(b, hs[0].Epoch)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
		for i := range hs[:n] {
			h := &hs[i]
			if why := h.check(); why != "" {
				return b, fmt.Errorf("handoff of peer %s: %w: %s", h.Address, ErrMalformed, why)
			}
			flags := byte(h.Step)
			if h.V6 {
				flags |= stepV6
			}
			if b = h.Address.Append(append(b, flags)); h.Step.targets() {
				b = binary.BigEndian.AppendUint16(b, uint16(h.Target))
			}
		}
		hs = hs[n:]
	}
	return b, nil
}

// targets reports whether a step names a target.
func (s HandoffStep) targets() bool { return s != HandoffLevel && s != HandoffRescued }

// check says what is wrong with a step, or "".
func (h *Handoff) check() string {
	switch {
	case h.Address.Reserved():
		return "address is reserved"
	case h.From == 0 || h.Epoch == 0:
		return "member or epoch 0"
	case h.Step < HandoffBegin || h.Step > HandoffRescued:
		return "unknown step"
	case (h.Target == 0) == h.Step.targets():
		return "a target where there is none, or none where there is one"
	case h.Target == h.From:
		return "handed off to itself"
	}
	return ""
}

// readHandoffs appends the steps of a payload to dst.
func readHandoffs(r *reader, dst Handoffs) Handoffs {
	for first := true; first || len(r.b) > 0; first = false {
		m, e, n := r.member(), r.epoch(), int(r.uint16())
		switch k := len(dst); {
		case r.bad != "":
			return dst
		case n == 0 || k+n > MaxChanges || n*stepLeast > len(r.b):
			r.fail("wrong number of handoffs")
			return dst
		case k > 0 && dst[k-1].From == m && dst[k-1].Epoch == e:
			r.fail("group split in two")
			return dst
		}
		for range n {
			flags := r.byte()
			h := Handoff{Step: HandoffStep(flags & stepMask), V6: flags&stepV6 != 0, From: m, Epoch: e, Address: r.address()}
			if h.Step.targets() {
				h.Target = memberID(r.uint16())
			}
			if why := h.check(); why != "" || flags&^(stepMask|stepV6) != 0 {
				r.fail("malformed handoff: " + why)
			}
			if r.bad != "" {
				return dst
			}
			dst = append(dst, h)
		}
	}
	return dst
}

// Kind implements [Command].
func (*MemberSet) Kind() Kind { return KindMemberSet }

func (c *MemberSet) appendPayload(b []byte) ([]byte, error) {
	if why := c.check(); why != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(c.ID))
	var fields byte
	if c.SetDrain {
		fields |= setDrain
	}
	if c.Weight != 0 {
		fields |= setWeight
	}
	if c.SetVote {
		fields |= setVote
	}
	if c.SetPriority {
		fields |= setPriority
	}
	if c.Position.Known() {
		fields |= setPosition
	}
	b = append(b, fields)
	if c.SetDrain {
		b = append(b, byte(c.Drain))
	}
	if c.Weight != 0 {
		b = binary.BigEndian.AppendUint16(b, c.Weight)
	}
	if c.SetVote {
		b = append(b, byte(c.Vote))
	}
	if c.SetPriority {
		b = append(b, c.Priority)
	}
	if c.Position.Known() {
		b = appendUnit(b, c.Position)
	}
	return b, nil
}

func (c *MemberSet) check() string {
	switch {
	case c.ID == 0:
		return "member 0"
	case !c.SetDrain && c.Weight == 0 && !c.SetVote && !c.SetPriority && !c.Position.Known():
		return "nothing is set"
	case c.Drain > DrainStopping || !c.SetDrain && c.Drain != DrainNone:
		return "unknown drain"
	case c.Vote > VoteStandby || !c.SetVote && c.Vote != VoteAuto:
		return "unknown vote"
	case !c.SetPriority && c.Priority != 0:
		return "a priority that is not set"
	case !c.Position.Valid():
		return "position is no unit vector"
	}
	return ""
}

func readMemberSet(r *reader) *MemberSet {
	c := &MemberSet{ID: r.member()}
	fields := r.byte()
	if c.SetDrain = fields&setDrain != 0; c.SetDrain {
		c.Drain = Drain(r.byte())
	}
	if fields&setWeight != 0 {
		if c.Weight = r.uint16(); c.Weight == 0 {
			r.fail("weight 0")
		}
	}
	if c.SetVote = fields&setVote != 0; c.SetVote {
		c.Vote = Vote(r.byte())
	}
	if c.SetPriority = fields&setPriority != 0; c.SetPriority {
		c.Priority = r.byte()
	}
	if fields&setPosition != 0 {
		if c.Position = r.unit(); !c.Position.Known() {
			r.fail("no position")
		}
	}
	if why := c.check(); why != "" || fields&^setAny != 0 {
		r.fail("malformed: " + why)
	}
	return c
}
