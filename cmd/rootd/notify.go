package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells the service manager how far we are. Without one (no NOTIFY_SOCKET) it does nothing.
type notifier struct {
	send     func(state string) error
	watchdog time.Duration // the manager expects a sign of life this often; 0 = it does not
}

// newNotifier finds the service manager in the environment.
func newNotifier() (*notifier, error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("read WATCHDOG_USEC: %w", err)
	}
	return &notifier{watchdog: interval, send: func(state string) error {
		if _, err := daemon.SdNotify(false, state); err != nil {
			return fmt.Errorf("notify the service manager: %w", err)
		}
		return nil
	}}, nil
}

// ready says that clients are served now.
func (n *notifier) ready(status string) error {
	return n.send(daemon.SdNotifyReady + "\nSTATUS=" + status)
}

// waiting says what a start waits for, and that it takes so much longer.
func (n *notifier) waiting(line string, d time.Duration) error {
	return n.send(fmt.Sprintf("STATUS=%s\nEXTEND_TIMEOUT_USEC=%d", line, d.Microseconds()))
}

// stopping says that we are on the way out.
func (n *notifier) stopping() error { return n.send(daemon.SdNotifyStopping) }

// status shows one line in systemctl status.
func (n *notifier) status(line string) error { return n.send("STATUS=" + line) }

// run sends signs of life until ctx ends, as long as alive says so. A member that is not alive for a whole interval
// is restarted by the service manager.
func (n *notifier) run(ctx context.Context, alive func() bool) error {
	if n.watchdog <= 0 {
		return nil
	}
	tick := time.NewTicker(n.watchdog / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !alive() {
				continue
			}
			if err := n.send(daemon.SdNotifyWatchdog); err != nil {
				return err
			}
		}
	}
}
