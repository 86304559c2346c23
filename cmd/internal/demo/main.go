// Command demo is what `make run` shows: a root of three members on this machine, each with a data directory of its own,
// a swarm of simulated clients that use it, and a live table of what they see. The clients are said to be in twenty cities, by
// places of the prefixes that they have addresses of, and the members in the first of these: at which member the clients begin, and how
// the root sends each to the nearest one, is shown in tables, too.
//
// It starts bin/rootd, has the others join with bin/rootctl as an operator would, runs bin/rootswarm against them, and on
// Ctrl-C, at the end of the duration or when something fails stops all and removes the data. With -kill-every it is
// a soak test: members are killed in turn while the clients talk, and must be back with everything that the root knew.
//
// The table goes to standard output, everything else to standard error. The exit code is 0 if all went as it should.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// command is main with everything that a test wants to replace.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	d := demo{stdout: stdout, stderr: stderr}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find rootd beside the demo: %w", err)
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&d.bin, "bin", filepath.Dir(self), "`directory` of rootd and rootswarm")
	flags.IntVar(&d.size, "members", 3, "number of members of the root")
	flags.IntVar(&d.clients, "clients", 200, "number of simulated clients")
	flags.DurationVar(&d.duration, "duration", 0, "end after this long; 0: at Ctrl-C")
	flags.BoolVar(&d.relay, "relay", false, "the clients cannot reach each other: all they say goes through the root")
	flags.DurationVar(&d.killEvery, "kill-every", 0, "kill a member this often and start it again; 0: never")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case d.size < 1 || d.size > 9:
		return fmt.Errorf("-members %d: from 1 to 9", d.size)
	case d.clients < 2:
		return fmt.Errorf("-clients %d: at least 2, or nobody has anybody to talk to", d.clients)
	case d.duration < 0 || d.duration > 0 && d.duration < minDuration:
		return fmt.Errorf("-duration %v: at least %v, or 0 to run until Ctrl-C", d.duration, minDuration)
	}
	return d.run(ctx)
}

// minDuration leaves the clients time to arrive and to say something.
const minDuration = 5 * time.Second
