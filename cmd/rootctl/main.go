// Command rootctl makes what a root needs (data directories, identities, planets) and talks to a running rootd over
// its unix socket.
//
// Command lines flow in, tables or JSON flow out on standard output; errors go to standard error as "rootctl: what:
// why" with a "hint:" line where there is a way out. Exit codes: 0 done, 1 refused or failed, 2 wrong usage. One file a
// command: an options struct, a constructor of the cobra command, and a run method that gets everything it touches
// through an [env], so that tests need no process. No command ever prints a secret; files with secrets have mode 0600
// and are never overwritten.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, now: time.Now}
	code := run(ctx, e, os.Args[1:])
	stop()
	os.Exit(code)
}
