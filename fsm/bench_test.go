package fsm_test

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
)

// BenchmarkApply applies entries of 1000 endpoint changes to a million peers.
func BenchmarkApply(b *testing.B) {
	const peers = 1_000_000
	m := latest(b, peers)
	rnd := rand.New(rand.NewPCG(1, 2))
	var entries [][]byte
	for range 64 {
		cs := make(fsm.Changes, fsm.MaxChanges)
		for i := range cs {
			cs[i] = fsm.Change{Address: address(rnd.IntN(peers)), Member: 1, Epoch: 1, V4: ep2}
		}
		entries = append(entries, entry(b, cs, m.now))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		m.index++
		m.Apply(&raft.Log{Index: m.index, Type: raft.LogCommand, Data: entries[n%len(entries)]})
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*fsm.MaxChanges), "ns/change")
}

// BenchmarkSnapshot persists and restores a million peers.
func BenchmarkSnapshot(b *testing.B) {
	m := latest(b, 1_000_000)
	data := snapshotOf(b, m.FSM)
	b.Run("persist", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			s, err := m.Snapshot()
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Persist(&nullSink{}); err != nil {
				b.Fatal(err)
			}
			s.Release()
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if err := restore(newFSM(b), data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type nullSink struct{ memSink }

func (*nullSink) Write(b []byte) (int, error) { return io.Discard.Write(b) }
