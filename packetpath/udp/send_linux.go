package udp

import (
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Runs. Messages of one batch with the same two ends and the same size, the last may be shorter, leave as one header
// with several iovecs, which the network device or the receiving socket cuts apart again (UDP_SEGMENT): one trip
// through the kernel instead of many. They need not be neighbors; a message never overtakes one to the same
// destination, as it joins only the last header to it.
//
// A device may be unable to do it, and the kernel refuses segments larger than what the route carries. A run that is
// refused is sent again, one by one. If that worked maxRefused times in a row, and no run went through meanwhile, it is
// the socket, and there are no more runs on it.
const (
	maxRun      = 64     // messages in a run: what every kernel takes that knows runs
	maxRunBytes = 65_000 // of all messages in a run
	maxSegment  = 1452   // bytes of a message in a run: what fits into a packet of 1500
	maxFlight   = 128    // messages in a call
	maxRefused  = 16
)

// sender is the writing side of a conn for one goroutine.
type sender struct {
	headers []header
	slots   []txSlot
	lone    []header // for a refused run, made when the first is
	c       *conn
	call    func(fd uintptr, h []header) (int, unix.Errno) // sendmmsg; tests refuse here
	flush   func(fd uintptr)                               // s.send, bound once
	n       int                                            // headers to be sent
	flight  int                                            // messages in them
	runs    bool                                           // whether this batch may have runs
	latest  [64]uint8                                      // by hash of the destination: the last header to it, plus one
	sent    int                                            // messages taken by the kernel, of the whole batch
	err     error
}

// txSlot is what one header of a sender points to.
type txSlot struct {
	name    sockaddr
	iovs    [maxRun]unix.Iovec
	ctl     control
	local   int // bytes of ctl that name the local address
	to      netip.AddrPort
	from    netip.Addr
	segment int  // bytes of the first message
	bytes   int  // of all
	open    bool // whether another message may join
}

func (c *conn) NewSender(batch int) Sender {
	s := &sender{c: c, call: sendmmsg}
	s.grow(min(max(batch, 1), maxCall))
	s.flush = s.send
	return s
}

// grow makes room for n headers and ties them to slots.
func (s *sender) grow(n int) {
	s.headers, s.slots = make([]header, n), make([]txSlot, n)
	for i := range s.headers {
		h, sl := &s.headers[i].hdr, &s.slots[i]
		h.Name = (*byte)(unsafe.Pointer(&sl.name))
		h.Iov = &sl.iovs[0]
		h.Control = (*byte)(unsafe.Pointer(&sl.ctl))
	}
}

func sendmmsg(fd uintptr, h []header) (int, unix.Errno) {
	got, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(h))),
		uintptr(len(h)), unix.MSG_DONTWAIT, 0, 0)
	return int(got), errno
}

func (s *sender) Write(batch []Message) (int, error) {
	if len(batch) > len(s.headers) && len(s.headers) < maxCall {
		s.grow(min(len(batch), maxCall))
	}
	s.sent, s.err = 0, nil
	s.reset()
	for i := range batch {
		if !s.put(&batch[i]) {
			s.c.rejected.Add(1)
		}
		if s.n < len(s.headers) && s.flight < maxFlight && i < len(batch)-1 {
			continue
		}
		err := s.c.raw.Control(s.flush)
		s.reset()
		if err == nil {
			err = s.err
		}
		if err != nil {
			return s.sent, s.c.plainError(err)
		}
	}
	return s.sent, nil
}

// reset begins a call.
func (s *sender) reset() {
	s.n, s.flight = 0, 0
	s.runs = s.c.segment.Load()
	clear(s.latest[:])
}

