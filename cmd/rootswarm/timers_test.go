package main

import (
	"math/rand/v2"
	"testing"
)

func TestTimersFireInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var h timers
	want := make(map[*member]int64)
	for range 500 {
		m := &member{}
		want[m] = r.Int64N(1000)
		h.push(m, want[m])
	}
	for range 2_000 {
		least := int64(1 << 62)
		for _, due := range want {
			least = min(least, due)
		}
		top := h[0]
		if top.due != least || want[top.m] != least {
			t.Fatalf("the first is due at %d (%d), the least is %d", top.due, want[top.m], least)
		}
		m := h[r.IntN(len(h))].m
		want[m] = top.due + r.Int64N(1000) - 100
		h.set(m, want[m])
		for i := range h {
			if h[i].m.at != i {
				t.Fatalf("member %d says it is %d", i, h[i].m.at)
			}
		}
	}
}

func TestAgendaIsInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var a agenda
	want := make(map[*member]int64)
	for range 500 {
		m := &member{}
		want[m] = r.Int64N(1000)
		a.push(m, want[m])
	}
	for range 2_000 {
		least := int64(1 << 62)
		for _, due := range want {
			least = min(least, due)
		}
		top := a[0]
		if top.due != least || want[top.m] != least {
			t.Fatalf("the first is due at %d (%d), the least is %d", top.due, want[top.m], least)
		}
		want[top.m] = top.due + r.Int64N(1000)
		a.postpone(want[top.m])
	}
}
