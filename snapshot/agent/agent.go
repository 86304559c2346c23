package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/rootd/rootd/snapshot"
)

// State is a state to save. Release must be called.
type State struct {
	Meta    snapshot.Meta // without time and secrets
	Write   func(io.Writer) error
	Release func()
}

// Options are what an agent needs. All are required but Secrets and Seal.
type Options struct {
	Store   Store
	Cluster string // ID, 32 hexadecimal digits
	Every   time.Duration
	Keep    Keep

	Leads   func() bool
	State   func(context.Context) (*State, error)
	Secrets snapshot.Secrets
	Seal    snapshot.Seal
	// Note tells the cluster of an archive that was verified.
	Note   func(context.Context, *snapshot.Meta) error
	Now    func() time.Time
	Logger *slog.Logger
}

// Status is what an agent did in this life.
type Status struct {
	Backups, Failures, Removed uint64
	Bytes                      int64         // of the last backup
	Took                       time.Duration // the last backup
	Problem                    string        // why the last one failed; "" = it did not
}

// Agent makes backups.
type Agent struct {
	o      Options
	mu     sync.Mutex // guards status
	status Status
}

// New returns an agent that does nothing yet.
func New(o Options) *Agent { return &Agent{o: o} }

// Status returns what the agent did. Any goroutine.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

const (
	look       = 2 * time.Second // between looks whether a backup is due
	firstRetry = time.Minute     // after a failure; doubled each time, up to a quarter of the interval
	patience   = 6 * time.Hour   // for one backup
)

// Run makes backups while this member leads, until the context ends.
func (a *Agent) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var due time.Time // zero: ask the store
	retry := a.firstRetry()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !a.o.Leads() {
			due, retry = time.Time{}, a.firstRetry() // another member may make some meanwhile
			continue
		}
		var err error
		if due.IsZero() {
			if due, err = a.next(ctx); err == nil && a.o.Now().Before(due) {
				continue
			}
		}
		if err == nil {
			if a.o.Now().Before(due) {
				continue
			}
			err = a.lead(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errNotLeading) {
			a.o.Logger.Info("backup given up", "reason", "another member leads")
			continue
		}
		if err != nil {
			a.fail(err)
			due = a.o.Now().Add(retry)
			retry = min(2*retry, max(a.firstRetry(), a.o.Every/4))
			continue
		}
		due, retry = a.o.Now().Add(a.o.Every), a.firstRetry()
	}
}

// firstRetry is how long after a failure a backup is tried again.
func (a *Agent) firstRetry() time.Duration { return min(firstRetry, a.o.Every) }

var errNotLeading = errors.New("this member does not lead any more")

// lead makes one backup, for as long as this member leads: whoever leads next makes its own.
func (a *Agent) lead(ctx context.Context) error {
	leading, stop := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(look)
		defer tick.Stop()
		for {
			select {
			case <-leading.Done():
				return
			case <-tick.C:
				if !a.o.Leads() {
					stop(errNotLeading)
				}
			}
		}
	}()
	err := a.Once(leading)
	if context.Cause(leading) == errNotLeading && err != nil { //nolint:errorlint // it is this very one
		err = errNotLeading
	}
	stop(nil)
	<-done
	return err
}

func (a *Agent) fail(err error) {
	a.o.Logger.Error("backup failed", "store", a.o.Store.String(), "error", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Failures++
	a.status.Problem = err.Error()
}

// next says when the next backup is due, by what is in the store.
func (a *Agent) next(ctx context.Context) (time.Time, error) {
	all, err := Backups(ctx, a.o.Store, a.o.Cluster)
	now := a.o.Now()
	if err != nil || len(all) == 0 {
		return now, err
	}
	if all[0].Taken.After(now.Add(a.o.Every)) { // by a clock that was wrong, then or now
		return now, nil
	}
	return all[0].Taken.Add(a.o.Every), nil
}

// Once makes one backup: writes it, verifies what the store has, has it noted, and removes what is too old.
func (a *Agent) Once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := a.o.Now()
	written, name, err := a.write(ctx, began)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := a.verify(ctx, name, &written.Meta); err != nil {
		if rerr := a.o.Store.Remove(context.WithoutCancel(ctx), name); rerr != nil {
			err = fmt.Errorf("%w; and it is still there: %w", err, rerr)
		}
		return fmt.Errorf("verify backup %s: %w", name, err)
	}
	took := a.o.Now().Sub(began)
	a.o.Logger.Info("backup made", "store", a.o.Store.String(), "file", name, "index", written.Meta.Index, "peers", written.Meta.Counts.Peers, "bytes", written.Bytes, "duration", took)
	a.mu.Lock()
	a.status.Backups++
	a.status.Bytes, a.status.Took, a.status.Problem = written.Bytes, took, ""
	a.mu.Unlock()
	if err := a.o.Note(ctx, &written.Meta); err != nil {
		return fmt.Errorf("note backup %s, which is good: %w", name, err)
	}
	if err := a.prune(ctx, name); err != nil {
		return fmt.Errorf("remove old backups: %w", err)
	}
	return nil
}

func (a *Agent) write(ctx context.Context, now time.Time) (w *snapshot.Written, name string, err error) {
	st, err := a.o.State(ctx)
	if err != nil {
		return nil, "", err
	}
	defer st.Release()
	m := st.Meta
	m.Created = now
	name = Name(&m)
	err = a.o.Store.Put(ctx, name, func(to io.Writer) (err error) {
		w, err = snapshot.Write(&until{ctx, to}, m, st.Write, a.o.Secrets, a.o.Seal)
		return err
	})
	return w, name, err
}

// until writes until ctx ends.
type until struct {
	ctx context.Context
	to  io.Writer
}

func (u *until) Write(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.to.Write(b)
}

// verify reads an archive back from the store, and checks that it is the one that was put there.
func (a *Agent) verify(ctx context.Context, name string, want *snapshot.Meta) error {
	r, err := a.o.Store.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	ar, err := snapshot.Open(bufio.NewReaderSize(r, 1<<18))
	if err != nil {
		return err
	}
	if err := ar.Verify(); err != nil {
		return err
	}
	if m := ar.Meta(); m.StateHash != want.StateHash || m.Index != want.Index || m.Secrets.Seal != want.Secrets.Seal {
		return errors.New("the store has another archive under this name")
	}
	return nil
}

// prune removes what the rules do not keep. The archive called good was just verified.
func (a *Agent) prune(ctx context.Context, good string) error {
	all, err := Backups(ctx, a.o.Store, a.o.Cluster)
	if err != nil {
		return err
	}
	times := make([]time.Time, len(all))
	for i, b := range all {
		times[i] = b.Taken
	}
	for i, keep := range a.o.Keep.choose(times) {
		if keep || all[i].Name == good {
			continue
		}
		if !a.o.Leads() {
			return nil // the new leader sees to it
		}
		if err := a.o.Store.Remove(ctx, all[i].Name); err != nil {
			return fmt.Errorf("%s: %w", all[i].Name, err)
		}
		a.o.Logger.Info("backup removed", "store", a.o.Store.String(), "file", all[i].Name)
		a.mu.Lock()
		a.status.Removed++
		a.mu.Unlock()
	}
	return nil
}
