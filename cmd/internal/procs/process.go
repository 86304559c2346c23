package procs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// keptOutput is how many bytes at the end of a process's output are kept.
const keptOutput = 256 << 10

// Command says what to run.
type Command struct {
	Path string // of the binary
	Args []string
	Env  []string  // "KEY=value", added to the starter's environment
	Dir  string    // working directory; "" is the starter's
	Tee  io.Writer // gets a copy of standard output and standard error as they come; may be nil
}

// Process is a process that was started. See the package comment for who may call what.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail tail
	done chan struct{} // closed when the process has ended and its output is complete
	err  error         // of Wait; written before done is closed
}

// Start starts the command. The caller must end it with [Process.Kill] or [Process.Stop], or see it end.
func Start(c Command) (*Process, error) {
	p := &Process{name: filepath.Base(c.Path), done: make(chan struct{})}
	p.tail.copy = c.Tee
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Dir = c.Dir
	p.cmd.Stdout = &p.tail
	p.cmd.Stderr = &p.tail
	p.cmd.WaitDelay = 2 * time.Second // for grandchildren that keep the output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr)

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

// run starts the process and waits for it. The kernel ties the child's life to the thread that made it, so that thread
// is kept for as long as the child lives.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output returns the end of what the process has written to standard output and standard error, together.
func (p *Process) Output() string { return p.tail.String() }

// Signal sends the signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: send %v: %w", p.name, s, err)
	}
	return nil
}

// Wait waits for the process to end and returns its exit code: -1 if a signal ended it. The error is the context's, or
// says that the process could not be waited for; an exit code that is not 0 is no error.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return -1, fmt.Errorf("wait for %s to end: %w", p.name, ctx.Err())
	}
	if _, exited := errors.AsType[*exec.ExitError](p.err); p.err != nil && !exited && !errors.Is(p.err, exec.ErrWaitDelay) {
		return -1, fmt.Errorf("wait for %s: %w", p.name, p.err)
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// Kill ends the process as a power cut would, with no chance to do anything, and waits until it is gone. It does
// nothing to a process that has already ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended, which is what was wanted
	<-p.done
}

// Stop asks the process to end with SIGTERM and kills it if it has not within the grace period. The error says that it
// had to be killed, or did not end with exit code 0.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed; it said:\n%s", p.name, grace, p.Output())
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s ended with %v; it said:\n%s", p.name, p.cmd.ProcessState, p.Output())
	}
	return nil
}
