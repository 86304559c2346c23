package udp

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	jointBuffers = maxCall // per call
	jointSize    = 1 << 16 // the largest that the kernel makes
	// jointStride is from one buffer to the next: not a power of two, or the beginnings of all buffers, which is all
	// that most datagrams fill, would share a few places of the cache.
	jointStride = jointSize + 4096 + 64
)

// joint is the part of a receiver that knows joined datagrams (UDP_GRO): those of one sender and size, the last may be
// shorter, that came in a row. Room for one call is kept; what the caller's batch has no room for stays for its next
// Read. Memory that nothing was received into costs address space only.
type joint struct {
	buffers [][]byte
	at, got int // buffers in hand: at is being dealt out, those before got are filled

	// Of the buffer that is being dealt out.
	left    []byte
	segment int // 0: look at the header first
	addr    netip.AddrPort
	local   netip.Addr
}

// receiveJoint is receive where the kernel joins datagrams.
func (r *receiver) receiveJoint(fd uintptr) bool {
	j := &r.joint
	if j.buffers == nil {
		r.grow(jointBuffers)
		all := make([]byte, jointBuffers*jointStride)
		for i := range jointBuffers {
			j.buffers = append(j.buffers, all[i*jointStride:][:jointSize:jointSize])
			r.slots[i].point(j.buffers[i])
		}
	}
	for failures := 0; ; {
		r.deal()
		if r.n == len(r.batch) {
			return true
		}
		want := min(len(r.batch)-r.n, jointBuffers)
		got, errno := r.call(fd, r.headers[:want])
		switch {
		case errno == 0:
			failures = 0
			j.at, j.got = 0, got
			if got < want {
				r.deal()
				return true
			}
		case errno == unix.EAGAIN:
			if r.n > 0 || !r.c.blocking {
				return r.n > 0 || r.c.noWait
			}
		case r.failed(errno, &failures):
			return true
		}
	}
}

// deal copies datagrams from the buffers in hand to messages until one or the other run out.
func (r *receiver) deal() {
	for j := &r.joint; j.at < j.got && r.n < len(r.batch); {
		if j.segment == 0 {
			r.open(j.at)
		}
		m := &r.batch[r.n]
		r.n++
		size := min(j.segment, len(j.left))
		m.Addr, m.Local = j.addr, j.local
		if m.N = copy(m.Buf, j.left[:size]); m.N < size {
			r.c.truncated.Add(1)
			m.N = 0
		}
		if j.left = j.left[size:]; len(j.left) == 0 {
			j.at++
			j.segment = 0
		}
	}
}

// open looks at the header of buffer i.
func (r *receiver) open(i int) {
	j, h, s := &r.joint, &r.headers[i], &r.slots[i]
	j.left, j.addr = j.buffers[i][:h.n], s.name.addr()
	j.local, j.segment = s.ctl.read(int(h.hdr.Controllen))
	if !r.c.pktinfo {
		j.local = r.c.local.Addr()
	}
	if j.segment > 0 && j.segment < len(j.left) {
		r.c.coalesced.Add(uint64((len(j.left) + j.segment - 1) / j.segment))
	} else {
		j.segment = max(len(j.left), 1) // an empty datagram, too, is dealt out
	}
	r.rearm(i)
}
