package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the member is: log, peers, planet, traffic",
		Long: "status asks the running rootd how it is and prints one screen.\n\n" +
			"Exit code 1 if it cannot be asked or does not serve clients, so that scripts can rely on it.",
		Example: "  rootctl status\n  rootctl status -o json | jq .peers.sessions\n  rootctl status --data-dir /srv/root2",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return status(cmd.Context(), e) },
	}
}

func status(ctx context.Context, e *env) error {
	c := e.client()
	defer c.Close()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if e.output == "json" {
		err = e.printJSON(s)
	} else {
		e.printStatus(s)
	}
	if err == nil && !s.Ready {
		err = &userError{what: "not ready", err: fmt.Errorf("member %s does not serve clients", s.Name), hint: strings.Join(s.Problems, "; ")}
	}
	return err
}

func (e *env) printStatus(s *admin.Status) {
	state := "ready"
	if !s.Ready {
		state = "NOT READY"
	}
	version := s.Version
	if s.Commit != "" {
		version += " (" + s.Commit + ")"
	}
	leader := "no leader"
	if s.Raft.Leader != "" {
		leader = "leader " + s.Raft.Leader
	}
	planet := "none yet"
	if p := s.Planet; p != nil {
		planet = fmt.Sprintf("world %s of %s, %s with %s, fingerprint %s",
			p.WorldID, p.Time.UTC().Format("2006-01-02 15:04:05Z"), plural(p.Roots, "root", "roots"), plural(p.Endpoints, "endpoint", "endpoints"), p.Fingerprint)
	}
	epoch := ""
	if s.Cluster.Epoch != "0" && s.Cluster.Epoch != "" {
		epoch = ", epoch " + s.Cluster.Epoch
	}
	listen := make([]string, len(s.Listen))
	for i, l := range s.Listen {
		listen[i] = fmt.Sprintf("%s (%s)", l.Address, plural(l.Workers, "worker", "workers"))
	}
	memory := ""
	if s.Memory > 0 {
		memory = bytesText(s.Memory)
	}
	e.fields(
		"root", s.Address.String(),
		"member", fmt.Sprintf("%s, %s, up %s, pid %d", s.Name, strings.TrimSpace(state+" "+s.Drain), span(seconds(s.Uptime)), s.PID),
		"version", version,
		"cluster", strings.TrimSpace(s.Cluster.Name+" "+s.Cluster.ID)+", "+plural(s.Cluster.Members, "member", "members")+epoch,
		"contents", s.Cluster.Contents,
		"log", fmt.Sprintf("%s, %s, term %d, applied %s of %s, snapshot at %s", s.Raft.State, leader, s.Raft.Term,
			count(s.Raft.AppliedIndex), count(s.Raft.CommitIndex), count(s.Raft.SnapshotIndex)),
		"peers", fmt.Sprintf("%s known; here: %s, %s confirmed, %s with this planet", count(s.Peers.Known),
			plural(s.Peers.Sessions, "session", "sessions"), count(s.Peers.Confirmed), count(s.Peers.OnPlanet)),
		"planet", planet,
		"endpoints", joinAddrs(s.Endpoints),
		"listening", strings.Join(listen, ", "),
		"traffic", fmt.Sprintf("in %s (%s), out %s (%s), dropped %s", rate(s.Rates.PacketsReceived), bitRate(s.Rates.BytesReceived),
			rate(s.Rates.PacketsSent), bitRate(s.Rates.BytesSent), rate(s.Rates.Dropped)),
		"work", fmt.Sprintf("HELLO %s, WHOIS %s, relayed %s, introductions %s, log entries %s", rate(s.Rates.Hellos), rate(s.Rates.Whois),
			rate(s.Rates.Relayed), rate(s.Rates.Introductions), rate(s.Rates.LogEntries)),
		"memory", memory,
		"metrics", s.Metrics,
	)
	for _, p := range s.Problems {
		e.printf("! %s\n", p)
	}
}
