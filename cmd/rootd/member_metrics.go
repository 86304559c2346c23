package main

import (
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/snapshot/agent"
)

// memberMetrics are the metrics beside the packet path's counters.
func memberMetrics() []memberMetric {
	var all []memberMetric
	add := func(name, kind, help string, labels []string, read func(*member) []sample) {
		all = append(all, memberMetric{metricDef{name, kind, help, labels}, read})
	}
	path := func(name, kind, help string, f func(*packetpath.Stats) float64) {
		add(name, kind, help, nil, func(m *member) []sample { s := m.root.Stats(); return one(f(&s)) })
	}
	state := func(name, kind, help string, f func(*fsm.State) float64) {
		add(name, kind, help, nil, func(m *member) []sample { return one(f(m.fsm.View().State())) })
	}
	log := func(name, kind, help string, f func(*replica.Stats) float64) {
		add(name, kind, help, nil, func(m *member) []sample { s := m.replica.Stats(); return one(f(&s)) })
	}
	prop := func(name, kind, help string, f func(*propose.Metrics) float64) {
		add(name, kind, help, nil, func(m *member) []sample { s := m.proposer.Metrics(); return one(f(&s)) })
	}

	add("ready", gauge, "1 if clients are served as they should be, as /readyz says.", nil, func(m *member) []sample {
		ready, _ := m.ready()
		return one(yes(ready))
	})
	add("start_time_seconds", gauge, "When the process started, in seconds since 1970.", nil, func(m *member) []sample {
		return one(float64(m.started.UnixMilli()) / 1000)
	})

	path("sessions", gauge, "Peers with which this member has a key.", func(s *packetpath.Stats) float64 { return float64(s.Sessions) })
	path("newcomer_queue_packets", gauge, "HELLO of unknown identities that wait for validation.", func(s *packetpath.Stats) float64 { return float64(s.UnknownWaiting) })
	path("rekey_queue_packets", gauge, "Packets of known peers that wait for a key agreement.", func(s *packetpath.Stats) float64 { return float64(s.KnownWaiting) })
	path("multicast_groups", gauge, "Multicast groups with at least one subscriber.", func(s *packetpath.Stats) float64 { return float64(s.Groups.Groups) })
	path("multicast_subscriptions", gauge, "Multicast subscriptions held.", func(s *packetpath.Stats) float64 { return float64(s.Groups.Pairs) })
	for _, c := range []struct {
		name, kind, help string
		f                func(*packetpath.SocketStats) float64
	}{
		{"socket_overflow_packets_total", counter, "Datagrams that found the receive buffer full.", func(s *packetpath.SocketStats) float64 { return float64(s.Overflowed) }},
		{"socket_truncated_packets_total", counter, "Datagrams larger than any packet, dropped.", func(s *packetpath.SocketStats) float64 { return float64(s.Truncated) }},
		{"socket_send_full_packets_total", counter, "Datagrams dropped because the send buffer was full.", func(s *packetpath.SocketStats) float64 { return float64(s.SendFull) }},
		{"socket_rejected_packets_total", counter, "Datagrams that the kernel refused to send.", func(s *packetpath.SocketStats) float64 { return float64(s.Rejected) }},
		{"socket_segmented_packets_total", counter, "Datagrams that were handed to the kernel many at a time, as one run to one peer.", func(s *packetpath.SocketStats) float64 { return float64(s.Segmented) }},
		{"socket_coalesced_packets_total", counter, "Datagrams that the kernel handed over many at a time, as one run of one peer.", func(s *packetpath.SocketStats) float64 { return float64(s.Coalesced) }},
		{"socket_gro", gauge, "Sockets of the address that get datagrams joined; 0 if the kernel cannot do it, or udp.offload is off.", func(s *packetpath.SocketStats) float64 { return yes(s.CanCoalesce) }},
		{"socket_gso", gauge, "Sockets of the address that send datagrams joined; 0 if the kernel or the device cannot do it, or udp.offload is off.", func(s *packetpath.SocketStats) float64 { return yes(s.CanSegment) }},
		{"socket_receive_buffer_bytes", gauge, "Receive buffer that the kernel granted, all sockets of the address together.", func(s *packetpath.SocketStats) float64 { return float64(s.RecvBuffer) }},
	} {
		add(c.name, c.kind, c.help, []string{"listen"}, func(m *member) []sample { return perListen(m, c.f) })
	}

	state("peers", gauge, "Peers that the log knows.", func(s *fsm.State) float64 { return float64(s.Peers) })
	state("planet_timestamp_seconds", gauge, "Version of the published planet: its time in seconds since 1970.", func(s *fsm.State) float64 {
		if s.Planet == nil {
			return 0
		}
		return float64(s.Planet.World.Timestamp) / 1000
	})
	state("log_halted", gauge, "1 if this member stopped applying the log; rootctl status says why.", func(s *fsm.State) float64 { return yes(s.Halted != "") })
	state("peer_changes_total", counter, "Changes of peers applied since the cluster began.", func(s *fsm.State) float64 { return float64(s.Counters.Changes) })
	state("peers_created_total", counter, "Peers that became known since the cluster began.", func(s *fsm.State) float64 { return float64(s.Counters.Created) })
	state("peers_expired_total", counter, "Peers forgotten because nobody heard them, since the cluster began.", func(s *fsm.State) float64 { return float64(s.Counters.Expired) })
	state("peers_refused_total", counter, "New peers refused by the max_peers setting, since the cluster began.", func(s *fsm.State) float64 { return float64(s.Counters.Full) })
	state("peer_collisions_total", counter, "Changes ignored because another identity holds the address, since the cluster began.", func(s *fsm.State) float64 { return float64(s.Counters.Collisions) })
	state("backup_timestamp_seconds", gauge, "When the newest verified backup was taken, in seconds since 1970; 0 if none ever was.", func(s *fsm.State) float64 { return float64(s.Backups.Last.Taken) / 1000 })
	add("backup_overdue", gauge, "1 if backups are made and the newest is too old: see backup.max_age.", nil, func(m *member) []sample { return one(yes(m.overdue(time.Now()) != "")) })
	backup := func(name, kind, help string, f func(*agent.Status) float64) {
		add(name, kind, help, nil, func(m *member) []sample {
			if m.agent == nil {
				return one(0)
			}
			s := m.agent.Status()
			return one(f(&s))
		})
	}
	backup("backups_total", counter, "Backups that this member made and verified.", func(s *agent.Status) float64 { return float64(s.Backups) })
	backup("backup_failures_total", counter, "Backups of this member that failed.", func(s *agent.Status) float64 { return float64(s.Failures) })
	backup("backups_removed_total", counter, "Old backups that this member removed.", func(s *agent.Status) float64 { return float64(s.Removed) })
	backup("backup_bytes", gauge, "Size of the last backup that this member made.", func(s *agent.Status) float64 { return float64(s.Bytes) })
	backup("backup_duration_seconds", gauge, "How long the last backup that this member made took, verification included.", func(s *agent.Status) float64 { return s.Took.Seconds() })
	add("table_bytes", gauge, "Memory of the peer table.", nil, func(m *member) []sample {
		return one(float64(m.fsm.View().State().Table().Stats().Bytes))
	})

	log("log_leader", gauge, "1 if this member leads the cluster.", func(s *replica.Stats) float64 { return yes(s.State == "leader") })
	log("log_has_leader", gauge, "1 if a leader is known.", func(s *replica.Stats) float64 { return yes(s.LeaderID != "") })
	log("log_term", gauge, "Raft term.", func(s *replica.Stats) float64 { return float64(s.Term) })
	log("log_commit_index", gauge, "Index of the last committed entry.", func(s *replica.Stats) float64 { return float64(s.CommitIndex) })
	log("log_applied_index", gauge, "Index of the last applied entry.", func(s *replica.Stats) float64 { return float64(s.AppliedIndex) })
	log("log_last_contact_seconds", gauge, "Time since the leader was last heard; 0 at the leader.", func(s *replica.Stats) float64 { return s.LastContact.Seconds() })
	log("log_bytes", gauge, "Size of the log on disk.", func(s *replica.Stats) float64 { return float64(s.LogBytes) })
	log("log_freelist_bytes", gauge, "Memory of the log's free list.", func(s *replica.Stats) float64 { return float64(s.FreelistBytes) })
	log("log_writes_total", counter, "Write transactions of the log.", func(s *replica.Stats) float64 { return float64(s.LogWrites) })

	prop("proposer_entries_total", counter, "Log entries proposed.", func(s *propose.Metrics) float64 { return float64(s.Entries) })
	prop("proposer_failed_entries_total", counter, "Log entries that failed and were proposed again.", func(s *propose.Metrics) float64 { return float64(s.Failed) })
	prop("proposer_changes_total", counter, "Changes of peers proposed.", func(s *propose.Metrics) float64 { return float64(s.Changes) })
	prop("proposer_bytes_total", counter, "Bytes of log entries proposed.", func(s *propose.Metrics) float64 { return float64(s.Bytes) })
	prop("proposer_pending_peers", gauge, "Peers whose changes wait to be proposed.", func(s *propose.Metrics) float64 { return float64(s.Pending) })
	prop("proposer_dropped_total", counter, "Changes dropped because too many waited; the peers are seen again.", func(s *propose.Metrics) float64 { return float64(s.Dropped) })
	prop("proposer_deferred_total", counter, "Changes of an endpoint alone that came too soon after the last one.", func(s *propose.Metrics) float64 { return float64(s.Deferred) })
	return append(all, clusterMetrics()...)
}

// perListen adds up what the sockets of each listen address counted.
func perListen(m *member, f func(*packetpath.SocketStats) float64) []sample {
	s := m.root.Stats()
	var all []sample
	for i := range s.Sockets {
		name := s.Sockets[i].Addr.String()
		if n := len(all); n == 0 || all[n-1].labels[0] != name {
			all = append(all, sample{labels: []string{name}})
		}
		all[len(all)-1].value += f(&s.Sockets[i])
	}
	return all
}
