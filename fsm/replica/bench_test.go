package replica_test

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/rootd/rootd/fsm"
)

// BenchmarkApply commits entries of 1000 new peers or changes to the disk, several at a time as the proposer does.
func BenchmarkApply(b *testing.B) {
	n := alone(b, b.TempDir(), nil)
	n.must(b, &fsm.MemberUp{ID: 1, Name: "ams"})
	const peers, inFlight = 200_000, 4
	batch := func(k int) []byte {
		cs := make(fsm.Changes, fsm.MaxChanges)
		for i := range cs {
			p := (k*len(cs) + i) % peers
			cs[i] = fsm.Change{Address: address(p * 7), HasKey: true, Member: 1, Epoch: 1, Planet: uint64(k + 1)}
			binary.BigEndian.PutUint64(cs[i].Key[:], uint64(p))
		}
		return encode(cs)
	}
	work := make(chan []byte, inFlight)
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for e := range work {
				if _, err := n.Apply(b.Context(), e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	k := 0
	for b.Loop() {
		work <- batch(k)
		k++
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(k*fsm.MaxChanges)/b.Elapsed().Seconds(), "changes/s")
}

// BenchmarkLatency commits one small entry at a time.
func BenchmarkLatency(b *testing.B) {
	n := alone(b, b.TempDir(), nil)
	i := 0
	for b.Loop() {
		n.must(b, newPeer(i))
		i++
	}
}
