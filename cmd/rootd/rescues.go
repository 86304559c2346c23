package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

const (
	callRescues = "rescues/1" // nothing; answer: []packetpath.Rescue
	rescuesWait = 500 * time.Millisecond
)

func (c *cluster) handleRescues(context.Context, pki.Peer, []byte) ([]byte, error) {
	return json.Marshal(c.rescuer.Rescues())
}

// rescues adds up what all members say about the rescues of the last hour, the latest first. Nobody is asked if this member knows of
// no death.
func (c *cluster) rescues(ctx context.Context) []admin.Rescue {
	own := c.rescuer.Rescues()
	if len(own) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rescuesWait)
	defer cancel()
	var (
		mu  sync.Mutex // guards all
		all = slices.Clone(own)
		wg  sync.WaitGroup
	)
	state := c.m.fsm.View().State()
	for i := range state.Members {
		id := state.Members[i].ID
		if id == c.m.id || state.Members[i].Status != fsm.StatusUp {
			continue
		}
		wg.Go(func() {
			var theirs []packetpath.Rescue
			if b, err := c.call(ctx, id, callRescues, nil); err != nil || json.Unmarshal(b, &theirs) != nil {
				return // it may be about to die itself: what the others say is worth showing
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, theirs...)
		})
	}
	wg.Wait()
	return c.sum(own, all)
}

// sum adds up the shares in the rescues that this member knows of.
func (c *cluster) sum(own, all []packetpath.Rescue) (sums []admin.Rescue) {
	for _, o := range own {
		s := admin.Rescue{Restored: o.Dead == 0, Epoch: o.Epoch, At: millis(o.At)}
		if o.Dead != 0 {
			s.Member = c.m.memberName(fmt.Sprint(o.Dead))
		}
		for i := range all {
			if r := &all[i]; r.Dead == o.Dead && r.Epoch == o.Epoch {
				s.Peers += r.Peers
				s.Pushed += r.Pushed
				s.Arrived += r.Arrived
				s.Elsewhere += r.Elsewhere
				s.GivenUp += r.GivenUp
				s.Waiting += r.Waiting()
			}
		}
		if !s.Restored || s.Peers > 0 {
			sums = append(sums, s)
		}
	}
	return sums
}

// waiting is how many peers of dead members this one is still to bring here.
func (c *cluster) waiting() (n int) {
	for _, r := range c.rescuer.Rescues() {
		n += r.Waiting()
	}
	return n
}
