package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	watchEvery = 100 * time.Millisecond
	watchWait  = 300 * time.Millisecond // for an answer
	watchDeaf  = 5 * time.Second        // who is silent for longer is down; a busy machine is silent for less
)

// watcher looks at members from outside, as clients do: it says HELLO at each endpoint all the time, and notes when nobody listens
// there, or nobody answers for long. At no time may two be down.
type watcher struct {
	root vl1.Identity

	mu      sync.Mutex // guards the following
	down    map[string]time.Time
	hellos  int
	answers int
	downs   int
	longest time.Duration
	both    []string // what must not be
}

// watch watches members until the returned function is called, which says what was seen.
func watch(t *testing.T, root vl1.Identity, members []*procs.Member) (stop func() string) {
	t.Helper()
	ids, err := identities()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{root: root, down: map[string]time.Time{}}
	var wg sync.WaitGroup
	for i, m := range members {
		name, at := m.Args[1], m.UDP.String()
		wg.Go(func() { w.look(ctx, ids[i%len(ids)], name, at) })
	}
	var once sync.Once
	stop = func() string {
		cancel()
		wg.Wait()
		once.Do(func() {
			for _, what := range w.both {
				t.Error(what)
			}
		})
		return fmt.Sprintf("%d HELLOs, %d answers, members were down %d times, for %s at most, never two at once", w.hellos, w.answers, w.downs, w.longest.Round(time.Millisecond))
	}
	t.Cleanup(func() { stop() })
	return stop
}

func (w *watcher) look(ctx context.Context, self *vl1.SecretIdentity, name, at string) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := time.Now() // that it answered
	for {
		asked := time.Now()
		err := w.hello(self, at)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			last = asked
		}
		w.saw(name, asked, err == nil, errors.Is(err, syscall.ECONNREFUSED) || time.Since(last) > watchDeaf)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// saw notes what came of a HELLO. Neither an answer nor a refusal proves nothing: roots answer one a second and client.
func (w *watcher) saw(name string, asked time.Time, answered, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hellos++
	since, was := w.down[name]
	switch {
	case answered:
		w.answers++
		if was {
			w.longest = max(w.longest, time.Since(since))
			delete(w.down, name)
		}
	case down && !was:
		w.down[name] = asked
		w.downs++
		if len(w.down) > 1 {
			var all []string
			for m, since := range w.down {
				all = append(all, fmt.Sprintf("%s since %s", m, since.Format("15:04:05.000")))
			}
			w.both = append(w.both, "two members are down: "+strings.Join(all, ", "))
		}
	}
}

// hello says HELLO once.
func (w *watcher) hello(self *vl1.SecretIdentity, at string) error {
	key, err := self.Agree(&w.root.Key)
	if err != nil {
		return err
	}
	conn, err := net.Dial("udp", at)
	if err != nil {
		return err
	}
	defer conn.Close()
	h := vl1.Hello{Protocol: 11, Clock: uint64(time.Now().UnixMilli()), Identity: self.Identity}
	p := vl1.AppendHello(vl1.NewPacket(nil, rand.Uint64(), w.root.Address, self.Address, vl1.VerbHello), &h, &key)
	vl1.Armor(p, &key, vl1.SuitePoly1305)
	if _, err := conn.Write(p); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(watchWait))
	_, err = conn.Read(make([]byte, vl1.MaxPacket))
	return err
}
