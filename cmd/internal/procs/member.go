package procs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"time"
)

// Member is a rootd on loopback that can be started, ended and started again on the same data directory and ports.
type Member struct {
	Binary  string
	DataDir string
	UDP     netip.AddrPort // where it serves
	HTTP    netip.AddrPort // metrics and health
	Cluster netip.AddrPort // for other members
	Args    []string       // further flags; they come last, so they win
	Tee     io.Writer      // gets a copy of its output; may be nil

	proc *Process
}

// ErrRunning is returned by [Member.Start] of a member that has not been ended.
var ErrRunning = errors.New("the member is running already")

// NewMember returns a member with free ports of its own on 127.0.0.1. It starts nothing.
func NewMember(binary, dataDir string) (*Member, error) {
	return NewMemberAt(binary, dataDir, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// NewMemberAt is NewMember on another loopback address.
func NewMemberAt(binary, dataDir string, host netip.Addr) (*Member, error) {
	udp, err := FreePort(host)
	if err != nil {
		return nil, err
	}
	http, err := FreePort(host)
	for err == nil && http == udp {
		http, err = FreePort(host)
	}
	if err != nil {
		return nil, err
	}
	cluster, err := FreePort(host)
	for err == nil && (cluster == udp || cluster == http) {
		cluster, err = FreePort(host)
	}
	if err != nil {
		return nil, err
	}
	return &Member{Binary: binary, DataDir: dataDir, UDP: udp, HTTP: http, Cluster: cluster}, nil
}

// Start starts the member. It does not wait until it serves: see [Member.WaitReady].
func (m *Member) Start() error {
	if m.Running() {
		return ErrRunning
	}
	args := append([]string{
		"-data-dir", m.DataDir,
		"-listen", m.UDP.String(),
		"-endpoints", m.UDP.String(),
		"-http-listen", m.HTTP.String(),
		"-cluster-listen", m.Cluster.String(),
		"-peers-drain-at-stop", "0s",
	}, m.Args...)
	p, err := Start(Command{Path: m.Binary, Args: args, Tee: m.Tee})
	if err != nil {
		return err
	}
	m.proc = p
	return nil
}

// Running reports whether the member was started and has not ended.
func (m *Member) Running() bool {
	if m.proc == nil {
		return false
	}
	select {
	case <-m.proc.Done():
		return false
	default:
		return true
	}
}

// Process returns the process of the last start, nil before the first.
func (m *Member) Process() *Process { return m.proc }

// WaitReady waits until the member says that it serves.
func (m *Member) WaitReady(ctx context.Context) error {
	if m.proc == nil {
		return fmt.Errorf("%s: not started", m.Binary)
	}
	return m.proc.WaitReady(ctx, m.URL("/readyz"))
}

// URL returns the address of a page of the member's HTTP listener.
func (m *Member) URL(path string) string { return "http://" + m.HTTP.String() + path }

// Socket returns the path of the socket for rootctl.
func (m *Member) Socket() string { return filepath.Join(m.DataDir, "admin.sock") }

// Kill ends the member as a power cut would. It does nothing to one that is not running.
func (m *Member) Kill() {
	if m.proc != nil {
		m.proc.Kill()
	}
}

// Stop ends the member as an operator does: see [Process.Stop].
func (m *Member) Stop(grace time.Duration) error {
	if m.proc == nil {
		return nil
	}
	return m.proc.Stop(grace)
}
