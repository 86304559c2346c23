package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootd/rootd/cmd/internal/rollout"
)

// A tool that is killed leaves the command that it runs for a member behind, and that may restart the member long after another tool
// went on. So the log knows the process of a command before it begins, and whoever goes on waits until that has ended.

// heldCommand makes a shell the command in its arguments, once there is a line on file 3; if that ends without, nothing is run.
const heldCommand = `read -r go <&3 && exec 3<&- && exec "$@"`

// command runs a member's command, and returns the end of what it said if it fails.
func (r *rolling) command(ctx context.Context, t rollout.Turn) error {
	name := t.Cluster + "/" + t.Member
	if err := r.commandEnds(ctx, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.clients.fleet.Rollout.Patience)
	defer cancel()
	hold, word, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("command %s: %w", t.Command[0], err)
	}
	defer word.Close()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", heldCommand, "sh"}, t.Command...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &said, &said, []*os.File{hold}
	cmd.WaitDelay = time.Second // what it left running may hold its output open
	// Ctrl-C is for this program, which then lets the command end: it must not reach the command through the terminal. And by its session
	// another tool knows the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = hold.Close()
	if err != nil {
		return fmt.Errorf("command %s: %w", t.Command[0], err)
	}
	told := r.tell(ctx, t.Cluster, "%s%s: process %d on %s", lineRuns, name, cmd.Process.Pid, hostname())
	if told == nil {
		_, told = word.WriteString("go\n")
	}
	_ = word.Close()
	err = cmd.Wait()
	if told != nil {
		return told
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		text := strings.TrimSpace(said.String())
		if len(text) > 300 {
			text = "..." + text[len(text)-300:]
		}
		return fmt.Errorf("command %s: %w: %s", t.Command[0], err, text)
	}
	return nil
}

// commandEnds waits for the end of a member's command that a tool before this one left behind.
func (r *rolling) commandEnds(ctx context.Context, name string) error {
	where, ok := r.runs[name]
	if !ok {
		return nil
	}
	var pid int
	var host string
	if _, err := fmt.Sscanf(where, "process %d on %s", &pid, &host); err != nil {
		return nil // of another version
	}
	if host != hostname() {
		r.note("%s: its command was begun on %s, as process %d: if that has not ended, it may restart the member once more", name, host, pid)
		return nil
	}
	for until := time.Now().Add(r.clients.fleet.Rollout.Patience); ; {
		if session, err := unix.Getsid(pid); err != nil || session != pid {
			return nil
		}
		r.line.set(fmt.Sprintf("%s: waiting for the command that was begun before, process %d", name, pid))
		if time.Now().After(until) {
			return fmt.Errorf("the command that was begun before still runs: process %d", pid)
		}
		if !wait(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}
