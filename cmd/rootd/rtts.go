package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/fsm/table"
)

// rttTimeout is how long an entry of round trips may take: the next offer says the same again.
const rttTimeout = 5 * time.Second

// rttProposer puts round trips that the packet path measured into the log, one entry at a time. What comes meanwhile is
// dropped: the packet path compares with the log and offers it again.
type rttProposer struct {
	log     *slog.Logger
	applier propose.Applier
	member  table.MemberID
	epoch   func() uint16 // of this life; 0: not announced yet
	waiting chan []fsm.RoundTrip
}

func newRTTProposer(log *slog.Logger, a propose.Applier, member table.MemberID, epoch func() uint16) *rttProposer {
	return &rttProposer{log: log, applier: a, member: member, epoch: epoch, waiting: make(chan []fsm.RoundTrip, 1)}
}

// offer takes rows without waiting.
func (p *rttProposer) offer(rows []fsm.RoundTrip) {
	select {
	case p.waiting <- rows:
	default:
	}
}

// run proposes until ctx ends.
func (p *rttProposer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case rows := <-p.waiting:
			if err := p.propose(ctx, rows); err != nil && ctx.Err() == nil {
				p.log.Debug("round trips not logged", "error", err)
			}
		}
	}
}

func (p *rttProposer) propose(ctx context.Context, rows []fsm.RoundTrip) error {
	epoch := p.epoch()
	if epoch == 0 {
		return nil
	}
	entry, err := fsm.Encode(&fsm.RoundTrips{Member: p.member, Epoch: epoch, Rows: rows})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rttTimeout)
	defer cancel()
	r, err := p.applier.Apply(ctx, entry)
	if err == nil {
		err = r.Err
	}
	return err
}
