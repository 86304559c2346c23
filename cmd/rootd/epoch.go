package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

const (
	// meetLimit is how long a member that starts waits for the others to answer before it serves without them.
	meetLimit = time.Second
	// heraldEvery is how often members of the epoch before are looked for.
	heraldEvery = 15 * time.Second
)

// superseded notes that another member is of a newer epoch of the cluster than this one. Any goroutine.
func (c *cluster) superseded(p pki.Peer) {
	own := c.keychain.Load().Credential.Self().Epoch
	err := fmt.Errorf("%w: this member is of epoch %v of the cluster; %v is of epoch %v, in which this one is no member", datadir.ErrSuperseded, own, p, p.Epoch)
	select {
	case c.expelled <- err:
	default:
	}
}

// supersede stops this member for good: the next start is refused, too.
func (c *cluster) supersede(err error) error {
	if serr := c.m.dir.SetSuperseded(err.Error(), time.Now()); serr != nil {
		c.m.log.Error("end of the epoch not noted", "error", serr)
	}
	return &hinted{err, datadir.SupersededWay}
}

// checkEpoch refuses a log of another epoch than the certificate.
func (c *cluster) checkEpoch() error {
	own := c.keychain.Load().Credential.Self().Epoch
	if s := c.m.fsm.View().State(); s.Cluster.Bootstrapped() && pki.Epoch(s.Cluster.Epoch) != own {
		return &hinted{
			fmt.Errorf("the log in %s is of epoch %v of the cluster, the certificate of %v", c.m.dir.RaftDir(), s.Cluster.Epoch, own),
			"one of the two was replaced: put the right pair back from a backup, or join again in a new directory",
		}
	}
	return nil
}

// meet asks the other members, before this one serves, whether its epoch of the cluster goes on. Those that do not answer in a moment are
// not waited for: without them the root serves from what it knows.
func (c *cluster) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetLimit)
	defer cancel()
	var wg sync.WaitGroup
	for _, o := range c.m.fsm.View().State().Members {
		if o.ID == c.m.id || o.Address == "" {
			continue
		}
		wg.Go(func() {
			if conn, err := c.mux.Dial(ctx, mux.RPC, o.Address, pki.MemberID(o.ID)); err == nil {
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-c.expelled:
		return c.supersede(err)
	default:
		return nil
	}
}

// herald tells the members of the epoch before, wherever one is up again, that it is over. Only the member that restored the cluster
// knows where they were.
func (c *cluster) herald(ctx context.Context) error {
	waiting := slices.Clone(c.m.dir.Meta.Former)
	for len(waiting) > 0 {
		waiting = slices.DeleteFunc(waiting, func(f datadir.Contact) bool { return c.tell(ctx, f) })
		if !sleep(ctx, heraldEvery) {
			break
		}
	}
	return nil
}

// tell reports whether the former member knows now.
func (c *cluster) tell(ctx context.Context, f datadir.Contact) bool {
	isHere := func(m fsm.Member) bool { return m.Address == f.Address }
	if slices.ContainsFunc(c.m.fsm.View().State().Members, isHere) { // its address was given to another one
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, meetLimit)
	defer cancel()
	err := c.mux.Herald(ctx, f.Address)
	if err == nil {
		c.m.log.Warn("a member of the epoch before was up: it was told to stop", "member", f.Name, "address", f.Address)
		return true
	}
	if nobody, ok := errors.AsType[*net.OpError](err); !ok || nobody.Op != "dial" {
		c.m.log.Debug("former member not told", "member", f.Name, "error", err)
	}
	return false
}
