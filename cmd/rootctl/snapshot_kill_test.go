package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

// TestSaveKilled kills rootctl snapshot save with SIGKILL at random moments: under the name there is never anything but a whole
// archive, and the next save succeeds. ROOTD_KILLS sets how often.
func TestSaveKilled(t *testing.T) {
	kills := 15
	if testing.Short() {
		kills = 5
	}
	if s := os.Getenv("ROOTD_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := identities()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	d, err := datadir.Create(data, datadir.Options{Name: "m1", Identity: ids[0], Now: time.Now(), Endpoints: []netip.AddrPort{netip.MustParseAddrPort("5.6.7.8:9993"), netip.MustParseAddrPort("[2a00::8]:9993")}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c := newFakeCluster(d)
	if c.state, err = newFakeState(d); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if err := c.state.do(fakePeers(10_000+i*1000, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	l, err := admin.Listen(filepath.Join(data, datadir.FileSocket))
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		if err := admin.NewServer(&fakeMember{dir: d, ids: ids, cluster: c}, slog.New(slog.DiscardHandler)).Run(ctx, l); err != nil {
			t.Error(err)
		}
	})

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	file := filepath.Join(t.TempDir(), "a.rootd")
	longest, killed, partial, there := time.Second, 0, 0, 0
	save := func(after time.Duration) error {
		cmd := exec.Command("rootctl", "snapshot", "save", file, "--no-secrets", "--data-dir", data)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if after > 0 {
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		if err := cmd.Wait(); err != nil {
			return errors.New(err.Error() + "\n" + out.String())
		}
		return nil
	}
	for killed < kills {
		if r.IntN(2) == 0 {
			_ = os.Remove(file)
		}
		_, err := os.Stat(file)
		had := err == nil
		if save(time.Duration(1+r.Int64N(int64(longest)))) != nil {
			killed++
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), ".a.rootd.partial")); err == nil {
			partial++
		}
		switch a, closer, err := snapshot.Read(file); {
		case err == nil:
			there++
			if err := a.Verify(); err != nil {
				t.Fatalf("after %d kills there is half an archive: %v", killed, err)
			}
			_ = closer.Close()
		case !errors.Is(err, fs.ErrNotExist) || had:
			t.Fatalf("after %d kills: %v", killed, err)
		}
		if killed%10 == 0 { // and then it works
			begun := time.Now()
			if err := save(0); err != nil {
				t.Fatal(err)
			}
			longest = time.Since(begun)
		}
	}
	t.Logf("killed %d times; %d left a partial file, %d times there was an archive, always a whole one", killed, partial, there)
}
