package rollout_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/rollout"
)

const file = `
[rollout]
settle = "5s"

[[cluster]]
name = "alice"
admin = ["/srv/a1/admin.sock"]
upgrade = ["ssh", "root@{host}", "systemctl restart {member}.{cluster}"]
  [[cluster.member]]
  name = "a1"
  host = "192.0.2.1"
  [[cluster.member]]
  name = "a2"
  host = "192.0.2.2"

[[cluster]]
name = "bob"
admin = ["/srv/b1/admin.sock"]
`

func TestFleetFile(t *testing.T) {
	f, err := rollout.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if f.Rollout.Settle != 5*time.Second || f.Rollout.Bake != 10*time.Minute || f.Rollout.MaxElections != 1 {
		t.Errorf("pace %+v", f.Rollout)
	}
	got, err := f.Clusters[0].Command(f.Clusters[0].Upgrade, "a2")
	if want := "ssh|root@192.0.2.2|systemctl restart a2.alice"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("command %q, %v", got, err)
	}
	for why, c := range map[string]func() ([]string, error){
		"member a3 has no {host}":           func() ([]string, error) { return f.Clusters[0].Command(f.Clusters[0].Upgrade, "a3") },
		"cluster bob has no command":        func() ([]string, error) { return f.Clusters[1].Command(f.Clusters[1].Upgrade, "b1") },
		"cluster alice has no command for ": func() ([]string, error) { return f.Clusters[0].Command(f.Clusters[0].Rollback, "a1") },
	} {
		if _, err := c(); !errors.Is(err, rollout.ErrFleet) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
	}
	if only, err := f.Only("bob"); err != nil || len(only) != 1 || only[0].Name != "bob" {
		t.Errorf("only bob: %v, %v", only, err)
	}
	if _, err := f.Only("carol"); err == nil {
		t.Error("there is no carol")
	}
}

func TestFleetFileMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "no [[cluster]]",
		"[[cluster]]\nadmin=['x']": "cluster 1: no name",
		"[[cluster]]\nname='a'":    "a: no admin",
		"[[cluster]]\nname='a'\nadmin=['x']\nx=1":                     "there is no key cluster.x",
		file + "\n[[cluster]]\nname='bob'\nadmin=['x']":               "cluster bob is there twice",
		"[rollout]\nsettle='-1s'\n[[cluster]]\nname='a'\nadmin=['x']": "negative",
		"[rollout]\nmax_lost_peers=2\n":                               "not between 0 and 1",
		"[[cluster]]\nname='a'\nadmin=['x']\n[[cluster.member]]\n":    "a member without a name",
		"[[cluster]": "fleet file",
	} {
		if _, err := rollout.Parse(text); !errors.Is(err, rollout.ErrFleet) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file)
	f.Fuzz(func(t *testing.T, text string) {
		fleet, err := rollout.Parse(text)
		if (err == nil) != (fleet != nil) {
			t.Errorf("%v, %v", fleet, err)
		}
	})
}

// view is a cluster of members named as the roles say: l leader, v voter, n nonvoter.
func view(name, roles string) rollout.View {
	v := rollout.View{Cluster: name, Level: 1}
	for i, r := range roles {
		m := rollout.Member{Name: fmt.Sprintf("%s%d", name, i+1), Status: "up", Role: map[rune]string{'l': "leader", 'v': "voter", 'n': "nonvoter"}[r], Epoch: 1}
		if r == 'l' {
			v.Leader = m.Name
		}
		v.Members = append(v.Members, m)
	}
	return v
}

func fleet(names ...string) (cs []rollout.Cluster) {
	for _, n := range names {
		cs = append(cs, rollout.Cluster{Name: n, Upgrade: []string{"up", "{member}"}})
	}
	return cs
}

func upgrade(c *rollout.Cluster) []string { return c.Upgrade }

func turns(p *rollout.Plan) string {
	var all []string
	for _, t := range p.Turns {
		all = append(all, t.Member)
	}
	return strings.Join(all, " ")
}

func TestOrder(t *testing.T) {
	seen := []rollout.View{view("b", "lvv"), view("a", "vlvn")}
	for _, c := range []struct {
		name string
		o    rollout.Options
		want string
	}{
		{"all", rollout.Options{}, "a4 a1 a3 a2 b2 b3 b1"},
		{"some are done", rollout.Options{Done: func(c, m string) bool { return c == "a" && m != "a2" }}, "a2 b2 b3 b1"},
		{"canary", rollout.Options{Canary: "a3"}, "a3"},
		{"canary of a cluster", rollout.Options{Canary: "b/b1"}, "b1"},
	} {
		c.o.Clusters, c.o.Command = fleet("a", "b"), upgrade
		p, err := rollout.Make(c.o, seen, time.Minute)
		if err != nil || turns(p) != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, p, err, c.want)
		}
	}
	if p, err := rollout.Make(rollout.Options{Clusters: fleet("a"), Command: upgrade, Canary: "a9"}, seen, 0); err == nil {
		t.Errorf("a canary that nobody knows: %v", p)
	}
	if _, err := rollout.Make(rollout.Options{Clusters: fleet("c"), Command: upgrade}, seen, 0); err == nil {
		t.Error("a cluster that nobody saw")
	}
}

