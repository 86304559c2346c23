package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/transport/admin"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// env is everything a command touches outside of itself and the files it is told.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time

	// Flags that every command has.
	dataDir string
	socket  string
	address string // of a member from afar; empty: the socket
	pass    string // file with an operator's certificate
	output  string
	timeout time.Duration
}

// client returns a client of the rootd that the flags name.
func (e *env) client() *admin.Client {
	if e.address != "" {
		return remoteClient(e.address, e.pass)
	}
	socket := e.socket
	if socket == "" {
		socket = filepath.Join(e.dataDir, datadir.FileSocket)
	}
	return admin.NewClient(socket)
}

// limit gives a request to rootd its time.
func (e *env) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.timeout)
}

// userError is an error with a way out.
type userError struct {
	what, hint string
	err        error // may be nil
	usage      bool  // the command line is wrong, not the world
}

func (u *userError) Error() string {
	switch {
	case u.err == nil:
		return u.what
	case u.what == "":
		return u.err.Error()
	}
	return u.what + ": " + u.err.Error()
}

func (u *userError) Unwrap() error { return u.err }

func usageError(format string, a ...any) error {
	return &userError{what: fmt.Sprintf(format, a...), usage: true}
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, e *env, args []string) int {
	root := newRoot(e)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errToldAlready):
		return exitFailed
	}
	text, more, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n\n") // cobra adds its suggestions below
	text = longHex.ReplaceAllString(text, "[key]")
	text = joinToken.ReplaceAllString(text, "[token]")
	fmt.Fprintln(e.stderr, "rootctl:", text)
	hint := hintOf(err)
	u, isUser := errors.AsType[*userError](err)
	usage := isUser && u.usage || strings.HasPrefix(text, "unknown command")
	if usage && hint == "" {
		hint = cmd.CommandPath() + " --help"
		if suggestion := strings.Fields(more); len(suggestion) > 0 {
			hint = "did you mean " + suggestion[len(suggestion)-1] + "?"
		}
	}
	if hint != "" {
		fmt.Fprintln(e.stderr, "hint:", hint)
	}
	if usage {
		return exitUsage
	}
	return exitFailed
}

// errToldAlready is what went wrong in a process that said so itself.
var errToldAlready = errors.New("told already")

// longHex is what a key looks like. Errors never need one, and it might be a secret given in place of something else.
var longHex = regexp.MustCompile("[0-9a-fA-F]{64,}")

// joinToken is a token for rootctl join, which holds a secret.
var joinToken = regexp.MustCompile(`rootd-join-[0-9]+\.[A-Za-z0-9_-]+`)

func hintOf(err error) string {
	if u, ok := errors.AsType[*userError](err); ok && u.hint != "" {
		return u.hint
	}
	if a, ok := errors.AsType[*admin.Error](err); ok && a.Hint != "" {
		return a.Hint
	}
	if h, ok := errors.AsType[hinted](err); ok {
		return h.Hint()
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return "the disk is full: make room there, or name a place on another disk, and run it again; nothing else was changed"
	}
	return ""
}

// hinted is an error that knows the way out.
type hinted interface {
	error
	Hint() string
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "rootctl",
		Short: "Make and operate ZeroTier roots",
		Long: "rootctl makes what a root needs (data directory, identity, planet) and talks to a running rootd.\n\n" +
			"Exit codes: 0 done, 1 refused or failed, 2 wrong usage.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if e.output != "table" && e.output != "json" {
				return usageError("-o %s: choose table or json", e.output)
			}
			if err := cmd.ValidateFlagGroups(); err != nil { // which cobra would take for a failure
				return &userError{err: err, usage: true}
			}
			return nil
		},
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &userError{err: err, usage: true} })

	dataDir := e.getenv("ROOTD_DATA_DIR")
	if dataDir == "" {
		dataDir = "/var/lib/rootd"
	}
	f := root.PersistentFlags()
	f.StringVar(&e.dataDir, "data-dir", dataDir, "data directory of rootd (environment: ROOTD_DATA_DIR)")
	f.StringVar(&e.socket, "socket", e.getenv("ROOTD_SOCKET"), "admin socket of rootd, default admin.sock in the data directory (environment: ROOTD_SOCKET)")
	f.StringVar(&e.address, "address", e.getenv("ROOTD_ADDRESS"), "host:port of a member's cluster port, to ask it from afar instead, with --cert (environment: ROOTD_ADDRESS)")
	f.StringVar(&e.pass, "cert", e.getenv("ROOTD_CERT"), "file with an operator's certificate, made by rootctl operator create (environment: ROOTD_CERT)")
	f.StringVarP(&e.output, "output", "o", "table", "table or json")
	f.DurationVar(&e.timeout, "timeout", 30*time.Second, "longest wait for an answer of rootd")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))

	const running, files = "running", "files"
	root.AddGroup(&cobra.Group{ID: running, Title: "Talk to a running rootd:"}, &cobra.Group{ID: files, Title: "Work on files:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(running,
		newStatus(e),
		newMember(e),
		newToken(e),
		newOperator(e),
		newCA(e),
		newLeader(e),
		newConfig(e),
		newUpgrade(e),
		newRestart(e),
		newFleet(e),
		newPeer(e),
		newExplain(e),
		newGeo(e),
		newRTT(e),
		newSteering(e),
	)
	add(files, newSnapshot(e), newInit(e), newJoin(e), newRecover(e), newIdentity(e), newPlanet(e))
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newVersion(e), newCompletion(e))
	return root
}

// group makes a command that only holds others.
func group(use, short, long string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(children...)
	return c
}

// noArgs refuses arguments, and unknown commands below a group.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasAvailableSubCommands() {
		u := &userError{what: fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath()), usage: true}
		cmd.SuggestionsMinimumDistance = 2
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			u.hint = fmt.Sprintf("did you mean %s %s?", cmd.CommandPath(), s[0])
		}
		return u
	}
	return usageError("unexpected argument %q", args[0])
}

// wantArgs wants one argument for each of the names.
func wantArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usageError("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return usageError("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
