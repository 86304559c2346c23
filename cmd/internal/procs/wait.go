package procs

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// pollInterval is how often a condition outside of this process is looked at.
const pollInterval = 10 * time.Millisecond

// WaitReady waits until a GET of url is answered with 200. It gives up when the process ends or the context does, and
// then says what the process said.
func (p *Process) WaitReady(ctx context.Context, url string) error {
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	return p.poll(ctx, "be ready at "+url, func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return false, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, nil // not listening yet
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
}

// WaitOutput waits until the process has written the text. It gives up like [Process.WaitReady].
func (p *Process) WaitOutput(ctx context.Context, text string) error {
	return p.poll(ctx, fmt.Sprintf("say %q", text), func() (bool, error) {
		return strings.Contains(p.Output(), text), nil
	})
}

// poll calls met until it says yes, fails, or there is no hope left.
func (p *Process) poll(ctx context.Context, what string, met func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for ended := false; ; {
		ok, err := met()
		switch {
		case err != nil:
			return fmt.Errorf("%s did not %s: %w", p.name, what, err)
		case ok:
			return nil
		case ended:
			return fmt.Errorf("%s did not %s: it ended (%v); it said:\n%s", p.name, what, p.cmd.ProcessState, p.Output())
		}
		select {
		case <-tick.C:
		case <-p.done:
			ended = true // once more: the last words may be what we wait for
		case <-ctx.Done():
			return fmt.Errorf("%s did not %s: %w; it said:\n%s", p.name, what, ctx.Err(), p.Output())
		}
	}
}
