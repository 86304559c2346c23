package main

import (
	"math"
	"math/bits"
	"time"
)

// hist counts durations in buckets that are 1/32 of a power of two wide, so that a percentile is off by 3 % at most.
// The zero value is ready.
type hist struct {
	n       uint64
	buckets [64 * histSub]uint32
	max     time.Duration
}

const (
	histBits = 5
	histSub  = 1 << histBits
)

func histBucket(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < histSub {
		return int(v)
	}
	shift := bits.Len64(v) - histBits - 1
	return (shift+1)*histSub + int(v>>shift) - histSub
}

// histUpper is the largest duration that falls into bucket i.
func histUpper(i int) time.Duration {
	if i < histSub {
		return time.Duration(i)
	}
	shift := i/histSub - 1
	return time.Duration((uint64(i%histSub+histSub+1) << shift) - 1)
}

func (h *hist) add(d time.Duration) {
	h.n++
	h.max = max(h.max, d)
	h.buckets[histBucket(d)]++
}

func (h *hist) merge(o *hist) {
	h.n += o.n
	h.max = max(h.max, o.max)
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
}

// quantile returns the duration below which a share q of the values lies; 0 if there are none.
func (h *hist) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	left := uint64(math.Ceil(q * float64(h.n)))
	for i, n := range h.buckets {
		if left <= uint64(n) && n > 0 {
			return min(histUpper(i), h.max)
		}
		left -= min(left, uint64(n))
	}
	return h.max
}
