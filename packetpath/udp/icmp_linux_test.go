package udp

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ICMP errors never end the reader, nor do they cost a datagram of somebody else. Linux reports them on unconnected
// sockets only if asked, so the test asks.
func TestErrorsDoNotEndTheReader(t *testing.T) {
	open := func() *conn {
		c, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*conn)
	}
	c, gone := open(), open()
	nobody := gone.LocalAddr()
	gone.Close()
	if err := c.raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}

	toNobody := []Message{{Buf: []byte("x"), N: 1, Addr: nobody}}
	toItself := []Message{{Buf: []byte("x"), N: 1, Addr: c.LocalAddr()}}
	s, other := c.NewSender(1), open().NewSender(1)
	batch := []Message{{Buf: make([]byte, 8)}}
	write := func(s Sender, m []Message) {
		t.Helper()
		if n, err := s.Write(m); n != 1 || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	read := func() {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			var err error
			if n, err = c.Read(batch); err != nil {
				t.Fatalf("an ICMP error ended the reader: %v", err)
			}
		}
	}

	write(s, toNobody)
	write(s, toItself) // meets the error of the message before
	read()

	write(s, toNobody)
	write(other, toItself)
	read() // meets the error, then the datagram
	if got := c.Stats(); got.RecvErrors == 0 || got.Rejected != 0 {
		t.Errorf("%+v: want errors on receipt, nothing rejected", got)
	}
}
