package main_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// device returns the nth ready-made client, at a member.
func (f *fleet) device(n int, planet *vl1.World, member int) *device {
	f.Helper()
	return devices(f.T, n+1, planet, f.members[member].UDP)[n]
}

// leader waits until a member knows a leader that is not the old one, and returns its place in the fleet.
func (f *fleet) leader(at int, old string) (place int) {
	f.Helper()
	eventually(f.T, "there is a leader", func() bool {
		all, err := f.admin(at).Members(f.Context())
		if err != nil || all.Leader == "" || all.Leader == old {
			return false
		}
		for i, o := range all.Members {
			if o.Name == all.Leader {
				place = i
			}
		}
		return true
	})
	return place
}

// talk asks one thing after the other until ctx ends: WHOIS, and now and then HELLO.
type talk struct {
	asked, lost int           // requests, and those of them that got no answer
	longest     time.Duration // that a request took
}

func (d *device) talk(ctx context.Context, about vl1.Address) (sum talk) {
	const patience = 3 * time.Second // on a machine that does a lot beside
	greeted := time.Now()            // just before
	for ctx.Err() == nil {
		p := vl1.AppendWhois(d.packet(vl1.VerbWhois), about)
		suite := vl1.SuiteSalsa
		if time.Since(greeted) > 2*time.Second { // a root answers one a second
			h := vl1.Hello{Protocol: 11, Major: 1, Minor: 12, Clock: uint64(time.Now().UnixMilli()), Identity: d.id.Identity}
			p, suite = vl1.AppendHello(d.packet(vl1.VerbHello), &h, &d.key), vl1.SuitePoly1305
			greeted = time.Now()
		}
		id, began := p.ID(), time.Now()
		d.send(p, suite)
		sum.asked++
		if !d.answered(id, patience) {
			sum.lost++
		}
		sum.longest = max(sum.longest, time.Since(began))
		select {
		case <-ctx.Done():
		case <-time.After(80 * time.Millisecond): // WHOIS is limited to 20 a second
		}
	}
	return sum
}

// answered waits for the OK to one packet.
func (d *device) answered(id uint64, patience time.Duration) bool {
	for timeout := time.After(patience); ; {
		select {
		case p := <-d.heard:
			if p.Verb() != vl1.VerbOK {
				continue
			}
			if _, to, _, err := vl1.DecodeOK(p); err == nil && to == id {
				return true
			}
		case <-timeout:
			return false
		}
	}
}

// leaderKilled: clients of the other members do not notice that the leader dies.
func (f *fleet) leaderKilled(planet *vl1.World, known *device) {
	old := f.leader(0, "")
	ctx, cancel := context.WithCancel(f.Context())
	sums := make(chan talk)
	var others []int
	for i := range f.members {
		if i == old {
			continue
		}
		others = append(others, i)
		for n := range 2 {
			d := f.device(5+2*i+n, planet, i)
			d.hello(f.T)
			// Until it has answered the root's challenge it gets no answer longer than its question.
			d.whois(f.T, known.id.Address)
			go func() { sums <- d.talk(ctx, known.id.Address) }()
		}
	}
	began := time.Now()
	f.members[old].Kill()
	now := f.leader(others[0], f.name(old))
	elected := time.Since(began)
	// The log goes on: who is new at one member is known at the other.
	d := f.device(12, planet, others[0])
	d.hello(f.T)
	waitKnown(f.T, f.members[others[1]], d.id.Address)
	logged := time.Since(began)
	f.waitStatus(others[0], f.name(old), admin.StatusDown)
	lost := time.Since(began)
	if said := f.members[now].Process().Output(); !strings.Contains(said, "member is lost") {
		f.Errorf("the others did not find out that the leader had died; its successor said:\n%s", said)
	}
	cancel()
	var all talk
	for range 2 * len(others) {
		s := <-sums
		all = talk{all.asked + s.asked, all.lost + s.lost, max(all.longest, s.longest)}
	}
	f.Logf("new leader %s after %v, new peer in the log of both after %v, old one down after %v; %d requests, %d lost, longest %v",
		f.name(now), elected.Round(time.Millisecond), logged.Round(time.Millisecond), lost.Round(time.Millisecond), all.asked, all.lost, all.longest.Round(time.Microsecond))
	if all.lost > 0 || all.asked < 50 {
		f.Errorf("of %d requests %d were lost", all.asked, all.lost)
	}
	f.start(old)
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
}

func (f *fleet) name(i int) string { return f.members[i].Args[1] }

func (f *fleet) start(i int) {
	f.Helper()
	if err := f.members[i].Start(); err != nil {
		f.Fatal(err)
	}
}

