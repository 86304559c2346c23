package rpc_test

import (
	"testing"
)

// BenchmarkCall measures calls one after the other, BenchmarkCalls as many as go at once, over TLS on loopback.
func BenchmarkCall(b *testing.B) {
	c := newCluster(b, nil)
	server, client := c.start(1, setup{handle: echo}), c.start(2, setup{})
	to, body := server.target(), make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Call(b.Context(), to, "echo/1", body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCalls(b *testing.B) {
	c := newCluster(b, nil)
	server, client := c.start(1, setup{handle: echo}), c.start(2, setup{})
	to, body := server.target(), make([]byte, 256)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.Call(b.Context(), to, "echo/1", body); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
