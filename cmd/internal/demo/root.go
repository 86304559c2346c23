package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// publishTimeout is how long the cluster may take to publish the planet that names all members.
const publishTimeout = 30 * time.Second

func (d *demo) rootctl() string { return filepath.Join(d.bin, "rootctl") }

// startRoot makes a root of as many members as were asked for: the first begins it, the others join.
func (d *demo) startRoot(ctx context.Context) error {
	d.ended = make(chan *procs.Member, 64)
	for i := range d.size {
		m, err := d.newMember(i)
		if err != nil {
			return err
		}
		if i > 0 {
			if err := d.join(ctx, m, i); err != nil {
				return err
			}
		}
		d.members = append(d.members, m)
		if err := d.startMember(ctx, m); err != nil {
			return err
		}
	}
	if err := d.mapCities(ctx); err != nil {
		return err
	}
	return d.waitPlanet(ctx)
}

// newMember returns member i on an address of its own, where the system has more than one on loopback: clients tell
// members apart by address, not by port.
func (d *demo) newMember(i int) (*procs.Member, error) {
	binary, dir := filepath.Join(d.bin, "rootd"), filepath.Join(d.dir, fmt.Sprintf("m%d", i+1))
	m, err := procs.NewMemberAt(binary, dir, netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}))
	if err != nil {
		m, err = procs.NewMember(binary, dir)
	}
	if err != nil {
		return nil, err
	}
	m.Args = []string{"-name", fmt.Sprintf("m%d", i+1), "-log-level", "error", "-position", cities()[i].point().String()}
	return m, nil
}

// join does what an operator does to add a member: a token on the first one, then rootctl join.
func (d *demo) join(ctx context.Context, m *procs.Member, i int) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	c := admin.NewClient(d.members[0].Socket())
	defer c.Close()
	token, err := c.CreateToken(ctx, admin.TokenRequest{})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, d.rootctl(), "join", "-", "--data-dir", m.DataDir, "--name", fmt.Sprintf("m%d", i+1),
		"--address", m.Cluster.String(), "--endpoint", m.UDP.String(), "--yes", "--wait", "0")
	cmd.Stdin = strings.NewReader(token.Text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rootctl join: %w\n%s", err, out)
	}
	return nil
}

// startMember starts a member, for the first time or again, and waits until it serves.
func (d *demo) startMember(ctx context.Context, m *procs.Member) error {
	if err := m.Start(); err != nil {
		return err
	}
	p := m.Process()
	go func() {
		<-p.Done()
		d.ended <- m
	}()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := m.WaitReady(ctx); err != nil {
		m.Kill()
		return err
	}
	return nil
}

// waitPlanet waits until the planet names all members, so that clients find all of them.
func (d *demo) waitPlanet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		raw, err := os.ReadFile(filepath.Join(d.members[0].DataDir, "planet"))
		if err != nil {
			return err
		}
		if w, _, err := vl1.DecodeWorld(raw); err == nil && len(w.Roots) == 1 && len(w.Roots[0].Endpoints) == len(d.members) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the planet does not name all %d members: %w", len(d.members), ctx.Err())
		case <-tick.C:
		}
	}
}

// stopAll ends the members, the first one last.
func (d *demo) stopAll() error {
	var errs []error
	for _, m := range slices.Backward(d.members) {
		errs = append(errs, m.Stop(stopGrace))
	}
	return errors.Join(errs...)
}

func (d *demo) killAll() {
	for _, m := range d.members {
		m.Kill()
	}
}
