package udp

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refusing returns a socket, a sender of it whose calls meet errno where a header has a run and refuse says so, and a
// socket to send to.
func refusing(t *testing.T, errno unix.Errno, refuse *bool) (c *conn, s *sender, sink Conn) {
	t.Helper()
	open := func() Conn {
		c, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{RecvBuffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c, sink = open().(*conn), open()
	s = c.NewSender(64).(*sender)
	s.call = func(fd uintptr, h []header) (int, unix.Errno) {
		for i := range h {
			if *refuse && h[i].hdr.Iovlen > 1 {
				if i == 0 {
					return 0, errno
				}
				return sendmmsg(fd, h[:i])
			}
		}
		return sendmmsg(fd, h)
	}
	return c, s, sink
}

// mixed returns a lone message and 4 runs of 6, the last of each run shorter, all numbered.
func mixed(to netip.AddrPort) (batch []Message) {
	for i := range 25 {
		size := 10 + i/6
		if i%6 == 0 {
			size = 5
		}
		b := make([]byte, size)
		b[0] = byte(i)
		batch = append(batch, Message{Buf: b, N: size, Addr: to})
	}
	return batch
}

func drain(t *testing.T, c Conn, batch []Message) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := make([]Message, len(batch))
	for i := range in {
		in[i].Buf = make([]byte, 256)
	}
	for got := 0; got < len(in); {
		n, err := c.Read(in[got:])
		if err != nil {
			t.Fatalf("after %d messages: %v", got, err)
		}
		got += n
	}
	for i, m := range in {
		if m.N != batch[i].N || m.Buf[0] != batch[i].Buf[0] {
			t.Fatalf("message %d is number %d and %d bytes, want %d and %d", i, m.Buf[0], m.N, batch[i].Buf[0], batch[i].N)
		}
	}
}

// Runs that are refused are sent one by one, nothing is lost or out of order, and after a while no run is tried.
func TestRefusedRuns(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.EINVAL, unix.EMSGSIZE} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			refuse := true
			c, s, sink := refusing(t, errno, &refuse)
			batch := mixed(sink.LocalAddr())
			write := func() {
				t.Helper()
				if n, err := s.Write(batch); n != len(batch) || err != nil {
					t.Fatalf("Write: %d, %v", n, err)
				}
				drain(t, sink, batch)
			}
			for range maxRefused/4 - 1 {
				write()
			}
			if !c.segment.Load() {
				t.Fatalf("gave up after %d refusals", c.refused.Load())
			}
			refuse = false
			write() // one that goes through, and the count starts anew
			if got := c.Stats(); got.Segmented != 24 || got.Rejected != 0 || c.refused.Load() != 0 {
				t.Errorf("%+v, %d refused: want 24 segmented", got, c.refused.Load())
			}
			refuse = true
			for range maxRefused / 4 {
				write()
			}
			if c.segment.Load() {
				t.Error("still tries runs")
			}
			refuse = false
			write()
			if got := c.Stats(); got.Segmented != 24 || got.Rejected != 0 {
				t.Errorf("%+v: want no more segmented", got)
			}
		})
	}
}

// A kernel's own refusal: it makes no segments without checksums.
func TestRefusedByTheKernel(t *testing.T) {
	refuse := false
	c, s, sink := refusing(t, 0, &refuse)
	if err := c.raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range maxRefused {
		batch := mixed(sink.LocalAddr())
		if n, err := s.Write(batch); n != len(batch) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
		drain(t, sink, batch)
	}
	if got := c.Stats(); got.Segmented != 0 || got.Rejected != 0 || c.segment.Load() {
		t.Errorf("%+v, tries runs: %v", got, c.segment.Load())
	}
}

// A full send buffer counts messages, not runs.
func TestFullBufferCountsMessages(t *testing.T) {
	refuse := true
	c, s, sink := refusing(t, unix.EAGAIN, &refuse)
	batch := mixed(sink.LocalAddr())
	if n, err := s.Write(batch); n != 1 || err != nil || c.Stats().SendFull != uint64(len(batch)-1) {
		t.Errorf("Write: %d, %v; %+v", n, err, c.Stats())
	}
}
