package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/link"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
	"github.com/rootd/rootd/transport/stream"
)

// Calls between members. A name ends in the version of its bodies; an old one stays for as long as a member of the
// version before may call it.
const (
	callApply = "apply/1" // a log entry for the leader; answer: applyAnswer
	callLink  = "link/1"  // an offer of link keys; answer: the other side's
	callRenew = "renew/1" // a certificate request; answer: renewAnswer
	callCheck = "check/1" // a join.Request for the leader; answer: join.Plan
	callStats = "stats/1" // nothing; answer: replica.ServerStats
	callAdmit = "admit/1" // the same; answer: join.Offer
)

// codeRefused is the code of an entry that the state machine refused.
const codeRefused rpc.Code = "refused"

// cluster is this member's way to the others: one TCP port for Raft, calls and joining machines, one UDP port for
// packets. A member that never had company has it too, ready for the first one that joins.
type cluster struct {
	m          *member
	address    string // host:port as others dial it
	keychain   *pki.Keychain
	rotation   rotation
	mux        *mux.Mux
	server     *rpc.Server
	caller     *rpc.Caller
	link       *link.Link
	receiver   *packetpath.Receiver // set by wire
	rescuer    *packetpath.Rescuer  // the same
	raft       *raft.NetworkTransport
	joins      *join.Server
	servers    *replica.Membership
	supervisor *propose.Supervisor
	health     health
	neighbours neighbours
	renewer    *pki.Renewer
	comparer   *comparer
	expelled   chan error // holds one, at most
	lost       lostLogs
}

// clusterSockets are opened before anything else, like all sockets.
type clusterSockets struct {
	tcp net.Listener
	udp udp.Conn
}

func listenCluster(ctx context.Context, p *platform, at netip.AddrPort) (*clusterSockets, error) {
	l, err := p.listenTCP(ctx, at.String())
	if err != nil {
		return nil, err
	}
	c, err := p.listenUDP(netip.AddrPortFrom(at.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port()), udp.Options{})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &clusterSockets{l, c}, nil
}

func (s *clusterSockets) close() {
	_ = s.tcp.Close()
	_ = s.udp.Close()
}

// newCluster makes the member's end of everything; nothing runs yet. ctx bounds the life of Raft's connections,
// which a member that is told to stop still needs for a moment.
func newCluster(ctx context.Context, m *member, s *clusterSockets) (*cluster, error) {
	c := &cluster{m: m, address: m.clusterAddress(s.tcp.Addr()), expelled: make(chan error, 1)}
	c.rotation.authority.Store(m.dir.Authority)
	var err error
	if c.keychain, err = pki.NewKeychain(m.dir.Keys); err != nil {
		return nil, err
	}
	if err := c.renewNow(time.Now()); err != nil {
		m.log.Error("certificate not renewed", "error", err, "expires", c.keychain.Load().Credential.Self().NotAfter)
	}
	verifier, err := pki.NewVerifier(pki.VerifierOptions{Keychain: c.keychain, Now: time.Now, Admit: c.admits})
	if err != nil {
		return nil, err
	}
	if c.mux, err = mux.New(mux.Options{
		Keychain: c.keychain, Verifier: verifier, Listener: s.tcp, Dial: m.platform.dialTCP, Logger: m.log, Superseded: c.superseded,
	}); err != nil {
		return nil, err
	}
	if c.raft, err = stream.New(ctx, stream.Options{Mux: c.mux, Advertise: c.address, Lookup: c.lookup}); err != nil {
		return nil, err
	}
	c.caller = rpc.NewCaller(rpc.CallerOptions{Mux: c.mux})
	c.server = rpc.NewServer(rpc.ServerOptions{Logger: m.log})
	if c.link, err = link.New(link.Options{
		Self: uint16(m.id), Conns: []udp.Conn{s.udp}, Logger: m.log,
		Exchange: func(ctx context.Context, member uint16, offer []byte) ([]byte, error) {
			return c.call(ctx, table.MemberID(member), callLink, offer)
		},
		Handler: c.delivered, Notified: c.notified,
	}); err != nil {
		return nil, err
	}
	c.server.Handle(callApply, c.handleApply)
	c.server.Handle(callLink, func(_ context.Context, from pki.Peer, offer []byte) ([]byte, error) {
		return c.link.HandleOffer(uint16(from.ID), offer)
	})
	c.server.Handle(callRenew, c.handleRenew)
	c.server.Handle(callStats, func(context.Context, pki.Peer, []byte) ([]byte, error) {
		return json.Marshal(c.m.replica.ServerStats())
	})
	c.server.Handle(callHealth, c.handleHealth)
	c.server.Handle(callHeard, c.handleHeard)
	c.server.Handle(callRescues, c.handleRescues)
	c.server.Handle(callChange, c.handleChange)
	c.server.Handle(callReadmit, c.handleReadmit)
	c.server.Handle(callDrain, c.handleDrain)
	c.server.Handle(callProbe, c.handleProbe)
	c.server.Handle(callCheck, c.handleCheck)
	c.server.Handle(callAdmit, c.handleAdmit)
	c.server.Handle(callCA, c.handleCA)
	c.server.Handle(callHash, c.handleHash)
	c.server.HandleStream(callState, c.handleState)
	c.server.Handle(callSteering, c.handleSteering)
	c.server.Handle(callGeo, c.handleGeo)
	c.server.Handle(callRestored, c.handleRestored)
	if c.joins, err = join.NewServer(join.ServerOptions{
		Admitter: admitter{c}, Features: c.features, Now: time.Now, Logger: m.log,
	}); err != nil {
		return nil, err
	}
	if c.renewer, err = pki.NewRenewer(pki.RenewerOptions{
		Keychain: c.keychain, Ask: c.askRenewal, Save: c.saveKeys, Logger: m.log,
	}); err != nil {
		return nil, err
	}
	return c, nil
}

