// Rootswarm simulates many ZeroTier clients in one process: load generator, test oracle and traffic of the demo.
//
// Every client is a [client.Client], the model of a real one of a given release. Rootswarm gives them sockets, time and
// something to say to each other, and reports what they saw: rates, loss, latency, the longest time without an answer.
//
// # Goroutines
//
// The clients are split into shards. A shard owns a few sockets and all state of its clients under one mutex, taken
// once per batch of datagrams. Each socket has a reading goroutine, each shard one for its timers. Nothing else writes.
//
// # Exit code
//
// 0: all limits were kept; 1: a limit was exceeded; 2: it could not run.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const (
	exitLimit = 1
	exitError = 2
)

// command is main with everything that a test wants to replace.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "run" {
		return runCommand(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "flood" {
		return floodCommand(ctx, args[1:], stdout, stderr)
	}
	cfg, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "rootswarm: %v\nhint: rootswarm -h lists the flags\n", err)
		return exitError
	}
	if cfg.listOnly {
		if err := cfg.list(stdout, stderr); err != nil {
			fmt.Fprintln(stderr, "rootswarm:", err)
			return exitError
		}
		return 0
	}
	r, err := swarmRun(ctx, cfg, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "rootswarm:", err)
		return exitError
	}
	if cfg.json {
		if err := r.printJSON(stdout); err != nil {
			fmt.Fprintln(stderr, "rootswarm: print the report:", err)
			return exitError
		}
	} else {
		r.print(stdout)
	}
	bad := r.verdict(cfg)
	for _, b := range bad {
		fmt.Fprintln(stderr, "rootswarm: limit exceeded:", b)
	}
	if len(bad) > 0 {
		return exitLimit
	}
	return 0
}

// list prints the public identities of the clients, as rootctl peer import takes them.
func (c *config) list(stdout, stderr io.Writer) error {
	ids, err := c.loadOrMake(stderr)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(stdout)
	for _, id := range ids {
		fmt.Fprintln(w, id.Identity)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	return nil
}

func swarmRun(ctx context.Context, cfg *config, stdout, stderr io.Writer) (*Report, error) {
	ids, err := cfg.loadOrMake(stderr)
	if err != nil {
		return nil, err
	}
	s, err := newSwarm(cfg, ids)
	if err != nil {
		return nil, err
	}
	out := stdout
	if cfg.json {
		out = stderr
	}
	if cfg.quiet {
		out = io.Discard
	}
	t := &table{w: out}
	return s.run(ctx, t.line)
}

func (c *config) loadOrMake(progress io.Writer) ([]*vl1.SecretIdentity, error) {
	if !c.synthetic {
		return loadIdentities(c.identities, c.clients, progress)
	}
	src := rand.NewPCG(c.seed, 0)
	ids := make([]*vl1.SecretIdentity, c.clients)
	for i := range ids {
		var err error
		if ids[i], err = client.Synthetic(src); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
