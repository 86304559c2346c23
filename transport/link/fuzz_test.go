package link_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

// FuzzDatagram feeds what anybody can send. Nothing of it is authentic, whatever it looks like.
func FuzzDatagram(f *testing.F) {
	w := newWired(f, 4)
	s := w.a.NewSender()
	for _, size := range []int{0, 20, 1500} {
		if err := s.Send(2, 7, make([]byte, size)); err != nil {
			f.Fatal(err)
		}
	}
	s.Flush()
	for _, m := range w.out.kept[:w.out.n] {
		d := bytes.Clone(m.Buf[:m.N])
		d[len(d)-1] ^= 1
		f.Add(d)
		f.Add(d[:len(d)-1])
	}
	f.Add([]byte{})
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, d []byte) {
		buf := append(bytes.Clone(d), make([]byte, 1)...)
		w.reader.Take([]udp.Message{{Buf: buf, N: len(d), Addr: v4(1)}})
		if st := w.b.Stats(); st.Received != 0 || st.Sent+st.Unsent != 0 || w.inbound != 0 {
			t.Fatalf("%x: %+v", d, st)
		}
	})
}

// FuzzContent feeds what a member that has gone mad can send: a datagram is authentic, its content is not to be trusted.
func FuzzContent(f *testing.F) {
	w := newWired(f, 4)
	s := w.a.NewSender() // b may send once it has heard something: requests are answered
	if err := s.Send(2, 1, nil); err != nil {
		f.Fatal(err)
	}
	s.Flush()
	w.deliver()
	for _, seed := range append(malformed(), wellFormed()...) {
		f.Add(seed, uint64(3))
		f.Add(seed, uint64(100))
	}
	f.Fuzz(func(t *testing.T, b []byte, counter uint64) {
		if len(b) == 0 || len(b) > 1500 {
			return // cannot come: shorter than the overhead, longer than the buffer
		}
		w.inbound, w.bytes = 0, 0
		w.reader.Content(1, counter, bytes.Clone(b), v4(1))
		if w.inbound > 1 || w.bytes > link.MaxPayload {
			t.Fatalf("%d packets, %d bytes", w.inbound, w.bytes)
		}
		if b[0] == 1 && len(b) >= 6 && (w.inbound != 1 || w.bytes != len(b)-6) {
			t.Fatalf("%d packets, %d bytes of %x", w.inbound, w.bytes, b)
		}
	})
}

// FuzzOffer feeds what a member can offer.
func FuzzOffer(f *testing.F) {
	w := newWired(f, 0)
	seed := make([]byte, 64)
	copy(seed, "RDL\x01\x01")
	seed[9], seed[11] = 1, 2
	f.Add(bytes.Clone(seed)) // of low order
	seed[32] = 9
	f.Add(bytes.Clone(seed))
	binary.BigEndian.PutUint32(seed[20:], 1<<31)
	f.Add(bytes.Clone(seed)) // a generation too far
	f.Add(seed[:63])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, offer []byte) {
		if answer, err := w.b.HandleOffer(1, offer); err == nil && len(answer) != 64 {
			t.Fatalf("answer of %d bytes", len(answer))
		}
		if st := w.b.Stats(); st.Members[0].Sessions > 2 {
			t.Fatalf("%d sessions that nobody uses", st.Members[0].Sessions)
		}
	})
}

// pieceOf is a piece of a packet with n bytes of it.
func pieceOf(no, count byte, length, n int) []byte {
	b := []byte{2, 0, 0, 0, 0, 9, no<<4 | count, byte(length >> 8), byte(length)}
	return append(b, make([]byte, n)...)
}

func malformed() [][]byte {
	return [][]byte{
		{0},
		{8},
		{255},
		{1},
		{1, 0, 0, 0, 0},
		{2},
		pieceOf(0, 2, 1500, 749), pieceOf(0, 2, 1500, 751), pieceOf(1, 2, 1499, 750), pieceOf(2, 2, 1500, 750),
		pieceOf(0, 1, 10, 10), pieceOf(0, 0, 0, 0), pieceOf(0, 2, 0, 0), pieceOf(3, 4, 9, 0), pieceOf(0, 8, 10241, 1281),
		pieceOf(7, 8, 10241, 1274), pieceOf(0, 2, 1500, 750)[:8],
		{3},
		{4, 1, 0, 0, 0},
		{5, 0, 0, 0, 1},
		{5, 0, 0, 0, 1, 2},
		{6, 1},
		append([]byte{6}, make([]byte, 12)...), append([]byte{6}, make([]byte, 14)...), append([]byte{7}, make([]byte, 12)...),
	}
}

func wellFormed() [][]byte {
	return [][]byte{
		{1, 0, 0, 0, 0, 9},
		{1, 0, 0, 0, 0, 9, 'x'},
		pieceOf(0, 2, 1500, 750), pieceOf(1, 2, 1499, 749), pieceOf(7, 8, 10240, 1280), pieceOf(14, 15, 15, 1),
		{3, 1},
		{3, 1, 'x'},
		{4, 1, 0, 0, 0, 1, 'x'},
		{4, 1, 0, 0, 0, 1},
		{5, 0, 0, 0, 1, 0, 'x'},
		{5, 0, 0, 0, 1, 1},
		append([]byte{6}, make([]byte, 13)...), append([]byte{7}, make([]byte, 13)...), append([]byte{7, 1}, bytes.Repeat([]byte{255}, 12)...),
	}
}
