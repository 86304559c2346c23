package layout

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Limits of what one reads in one sitting.
const (
	maxFileLines = 500 // of a file that is no test; past 350 look for the second idea in it
	minDocWords  = 30  // in the doc comment of a package
	minMainWords = 12  // in that of a command
)

// topLevel is every name that may stand at the top of the repository.
func topLevel() []string {
	return []string{
		"cmd/", "fsm/", "transport/", "packetpath/", "geo/", "snapshot/", "scripts/", "docs/", ".ci/",
		"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
		".gitignore", ".gitattributes", ".editorconfig", ".golangci.yml",
	}
}

// TopLevel complains about names at the top level that do not belong there.
func TopLevel(t *Tree) (complaints []string) {
	for _, name := range t.Top {
		if !slices.Contains(topLevel(), name) {
			complaints = append(complaints, fmt.Sprintf("%s: does not belong at the top level, which is fixed", name))
		}
	}
	return complaints
}

// FileSizes complains about files that are too long.
func FileSizes(t *Tree) (complaints []string) {
	for _, f := range t.Files {
		if !f.IsTest() && f.Lines > maxFileLines {
			complaints = append(complaints, fmt.Sprintf("%s: %d lines, at most %d: split it where its second idea begins", f.Path, f.Lines, maxFileLines))
		}
	}
	return complaints
}

// PackageDocs complains about packages that do not say what they are, or say it twice, and about names that say nothing.
func PackageDocs(t *Tree) (complaints []string) {
	for pkg, files := range t.Packages() {
		var docs []*File
		for _, f := range files {
			if f.Syntax.Doc != nil && len(f.Syntax.Doc.List) > 0 && f.Syntax.Doc.Text() != "" {
				docs = append(docs, f)
			}
		}
		switch {
		case len(docs) == 0:
			complaints = append(complaints, fmt.Sprintf("%s: no doc comment: say what it is, what flows in and out, who may call what, what always holds", pkg))
		case len(docs) > 1:
			complaints = append(complaints, fmt.Sprintf("%s: doc comments in %s and %s: one is enough", pkg, docs[0].Path, docs[1].Path))
		default:
			need := minDocWords
			if docs[0].IsMain() {
				need = minMainWords
			}
			if n := len(strings.Fields(docs[0].Syntax.Doc.Text())); n < need {
				complaints = append(complaints, fmt.Sprintf("%s: %d words of doc comment, at least %d: what flows in and out, who may call what, what always holds", docs[0].Path, n, need))
			}
		}
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "misc", "base"}, path.Base(pkg)) {
			complaints = append(complaints, fmt.Sprintf("%s: the name says nothing about what is inside", pkg))
		}
	}
	slices.Sort(complaints)
	return complaints
}

// excused lists who may break a habit, and which.
func excused(file, what string) bool {
	// The face that Raft logs through: its interface names log.Logger and passes no context.
	return file == "fsm/replica/hclog.go" && (strings.HasPrefix(what, "import of log:") || strings.HasPrefix(what, "context.Background:"))
}

// Habits complains about constructs that the house does not use.
func Habits(t *Tree) (complaints []string) {
	bubbles := map[string]bool{} // packages whose tests run in virtual time, where sleeping costs none
	for _, f := range t.Files {
		if slices.Contains(f.Imports(), "testing/synctest") {
			bubbles[f.Package()] = true
		}
	}
	for _, f := range t.Files {
		complain := func(n ast.Node, what string) {
			if !excused(f.Path, what) {
				complaints = append(complaints, f.At(n)+": "+what)
			}
		}
		for _, spec := range f.Syntax.Imports {
			switch spec.Path.Value {
			case `"log"`:
				complain(spec, "import of log: take a *slog.Logger as a constructor argument")
			case `"github.com/stretchr/testify/assert"`, `"github.com/stretchr/testify/require"`:
				complain(spec, "import of testify: use testing and go-cmp")
			case `"testing"`:
				if !f.IsTest() {
					complain(spec, "import of testing outside tests: declare the interface that is needed")
				}
			}
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" && !f.IsTest() {
					complain(n, "func init: make it a function that somebody calls")
				}
			case *ast.CallExpr:
				if what := forbiddenCall(f, callee(n), bubbles[f.Package()]); what != "" {
					complain(n, what)
				}
			}
			return true
		})
	}
	return complaints
}

// forbiddenCall says what is wrong with calling the function from the file, "" if nothing is.
func forbiddenCall(f *File, function string, virtualTime bool) string {
	switch function {
	case "fmt.Print", "fmt.Printf", "fmt.Println":
		if !f.IsTest() {
			return function + ": write to an io.Writer that the caller gave"
		}
	case "time.Sleep":
		if f.IsTest() && !virtualTime {
			return "time.Sleep in a test: poll with a deadline, or use testing/synctest"
		}
	case "context.Background", "context.TODO":
		if !f.IsTest() && !f.IsMain() {
			return function + ": take the context from the caller"
		}
	case "os.Exit":
		if !f.IsMain() && !f.IsTest() {
			return "os.Exit outside of a main package: return an error"
		}
	}
	return ""
}

// callee returns "pkg.Name" for a call of that form, "" for others.
func callee(call *ast.CallExpr) string {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		if x, ok := sel.X.(*ast.Ident); ok {
			return x.Name + "." + sel.Sel.Name
		}
	}
	return ""
}
