package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/link"
	"github.com/rootd/rootd/transport/pki"
)

func (m *member) setFence(on bool) {
	m.fenced.Store(on)
	m.root.Fence(on)
}

// fence silences the packet path while the log says that this life of the member is over, and begins a new one.
func (m *member) fence(ctx context.Context, s *fsm.State) {
	epoch := m.sightings.epoch.Load()
	self, ok := s.Member(m.id)
	// Our own announcement may have been answered by the leader before this member has applied it: an older epoch in the
	// log is no news.
	if epoch == 0 || m.leaving.Load() || ok && (uint32(self.Epoch) < epoch || uint32(self.Epoch) == epoch && self.Status == fsm.StatusUp) {
		return
	}
	m.setFence(true)
	defer m.setFence(false)
	if !ok || ctx.Err() != nil {
		<-ctx.Done() // removed: Raft notices, too, and ends the process
		return
	}
	m.log.Warn("the cluster believed this member dead; it begins anew", "epoch", self.Epoch)
	if err := m.up(ctx); err != nil {
		m.log.Error("member is not up", "error", err)
	}
}

// knows reports whether a member that began without a log has all that it missed: the beginning of its life came after that.
func (m *member) knows(s *fsm.State) bool {
	self, ok := s.Member(m.id)
	epoch := m.sightings.epoch.Load()
	return ok && epoch != 0 && uint32(self.Epoch) >= epoch
}

// follow keeps the link and the connections what the log says of the members, and this member's own fence.
func (c *cluster) follow(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var known []link.Member
	removed, operators := -1, []fsm.Operator(nil)
	var contacts []datadir.Contact // that the data directory has noted since this start
	for {
		s := c.m.fsm.View().State()
		if now := c.linkMembers(ctx, s); !slices.EqualFunc(now, known, sameLink) {
			if err := c.link.SetMembers(now); err != nil {
				c.m.log.Error("link members not set", "error", err)
			}
			known = now
		}
		if removed != len(s.Removed) || !slices.Equal(operators, s.Operators) {
			removed, operators = len(s.Removed), s.Operators
			c.mux.Recheck()
		}
		if now := c.contacts(s); len(now) > 0 && !slices.Equal(now, contacts) {
			if err := c.m.dir.SetContacts(now); err != nil {
				c.m.log.Error("data directory not updated", "error", err)
			}
			contacts = now
		}
		if c.m.ignorant.Load() && c.m.knows(s) {
			c.m.ignorant.Store(false)
			c.m.setFence(false)
		}
		c.m.fence(ctx, s)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// contacts lists the other members, for a start without the log.
func (c *cluster) contacts(s *fsm.State) (all []datadir.Contact) {
	for i := range s.Members {
		if o := &s.Members[i]; o.ID != c.m.id && o.Address != "" {
			all = append(all, datadir.Contact{Member: pki.MemberID(o.ID), Name: o.Name, Address: o.Address})
		}
	}
	return all
}

func sameLink(a, b link.Member) bool { return a.ID == b.ID && slices.Equal(a.Endpoints, b.Endpoints) }

// linkMembers lists the other members and where their links listen: on the port of their cluster address.
func (c *cluster) linkMembers(ctx context.Context, s *fsm.State) []link.Member {
	var all []link.Member
	for i := range s.Members {
		m := &s.Members[i]
		if m.ID == c.m.id || m.Address == "" {
			continue
		}
		l := link.Member{ID: uint16(m.ID)}
		if at, err := netip.ParseAddrPort(m.Address); err == nil {
			l.Endpoints = []netip.AddrPort{at}
		} else if host, port, err := net.SplitHostPort(m.Address); err == nil {
			n, _ := strconv.ParseUint(port, 10, 16) // it was checked when the member joined
			ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
			for _, ip := range ips {
				l.Endpoints = append(l.Endpoints, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
			}
		}
		all = append(all, l)
	}
	return all
}
