package layout_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rootd/rootd/cmd/internal/layout"
)

type check struct {
	name string
	run  func(*layout.Tree) []string
}

func checks() []check {
	return []check{
		{"top level", layout.TopLevel},
		{"arrows", layout.Arrows},
		{"file sizes", layout.FileSizes},
		{"package docs", layout.PackageDocs},
		{"habits", layout.Habits},
		{"log keys", layout.LogKeys},
		{"links", layout.Links},
	}
}

func TestRepository(t *testing.T) {
	tree, err := layout.Load(os.DirFS("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 10 {
		t.Fatalf("only %d Go files: this is not the repository", len(tree.Files))
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			for _, complaint := range c.run(tree) {
				t.Error(complaint)
			}
		})
	}
}

const doc = "// Package x is here for a test, and its comment is long enough to satisfy the rule that every package must say what\n" +
	"// flows in and out of it, who may call what from which goroutine, and which invariants hold.\n"

// Each check finds the fault that it is for, and is content without it.
func TestChecksFindFaults(t *testing.T) {
	imports := func(path string) string {
		return doc + "package x\nimport _ \"github.com/rootd/rootd/" + path + "\"\n"
	}
	body := func(s string) string { return doc + "package x\n" + s + "\n" }
	tests := []struct {
		name  string
		check func(*layout.Tree) []string
		files map[string]string
		want  string // part of the only complaint; "" if there is none
	}{
		{"folder", layout.TopLevel, map[string]string{"pkg/x.go": doc + "package x"}, "pkg/"},
		{"file", layout.TopLevel, map[string]string{"NOTES.txt": ""}, "NOTES.txt"},
		{"built files are not looked at", layout.TopLevel, map[string]string{"bin/rootd": "", "dist/SHA256SUMS": "", "go.mod": ""}, ""},

		{"arrow", layout.Arrows, map[string]string{"fsm/x.go": imports("fsm/table")}, ""},
		{"arrow by pattern", layout.Arrows, map[string]string{"packetpath/x.go": imports("packetpath/gather")}, ""},
		{"arrow to a leaf", layout.Arrows, map[string]string{"snapshot/x.go": imports("cmd/internal/build")}, ""},
		{"no arrow", layout.Arrows, map[string]string{"packetpath/x.go": imports("transport/link")}, "packetpath may not import transport/link"},
		{"back", layout.Arrows, map[string]string{"fsm/table/x.go": imports("fsm")}, "fsm/table may not import fsm"},
		{"from a leaf", layout.Arrows, map[string]string{"geo/x.go": imports("packetpath/vl1")}, "geo may not import packetpath/vl1"},
		{"on another platform", layout.Arrows, map[string]string{"fsm/x_plan9.go": "//go:build plan9\n\n" + imports("packetpath")}, "fsm may not import packetpath"},
		{"tests import their package", layout.Arrows, map[string]string{"geo/x_test.go": imports("geo")}, ""},
		{"for tests only", layout.Arrows, map[string]string{"cmd/rootd/x_test.go": imports("cmd/internal/procs")}, ""},
		{"not for tests only", layout.Arrows, map[string]string{"cmd/rootd/x.go": imports("cmd/internal/procs")}, "only the tests of cmd/rootd may import cmd/internal/procs"},
		{"unknown package", layout.Arrows, map[string]string{"fsm/gadget/x.go": body("")}, "fsm/gadget: the package is not in the table"},

		{"long file", layout.FileSizes, map[string]string{"fsm/x.go": body(strings.Repeat("//\n", 500))}, "at most 500"},
		{"long test", layout.FileSizes, map[string]string{"fsm/x_test.go": body(strings.Repeat("//\n", 500))}, ""},

		{"no doc", layout.PackageDocs, map[string]string{"fsm/x.go": "package fsm"}, "no doc comment"},
		{"short doc", layout.PackageDocs, map[string]string{"fsm/x.go": "// Package fsm is.\npackage fsm"}, "3 words"},
		{"two docs", layout.PackageDocs, map[string]string{"fsm/x.go": body(""), "fsm/y.go": body("")}, "one is enough"},
		{"doc", layout.PackageDocs, map[string]string{"fsm/x.go": body(""), "fsm/y.go": "package fsm", "fsm/y_test.go": "package fsm"}, ""},
		{"name", layout.PackageDocs, map[string]string{"fsm/util/x.go": body("")}, "says nothing"},

		{"log", layout.Habits, map[string]string{"fsm/x.go": body("import \"log\"")}, "fsm/x.go:4: import of log"},
		{"testing", layout.Habits, map[string]string{"fsm/x.go": body("import \"testing\"")}, "import of testing"},
		{"testing in a test", layout.Habits, map[string]string{"fsm/x_test.go": body("import \"testing\"")}, ""},
		{"init", layout.Habits, map[string]string{"fsm/x.go": body("func init() {}")}, "func init"},
		{"method init", layout.Habits, map[string]string{"fsm/x.go": body("func (x *X) init() {}")}, ""},
		{"print", layout.Habits, map[string]string{"fsm/x.go": body("func f() { fmt.Println() }")}, "fmt.Println"},
		{"sleep", layout.Habits, map[string]string{"fsm/x_test.go": body("func f() { time.Sleep(1) }")}, "time.Sleep"},
		{"sleep in virtual time", layout.Habits, map[string]string{"fsm/x_test.go": body("func f() { time.Sleep(1) }"), "fsm/y_test.go": body("import \"testing/synctest\"")}, ""},
		{"background", layout.Habits, map[string]string{"fsm/x.go": body("func f() { g(context.Background()) }")}, "context.Background"},
		{"background in main", layout.Habits, map[string]string{"cmd/rootd/x.go": doc + "package main\nfunc f() { g(context.Background()) }"}, ""},
		{"exit", layout.Habits, map[string]string{"fsm/x.go": body("func f() { os.Exit(1) }")}, "os.Exit"},

		{"log key", layout.LogKeys, map[string]string{"fsm/x.go": body("func f() { l.Info(\"heard\", \"peer\", p) }"), "docs/logging.md": "| `peer` | address |"}, ""},
		{"log key not listed", layout.LogKeys, map[string]string{"fsm/x.go": body("func f() { l.Info(\"heard\", \"peer\", p, \"pear\", q) }"), "docs/logging.md": "| `peer` | address |"}, `log key "pear"`},
		{"log key with a context", layout.LogKeys, map[string]string{"fsm/x.go": body("func f() { l.WarnContext(ctx, \"heard\", \"pear\", q) }")}, `log key "pear"`},
		{"log key of a child", layout.LogKeys, map[string]string{"fsm/x.go": body("func f() { l.With(\"pear\", q) }")}, `log key "pear"`},

		{"link", layout.Links, map[string]string{"docs/a.md": "[b](b.md#top) [c](../fsm/) [d](https://example.com/x)", "docs/b.md": "", "fsm/x.go": body("")}, ""},
		{"broken link", layout.Links, map[string]string{"docs/a.md": "[b](b.md)"}, "docs/b.md, which does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for path, text := range tt.files {
				fsys[path] = &fstest.MapFile{Data: []byte(text)}
			}
			tree, err := layout.Load(fsys)
			if err != nil {
				t.Fatal(err)
			}
			got := tt.check(tree)
			if tt.want == "" && len(got) > 0 {
				t.Errorf("complaints about nothing: %q", got)
			}
			if tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("complaints %q, want one about %q", got, tt.want)
			}
		})
	}
}

func TestLoadRefusesWhatIsNotGo(t *testing.T) {
	_, err := layout.Load(fstest.MapFS{"fsm/x.go": {Data: []byte("pakcage x")}})
	if err == nil || !strings.Contains(err.Error(), "fsm/x.go") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestPackagesLeavesTestsOut(t *testing.T) {
	tree, err := layout.Load(fstest.MapFS{
		"geo/a.go": {Data: []byte("package geo")}, "geo/a_test.go": {Data: []byte("package geo_test")}, "geo/testdata/b.go": {Data: []byte("?")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if files := tree.Packages()["geo"]; len(files) != 1 || files[0].Path != "geo/a.go" {
		t.Errorf("%d files", len(files))
	}
	if !slices.Equal(tree.Top, []string{"geo/"}) {
		t.Errorf("top level %q", tree.Top)
	}
}
