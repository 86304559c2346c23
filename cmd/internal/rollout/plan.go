package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// View is what was seen of a cluster.
type View struct {
	Cluster string
	Members []Member
	Leader  string // name; "": none
	Busy    string // an operation under way: what and by whom; "": none
	Level   int    // feature level in use
}

// Member is what was seen of a member.
type Member struct {
	Name     string
	Status   string // as the admin API has it: "up" is well
	Role     string // "leader", "voter", "nonvoter"
	Version  string
	Epoch    uint16
	LogGone  bool     // it waits to be readmitted
	Lag      uint64   // log entries behind
	Deaf     []string // endpoints that answered no HELLO
	Problems []string // what it complains of
}

// Well returns what is wrong with a cluster, in sentences; nothing: it may lose a member.
func (v *View) Well() (wrong []string) {
	add := func(format string, a ...any) {
		wrong = append(wrong, fmt.Sprintf("%s: ", v.Cluster)+fmt.Sprintf(format, a...))
	}
	if v.Leader == "" {
		add("there is no leader")
	}
	voters, up := 0, 0
	for _, m := range v.Members {
		if m.Role == "leader" || m.Role == "voter" {
			voters++
			if m.Status == "up" {
				up++
			}
		}
		switch {
		case m.LogGone:
			add("member %s is without its log, and waits: rootctl member readmit %s", m.Name, m.Name)
		case m.Status != "up":
			add("member %s is %s", m.Name, m.Status)
		case m.Lag > maxLag:
			add("member %s is %d entries behind", m.Name, m.Lag)
		}
		if len(m.Deaf) > 0 {
			add("member %s does not answer a HELLO at %s", m.Name, strings.Join(m.Deaf, ", "))
		}
		for _, p := range m.Problems {
			add("member %s: %s", m.Name, p)
		}
	}
	if voters > 0 && up-1 < voters/2+1 && voters > 1 {
		add("%d of %d voters are up: none may stop", up, voters)
	}
	if voters == 1 && len(v.Members) > 1 {
		add("one voter alone: it may not stop; the others vote once they have been stable for a while")
	}
	if voters == 2 {
		add("two voters: neither may stop; add a third member first")
	}
	if v.Busy != "" {
		add("%s", v.Busy)
	}
	return wrong
}

// maxLag is how many entries of the log a member may be behind and still be well.
const maxLag = 1000

// Turn is one member's part of a plan.
type Turn struct {
	Cluster, Member string
	Why             string   // "nonvoter", "voter", "leader": leadership moves first
	Command         []string // what is run
}

// Plan is the order of all turns; between two clusters time passes.
type Plan struct {
	Turns []Turn
	Bake  time.Duration
}

// Options choose a plan.
type Options struct {
	Clusters []Cluster // in order; of those nothing is done to the rest of the fleet
	Command  func(*Cluster) []string
	Done     func(cluster, member string) bool // had its turn already
	Canary   string                            // only this member, named CLUSTER/MEMBER or MEMBER; "": all
}

// Make returns the plan for what was seen of the clusters. An error says what is wrong with the fleet's file, or that nobody
// is the canary.
func Make(o Options, seen []View, bake time.Duration) (*Plan, error) {
	p := &Plan{Bake: bake}
	found := o.Canary == ""
	for i := range o.Clusters {
		c := &o.Clusters[i]
		at := slices.IndexFunc(seen, func(v View) bool { return v.Cluster == c.Name })
		if at < 0 {
			return nil, fmt.Errorf("cluster %s was not seen", c.Name)
		}
		members := slices.Clone(seen[at].Members)
		slices.SortStableFunc(members, func(a, b Member) int { return cmp.Compare(rank(a.Role), rank(b.Role)) })
		for _, m := range members {
			chosen := o.Canary == "" || o.Canary == m.Name || o.Canary == c.Name+"/"+m.Name
			found = found || chosen
			if !chosen || o.Done != nil && o.Done(c.Name, m.Name) {
				continue
			}
			command, err := c.Command(o.Command(c), m.Name)
			if err != nil {
				return nil, err
			}
			p.Turns = append(p.Turns, Turn{c.Name, m.Name, m.Role, command})
		}
	}
	if !found {
		return nil, fmt.Errorf("no member of these clusters is named %s", o.Canary)
	}
	return p, nil
}

// rank is the order of turns: whoever does not vote first, the leader last.
func rank(role string) int {
	switch role {
	case "leader":
		return 2
	case "voter":
		return 1
	}
	return 0
}

// Measures are the figures of a cluster that a turn must not make worse.
type Measures struct {
	Peers     int    // that are attached to a member that is up, and heard there
	Term      uint64 // of the log: each election begins one
	Failed    uint64 // handoffs that failed
	Voters    int    // that are up
	Answering int    // endpoints that answered a HELLO

	Problems   []string                 // what members complain of
	RoundTrips map[string]time.Duration // of the HELLO, by endpoint
}

// Gate compares the figures before and after a member's turn, and returns why to stop.
func (p Pace) Gate(before, after Measures, leader bool) (why []string) {
	if lost := before.Peers - after.Peers; before.Peers > 0 && float64(lost) > p.MaxLostPeers*float64(before.Peers)+2 {
		why = append(why, fmt.Sprintf("%d of %d peers are gone (more than %.0f %%)", lost, before.Peers, 100*p.MaxLostPeers))
	}
	allowed := uint64(p.MaxElections)
	if !leader {
		allowed-- // at least 1, see withDefaults
	}
	if e := after.Term - min(before.Term, after.Term); e > allowed {
		why = append(why, fmt.Sprintf("%d elections, at most %d expected", e, allowed))
	}
	if after.Voters < before.Voters {
		why = append(why, fmt.Sprintf("%d voters are up, %d before", after.Voters, before.Voters))
	}
	if after.Answering < before.Answering {
		why = append(why, fmt.Sprintf("%d endpoints answer a HELLO, %d before", after.Answering, before.Answering))
	}
	if f := after.Failed - min(before.Failed, after.Failed); f > uint64(before.Peers/50)+5 {
		why = append(why, fmt.Sprintf("%d handoffs failed", f))
	}
	for _, complaint := range after.Problems {
		if !slices.Contains(before.Problems, complaint) {
			why = append(why, complaint)
		}
	}
	for _, at := range slices.Sorted(maps.Keys(after.RoundTrips)) {
		if was, is := before.RoundTrips[at], after.RoundTrips[at]; was > 0 && is > 2*was+p.MaxSlower {
			why = append(why, fmt.Sprintf("%s takes %s to answer a HELLO, %s before", at, is.Round(time.Millisecond), was.Round(time.Millisecond)))
		}
	}
	return why
}
