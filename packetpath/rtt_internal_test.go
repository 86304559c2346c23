package packetpath

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/geo"
)

// TestRTTRing: what goes in comes out in order, and a full ring refuses.
func TestRTTRing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var r rttRing
		var in, out int64
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			for range rapid.IntRange(0, 200).Draw(rt, "pushes") {
				if ok := r.push(rttSample{ms: in}); ok != (in-out < rttRingSize) {
					rt.Fatalf("%d in it, pushed: %v", in-out, ok)
				} else if ok {
					in++
				}
			}
			if rapid.Bool().Draw(rt, "drain") {
				r.drain(func(s rttSample) {
					if s.ms != out {
						rt.Fatalf("got %d, expected %d", s.ms, out)
					}
					out++
				})
				if in != out {
					rt.Fatalf("%d left", in-out)
				}
			}
		}
	})
}

// TestRTTBook: the estimate follows what is measured and stays within it, and the book stays bounded.
func TestRTTBook(t *testing.T) {
	b := newRTTBook()
	at := netip.MustParseAddr("192.0.2.1")
	near, wide := geo.Areas(at)
	now := int64(1e9)
	for i := range 100 {
		b.add(rttSample{at, 80 + int64(i%5)}, now)
		now += 25_000
	}
	e := b.areas[near]
	if e.rtt < 80_000 || e.rtt > 84_000 || e.dev < 500 || e.dev > 3_000 || e.n != 100 || *e != *b.areas[wide] {
		t.Errorf("%+v, wide %+v", e, b.areas[wide])
	}
	row := geo.RTT{Micros: uint32(e.rtt), Dev: uint32(e.dev), At: 1000}
	if e.news(&row, 604_800, 1000) || !e.news(&row, 604_800, 400_000) {
		t.Error("the same is no news, but after half its time it is")
	}
	for range 20 {
		b.add(rttSample{at, 200}, now)
	}
	if e.rtt < 180_000 || !e.news(&row, 604_800, 1000) {
		t.Errorf("after a change of the way: %+v", e)
	}
	now += rttFading + 1
	b.add(rttSample{at, 20_000}, now) // somebody slept
	b.add(rttSample{at, 20}, now)
	if e.n != 2 || e.rtt > 120_000 {
		t.Errorf("after a long silence: %+v", e)
	}
	for i := range 2 * rttAreas {
		b.add(rttSample{netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 1}, now+int64(i))
	}
	if len(b.areas) > rttAreas {
		t.Errorf("%d neighbourhoods", len(b.areas))
	}
}
