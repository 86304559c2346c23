package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/pki"
)

const (
	callHeard   = "heard/1" // heardQuestion; answer: heardAnswer
	listenEvery = 250 * time.Millisecond
	// heardSlack is how much later than others one member may have heard the last probe of a member: the link probes
	// once a second.
	heardSlack = time.Second
)

// witness finds members that died without a word, long before their reports are missed: over the link all members hear
// each other every second. The leader alone acts, and only when most of the others hear no more than it does: what a
// broken line between two members looks like to both of them is no death.
type witness struct {
	m     *member
	began map[table.MemberID]life
}

// life is since when this process has known an epoch of a member: what was heard of earlier ones says nothing of it.
type life struct {
	epoch uint16
	since time.Time
}

type heardQuestion struct {
	Member uint16 `json:"member"`
}

type heardAnswer struct {
	Silence time.Duration `json:"silence_ns"` // since something was heard of it
	Ever    bool          `json:"ever"`
}

func (w *witness) run(ctx context.Context) error {
	w.began = map[table.MemberID]life{}
	for sleep(ctx, listenEvery) {
		state := w.m.fsm.View().State()
		after := state.Settings.MemberLostAfter
		for i := range state.Members {
			o := &state.Members[i]
			if o.ID == w.m.id || o.Status != fsm.StatusUp {
				delete(w.began, o.ID)
				continue
			}
			if l := w.began[o.ID]; l.epoch != o.Epoch {
				w.began[o.ID] = life{o.Epoch, time.Now()}
			}
			if after > 0 && time.Since(w.began[o.ID].since) > after && w.m.replica.IsLeader() && w.silent(o.ID, after) {
				w.declare(ctx, state, o, after)
			}
		}
	}
	return nil
}

// silent reports whether nothing has come from a member for so long. One that was never heard is for its reports to tell.
func (w *witness) silent(id table.MemberID, after time.Duration) bool {
	silence, ever := w.m.cluster.link.Silence(uint16(id))
	return ever && silence >= after
}

// declare asks the others, and puts into the log what they agree on.
func (w *witness) declare(ctx context.Context, state *fsm.State, o *fsm.Member, after time.Duration) {
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var (
		mu   sync.Mutex
		deaf = []table.MemberID{w.m.id}
		wg   sync.WaitGroup
		up   = 1
	)
	for i := range state.Members {
		other := state.Members[i].ID
		if other == o.ID || other == w.m.id || state.Members[i].Status != fsm.StatusUp {
			continue
		}
		up++
		wg.Go(func() {
			a, err := w.ask(asking, other, o.ID)
			if err == nil && (!a.Ever || a.Silence >= after-heardSlack) {
				mu.Lock()
				defer mu.Unlock()
				deaf = append(deaf, other)
			}
		})
	}
	wg.Wait()
	if len(deaf) <= up/2 {
		return
	}
	slices.Sort(deaf)
	if _, err := w.m.propose(ctx, &fsm.MemberDown{ID: o.ID, Epoch: o.Epoch, Cause: fsm.DownLost, Witnesses: deaf}); err != nil {
		w.m.log.Warn("lost member not declared down", "member", o.Name, "error", err)
		return
	}
	w.m.log.Warn("member is lost", "member", o.Name, "witnesses", len(deaf), "others", up)
}

func (w *witness) ask(ctx context.Context, whom, about table.MemberID) (a heardAnswer, err error) {
	body, err := json.Marshal(heardQuestion{uint16(about)})
	if err != nil {
		return a, err
	}
	b, err := w.m.cluster.call(ctx, whom, callHeard, body)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(b, &a)
}

func (c *cluster) handleHeard(_ context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	var q heardQuestion
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, err
	}
	silence, ever := c.link.Silence(q.Member)
	return json.Marshal(heardAnswer{silence, ever})
}
