package main

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSpareProcessors: they come with the first stranger, stay while strangers come, and go some time after the last.
func TestSpareProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var all []int
		s := newSpare(2)
		s.base, s.set = 1, func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, n)
			return 0
		}
		check := func(when string, want ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(all, want) {
				t.Errorf("%s: set to %v, want %v", when, all, want)
			}
		}
		s.readers(3)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.run(ctx) }()
		time.Sleep(time.Hour)
		check("before anybody hashed", 4)
		for range 100 {
			s.want()
			time.Sleep(10 * time.Second)
		}
		check("while somebody hashed", 4, 6)
		time.Sleep(2 * spareFor)
		check("after all was quiet", 4, 6, 4)
		s.want()
		check("when the next one came", 4, 6, 4, 6)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
