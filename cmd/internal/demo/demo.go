package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/transport/admin"
)

const (
	readyTimeout = 30 * time.Second // for rootd to serve
	stopGrace    = 15 * time.Second // for rootd and the swarm to end when asked to
	askTimeout   = 3 * time.Second  // for an answer of the admin API
)

// demo is one run, used by one goroutine.
type demo struct {
	bin            string
	size           int // number of members
	clients        int
	duration       time.Duration // 0 = until the context ends
	relay          bool          // the clients cannot reach each other
	killEvery      time.Duration // 0 = never
	stdout, stderr io.Writer

	dir     string // temporary, removed at the end
	members []*procs.Member
	swarm   *procs.Process
	kills   int
	ended   chan *procs.Member // members that ended, for whatever reason
}

// run shows the demo and leaves nothing behind.
func (d *demo) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "rootd-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()

	defer d.killAll()
	if err := d.startRoot(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	d.introduce()

	if err := d.startSwarm(); err != nil {
		return err
	}
	defer d.swarm.Kill()
	var steering sync.WaitGroup
	steered, stop := context.WithCancel(ctx)
	steering.Go(func() { d.steer(steered) })
	defer steering.Wait()
	defer stop()
	if err := d.watch(ctx); err != nil {
		return err
	}
	d.summary()
	return d.stopAll()
}

// unlessStopped returns the error, but not one that came of being told to stop.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// startSwarm starts the clients, with the planet that the root made.
func (d *demo) startSwarm() error {
	args := []string{
		"-planet", filepath.Join(d.members[0].DataDir, "planet"), "-loopback", "-source", sources(),
		"-clients", strconv.Itoa(d.clients), "-frame-every", "200ms",
		"-pid", strconv.Itoa(d.members[0].Process().PID()),
	}
	if d.relay {
		args = append(args, "-relay")
	}
	if d.duration > 0 {
		// The clients' time is measured from when all have arrived.
		ramp, warmup := min(2*time.Second, d.duration/5), min(5*time.Second, d.duration/5)
		args = append(args, "-ramp", ramp.String(), "-warmup", warmup.String(), "-duration", (d.duration - ramp - warmup).String(), "-min-online", "0.99")
	}
	file, err := d.writeIdentities()
	if err != nil {
		return err
	}
	if file != "" {
		args = append(args, "-identities", file)
	}
	d.swarm, err = procs.Start(procs.Command{Path: filepath.Join(d.bin, "rootswarm"), Args: args, Tee: d.stdout})
	return err
}

// watch waits for the swarm to end, or ends it when the context does, and kills the root when it is time to.
func (d *demo) watch(ctx context.Context) error {
	var kill <-chan time.Time
	if d.killEvery > 0 {
		ticker := time.NewTicker(d.killEvery)
		defer ticker.Stop()
		kill = ticker.C
	}
	for {
		select {
		case <-d.swarm.Done():
			return d.swarm.Stop(stopGrace) // for its exit code
		case <-ctx.Done():
			fmt.Fprintln(d.stderr, "\nstopping")
			return d.endSwarm()
		case m := <-d.ended:
			if m.Running() {
				continue // it was killed on purpose, and is back
			}
			return fmt.Errorf("rootd ended by itself; it said:\n%s", m.Process().Output())
		case <-kill:
			if err := d.crash(ctx); err != nil {
				return err
			}
		}
	}
}

// endSwarm asks the swarm to stop and to print what it saw. Whether it was content with that is no matter: it was
// interrupted.
func (d *demo) endSwarm() error {
	if err := d.swarm.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(stopGrace)
	defer timeout.Stop()
	select {
	case <-d.swarm.Done():
		return nil
	case <-timeout.C:
		return fmt.Errorf("rootswarm did not end within %v of SIGINT", stopGrace)
	}
}

// crash kills a member, each in its turn, starts it again, and compares what it knows with what it knew.
func (d *demo) crash(ctx context.Context) error {
	m := d.members[d.kills%len(d.members)]
	before, err := statusOf(m)
	if err != nil {
		return err
	}
	began := time.Now()
	m.Kill()
	if err := d.startMember(ctx, m); err != nil {
		return unlessStopped(ctx, fmt.Errorf("start again after kill %d: %w", d.kills+1, err))
	}
	d.kills++
	after, err := statusOf(m)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.stderr, "killed rootd, %d: serves again after %v; knew %d peers, knows %d\n",
		d.kills, time.Since(began).Round(time.Millisecond), before.Peers.Known, after.Peers.Known)
	if after.Peers.Known < before.Peers.Known {
		return fmt.Errorf("rootd forgot %d of %d peers when it was killed", before.Peers.Known-after.Peers.Known, before.Peers.Known)
	}
	return nil
}

func statusOf(m *procs.Member) (*admin.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	c := admin.NewClient(m.Socket())
	defer c.Close()
	return c.Status(ctx)
}

// introduce tells who is here and how to look at it from another terminal.
func (d *demo) introduce() {
	s, err := statusOf(d.members[0])
	if err != nil {
		fmt.Fprintln(d.stderr, "demo:", err)
		return
	}
	fmt.Fprintf(d.stderr, "root     %s, %d members\n", s.Address, len(d.members))
	for i, m := range d.members {
		fmt.Fprintf(d.stderr, "  m%d     %s, process %d, metrics %s\n", i+1, m.UDP, m.Process().PID(), m.URL("/metrics"))
	}
	fmt.Fprintf(d.stderr, "look     %s member list --data-dir %s\n", d.rootctl(), d.members[0].DataDir)
	fmt.Fprintf(d.stderr, "clients  %d, simulated, on loopback\n\n", d.clients)
}

// summary tells what the members saw of it all.
func (d *demo) summary() {
	fmt.Fprintln(d.stderr)
	for i, m := range d.members {
		s, err := statusOf(m)
		if err != nil {
			fmt.Fprintln(d.stderr, "demo:", err)
			continue
		}
		fmt.Fprintf(d.stderr, "m%d: %d peers known, %d here, %d packets received, %d sent, %d relayed, %d dropped\n",
			i+1, s.Peers.Known, s.Peers.Confirmed, s.Totals.PacketsReceived, s.Totals.PacketsSent, s.Totals.Relayed, s.Totals.Dropped)
	}
}

// readyMade are identities, one a line with its secret: a new one costs about a second of work. They are known to
// everyone who has the source, so nothing but a demo may use them.
//
//go:embed identities.txt
var readyMade string

// writeIdentities writes the ready-made identities to a file, or returns "" if there are too few and new ones are needed.
func (d *demo) writeIdentities() (file string, err error) {
	if strings.Count(readyMade, "\n") < d.clients {
		return "", nil
	}
	file = filepath.Join(d.dir, "identities")
	return file, os.WriteFile(file, []byte(readyMade), 0o600)
}
