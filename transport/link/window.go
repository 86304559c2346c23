package link

// windowWords is the number of words in the bitmap of a window; a power of two.
const windowWords = 128

// WindowSize is how far a datagram may be behind the latest one of its session: older ones are refused. Several
// workers take counters at their own pace, and one that was put aside for some milliseconds must not lose its batch.
const WindowSize = (windowWords - 1) * 64

// window remembers which counters have been seen, in the way of RFC 6479: a ring of words, of which the one ahead of
// the latest counter is always incomplete. The zero value has seen nothing.
type window struct {
	next uint64 // the latest counter plus 1
	bits [windowWords]uint64
}

// take notes a counter and reports whether it is new: not seen before, and not too old to know.
func (w *window) take(counter uint64) bool {
	if counter >= w.next {
		if counter == ^uint64(0) {
			return false // no counter after it
		}
		if w.next > 0 {
			last, now := (w.next-1)/64, counter/64
			for i := last + 1; i <= min(now, last+windowWords); i++ {
				w.bits[i%windowWords] = 0
			}
		}
		w.next = counter + 1
	} else if w.next-1-counter >= WindowSize {
		return false
	}
	word, bit := &w.bits[counter/64%windowWords], uint64(1)<<(counter%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
