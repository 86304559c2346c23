package main

import (
	"fmt"
	"time"
)

// progressEvery is how often a person sees progress.
const progressEvery = 200 * time.Millisecond

// progress shows how far a long stream of bytes is, on a terminal only. It is an [io.Writer] that counts what is written to it. For one
// goroutine.
type progress struct {
	line  *statusLine
	what  string
	total int64 // about; 0: not known
	n     int64
	began time.Time
	shown time.Time
}

func (e *env) newProgress(what string, total int64) *progress {
	return &progress{line: e.newStatusLine(), what: what, total: total, began: time.Now()}
}

// Write implements [io.Writer].
func (p *progress) Write(b []byte) (int, error) {
	p.n += int64(len(b))
	if !p.line.live {
		return len(b), nil
	}
	if now := time.Now(); now.Sub(p.shown) >= progressEvery {
		p.shown = now
		p.line.set(p.text(now))
	}
	return len(b), nil
}

func (p *progress) text(now time.Time) string {
	text := fmt.Sprintf("%s  %s", p.what, bytesText(p.n))
	if p.total > 0 {
		text = fmt.Sprintf("%s  %3d %%  %s", p.what, min(100, 100*p.n/p.total), bytesText(p.n))
	}
	if d := now.Sub(p.began); d >= time.Second {
		perSecond := float64(p.n) / d.Seconds()
		text += fmt.Sprintf("  %s/s", bytesText(int64(perSecond)))
		if left := p.total - p.n; left > 0 && perSecond > 0 {
			text += "  " + span(time.Duration(float64(left)/perSecond*float64(time.Second))) + " left"
		}
	}
	return text
}

// done clears the line.
func (p *progress) done() { p.line.done() }

// throughput is bytes per second of a time that may be very short.
func throughput(bytes int64, d time.Duration) string {
	return bytesText(int64(float64(bytes)/max(d, time.Millisecond).Seconds())) + "/s"
}
