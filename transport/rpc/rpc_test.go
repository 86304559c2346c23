package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

func TestCall(t *testing.T) {
	c := newCluster(t, nil)
	server := c.start(1, setup{handle: func(s *rpc.Server) {
		echo(s)
		s.Handle("who/1", func(_ context.Context, from pki.Peer, _ []byte) ([]byte, error) { return []byte(from.String()), nil })
		s.Handle("refuse/1", func(context.Context, pki.Peer, []byte) ([]byte, error) {
			return nil, fmt.Errorf("deep inside: %w", &rpc.Error{Code: "not_leader", Text: "member 2 leads", Hint: "ask it"})
		})
		s.Handle("fail/1", func(context.Context, pki.Peer, []byte) ([]byte, error) { return nil, errors.New("disk full") })
		s.Handle("large/1", func(context.Context, pki.Peer, []byte) ([]byte, error) { return make([]byte, 1<<20+1), nil })
	}})
	client := c.start(2, setup{})
	big := bytes.Repeat([]byte("x"), 1<<20)
	for _, tc := range []struct {
		name, body string
		answer     string
		err        error
		text       string
	}{
		{"echo/1", "hello", "hello", nil, ""},
		{"echo/1", "", "", nil, ""},
		{"echo/1", string(big), string(big), nil, ""},
		{"who/1", "", "member 2 (m2)", nil, ""},
		{"refuse/1", "", "", &rpc.Error{Code: "not_leader"}, "call refuse/1 of member 1: member 2 leads"},
		{"fail/1", "", "", &rpc.Error{Code: rpc.CodeInternal}, "disk full"},
		{"large/1", "", "", &rpc.Error{Code: rpc.CodeTooLarge}, "1048577 bytes"},
		{"echo/2", "", "", &rpc.Error{Code: rpc.CodeUnknownCall}, `no call "echo/2" here`},
		{"echo/1", string(big) + "x", "", rpc.ErrTooLarge, "at most 1048576"},
		{"no name", "", "", nil, "no name of a call"},
	} {
		answer, err := client.Call(t.Context(), server.target(), tc.name, []byte(tc.body))
		if tc.text == "" && (err != nil || string(answer) != tc.answer) {
			t.Errorf("%s: got %d bytes, %v", tc.name, len(answer), err)
		}
		if tc.text != "" && (err == nil || tc.err != nil && !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.text)
		}
	}
	_, err := client.Call(t.Context(), server.target(), "refuse/1", nil)
	if e, ok := errors.AsType[*rpc.Error](err); !ok || e.Hint != "ask it" || rpc.CodeOf(err) != "not_leader" {
		t.Errorf("hint did not cross: %v", err)
	}
	if n := server.server.Metrics(); n.Conns != 1 {
		t.Errorf("%d connections for all calls", n.Conns)
	}
	wrong := server.target()
	wrong.ID = 7
	if _, err := client.Call(t.Context(), wrong, "echo/1", nil); !errors.Is(err, mux.ErrWrongMember) {
		t.Errorf("wrong member: %v", err)
	}
}

func TestManyCalls(t *testing.T) {
	c := newCluster(t, nil)
	server, client := c.start(1, setup{handle: echo}), c.start(2, setup{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 50 {
				want := fmt.Sprint(i, "/", j)
				if got, err := client.Call(t.Context(), server.target(), "echo/1", []byte(want)); err != nil || string(got) != want {
					t.Errorf("got %q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := server.server.Metrics(); n.Conns != 1 || n.Calls != 32*50 || n.InFlight != 0 {
		t.Errorf("%+v", n)
	}
}

// TestStuck: deadlines and cancellations reach the handler, in virtual time.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, mux.NewNetwork())
		ended := make(chan error, 1)
		server := c.start(1, setup{handle: func(s *rpc.Server) {
			echo(s)
			s.Handle("stuck/1", func(ctx context.Context, _ pki.Peer, _ []byte) ([]byte, error) {
				<-ctx.Done()
				ended <- ctx.Err()
				return nil, ctx.Err()
			})
		}})
		client := c.start(2, setup{})
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // far longer than silence: pings are answered
		defer cancel()
		if _, err := client.Call(ctx, server.target(), "stuck/1", nil); !errors.Is(err, context.DeadlineExceeded) && rpc.CodeOf(err) != rpc.CodeDeadline {
			t.Errorf("deadline: %v", err)
		}
		if took := time.Since(begin); took < time.Hour || took > time.Hour+time.Second {
			t.Errorf("took %v", took)
		}
		<-ended // by its own deadline or by the caller's cancellation, which come at the same moment
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if _, err := client.Call(ctx, server.target(), "stuck/1", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancel: %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("handler saw %v", err)
		}
		// The caller stops: its connection ends, and with it the handler's context.
		go func() {
			time.Sleep(time.Second)
			client.stop()
		}()
		if _, err := client.Call(t.Context(), server.target(), "stuck/1", nil); !errors.Is(err, rpc.ErrClosed) && !errors.Is(err, rpc.ErrLost) {
			t.Errorf("stop: %v", err)
		}
		<-ended
		if _, err := client.Call(t.Context(), server.target(), "echo/1", nil); !errors.Is(err, rpc.ErrClosed) && !errors.Is(err, mux.ErrClosed) {
			t.Errorf("after stop: %v", err)
		}
		server.stop()
	})
}

// TestBusy: a member with too much to do says so at once.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, mux.NewNetwork())
		release := make(chan struct{})
		var most, now atomic.Int32
		server := c.start(1, setup{server: rpc.ServerOptions{MaxInFlight: 5, MaxInFlightPerConn: 4}, handle: func(s *rpc.Server) {
			s.Handle("wait/1", func(context.Context, pki.Peer, []byte) ([]byte, error) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				<-release
				return nil, nil
			})
		}})
		var busy, good atomic.Int32
		var wg sync.WaitGroup
		for id := range pki.MemberID(2) {
			client := c.start(2+id, setup{caller: rpc.CallerOptions{MaxInFlight: 6}})
			for range 20 {
				wg.Go(func() {
					switch _, err := client.Call(t.Context(), server.target(), "wait/1", nil); {
					case err == nil:
						good.Add(1)
					case errors.Is(err, &rpc.Error{Code: rpc.CodeBusy}):
						busy.Add(1)
					default:
						t.Error(err)
					}
				})
			}
		}
		synctest.Wait()
		if most.Load() != 5 || busy.Load() != 35 {
			t.Errorf("%d at a time, %d refused", most.Load(), busy.Load())
		}
		close(release)
		wg.Wait()
		if good.Load() != 5 {
			t.Errorf("%d answered", good.Load())
		}
	})
}

