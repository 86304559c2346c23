package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/snapshot"
)

func newSnapshotDiff(e *env) *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say what changed between two archives",
		Long: "diff verifies two archives and says what is not the same: peers, members, settings, planet, secrets. Peers that were only seen at another time are counted, not listed. " +
			"It needs no rootd and no key.",
		Example: "  rootctl snapshot diff monday.rootd tuesday.rootd\n  rootctl snapshot diff monday.rootd tuesday.rootd --limit 0 -o json",
		Args:    wantArgs("OLD", "NEW"),
		RunE:    func(_ *cobra.Command, args []string) error { return snapshotDiff(e, args[0], args[1], limit) },
	}
	c.Flags().IntVar(&limit, "limit", limit, "list at most so many peers; 0 lists all")
	return c
}

// difference is what diff prints.
type difference struct {
	Same     bool                   `json:"same"`
	Old      *snapshot.Meta         `json:"old"`
	New      *snapshot.Meta         `json:"new"`
	Peers    peerCounts             `json:"peers"`
	Listed   []peerDifference       `json:"listed"` // up to --limit of them
	Settings []snapshot.SettingDiff `json:"settings"`
	Other    []otherDifference      `json:"other"`
}

type peerCounts struct {
	Added     int `json:"added"`
	Removed   int `json:"removed"`
	Changed   int `json:"changed"`
	Moved     int `json:"moved"`      // of those changed: to another member
	SeenOnly  int `json:"seen_only"`  // of those changed: just seen at another time
	Identity  int `json:"identities"` // of those changed: another identity
	Unchanged int `json:"unchanged"`
}

type peerDifference struct {
	Address string `json:"address"`
	What    string `json:"what"` // added, removed, changed, moved, identity
}

type otherDifference struct {
	What string `json:"what"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

func snapshotDiff(e *env, oldName, newName string, limit int) error {
	if oldName == "-" && newName == "-" {
		return usageError("only one of the two can be standard input")
	}
	if limit < 0 {
		return usageError("--limit %d: want 0 or more", limit)
	}
	p := e.newProgress("comparing", fileSize(oldName)+fileSize(newName))
	defer p.done()
	a, closeA, err := e.archive(oldName, p)
	if err != nil {
		return err
	}
	defer closeA()
	b, closeB, err := e.archive(newName, p)
	if err != nil {
		return err
	}
	defer closeB()
	out := difference{Old: a.Meta(), New: b.Meta(), Listed: []peerDifference{}}
	d, err := snapshot.Compare(a, b, func(x *snapshot.PeerDiff) error {
		if what := peerChange(x); what != "" && (limit == 0 || len(out.Listed) < limit) {
			r := x.New
			if r == nil {
				r = x.Old
			}
			out.Listed = append(out.Listed, peerDifference{r.Address.String(), what})
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.done()
	out.Same = d.Same
	out.Peers = peerCounts{d.Added, d.Removed, d.Changed, d.Moved, d.SeenOnly, d.Identities, d.Unchanged}
	out.Settings, out.Other = d.Settings(), others(a.Meta(), b.Meta(), d.Old, d.New)
	if e.output == "json" {
		return e.printJSON(out)
	}
	out.print(e)
	return nil
}

// peerChange names what became of a peer, "" if it is not worth a line.
func peerChange(d *snapshot.PeerDiff) string {
	switch {
	case d.Old == nil:
		return "added"
	case d.New == nil:
		return "removed"
	case d.Identity():
		return "identity"
	case d.Moved():
		return "moved"
	case d.SeenOnly():
		return ""
	}
	return "changed"
}

// others compares what is neither a peer nor a setting.
func others(a, b *snapshot.Meta, old, next *fsm.State) []otherDifference {
	list := []otherDifference{}
	add := func(what, x, y string) {
		if x != y {
			list = append(list, otherDifference{what, orDash(x), orDash(y)})
		}
	}
	add("cluster", a.Cluster.ID, b.Cluster.ID)
	add("cluster name", a.Cluster.Name, b.Cluster.Name)
	add("epoch", a.Cluster.Epoch, b.Cluster.Epoch)
	add("root", rootOf(a), rootOf(b))
	add("planet", planetOf(a), planetOf(b))
	add("secrets", secretsText(a), secretsText(b))
	add("tokens", fmt.Sprint(a.Counts.Tokens), fmt.Sprint(b.Counts.Tokens))
	for _, s := range []*fsm.State{old, next} {
		for i := range s.Members {
			m := &s.Members[i]
			if _, both := old.Member(m.ID); both && s == next {
				continue // seen in the first round
			}
			x, _ := old.Member(m.ID)
			y, _ := next.Member(m.ID)
			add("member "+fmt.Sprint(m.ID), memberOf(x), memberOf(y))
		}
	}
	return list
}

func rootOf(m *snapshot.Meta) string {
	address, _, _ := strings.Cut(m.Cluster.Root, ":")
	return address
}

func planetOf(m *snapshot.Meta) string {
	if m.Planet == nil {
		return ""
	}
	return fmt.Sprintf("%s of %s (%.16s…)", m.Planet.WorldID, time.UnixMilli(int64(m.Planet.Timestamp)).UTC().Format(time.DateTime), m.Planet.Fingerprint)
}

// memberOf is what an operator knows of a member.
func memberOf(m *fsm.Member) string {
	if m == nil || m.ID == 0 {
		return ""
	}
	return fmt.Sprintf("%s %v %s %s %s", m.Name, m.Status, orDash(m.Address), joinAddrs(m.Endpoints), m.Version)
}

func (d *difference) print(e *env) {
	c := &d.Peers
	e.fields(
		"Old", fmt.Sprintf("index %d, at %s, %s", d.Old.Index, d.Old.Time.Format(time.DateTime), plural(d.Old.Counts.Peers, "peer", "peers")),
		"New", fmt.Sprintf("index %d, at %s, %s", d.New.Index, d.New.Time.Format(time.DateTime), plural(d.New.Counts.Peers, "peer", "peers")),
	)
	if d.Same {
		e.printf("\nThe states are the same, to the byte.\n")
	}
	e.printf("\n")
	t := newTable(e.stdout, "PEERS", "")
	for _, row := range []struct {
		what string
		n    int
	}{{"added", c.Added}, {"removed", c.Removed}, {"changed", c.Changed}, {"  moved to another member", c.Moved}, {"  only seen at another time", c.SeenOnly}, {"  another identity", c.Identity}, {"unchanged", c.Unchanged}} {
		t.row(row.what, count(row.n))
	}
	t.flush()
	if len(d.Settings)+len(d.Other) > 0 {
		e.printf("\n")
		t = newTable(e.stdout, "WHAT", "OLD", "NEW")
		for _, s := range d.Settings {
			t.row(s.Key, orDash(s.Old), orDash(s.New))
		}
		for _, o := range d.Other {
			t.row(o.What, o.Old, o.New)
		}
		t.flush()
	}
	if len(d.Listed) > 0 {
		e.printf("\n")
		t = newTable(e.stdout, "PEER", "")
		for _, p := range d.Listed {
			t.row(p.Address, p.What)
		}
		t.flush()
		if all := c.Added + c.Removed + c.Changed - c.SeenOnly; all > len(d.Listed) {
			e.printf("and %s more: --limit 0 lists all\n", count(all-len(d.Listed)))
		}
	}
}
