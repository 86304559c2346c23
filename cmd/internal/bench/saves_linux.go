package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// nap is how long the load sleeps between packets while saves are measured: who takes the saved state shares its core.
const nap = 50 * time.Microsecond

// latencies is what all rounds gave, without or with saves: µs from sending to receiving.
type latencies struct {
	State string    `json:"state"`
	Lost  int       `json:"lost"`
	P50   []float64 `json:"p50_us"` // by round, as the others
	P99   []float64 `json:"p99_us"`
	P999  []float64 `json:"p999_us"`
	Worst []float64 `json:"worst_us"`
	Away  []float64 `json:"away_us"`         // the longest that the load itself did not get its core: part of the worst
	Bytes int64     `json:"bytes,omitempty"` // of all saves, also of the last, which is broken off
	Took  float64   `json:"took_s,omitempty"`
}

// saves measures how long rootd's answers take alone, and while its state is saved again and again, turn about.
func (l *lab) saves(ctx context.Context, stdout, stderr io.Writer) error {
	states := []*latencies{{State: "alone"}, {State: "while the state is saved"}}
	for round := range l.c.rounds {
		for k, r := range states {
			if err := l.saveRound(ctx, r, k == 1); err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, r.State, err)
			}
		}
		fmt.Fprintf(stderr, "round %d of %d done\n", round+1, l.c.rounds)
	}
	if l.c.json {
		return json.NewEncoder(stdout).Encode(states)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RELAYS AND WHOIS, 10,000/s\tLOST\tp50\tp99\tp99.9\tWORST OF A ROUND\tWORST\tLOAD ITSELF AWAY\tWORST\tSAVED\tMB/s")
	for _, r := range states {
		fmt.Fprintf(w, "%s\t%d\t%.0f µs\t%.0f µs\t%.0f µs\t%.1f ms\t%.1f ms\t%.1f ms\t%.1f ms\t%.1f GB\t%.0f\n", r.State, r.Lost, median(r.P50), median(r.P99), median(r.P999),
			median(r.Worst)/1e3, slices.Max(r.Worst)/1e3, median(r.Away)/1e3, slices.Max(r.Away)/1e3, float64(r.Bytes)/1e9, float64(r.Bytes)/1e6/max(r.Took, 1e-9))
	}
	return w.Flush()
}

// saveRound is a run without saves, or with them from before its begin to after its end.
func (l *lab) saveRound(ctx context.Context, r *latencies, saving bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	begun, done := make(chan struct{}), make(chan error, 1)
	if saving {
		go func() { done <- l.saveAll(ctx, r, begun) }()
		select {
		case <-begun:
		case err := <-done:
			return err
		}
	}
	at := l.servers[rootd].at
	l.load.at(at)
	l.load.nap = nap
	sent, back := l.load.open(at, l.c.length, lightRate, (*load).timedMix)
	if saving {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	late := l.load.late
	if len(late) < sent/2 {
		return fmt.Errorf("%d of %d packets came back: the machine is too busy, or -clients is too small%s", back, sent, l.said(rootd))
	}
	slices.Sort(late)
	quantile := func(perMille int) float64 { return float64(late[(len(late)-1)*perMille/1000]) / 1e3 }
	r.Lost += sent - back
	r.P50, r.P99 = append(r.P50, quantile(500)), append(r.P99, quantile(990))
	r.P999, r.Worst = append(r.P999, quantile(999)), append(r.Worst, quantile(1000))
	r.Away = append(r.Away, float64(l.load.away.Microseconds()))
	return nil
}

// saveAll takes the state, as rootctl snapshot save does, again and again until ctx ends. It keeps nothing, unless a disk is to be measured, too.
func (l *lab) saveAll(ctx context.Context, r *latencies, begun chan<- struct{}) error {
	a := admin.NewClient(l.root.Socket())
	defer a.Close()
	var file *os.File
	to := io.Discard
	if l.c.saveTo != "" {
		var err error
		if file, err = os.Create(l.c.saveTo); err != nil {
			return err
		}
		defer file.Close()
		to = file
	}
	start := time.Now()
	defer func() { r.Took += time.Since(start).Seconds() }()
	for first := true; ; first = false {
		_, state, err := a.Snapshot(ctx, true)
		if ctx.Err() != nil {
			if err == nil {
				err = state.Close()
			}
			return errors.Join(ctx.Err(), err)
		}
		if err != nil {
			return err
		}
		if first {
			close(begun)
		}
		n, err := io.Copy(to, state)
		r.Bytes += n
		if file != nil && err == nil {
			err = file.Sync()
			_, serr := file.Seek(0, io.SeekStart)
			err = errors.Join(err, serr)
		}
		if err := errors.Join(err, state.Close()); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

// timedMix is a relay from every other client, and a WHOIS, which looks into the table, from the rest.
func (l *load) timedMix(p *peer, buf []byte) []byte {
	if p.number%2 == 0 {
		return l.timedFrame(p, buf)
	}
	l.timed, p.sent = true, time.Now().UnixNano()
	return l.request(p, vl1.VerbWhois, buf)
}
