package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h, a, b hist
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(r.ExpFloat64() * float64(3*time.Millisecond))
		all = append(all, d)
		h.add(d)
		if i%2 == 0 {
			a.add(d)
		} else {
			b.add(d)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		for _, got := range []time.Duration{h.quantile(q), a.quantile(q)} {
			if ratio := float64(got) / float64(want); ratio < 0.96 || ratio > 1.04 {
				t.Errorf("quantile %v: got %v, want %v within 4 %%", q, got, want)
			}
		}
	}
	if h.max != all[len(all)-1] {
		t.Errorf("max %v, want %v", h.max, all[len(all)-1])
	}
}

func TestHistBucketsAreOrdered(t *testing.T) {
	for i := 1; i < 40*histSub; i++ {
		if histUpper(i) <= histUpper(i-1) {
			t.Fatalf("bucket %d ends at %d, the one before at %d", i, histUpper(i), histUpper(i-1))
		}
		if got := histBucket(histUpper(i)); got != i {
			t.Fatalf("the last value of bucket %d falls into %d", i, got)
		}
	}
}
