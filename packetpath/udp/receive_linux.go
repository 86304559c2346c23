package udp

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver is the reading side of a conn: one recvmmsg into the buffers of the caller's messages, or, where the kernel
// joins datagrams ([Options.Coalesce]), into joint buffers of its own that are then dealt out to the messages.
type receiver struct {
	headers []header
	slots   []rxSlot
	c       *conn
	fill    func(fd uintptr) bool // r.receive or r.receiveJoint, bound once
	batch   []Message
	n       int // messages filled so far
	err     error
	joint   joint

	wait bool // in the next call: see [Options.Blocking]
}

// rxSlot is what one header of a receiver points to.
type rxSlot struct {
	name sockaddr
	iov  unix.Iovec
	ctl  control
}

func (r *receiver) init(c *conn) {
	r.c, r.fill = c, r.receive
	if c.coalesce {
		r.fill = r.receiveJoint
	}
}

// grow makes room for n headers and ties them to slots.
func (r *receiver) grow(n int) {
	r.headers, r.slots = make([]header, n), make([]rxSlot, n)
	for i := range r.headers {
		h, s := &r.headers[i].hdr, &r.slots[i]
		h.Name = (*byte)(unsafe.Pointer(&s.name))
		h.Iov = &s.iov
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&s.ctl))
		r.rearm(i)
	}
}

func (r *receiver) read(batch []Message) (int, error) {
	if !r.c.coalesce && len(batch) > len(r.headers) {
		r.grow(len(batch))
	}
	r.batch, r.n, r.err = batch, 0, nil
	err := r.c.raw.Read(r.fill)
	r.batch = nil
	if err == nil {
		err = r.err
	}
	return r.n, err
}

// rearm undoes what the kernel wrote to a header.
func (r *receiver) rearm(i int) {
	h := &r.headers[i].hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.Flags = 0
	h.SetControllen(0)
	if r.c.pktinfo || r.c.coalesce {
		h.SetControllen(controlSize)
	}
}

// receive runs under the poller: false means that nothing is there, wait and call again.
func (r *receiver) receive(fd uintptr) bool {
	for failures := 0; r.n < len(r.batch); {
		want := min(len(r.batch)-r.n, maxCall)
		for i := r.n; i < r.n+want; i++ {
			r.slots[i].point(r.batch[i].Buf)
		}
		got, errno := r.call(fd, r.headers[r.n:r.n+want])
		switch {
		case errno == 0:
			failures = 0
			for range got {
				r.take(r.n)
				r.n++
			}
			if got < want {
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
	return true
}

func (s *rxSlot) point(buf []byte) {
	s.iov.Base = unsafe.SliceData(buf)
	s.iov.SetLen(len(buf))
}

// call takes what is there. A blocking socket that had little in the last call is waited for in the kernel, without
// looking first, but not by a Read that has something already; one that is busy is emptied by raw calls.
func (r *receiver) call(fd uintptr, h []header) (got int, errno unix.Errno) {
	if r.wait && r.n == 0 {
		got, errno = recvmmsgWaiting(fd, h)
		if r.c.closed.Load() {
			return 0, unix.EBADF
		}
	} else {
		got, errno = recvmmsg(fd, h)
	}
	r.wait = r.c.blocking && (errno != 0 || got < len(h)/2)
	return got, errno
}

func recvmmsg(fd uintptr, h []header) (int, unix.Errno) {
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(h))),
		uintptr(len(h)), unix.MSG_DONTWAIT, 0, 0)
	return int(got), errno
}

// recvmmsgWaiting waits for the first datagram, or for the end of the socket.
func recvmmsgWaiting(fd uintptr, h []header) (int, unix.Errno) {
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(h))),
		uintptr(len(h)), unix.MSG_WAITFORONE, 0, 0)
	return int(got), errno
}

// failed handles an error other than EAGAIN. It reports whether the caller of Read must get a turn.
func (r *receiver) failed(errno unix.Errno, failures *int) bool {
	switch {
	case errno == unix.EINTR:
		return false
	case fatal(errno) || errno == unix.EINVAL:
		r.err = os.NewSyscallError("recvmmsg", errno)
		return true
	}
	r.c.recvErrors.Add(1) // an ICMP message, or memory was short for one datagram
	*failures++
	return *failures == maxErrors
}

// take turns what the kernel left in slot i into message i.
func (r *receiver) take(i int) {
	h, s, m := &r.headers[i], &r.slots[i], &r.batch[i]
	m.N = int(h.n)
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		r.c.truncated.Add(1)
		m.N = 0
	}
	m.Addr = s.name.addr()
	m.Local = r.c.local.Addr()
	if r.c.pktinfo {
		m.Local, _ = s.ctl.read(int(h.hdr.Controllen))
	}
	r.rearm(i)
}