// TestSilence: a member that vanishes is noticed, and found again.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mux.NewNetwork()
		c := newCluster(t, n)
		server, client := c.start(1, setup{handle: echo}), c.start(2, setup{})
		call := func() error {
			_, err := client.Call(t.Context(), server.target(), "echo/1", []byte("x"))
			return err
		}
		if err := call(); err != nil {
			t.Fatal(err)
		}
		n.Cut(server.at, client.at)
		begin := time.Now()
		if err := call(); !errors.Is(err, rpc.ErrLost) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took < rpc.SilenceLimit || took > rpc.SilenceLimit+4*time.Second {
			t.Errorf("noticed after %v", took)
		}
		begin = time.Now()
		if err := call(); !errors.Is(err, context.DeadlineExceeded) { // dials in vain
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("dialed for %v", took)
		}
		if err := call(); err == nil || time.Since(begin) != 10*time.Second {
			t.Errorf("right after a failed dial: %v", err)
		}
		n.Heal(server.at, client.at)
		time.Sleep(time.Second)
		if err := call(); err != nil {
			t.Errorf("after heal: %v", err)
		}
		time.Sleep(6 * time.Minute) // unused: the connection is closed, and made anew
		if k := client.mux.Metrics().Open[mux.RPC]; k != 0 {
			t.Errorf("%d connections open", k)
		}
		if err := call(); err != nil {
			t.Errorf("after idle: %v", err)
		}
		// Removed: at once, in both directions.
		c.mu.Lock()
		c.removed = 1
		c.mu.Unlock()
		if n := client.mux.CloseMember(1); n != 1 {
			t.Errorf("%d connections closed", n)
		}
		synctest.Wait()
		if err := call(); !errors.Is(err, pki.ErrNotAdmitted) {
			t.Errorf("removed member: %v", err)
		}
	})
}

func TestStream(t *testing.T) {
	for _, memory := range []bool{false, true} {
		t.Run(fmt.Sprint("memory=", memory), func(t *testing.T) {
			test := func(t *testing.T) {
				var n *mux.Network
				if memory {
					n = mux.NewNetwork()
				}
				testStream(t, newCluster(t, n))
			}
			if memory {
				synctest.Test(t, test)
			} else {
				test(t)
			}
		})
	}
}

func testStream(t *testing.T, c *cluster) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	gone := make(chan error, 1)
	server := c.start(1, setup{server: rpc.ServerOptions{MaxStreams: 1}, handle: func(s *rpc.Server) {
		s.HandleStream("data/1", func(_ context.Context, _ pki.Peer, body []byte, w io.Writer) error {
			for range int(body[0]) {
				if _, err := w.Write(data); err != nil {
					return err
				}
			}
			return nil
		})
		s.HandleStream("half/1", func(_ context.Context, _ pki.Peer, _ []byte, w io.Writer) error {
			_, _ = w.Write(data[:100])
			return &rpc.Error{Code: rpc.CodeUnavailable, Text: "disk gone"}
		})
		s.HandleStream("endless/1", func(ctx context.Context, _ pki.Peer, _ []byte, w io.Writer) error {
			for {
				if _, err := w.Write(data); err != nil {
					gone <- err
					return err
				}
			}
		})
	}})
	client := c.start(2, setup{})
	for _, k := range []byte{0, 1, 3} {
		s, err := client.Stream(t.Context(), server.target(), "data/1", []byte{k})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, bytes.Repeat(data, int(k))) {
			t.Errorf("%d: %d bytes, %v", k, len(got), err)
		}
		_ = s.Close()
	}
	s, err := client.Stream(t.Context(), server.target(), "half/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s); len(got) != 100 || rpc.CodeOf(err) != rpc.CodeUnavailable {
		t.Errorf("half: %d bytes, %v", len(got), err)
	}
	_ = s.Close()
	if _, err := client.Stream(t.Context(), server.target(), "none/1", nil); rpc.CodeOf(err) != rpc.CodeUnknownCall {
		t.Errorf("unknown: %v", err)
	}
	if s, err = client.Stream(t.Context(), server.target(), "endless/1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Stream(t.Context(), server.target(), "data/1", []byte{1}); rpc.CodeOf(err) != rpc.CodeBusy {
		t.Errorf("second stream: %v", err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	_ = s.Close()
	<-gone
}
