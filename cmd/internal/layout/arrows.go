package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// row says what a package may import of ours, leaves apart, which everyone may.
type row struct {
	pkg   string
	may   []string // packages, or patterns as of [path.Match]
	tests []string // what its tests may import besides
}

// leaves import nothing of ours, and anyone may import them.
func leaves() []string {
	return []string{"packetpath/vl1", "packetpath/udp", "packetpath/prefetch", "geo", "transport/pki", "cmd/internal/build"}
}

// arrows is the table of who may import whom. A package that is not here has no place yet: give it one, with thought.
// packetpath and transport do not know each other; only cmd/rootd sees both.
func arrows() []row {
	return []row{
		{pkg: "geo/mmdb"},
		{pkg: "geo/steer"},

		{pkg: "fsm/table"},
		{pkg: "fsm", may: []string{"fsm/table"}, tests: []string{"geo/steer"}},
		{pkg: "fsm/propose", may: []string{"fsm", "fsm/table"}},
		{pkg: "fsm/replica", may: []string{"fsm", "fsm/table"}, tests: []string{"transport/mux", "transport/stream"}},

		{pkg: "packetpath", may: []string{"fsm", "fsm/table", "geo/steer", "packetpath/*"}},
		{pkg: "packetpath/gather"},

		{pkg: "transport/mux"},
		{pkg: "transport/stream", may: []string{"transport/mux"}},
		{pkg: "transport/join", may: []string{"transport/mux"}},
		{pkg: "transport/rpc", may: []string{"transport/mux"}},
		{pkg: "transport/link", may: []string{"transport/mux"}},
		{pkg: "transport/admin", may: []string{"transport/mux", "fsm"}},

		{pkg: "snapshot", may: []string{"fsm", "fsm/table"}},
		{pkg: "snapshot/agent", may: []string{"snapshot"}, tests: []string{"fsm"}},

		{pkg: "cmd/internal/bench", may: []string{"cmd/internal/client", "cmd/internal/procs", "transport/admin"}},
		{pkg: "cmd/internal/client"},
		{pkg: "cmd/internal/client/sim", may: []string{"cmd/internal/client"}},
		{pkg: "cmd/internal/datadir"},
		{pkg: "cmd/internal/layout"},
		{pkg: "cmd/internal/scaling"},
		{pkg: "cmd/internal/procs"},
		{pkg: "cmd/internal/variant"},
		{pkg: "cmd/internal/greet"},
		{pkg: "cmd/internal/rollout"},
		{pkg: "cmd/internal/restore", may: []string{"snapshot", "fsm", "fsm/*", "transport/*", "cmd/internal/datadir"}},
		{pkg: "cmd/internal/demo", may: []string{"cmd/internal/procs", "transport/admin"}},

		{pkg: "cmd/rootctl", may: []string{"transport/admin", "transport/join", "transport/mux", "snapshot", "snapshot/agent", "fsm", "cmd/internal/datadir", "cmd/internal/restore", "cmd/internal/rollout", "cmd/internal/greet"}, tests: []string{"cmd/internal/procs", "cmd/internal/variant"}},
		{pkg: "cmd/rootswarm", may: []string{"cmd/internal/client", "cmd/internal/client/sim"}, tests: []string{"cmd/internal/procs"}},
		{
			pkg:   "cmd/rootd",
			may:   []string{"fsm", "fsm/*", "packetpath", "packetpath/*", "transport/*", "geo/*", "snapshot", "snapshot/*", "cmd/internal/datadir", "cmd/internal/greet"},
			tests: []string{"cmd/internal/procs", "cmd/internal/client"},
		},
	}
}

// Arrows complains about imports that the table does not allow.
func Arrows(t *Tree) (complaints []string) {
	rows := map[string]row{}
	for _, leaf := range leaves() {
		rows[leaf] = row{pkg: leaf}
	}
	for _, r := range arrows() {
		r.may = append(r.may, leaves()...)
		rows[r.pkg] = r
	}
	unknown := map[string]bool{}
	for _, f := range t.Files {
		r, ok := rows[f.Package()]
		if !ok {
			unknown[f.Package()] = true
			continue
		}
		for _, imported := range f.Imports() {
			ours, ok := strings.CutPrefix(imported, module)
			switch {
			case !ok, f.IsTest() && ours == r.pkg, matches(r.may, ours), f.IsTest() && matches(r.tests, ours):
			case matches(r.tests, ours):
				complaints = append(complaints, fmt.Sprintf("%s: only the tests of %s may import %s", f.Path, r.pkg, ours))
			default:
				complaints = append(complaints, fmt.Sprintf("%s: %s may not import %s: the table of arrows in cmd/internal/layout has no such arrow", f.Path, r.pkg, ours))
			}
		}
	}
	for pkg := range unknown {
		complaints = append(complaints, fmt.Sprintf("%s: the package is not in the table of arrows in cmd/internal/layout: add a row that says what it may import", pkg))
	}
	slices.Sort(complaints)
	return complaints
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, pkg)
		return ok && err == nil
	})
}