// lead makes what only the leader does. It is called once the replica is open.
func (c *cluster) lead() {
	c.servers = replica.NewMembership(replica.MembershipOptions{
		Replica: c.m.replica, View: c.m.fsm.View(), Logger: c.m.log,
		Stats: func(ctx context.Context, id, addr string) (replica.ServerStats, error) {
			var s replica.ServerStats
			member, err := pki.ParseMemberID(id)
			if err != nil {
				return s, err
			}
			b, err := c.caller.Call(ctx, rpc.Target{ID: member, Address: addr}, callStats, nil)
			if err != nil {
				return s, err
			}
			return s, json.Unmarshal(b, &s)
		},
	})
	c.health.m, c.neighbours.m = c.m, c.m
	c.comparer = c.newComparer()
	c.supervisor = propose.NewSupervisor(propose.SupervisorOptions{
		View: c.m.fsm.View(), Applier: c.m.replica, Logger: c.m.log, Self: c.health.latest,
	})
}

// run serves the others until ctx ends.
func (c *cluster) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	calls, err := c.mux.Listen(mux.RPC)
	if err != nil {
		return err
	}
	joins, err := c.mux.Listen(mux.Join)
	if err != nil {
		return err
	}
	operators, err := c.mux.Listen(mux.Admin)
	if err != nil {
		return err
	}
	g.Go(func() error { return c.mux.Run(ctx) })
	g.Go(func() error { return admin.NewServer(source{c.m}, c.m.log).RunRemote(ctx, operators, c.asker) })
	g.Go(func() error { return c.server.Run(ctx, calls) })
	g.Go(func() error { return c.joins.Run(ctx, joins) })
	g.Go(func() error { return c.caller.Run(ctx) })
	g.Go(func() error { return c.renewer.Run(ctx) })
	g.Go(func() error { return c.link.Run(ctx) })
	g.Go(func() error { return c.follow(ctx) })
	g.Go(func() error { return c.waitExpelled(ctx) })
	g.Go(func() error { return c.herald(ctx) })
	g.Go(func() error { return c.servers.Run(ctx) })
	g.Go(func() error { return c.supervisor.Run(ctx) })
	g.Go(func() error { return c.health.run(ctx) })
	g.Go(func() error { return (&witness{m: c.m}).run(ctx) })
	g.Go(func() error { return c.neighbours.run(ctx) })
	g.Go(func() error { return c.neighbours.exchangePlanets(ctx) })
	g.Go(func() error {
		c.rescuer.Run(ctx)
		return nil
	})
	g.Go(func() error { return c.publish(ctx) })
	g.Go(func() error { return c.raise(ctx) })
	g.Go(func() error { return c.comparer.run(ctx) })
	g.Go(func() error { return c.health.look(ctx) })
	return g.Wait()
}

// features are the level that the cluster uses and the highest that this binary knows.
func (c *cluster) features() (used, known uint16) {
	return c.m.fsm.View().State().Feature(), build.FeatureLevel
}

// admits says whether somebody with a good certificate is a member: one that was removed is none from the moment the
// log says so.
func (c *cluster) admits(p pki.Peer) error {
	if p.Operator != "" {
		return c.lets(p)
	}
	s := c.m.fsm.View().State()
	if s.IsRemoved(table.MemberID(p.ID)) || s.IsRevoked(p.KeyHash) {
		return fmt.Errorf("member %v was removed from the cluster", p.ID)
	}
	return nil
}

func (c *cluster) lookup(id pki.MemberID) (string, bool) {
	m, ok := c.m.fsm.View().State().Member(table.MemberID(id))
	if !ok || m.Address == "" {
		return "", false
	}
	return m.Address, true
}

// call calls a member by its ID.
func (c *cluster) call(ctx context.Context, id table.MemberID, name string, body []byte) ([]byte, error) {
	at, ok := c.lookup(pki.MemberID(id))
	if !ok {
		return nil, fmt.Errorf("call member %d: its address is not known", id)
	}
	answer, err := c.caller.Call(ctx, rpc.Target{ID: pki.MemberID(id), Address: at}, name, body)
	c.noteExpelled(err)
	return answer, err
}

// callLeader calls the leader, which is another member.
func (c *cluster) callLeader(ctx context.Context, name string, body []byte) ([]byte, error) {
	id, err := c.leader()
	if err != nil {
		return nil, err
	}
	return c.call(ctx, id, name, body)
}

// delivered hands packets that came over the link to the packet path.
func (c *cluster) delivered(batch []link.Inbound) {
	c.receiver.Begin()
	defer c.receiver.End()
	for i := range batch {
		c.receiver.Deliver(vl1.Address(batch[i].Peer), batch[i].Payload)
	}
}

func (c *cluster) notified(from uint16, kind byte, body []byte) {
	c.receiver.Begin()
	defer c.receiver.End()
	c.receiver.Message(from, kind, body)
}

// clusterAddress is how other members dial this one: as configured, else as it listens, else by the best address of
// the machine's interfaces.
func (m *member) clusterAddress(listen net.Addr) string {
	at := listen.(*net.TCPAddr).AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	switch {
	case m.cfg.Cluster.Address != "":
		return m.cfg.Cluster.Address
	case m.dir.Meta.Address != "":
		return m.dir.Meta.Address // as it joined
	case !at.Addr().IsUnspecified():
		return at.String()
	}
	addrs, err := datadir.InterfaceAddrs()
	if err != nil {
		return at.String()
	}
	if guess, _ := datadir.GuessEndpoints([]netip.AddrPort{at}, addrs); len(guess) > 0 {
		return guess[0].String()
	}
	return at.String()
}