// noQuorum: the last member serves from what it knows, and learns; when the others return, they learn it from the log.
func (f *fleet) noQuorum(planet *vl1.World, known *device) {
	const alone = 2
	f.members[0].Kill()
	f.members[1].Kill()
	eventually(f.T, "it is known that there is no leader", func() bool {
		s, err := f.admin(alone).Status(f.Context())
		return err == nil && s.Raft.Leader == "" && strings.Contains(strings.Join(s.Problems, " "), "no leader")
	})
	_, err := f.admin(alone).RemoveMember(f.Context(), "m1", admin.RemoveOptions{Force: true})
	if e, ok := errors.AsType[*admin.Error](err); !ok || !strings.Contains(e.Why, "no leader") || !strings.Contains(e.Hint, "rootctl recover") {
		f.Errorf("remove a lost one by force: %v", err)
	}
	if _, _, err := f.state(alone, false); err == nil || !strings.Contains(err.Error(), "no leader") {
		f.Errorf("the leader's state without a leader: %v", err)
	}
	if m, _, err := f.state(alone, true); err != nil || !m.Stale {
		f.Errorf("the state of a member without a quorum: %+v, %v", m, err)
	}
	a, b := f.device(13, planet, alone), f.device(14, planet, alone) // nobody has ever seen them
	a.hello(f.T)
	b.hello(f.T)
	if got := a.whois(f.T, known.id.Address); got != known.id.Identity { // it was with another member
		f.Errorf("WHOIS: %v", got)
	}
	if got := a.whois(f.T, b.id.Address); got != b.id.Identity {
		f.Errorf("WHOIS of somebody new: %v", got)
	}
	p := vl1.NewPacket(make([]byte, 0, 100), 0x1234567890abcdef, b.id.Address, a.id.Address, vl1.VerbFrame)
	p = append(p, "for the other one alone"...)
	eventually(f.T, "a packet is relayed", func() bool {
		_, _ = a.conn.Write(p)
		select {
		case got := <-b.peers:
			return got.Source() == a.id.Address && bytes.Equal(got.Payload(), p.Payload())
		case <-time.After(500 * time.Millisecond):
			return false
		}
	})
	f.start(0)
	f.start(1)
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	for i := range f.members {
		waitKnown(f.T, f.members[i], a.id.Address)
		waitKnown(f.T, f.members[i], b.id.Address)
	}
}

// removed: a member that was stopped and removed does not come back with what it has, and its certificate is worth
// nothing.
func (f *fleet) removed(*vl1.World, *device) {
	out := (f.leader(0, "") + 1) % 3
	in := (out + 1) % 3
	ctx := longDeadline(f.T)
	if _, err := f.admin(in).RemoveMember(ctx, f.name(out), admin.RemoveOptions{}); err == nil {
		f.Error("removed without force, although it is alive")
	}
	if err := f.members[out].Stop(grace); err != nil {
		f.Fatal(err)
	}
	f.waitStatus(in, f.name(out), admin.StatusDown)
	if _, err := f.admin(in).RemoveMember(ctx, f.name(out), admin.RemoveOptions{}); err != nil {
		f.Fatal(err)
	}

	f.start(out)
	p := f.members[out].Process()
	code, err := p.Wait(ctx)
	if said := p.Output(); err != nil || code != 1 || !strings.Contains(said, "removed from the cluster") || !strings.Contains(said, "hint: it stays out") {
		f.Errorf("exit code %d, %v; it said:\n%s", code, err, said)
	}

	dir, err := datadir.Read(f.members[out].DataDir)
	if err != nil {
		f.Fatal(err)
	}
	keychain, err := pki.NewKeychain(dir.Keys)
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := pki.NewVerifier(pki.VerifierOptions{Keychain: keychain, Now: time.Now, Admit: func(pki.Peer) error { return nil }})
	if err != nil {
		f.Fatal(err)
	}
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer nowhere.Close()
	port, err := mux.New(mux.Options{Keychain: keychain, Verifier: verifier, Listener: nowhere, Dial: mux.DialTCP, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	for i, m := range f.members {
		if i == out {
			continue
		}
		for _, proto := range []mux.Proto{mux.Raft, mux.RPC} {
			c, err := port.Dial(ctx, proto, m.Cluster.String(), 0)
			if err == nil {
				c.Close()
			}
			if refusal, ok := errors.AsType[*mux.Refusal](err); !ok || refusal.Code != mux.NotAdmitted {
				f.Errorf("%s at %s: %v, want a refusal", proto, f.name(i), err)
			}
		}
	}
	// The two that are left are a cluster.
	d := f.device(15, readPlanet(f.T, f.members[in]), in)
	d.hello(f.T)
	for i := range f.members {
		if i != out {
			waitKnown(f.T, f.members[i], d.id.Address)
		}
	}
}