func TestWell(t *testing.T) {
	change := func(f func(*rollout.View)) rollout.View {
		v := view("a", "lvv")
		f(&v)
		return v
	}
	for want, v := range map[string]rollout.View{
		"":                                  view("a", "lvv"),
		" ":                                 view("a", "l"),
		"there is no leader":                change(func(v *rollout.View) { v.Leader = "" }),
		"member a2 is suspect":              change(func(v *rollout.View) { v.Members[1].Status = "suspect" }),
		"none may stop":                     change(func(v *rollout.View) { v.Members[1].Status = "down" }),
		"two voters":                        view("a", "lv"),
		"one voter alone":                   view("a", "lnn"),
		"entries behind":                    change(func(v *rollout.View) { v.Members[2].Lag = 100_000 }),
		"HELLO at 192.0.2.1:9993":           change(func(v *rollout.View) { v.Members[2].Deaf = []string{"192.0.2.1:9993"} }),
		"a: member a2: disk is nearly full": change(func(v *rollout.View) { v.Members[1].Problems = []string{"disk is nearly full"} }),
		"restart by joe since now":          change(func(v *rollout.View) { v.Busy = "restart by joe since now" }),
	} {
		wrong := v.Well()
		if want = strings.TrimSpace(want); want == "" && len(wrong) > 0 {
			t.Errorf("well, but %q", wrong)
		} else if want != "" && !slices.ContainsFunc(wrong, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q, want %s", wrong, want)
		}
	}
}

func TestGate(t *testing.T) {
	before := rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 6}
	pace := rollout.Pace{MaxLostPeers: 0.05, MaxElections: 1, MaxSlower: 20 * time.Millisecond}
	before.Problems = []string{"m1: the backup is late"}
	before.RoundTrips = map[string]time.Duration{"192.0.2.1:9993": 10 * time.Millisecond}
	for name, c := range map[string]struct {
		after  rollout.Measures
		leader bool
		want   string
	}{
		"as before":               {before, false, ""},
		"a few peers slept":       {rollout.Measures{Peers: 951, Term: 5, Voters: 3, Answering: 6}, false, ""},
		"peers are gone":          {rollout.Measures{Peers: 900, Term: 5, Voters: 3, Answering: 6}, false, "100 of 1000 peers"},
		"leadership moved":        {rollout.Measures{Peers: 1000, Term: 6, Voters: 3, Answering: 6}, true, ""},
		"an election for a voter": {rollout.Measures{Peers: 1000, Term: 6, Voters: 3, Answering: 6}, false, "1 elections"},
		"two elections":           {rollout.Measures{Peers: 1000, Term: 7, Voters: 3, Answering: 6}, true, "2 elections"},
		"a voter is missing":      {rollout.Measures{Peers: 1000, Term: 5, Voters: 2, Answering: 6}, false, "2 voters"},
		"deaf":                    {rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 5}, false, "5 endpoints"},
		"handoffs fail":           {rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 6, Failed: 100}, false, "100 handoffs failed"},
		"an old complaint":        {rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 6, Problems: before.Problems}, false, ""},
		"a new complaint":         {rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 6, Problems: []string{"m2: the log is not applied any more"}}, false, "m2: the log is not"},
		"a little slower":         {rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 6, RoundTrips: map[string]time.Duration{"192.0.2.1:9993": 40 * time.Millisecond, "192.0.2.2:9993": time.Second}}, false, ""},
		"slow":                    {rollout.Measures{Peers: 1000, Term: 5, Voters: 3, Answering: 6, RoundTrips: map[string]time.Duration{"192.0.2.1:9993": 41 * time.Millisecond}}, false, "192.0.2.1:9993 takes 41ms to answer a HELLO, 10ms before"},
	} {
		why := strings.Join(pace.Gate(before, c.after, c.leader), "; ")
		if (c.want == "") != (why == "") || !strings.Contains(why, c.want) {
			t.Errorf("%s: %q, want %q", name, why, c.want)
		}
	}
}

func TestIsAddress(t *testing.T) {
	for at, want := range map[string]bool{
		"ams1.example.net:9995": true, "[2001:db8::1]:9995": true, "/srv/alice/admin.sock": false, "alice.sock": false, "/srv/a:1": false, ":9995": false, "host:": false,
	} {
		if got := rollout.IsAddress(at); got != want {
			t.Errorf("%s: %v", at, got)
		}
	}
}
