package propose_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/packetpath/vl1"
)

// far is a leader that is far away and keeps changing: an entry takes 150 ms, and some fail, before or after they were applied.
type far struct {
	*cluster
	mu   sync.Mutex
	rnd  *rand.Rand // guarded by mu
	bad  bool       // guarded by mu
	lost int        // answers; guarded by mu
}

func (f *far) IsLeader() bool { return false }

func (f *far) Apply(ctx context.Context, entry []byte) (fsm.Response, error) {
	f.mu.Lock()
	dice := f.rnd.IntN(10)
	if !f.bad {
		dice = 9
	}
	f.mu.Unlock()
	half := 60*time.Millisecond + time.Duration(dice)*3*time.Millisecond
	time.Sleep(half)
	if dice < 3 {
		return fsm.Response{}, errors.New("not the leader")
	}
	r, err := f.cluster.Apply(ctx, entry)
	time.Sleep(half)
	if dice < 5 {
		f.mu.Lock()
		f.lost++
		f.mu.Unlock()
		return fsm.Response{}, errors.New("leadership lost while the entry was under way")
	}
	return r, err
}

// Each peer's planet counts up, so the order of what the log hears about a peer can be seen.
func TestNothingIsLostOnTheWayToAFarLeader(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			const peers = 3000
			f := &far{rnd: rand.New(rand.NewPCG(seed, 1))}
			in(t, func(o *propose.Options) {
				f.cluster = o.Applier.(*cluster)
				o.Applier = f
				o.MaxBatch = 200
			}, func(t *testing.T, c *cluster, p *propose.Proposer) {
				rnd := rand.New(rand.NewPCG(seed, 2))
				f.mu.Lock()
				f.bad = true
				f.mu.Unlock()
				last := make([]uint64, peers)
				for range 400 {
					var batch []fsm.Sighting
					for range 20 {
						i := rnd.IntN(peers)
						last[i]++
						s := seen(vl1.Address(i+1), "192.0.2.1:9993")
						s.Planet = last[i]
						batch = append(batch, s)
					}
					p.Offer(batch)
					time.Sleep(50 * time.Millisecond)
				}
				f.mu.Lock()
				f.bad = false
				lost := f.lost
				f.mu.Unlock()
				time.Sleep(time.Minute)
				for i, want := range last {
					if r, ok := c.peer(vl1.Address(i + 1)); want != 0 && (!ok || r.Planet != want) {
						t.Errorf("peer %d: the log has %d, the last was %d", i, r.Planet, want)
					}
				}
				newest := map[vl1.Address]uint64{}
				for _, e := range c.taken() {
					for _, x := range e.Command.(fsm.Changes) {
						if x.Planet < newest[x.Address] {
							t.Errorf("peer %s: %d came after %d", x.Address, x.Planet, newest[x.Address])
						}
						newest[x.Address] = x.Planet
					}
				}
				if m := p.Metrics(); lost == 0 || m.Failed == 0 || m.Pending != 0 || m.Expired != 0 {
					t.Errorf("%d answers lost, %+v", lost, m)
				}
			})
		})
	}
}