// put adds m to a run, or prepares the next header for it. It refuses a destination that this socket's family cannot
// reach.
func (s *sender) put(m *Message) bool {
	to := m.Addr.Addr().Unmap()
	if !to.IsValid() || to.Is4() != s.c.v4 {
		return false
	}
	payload := m.Buf[:m.N]
	latest := s.hash(to, m.Addr.Port())
	if i := int(*latest) - 1; i >= 0 && s.join(i, m, payload) {
		s.flight++
		return true
	}
	h, sl := &s.headers[s.n].hdr, &s.slots[s.n]
	h.Namelen = sl.name.set(to, m.Addr.Port())
	sl.iovs[0].Base = unsafe.SliceData(payload)
	sl.iovs[0].SetLen(len(payload))
	h.SetIovlen(1)
	sl.local = 0
	if s.c.pktinfo && m.Local.IsValid() && m.Local.Is4() == s.c.v4 {
		sl.local = sl.ctl.putLocal(m.Local)
	}
	h.SetControllen(sl.local)
	sl.to, sl.from, sl.segment, sl.bytes = m.Addr, m.Local, len(payload), len(payload)
	sl.open = s.runs && len(payload) > 0 && len(payload) <= maxSegment
	s.n++
	s.flight++
	*latest = uint8(s.n)
	return true
}

// hash returns the entry of latest for a destination. Two that share one never share a run, and that is all.
func (s *sender) hash(to netip.Addr, port uint16) *uint8 {
	x := uint32(port)
	if to.Is4() {
		b := to.As4()
		x ^= uint32(b[3]) ^ uint32(b[2])<<8 ^ uint32(b[1])<<4
	} else {
		b := to.As16()
		x ^= uint32(b[15]) ^ uint32(b[7])<<8
	}
	return &s.latest[x*0x9e3779b1>>26]
}

// join adds m to the run in slot i, if it fits there.
func (s *sender) join(i int, m *Message, payload []byte) bool {
	h, sl := &s.headers[i].hdr, &s.slots[i]
	if n := len(payload); !sl.open || n == 0 || n > sl.segment || sl.bytes+n > maxRunBytes || sl.to != m.Addr || sl.from != m.Local {
		return false
	}
	k := int(h.Iovlen)
	sl.iovs[k].Base = unsafe.SliceData(payload)
	sl.iovs[k].SetLen(len(payload))
	h.SetIovlen(k + 1)
	if k == 1 {
		h.SetControllen(sl.ctl.putSegment(sl.local, sl.segment))
	}
	sl.bytes += len(payload)
	sl.open = len(payload) == sl.segment && k+1 < maxRun
	return true
}

// send gives the first n headers to the kernel.
func (s *sender) send(fd uintptr) { s.transmit(fd, s.headers[:s.n]) }

// messages is how many messages a header carries.
func (h *header) messages() int { return int(h.hdr.Iovlen) }

// transmit gives headers to the kernel. How many messages one has is the number of its iovecs.
func (s *sender) transmit(fd uintptr, hs []header) {
	for i, again := 0, -1; i < len(hs); {
		got, errno := s.call(fd, hs[i:])
		messages := hs[i].messages()
		switch {
		case errno == 0:
			for ; got > 0; got-- {
				s.took(hs[i].messages())
				i++
			}
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			for ; i < len(hs); i++ {
				s.c.sendFull.Add(uint64(hs[i].messages()))
			}
		case errno == unix.ENOBUFS: // the device's queue, not ours
			s.c.sendFull.Add(uint64(messages))
			i++
		case fatal(errno):
			s.err = os.NewSyscallError("sendmmsg", errno)
			return
		case again < i:
			again = i // it may be the ICMP error of an earlier message, which is gone once reported
		case messages > 1:
			s.resend(fd, &s.slots[i], &hs[i].hdr)
			i++
		default: // the first message not sent is the one that was rejected
			s.c.rejected.Add(1)
			i++
		}
	}
}

// took counts the messages of a header that the kernel took.
func (s *sender) took(messages int) {
	s.sent += messages
	if messages > 1 {
		s.c.segmented.Add(uint64(messages))
		if s.c.refused.Load() != 0 {
			s.c.refused.Store(0)
		}
	}
}

// resend sends the messages of a run that was refused, each on its own: so the one that is to blame is the only one
// that is lost, and if none is, the run was.
func (s *sender) resend(fd uintptr, sl *txSlot, run *unix.Msghdr) {
	if s.lone == nil {
		s.lone = make([]header, maxRun)
	}
	lone := s.lone[:run.Iovlen]
	for i := range lone {
		h := &lone[i].hdr
		*h = *run
		h.Iov = &sl.iovs[i]
		h.SetIovlen(1)
		h.SetControllen(sl.local)
	}
	before := s.sent
	s.transmit(fd, lone)
	if s.sent > before && s.c.refused.Add(1) >= maxRefused {
		s.c.segment.Store(false)
	}
}
