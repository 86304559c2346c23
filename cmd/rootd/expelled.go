package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// removedHint is the way back for a member that the cluster has removed.
const removedHint = "it stays out: to bring the machine back, empty the data directory and join with a new token (on a member: rootctl token create)"

// noteExpelled notes when another member refuses this one as removed. A member that was off meanwhile has no other way to
// learn it: nobody sends it the log any more, and what it knows of peers would be ever older.
func (c *cluster) noteExpelled(err error) {
	if r, ok := errors.AsType[*mux.Refusal](err); !ok || r.Code != mux.NotAdmitted || !errors.Is(err, pki.ErrNotAdmitted) {
		return
	}
	select {
	case c.expelled <- err:
	default:
	}
}

// waitExpelled ends the member when it has been removed, or its epoch of the cluster is over.
func (c *cluster) waitExpelled(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.expelled:
		return c.expelledBy(err)
	}
}

// expelledBy is why the member ends, with the way out.
func (c *cluster) expelledBy(err error) error {
	if errors.Is(err, datadir.ErrSuperseded) {
		return c.supersede(err)
	}
	return &hinted{fmt.Errorf("%w: %w", replica.ErrRemoved, err), removedHint}
}
