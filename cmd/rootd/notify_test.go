package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNotifySocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "")

	n, err := newNotifier()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return n.ready("serving 3 peers") }, "READY=1\nSTATUS=serving 3 peers"},
		{func() error { return n.status("busy") }, "STATUS=busy"},
		{n.stopping, "STOPPING=1"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		m, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:m]); got != step.want {
			t.Errorf("sent %q, want %q", got, step.want)
		}
	}
}

func TestNotifyNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := newNotifier()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ready("x"); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}

func TestNotifyBadWatchdog(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := newNotifier(); err == nil || !strings.Contains(err.Error(), "WATCHDOG_USEC") {
		t.Errorf("error %v does not name WATCHDOG_USEC", err)
	}
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		var alive atomic.Bool
		alive.Store(true)
		n := &notifier{watchdog: 30 * time.Second, send: func(string) error { sent.Add(1); return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := n.run(ctx, alive.Load); err != nil {
				t.Error(err)
			}
		})
		<-time.After(45 * time.Second)
		alive.Store(false)
		wg.Wait()
		if got := sent.Load(); got != 4 {
			t.Errorf("%d signs of life in 45 s at an interval of 30 s, want 4 and none after", got)
		}
	})
}
