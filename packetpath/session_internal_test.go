package packetpath

import (
	"net/netip"
	"testing"
	"unsafe"
)

// TestRelaysNeedFewLines: what a relay reads of a session is the head of it, address included, and its first path, and nothing of that
// is in more cache lines than it has to be. (Where fields are in a line depends on the header that the runtime gives to objects of more
// than 512 bytes.)
func TestRelaysNeedFewLines(t *testing.T) {
	const line = 64
	s := newSessionTable(1).insert(&session{}) // on the heap
	at := func(p unsafe.Pointer) uintptr { return uintptr(p) % line }
	if head := unsafe.Offsetof(s.id) + unsafe.Sizeof(s.id.Address); at(unsafe.Pointer(s))+head > line {
		t.Errorf("the head of a session begins at byte %d of a cache line and has %d bytes: it does not fit into it", at(unsafe.Pointer(s)), head)
	}
	if n := at(unsafe.Pointer(&s.first)); n != 0 {
		t.Errorf("the first path begins at byte %d of a cache line", n)
	}
	if size, most := unsafe.Sizeof(s.first), uintptr(3*line); size > most {
		t.Errorf("a path has %d bytes, more than %d", size, most)
	}
	if size, most := unsafe.Sizeof(*s), uintptr(640-8); size > most { // a size class of the runtime, less the header
		t.Errorf("a session has %d bytes, more than %d", size, most)
	}
}

// TestFirstPathIsGivenOutOnce: somebody may still hold a path that was evicted or has expired.
func TestFirstPathIsGivenOutOnce(t *testing.T) {
	s := &session{}
	from := func(port uint16) origin {
		return origin{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), port)}
	}
	first, _ := s.heardFrom(from(1), 1, 0)
	if first != &s.first {
		t.Error("the first path is not in the session")
	}
	if again, _ := s.heardFrom(from(1), 2, 0); again != first {
		t.Error("the first path is not found again")
	}
	if gone := s.expire(2 * pathExpiry); gone != 1 {
		t.Fatalf("%d paths expired, want 1", gone)
	}
	if second, _ := s.heardFrom(from(2), 3, 2*pathExpiry); second == first || first.origin != from(1) {
		t.Error("the memory of the first path was used again")
	}
}
