// Command rootd is a ZeroTier root server: one member of a cluster that serves one root identity.
//
// It reads its configuration once (see docs/configuration.md), opens or creates its data directory, and then runs
// until SIGTERM or SIGINT. run.go wires the packages and owns the order in which they stop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/rootd/rootd/cmd/internal/build"
)

// Exit codes, for service managers and scripts.
const (
	exitOK    = 0
	exitError = 1 // something went wrong; the last lines on standard error say what and what to do
	exitUsage = 2 // the command line or the configuration is wrong; nothing was started
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(mainExit(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func mainExit(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	inv, err := ParseArgs(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		complain(stderr, err)
		return exitUsage
	case inv.Version:
		fmt.Fprintln(stdout, "rootd", build.Current())
		return exitOK
	case inv.Check:
		for _, w := range inv.Config.Warnings() {
			fmt.Fprintln(stdout, "warning:", w)
		}
		fmt.Fprintln(stdout, "configuration is good")
		return exitOK
	}
	if err := run(ctx, &inv.Config, stderr); err != nil {
		complain(stderr, err)
		return exitError
	}
	return exitOK
}

// complain prints an error and, where it knows one, the way out.
func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "rootd: %v\n", err)
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(w, "hint: %s\n", h.Hint())
	}
}

func newLogger(c LogConfig, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
