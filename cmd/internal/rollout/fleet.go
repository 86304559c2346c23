package rollout

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Fleet is the file that names the clusters that one operator runs in one planet, in the order in which they are upgraded.
type Fleet struct {
	Rollout  Pace      `toml:"rollout"`
	Clusters []Cluster `toml:"cluster"`
}

// Pace is how patient a rollout is. Zero durations mean the default.
type Pace struct {
	Settle   time.Duration `toml:"settle"`   // from a member's return until its gates are read; 20s
	Bake     time.Duration `toml:"bake"`     // between two clusters; 10m
	Patience time.Duration `toml:"patience"` // the longest that a member may take to come back; 3m
	Drain    time.Duration `toml:"drain"`    // the longest that a member hands off its peers before it is stopped; 2m

	MaxLostPeers float64 `toml:"max_lost_peers"` // gate: share of the active peers that may be gone; 0.05
	MaxElections int     `toml:"max_elections"`  // gate: changes of leader that the leader's turn may cost, and one fewer another's; 1

	MaxSlower time.Duration `toml:"max_slower"` // gate: how much longer than twice before an endpoint may take to answer a HELLO; 20ms
}

// Cluster is one cluster of a fleet.
type Cluster struct {
	Name  string   `toml:"name"`
	Admin []string `toml:"admin"` // its members' admin sockets, or addresses (host:port) of their cluster ports; any that answers is asked
	Cert  string   `toml:"cert"`  // file with the operator's certificate for the addresses; default that of the command line

	// The commands that bring a member to its next version, back to the one before, or only restart it: program and
	// arguments, no shell. {member}, {cluster} and the keys of the member's variables in braces are replaced.
	Upgrade  []string `toml:"upgrade"`
	Rollback []string `toml:"rollback"`
	Restart  []string `toml:"restart"`

	Members []Vars `toml:"member"`
}

// Vars are a member's variables for the commands. One of them is its "name".
type Vars map[string]string

// ErrFleet is wrapped by everything that is wrong with a fleet file.
var ErrFleet = errors.New("fleet file")

// Read reads a fleet file.
func Read(path string) (*Fleet, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFleet, err)
	}
	f, err := Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Parse reads a fleet and reports all mistakes at once.
func Parse(text string) (*Fleet, error) {
	f := new(Fleet)
	meta, err := toml.Decode(text, f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFleet, err)
	}
	var wrong []string
	for _, k := range meta.Undecoded() {
		wrong = append(wrong, fmt.Sprintf("there is no key %s", k))
	}
	wrong = append(wrong, f.check()...)
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrFleet, strings.Join(wrong, "; "))
	}
	f.Rollout = f.Rollout.withDefaults()
	return f, nil
}

func (p Pace) withDefaults() Pace {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&p.Settle, 20*time.Second)
	set(&p.Bake, 10*time.Minute)
	set(&p.Patience, 3*time.Minute)
	set(&p.Drain, 2*time.Minute)
	if p.MaxLostPeers == 0 {
		p.MaxLostPeers = 0.05
	}
	if p.MaxElections == 0 {
		p.MaxElections = 1
	}
	set(&p.MaxSlower, 20*time.Millisecond)
	return p
}

func (f *Fleet) check() (wrong []string) {
	p := f.Rollout
	if p.Settle < 0 || p.Bake < 0 || p.Patience < 0 || p.Drain < 0 || p.MaxSlower < 0 {
		wrong = append(wrong, "rollout: a duration is negative")
	}
	if p.MaxElections < 0 {
		wrong = append(wrong, "rollout.max_elections: negative")
	}
	if p.MaxLostPeers < 0 || p.MaxLostPeers > 1 {
		wrong = append(wrong, "rollout.max_lost_peers: not between 0 and 1")
	}
	if len(f.Clusters) == 0 {
		wrong = append(wrong, "no [[cluster]]")
	}
	seen := map[string]bool{}
	for i := range f.Clusters {
		c := &f.Clusters[i]
		name := c.Name
		switch {
		case name == "":
			name = fmt.Sprintf("cluster %d", i+1)
			wrong = append(wrong, name+": no name")
		case seen[name]:
			wrong = append(wrong, "cluster "+name+" is there twice")
		}
		seen[name] = true
		if len(c.Admin) == 0 {
			wrong = append(wrong, name+": no admin")
		}
		members := map[string]bool{}
		for _, m := range c.Members {
			if m["name"] == "" || members[m["name"]] {
				wrong = append(wrong, name+": a member without a name, or twice")
			}
			members[m["name"]] = true
		}
	}
	return wrong
}

// IsAddress reports whether an entry of admin is the address of a cluster port, not a socket.
func IsAddress(admin string) bool {
	host, port, err := net.SplitHostPort(admin)
	return err == nil && host != "" && port != "" && !strings.ContainsRune(admin, '/')
}

// Only returns the fleet with one of its clusters to work on; an unknown one is a mistake.
func (f *Fleet) Only(name string) ([]Cluster, error) {
	if name == "" {
		return f.Clusters, nil
	}
	i := slices.IndexFunc(f.Clusters, func(c Cluster) bool { return c.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w: no cluster is named %s", ErrFleet, name)
	}
	return f.Clusters[i : i+1], nil
}

// variable is one place in a command that a variable fills.
var variable = regexp.MustCompile(`\{[a-z_]+\}`)

// Command returns a command for a member, with its variables in place. A variable that the member lacks is a mistake: the
// command would do something else than it seems to.
func (c *Cluster) Command(template []string, member string) ([]string, error) {
	vars := Vars{"member": member, "cluster": c.Name}
	for _, m := range c.Members {
		if m["name"] == member {
			maps.Copy(vars, m)
		}
	}
	var out, missing []string
	for _, arg := range template {
		out = append(out, variable.ReplaceAllStringFunc(arg, func(v string) string {
			text, ok := vars[v[1:len(v)-1]]
			if !ok {
				missing = append(missing, v)
			}
			return text
		}))
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("%w: cluster %s: member %s has no %s", ErrFleet, c.Name, member, strings.Join(missing, ", "))
	case len(out) == 0 || out[0] == "":
		return nil, fmt.Errorf("%w: cluster %s has no command for this", ErrFleet, c.Name)
	}
	return out, nil
}
