package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func selfPath() string { return "/proc/self/exe" }

// dieTogether lets a process end with this one, however this one ends.
func dieTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// isolate runs the drill in another process, in a network of its own.
func isolate(ctx context.Context, e *env, file string, o drillOptions) error {
	args := []string{"snapshot", "drill", file, "--inside", "--rootd", o.rootd, "--members", fmt.Sprint(o.members), "--output", e.output}
	if o.dir != "" {
		args = append(args, "--dir", o.dir)
	}
	args = append(args, o.secretFlags()...)
	cmd := exec.CommandContext(ctx, selfPath(), args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), passphraseVariable+"="+o.phrase)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it cleans up
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if id := os.Geteuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	err := cmd.Run()
	switch _, ran := errors.AsType[*exec.ExitError](err); {
	case err == nil:
		return nil
	case ran:
		return errToldAlready
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSPC):
		return &userError{what: "make a network for the drill", err: err, hint: "run it as root: this kernel gives other users no network namespaces"}
	}
	return fmt.Errorf("drill: %w", err)
}

// loopback brings the loopback interface up.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	return nil
}
