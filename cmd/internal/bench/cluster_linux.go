package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/transport/admin"
)

// grow adds members to rootd's cluster, as an operator does. They serve nobody: that they are there makes the first one look into
// the table for the receiver of every packet. They run where the load does, not to cost the first one its core.
func (l *lab) grow(ctx context.Context, stderr io.Writer) error {
	a := admin.NewClient(l.root.Socket())
	defer a.Close()
	for n := 2; n <= l.c.members; n++ {
		name := fmt.Sprint("m", n)
		fmt.Fprintf(stderr, "%s joins rootd's cluster\n", name)
		m, err := procs.NewMemberAt(filepath.Join(l.c.bin, "rootd"), filepath.Join(l.dir, name), netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if err != nil {
			return err
		}
		token, err := a.CreateToken(ctx, admin.TokenRequest{Note: name})
		if err != nil {
			return err
		}
		join := exec.CommandContext(ctx, filepath.Join(l.c.bin, "rootctl"), "join", "-", "--yes", "--wait", "0", "--data-dir", m.DataDir,
			"--name", name, "--address", m.Cluster.String(), "--endpoint", m.UDP.String())
		join.Stdin = strings.NewReader(token.Text)
		if out, err := join.CombinedOutput(); err != nil {
			return fmt.Errorf("%s joins: %w\n%s", name, err, out)
		}
		if err := m.Start(); err != nil {
			return err
		}
		l.more = append(l.more, m)
		ready, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = m.WaitReady(ready)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}
