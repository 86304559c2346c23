package main

import (
	"fmt"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/transport/link"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/rpc"
)

// clusterMetrics are the metrics of what a member has with the others. Those of the cluster port have no samples where
// it is off.
func clusterMetrics() []memberMetric {
	var all []memberMetric
	add := func(name, kind, help string, labels []string, read func(*member) []sample) {
		all = append(all, memberMetric{metricDef{name, kind, help, labels}, read})
	}
	log := func(name, kind, help string, f func(*replica.Stats) float64) {
		add(name, kind, help, nil, func(m *member) []sample { s := m.replica.Stats(); return one(f(&s)) })
	}
	port := func(name, kind, help string, labels []string, read func(*cluster) []sample) {
		add(name, kind, help, labels, func(m *member) []sample {
			if m.cluster == nil {
				return nil
			}
			return read(m.cluster)
		})
	}

	add("members", gauge, "Members by status as the log has it.", []string{"status"}, func(m *member) []sample {
		return membersByStatus(m.fsm.View().State())
	})
	add("fenced", gauge, "1 if this member is silent: the cluster believes this life of it over, or it began without a log and has not caught up.", nil, func(m *member) []sample {
		return one(yes(m.fenced.Load()))
	})

	port("rescue_waiting_peers", gauge, "Peers of dead members that this one is still to bring here: by another try, or by themselves.", nil, func(c *cluster) []sample {
		return one(float64(c.waiting()))
	})
	port("state_hash_mismatch", gauge, "1 if the state here differs from the leader's at the same index; rootctl status says where.", nil, func(c *cluster) []sample {
		return one(yes(c.comparer.latest.Load().differs()))
	})
	port("state_hash_index", gauge, "Index of the log at which the state was last compared with the leader's; 0 if it never was.", nil, func(c *cluster) []sample {
		if d := c.comparer.latest.Load(); d != nil {
			return one(float64(d.index))
		}
		return one(0)
	})

	log("log_worst_write_seconds", gauge, "Longest write to the log since the start.", func(s *replica.Stats) float64 { return s.WorstWrite.Seconds() })
	log("log_pending_write_seconds", gauge, "How long a write to the log has been under way now; a disk that hangs lets it grow.", func(s *replica.Stats) float64 { return s.PendingWrite.Seconds() })
	log("log_restarts_total", counter, "Times that Raft was started anew for another timing.", func(s *replica.Stats) float64 { return float64(s.Restarts) })

	port("link_datagrams_total", counter, "Datagrams of the members' link: sent, unsent (the kernel did not take them), received.", []string{"what"}, func(c *cluster) []sample {
		s := c.link.Stats()
		return list(value("sent", s.Sent), value("unsent", s.Unsent), value("received", s.Received))
	})
	port("link_packets_total", counter, "Packets for peers of other members: out, in, and those of the first that went in pieces.", []string{"what"}, func(c *cluster) []sample {
		s := c.link.Stats()
		return list(value("out", s.Relayed), value("in", s.Inbound), value("split", s.Split))
	})
	port("link_unsent_packets_total", counter, "Packets for peers of other members that were not sent, by reason.", []string{"reason"}, func(c *cluster) []sample {
		s := c.link.Stats()
		return list(value("unknown_member", s.UnknownMember), value("no_key", s.NoKey), value("no_route", s.NoRoute), value("too_long", s.TooLong))
	})
	port("link_refused_datagrams_total", counter, "Datagrams to the members' link that were dropped, by reason.", []string{"reason"}, func(c *cluster) []sample {
		return linkRefused(c.link.Stats())
	})
	port("link_exchanges_total", counter, "Key exchanges of the members' link: agreed, failed, and offers refused.", []string{"what"}, func(c *cluster) []sample {
		s := c.link.Stats()
		return list(value("agreed", s.Agreed), value("failed", s.FailedExchanges), value("refused", s.RefusedOffers))
	})
	perLink := func(name, help string, f func(*link.MemberStats) (float64, bool)) {
		port(name, gauge, help, []string{"member"}, func(c *cluster) []sample {
			var all []sample
			for _, o := range c.link.Stats().Members {
				if v, ok := f(&o); ok {
					all = append(all, sample{v, []string{c.m.memberName(fmt.Sprint(o.ID))}})
				}
			}
			return all
		})
	}
	perLink("link_alive", "1 if the member answers probes of the link.", func(o *link.MemberStats) (float64, bool) { return yes(o.Alive), true })
	perLink("link_rtt_seconds", "Smoothed round trip to the member on the route in use.", func(o *link.MemberStats) (float64, bool) {
		p, ok := route(o)
		return p.Smoothed.Seconds(), ok
	})
	perLink("link_loss_ratio", "Share of the last probes to the member that stayed unanswered, on the route in use.", func(o *link.MemberStats) (float64, bool) {
		p, ok := route(o)
		return p.Loss, ok
	})

	port("mux_connections", gauge, "Connections of the cluster port now, both directions.", []string{"protocol"}, func(c *cluster) []sample {
		s, all := c.mux.Metrics(), []sample(nil)
		for _, p := range mux.Protos() {
			all = append(all, value(string(p), s.Open[p]))
		}
		return all
	})
	port("mux_handshakes_total", counter, "Connections to the cluster port: accepted, served, or ended by a handshake that took too long, was not TLS or failed.", []string{"what"}, func(c *cluster) []sample {
		s, served := c.mux.Metrics(), uint64(0)
		for _, n := range s.Served {
			served += n
		}
		return list(value("accepted", s.Accepted), value("served", served), value("timeout", s.Timeouts), value("not_tls", s.NotTLS), value("failed", s.Failed))
	})
	port("mux_refused_total", counter, "Connections to the cluster port refused, by reason.", []string{"reason"}, func(c *cluster) []sample {
		s := c.mux.Metrics()
		return list(value("busy", s.RefusedBusy), value("untrusted", s.RefusedUntrusted), value("not_admitted", s.RefusedNotAdmitted),
			value("time", s.RefusedTime), value("not_served", s.RefusedNotServed), value("superseded", s.RefusedSuperseded))
	})
	port("mux_cut_total", counter, "Connections closed because their peer is not welcome any more.", nil, func(c *cluster) []sample { return one(float64(c.mux.Metrics().Cut)) })
	port("mux_dial_failed_total", counter, "Connections to other members that failed.", nil, func(c *cluster) []sample { return one(float64(c.mux.Metrics().DialFailed)) })

	calls := func(name, kind, help string, f func(*rpc.ServerMetrics) float64) {
		port(name, kind, help, nil, func(c *cluster) []sample { s := c.server.Metrics(); return one(f(&s)) })
	}
	calls("rpc_calls_total", counter, "Calls by other members.", func(s *rpc.ServerMetrics) float64 { return float64(s.Calls) })
	calls("rpc_failed_calls_total", counter, "Calls by other members that ended in an error.", func(s *rpc.ServerMetrics) float64 { return float64(s.Failed) })
	calls("rpc_busy_calls_total", counter, "Calls by other members refused because there were too many.", func(s *rpc.ServerMetrics) float64 { return float64(s.Busy) })
	calls("rpc_calls_in_flight", gauge, "Calls by other members that are worked on.", func(s *rpc.ServerMetrics) float64 { return float64(s.InFlight) })
	port("certificate_expires_seconds", gauge, "When this member's certificate ends, in seconds since 1970.", nil, func(c *cluster) []sample {
		return one(float64(c.mux.Self().NotAfter.Unix()))
	})
	return all
}

func list(all ...sample) []sample { return all }

func value[N int | uint64](label string, v N) sample { return sample{float64(v), []string{label}} }

// membersByStatus counts all statuses, those that nobody has as well: an alarm needs the zero.
func membersByStatus(s *fsm.State) []sample {
	all := []sample{}
	for _, status := range []fsm.Status{fsm.StatusJoining, fsm.StatusUp, fsm.StatusSuspect, fsm.StatusDown} {
		n := 0
		for i := range s.Members {
			if s.StatusOf(s.Members[i].ID) == status {
				n++
			}
		}
		all = append(all, value(status.String(), n))
	}
	return all
}

func linkRefused(s link.Stats) []sample {
	return list(value("short", s.Short), value("version", s.Version), value("unknown_key", s.UnknownKey), value("expired", s.Expired),
		value("forged", s.Forged), value("replayed", s.Replayed), value("malformed", s.Malformed), value("incomplete", s.Incomplete))
}

// route is the path in use to a member.
func route(o *link.MemberStats) (link.RTT, bool) {
	for _, p := range o.Paths {
		if p.Endpoint == o.Route && p.Smoothed > 0 {
			return p.RTT, true
		}
	}
	return link.RTT{}, false
}
