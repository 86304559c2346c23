package main

import (
	"fmt"
	"strings"
	"time"
)

// tables are those of the page.
func tables() string {
	var six []Cluster
	for _, m := range machines() {
		six = append(six, Cluster{Members: 6, Machine: m})
	}
	return "What six members carry:\n\n" + capacity(six) +
		"\nWhat so many peers ask of each of six members with 16 cores:\n\n" + populations(six[1], []float64{1e6, 15e6, 50e6, 100e6, 500e6})
}

// capacity is how many peers clusters carry, and what stops them.
func capacity(clusters []Cluster) string {
	var b strings.Builder
	b.WriteString("| a member | peers, by release | carried | limit | next |\n|---|---|---|---|---|\n")
	for _, c := range clusters {
		for _, d := range families() {
			ls := c.limits(d, measured())
			first := least(ls)
			rest := ls[:0:0]
			for _, l := range ls {
				if l != first {
					rest = append(rest, l)
				}
			}
			next := least(rest)
			fmt.Fprintf(&b, "| %g cores, %g GB, %g Gbit/s | %s | **%s** | %s | %s: %s |\n", c.Machine.Cores, c.Machine.Memory/1e9, c.Machine.Network/1e9,
				d.Name, count(first.Peers), first.Resource, next.Resource, count(next.Peers))
		}
	}
	return b.String()
}

// populations is what so many peers ask of a member.
func populations(c Cluster, peers []float64) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, n := range peers {
		fmt.Fprintf(&b, " %s |", count(n))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(peers)) + "\n")
	row := func(name string, cell func(s State) string, d Demand) {
		b.WriteString("| " + name + " |")
		for _, n := range peers {
			b.WriteString(" " + cell(c.state(n, d, measured())) + " |")
		}
		b.WriteString("\n")
	}
	fs := families()
	for _, d := range fs {
		row("packets a second (cores busy with them), "+d.Name, func(s State) string { return fmt.Sprintf("%s (%.1f)", count(s.Packets), s.Cores) }, d)
	}
	d := fs[0]
	row("changes a second (cores busy with them)", func(s State) string { return fmt.Sprintf("%s (%.2f)", count(s.Changes), s.LogCores) }, d)
	row("log, KB a second", func(s State) string { return fmt.Sprintf("%.1f", s.LogBytes/1e3) }, d)
	row("memory", func(s State) string { return size(s.Memory) }, d)
	row("snapshot", func(s State) string { return size(s.Snapshot) }, d)
	row("- saved in, restored in", func(s State) string { return brief(s.Save) + ", " + brief(s.Restore) }, d)
	row("- sent to a new member in", func(s State) string { return brief(s.Ship) }, d)
	row("Raft groups", func(s State) string { return fmt.Sprint(s.Groups) }, d)
	return b.String()
}

// count is a number in two digits or three.
func count(n float64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.3g G", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.3g M", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.3g k", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

func size(bytes float64) string {
	if bytes >= 1e9 {
		return fmt.Sprintf("%.1f GB", bytes/1e9)
	}
	return fmt.Sprintf("%.0f MB", bytes/1e6)
}

func brief(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
