package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newFleet(e *env) *cobra.Command {
	return group("fleet", "Look at all clusters of a fleet at once",
		"A fleet is the clusters that one operator runs in one planet: Alice, and Bob for when something happens to Alice. A file names them, see docs/fleet.md.",
		newFleetStatus(e), newFleetPlanet(e))
}

// clusterStatus is a cluster as fleet status shows it.
type clusterStatus struct {
	Cluster string         `json:"cluster"`
	Well    bool           `json:"well"`
	Wrong   []string       `json:"wrong"`
	Leader  string         `json:"leader"`
	Level   int            `json:"feature_level"`
	Peers   int            `json:"peers"`
	Planet  string         `json:"planet_fingerprint"`
	Members []memberStatus `json:"members"`
	Rescues []admin.Rescue `json:"rescues,omitzero"` // of the peers of members that died in the last hour
}

type memberStatus struct {
	Name    string   `json:"name"`
	Status  string   `json:"status"`
	Role    string   `json:"role"`
	Version string   `json:"version"`
	Lag     uint64   `json:"lag"`
	Deaf    []string `json:"deaf,omitzero"` // endpoints that answered no HELLO
}

func newFleetStatus(e *env) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "status",
		Short: "Both clusters in one screen, what is wrong first",
		Long: "status asks each cluster of the fleet, and greets every endpoint of its members from here, as a client would. " +
			"What is wrong comes first. The exit code is 1 if a cluster is not well: nothing should be stopped then.",
		Example: "  rootctl fleet status --fleet fleet.toml\n  rootctl fleet status --fleet fleet.toml -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return usageError("--fleet is missing")
			}
			c, err := openFleet(e, path)
			if err != nil {
				return err
			}
			defer c.close()
			var all []clusterStatus
			ill := 0
			for _, o := range c.fleet.Clusters {
				s := clusterStatus{Cluster: o.Name, Wrong: []string{}, Members: []memberStatus{}}
				seen, err := c.look(cmd.Context(), e, o.Name)
				if err != nil {
					s.Wrong = append(s.Wrong, err.Error())
				} else {
					s.fill(seen)
				}
				if s.Well = len(s.Wrong) == 0; !s.Well {
					ill++
				}
				all = append(all, s)
			}
			if p := differentPlanets(all); p != "" {
				e.note("! %s", p)
			}
			if e.output == "json" {
				if err := e.printJSON(all); err != nil {
					return err
				}
			} else {
				e.printFleet(all)
			}
			if ill > 0 {
				return &userError{what: fmt.Sprintf("%d of %d clusters are not well", ill, len(all)), hint: "look at rootctl status at the members that are named"}
			}
			return nil
		},
	}
	c.Flags().StringVar(&path, "fleet", "", "file that names the clusters")
	return c
}

func (s *clusterStatus) fill(seen *sight) {
	s.Wrong = append(s.Wrong, seen.Well()...)
	s.Leader, s.Level, s.Peers, s.Planet = seen.Leader, seen.Level, seen.peers, seen.planet
	s.Rescues = seen.rescues
	for _, m := range seen.View.Members {
		s.Members = append(s.Members, memberStatus{m.Name, m.Status, m.Role, m.Version, m.Lag, m.Deaf})
	}
}

func statuses(seen []*sight) (all []clusterStatus) {
	for _, s := range seen {
		c := clusterStatus{Cluster: s.Cluster}
		c.fill(s)
		all = append(all, c)
	}
	return all
}

// differentPlanets says whether the clusters hand out different planets: they take the newer one from each other within a minute or two.
func differentPlanets(all []clusterStatus) string {
	for _, s := range all[1:] {
		if s.Planet != "" && all[0].Planet != "" && s.Planet != all[0].Planet {
			return fmt.Sprintf("%s and %s hand out different planets; the newer one reaches the other within two minutes, if both have the same signing key", all[0].Cluster, s.Cluster)
		}
	}
	return ""
}

func (e *env) printFleet(all []clusterStatus) {
	for _, s := range all {
		for _, w := range s.Wrong {
			e.printf("! %s\n", w)
		}
	}
	t := newTable(e.stdout, "CLUSTER", "MEMBER", "STATUS", "ROLE", "VERSION", "LAG", "ANSWERS")
	for _, s := range all {
		for _, m := range s.Members {
			answers := "yes"
			switch {
			case len(m.Deaf) > 0:
				answers = "not at " + strings.Join(m.Deaf, ", ")
			case m.Status != "up":
				answers = "-"
			}
			t.row(s.Cluster, m.Name, m.Status, orDash(m.Role), orDash(m.Version), fmt.Sprint(m.Lag), answers)
		}
	}
	t.flush()
	for _, s := range all {
		if s.Leader != "" {
			e.printf("%s: %s peers, leader %s, feature level %d\n", s.Cluster, count(s.Peers), s.Leader, s.Level)
		}
		e.printRescues(s.Rescues)
	}
}
