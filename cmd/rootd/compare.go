package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/pki"
)

const (
	callHash     = "hash/1" // nothing; answer: hashAnswer
	compareEvery = 30 * time.Second
)

// hashAnswer are the state hashes that a member remembers, one each [fsm.HashInterval] entries.
type hashAnswer struct {
	Version string            `json:"version"` // of the software: another one may hash what others do not have
	Hashes  []fsm.IndexedHash `json:"hashes"`  // ascending by index
}

// comparison is what the last comparison of this member's state with the leader's found.
type comparison struct {
	index        uint64 // compared at; 0: nothing was in common
	mine, theirs fsm.Hash
}

// differs reports whether the same log made another state here.
func (c *comparison) differs() bool { return c != nil && c.mine != c.theirs }

func (c *comparison) problem() string {
	return fmt.Sprintf("state differs from the leader's at index %d: %.12s… here, %.12s… there; stop this member, keep a copy of its data directory for a bug report, remove it and join anew", c.index, c.mine, c.theirs)
}

// compare compares at the last index that both have.
func compare(mine, theirs []fsm.IndexedHash) comparison {
	for i, j := len(mine)-1, len(theirs)-1; i >= 0 && j >= 0; {
		switch a, b := &mine[i], &theirs[j]; {
		case a.Index > b.Index:
			i--
		case a.Index < b.Index:
			j--
		default:
			return comparison{a.Index, a.Hash, b.Hash}
		}
	}
	return comparison{}
}

// comparer compares this member's state with the leader's, so that a member on which the same entries had another
// outcome, by a bug or by bad memory, is noticed before its answers do harm.
type comparer struct {
	leads  func() bool
	mine   func() []fsm.IndexedHash
	leader func(context.Context) (hashAnswer, error)
	// yield gives the leadership away: what is odd about this member must not be what the others learn from.
	yield func(context.Context) error
	alarm func(comparison)

	latest atomic.Pointer[comparison] // that found something in common; nil: none did yet
}

func (c *cluster) newComparer() *comparer {
	log := c.m.log
	return &comparer{
		leads: c.m.replica.IsLeader, mine: c.m.fsm.Hashes,
		leader: func(ctx context.Context) (a hashAnswer, err error) {
			b, err := c.callLeader(ctx, callHash, nil)
			if err != nil {
				return a, err
			}
			err = json.Unmarshal(b, &a)
			return a, err
		},
		yield: func(ctx context.Context) error {
			err := c.m.changeHere(ctx, changeTransfer, 0)
			if err != nil {
				log.Error("leadership not given away although the state differs from the others'", "error", err)
			}
			return err
		},
		alarm: func(d comparison) {
			log.Error("state differs from the leader's", "index", d.index, "hash", d.mine.String(), "leader_hash", d.theirs.String())
		},
	}
}

// run compares until ctx ends.
func (c *comparer) run(ctx context.Context) error {
	for sleep(ctx, compareEvery) {
		c.once(ctx)
	}
	return nil
}

func (c *comparer) once(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, compareEvery)
	defer cancel()
	if c.leads() {
		if c.latest.Load().differs() {
			_ = c.yield(ctx) // it has said so
		}
		return
	}
	theirs, err := c.leader(ctx)
	if err != nil || theirs.Version != build.Current().Version {
		return // an election, or an upgrade: the next comparison is soon
	}
	found := compare(c.mine(), theirs.Hashes)
	if found.index == 0 {
		return
	}
	c.latest.Store(&found)
	if found.differs() {
		c.alarm(found)
	}
}

func (c *cluster) handleHash(context.Context, pki.Peer, []byte) ([]byte, error) {
	return json.Marshal(hashAnswer{build.Current().Version, c.m.fsm.Hashes()})
}
