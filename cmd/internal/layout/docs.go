package layout

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const loggingDocument = "docs/logging.md"

// LogKeys complains about keys of log lines that docs/logging.md does not list. A key is listed by a table row that
// begins with it in backquotes.
func LogKeys(t *Tree) (complaints []string) {
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)`").FindAllStringSubmatch(t.Documents[loggingDocument], -1) {
		listed[m[1]] = true
	}
	for _, f := range t.Files {
		if f.IsTest() {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, key := range logKeys(call) {
				if !listed[key] {
					complaints = append(complaints, fmt.Sprintf("%s: log key %q is not in %s: use one that is, or add it", f.At(call), key, loggingDocument))
				}
			}
			return true
		})
	}
	return complaints
}

// logKeys returns the keys in a call of a logger's method. What is a logger is guessed from the method and the form
// of the arguments: a constant message, then pairs.
func logKeys(call *ast.CallExpr) (keys []string) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	args := call.Args
	switch sel.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
	case "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
		args = args[min(1, len(args)):]
	case "With":
		args = append([]ast.Expr{nil}, args...)
	default:
		return nil
	}
	for i := 1; i+1 < len(args); i += 2 {
		key, ok := stringLiteral(args[i])
		if !ok {
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}

// Links complains about links between documents that lead nowhere.
func Links(t *Tree) (complaints []string) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)\s]*)?\)`)
	for _, doc := range slices.Sorted(maps.Keys(t.Documents)) {
		for _, m := range link.FindAllStringSubmatch(t.Documents[doc], -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if target := path.Join(path.Dir(doc), m[1]); !t.Paths[target] {
				complaints = append(complaints, fmt.Sprintf("%s: link to %s, which does not exist", doc, target))
			}
		}
	}
	return complaints
}

func stringLiteral(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
