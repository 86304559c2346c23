package layout

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the import path of the repository.
const module = "github.com/rootd/rootd/"

// Tree is a repository as the checks see it.
type Tree struct {
	Top       []string          // names at the top level, directories with a trailing slash
	Files     []*File           // Go files, sorted by path
	Documents map[string]string // Markdown files: path to text
	Paths     map[string]bool   // every file and directory there is
}

// File is one Go file.
type File struct {
	Path   string // from the top, with slashes
	Lines  int
	Syntax *ast.File

	fset *token.FileSet
}

// Package is the directory of the file from the top: what follows the module in its import path.
func (f *File) Package() string { return path.Dir(f.Path) }

// IsTest reports whether the file is part of tests only.
func (f *File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// IsMain reports whether the file belongs to a command.
func (f *File) IsMain() bool { return strings.TrimSuffix(f.Syntax.Name.Name, "_test") == "main" }

// At names a place in the file for a complaint.
func (f *File) At(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Path, f.fset.Position(n.Pos()).Line)
}

// Imports returns the paths that the file imports.
func (f *File) Imports() []string {
	paths := make([]string, len(f.Syntax.Imports))
	for i, spec := range f.Syntax.Imports {
		paths[i], _ = strconv.Unquote(spec.Path.Value) // the parser has seen to it
	}
	return paths
}

// generated are the top-level names that the build makes and the repository ignores.
func generated() []string {
	return []string{".git/", "bin/", "dist/", "run/", "rootd", "rootctl", "rootswarm"}
}

// Load reads the tree. It fails when a Go file cannot be parsed.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{Documents: map[string]string{}, Paths: map[string]bool{}}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if !strings.Contains(name, "/") {
			top := name
			if d.IsDir() {
				top += "/"
			}
			if slices.Contains(generated(), top) && d.IsDir() {
				return fs.SkipDir
			} else if slices.Contains(generated(), top) {
				return nil
			}
			t.Top = append(t.Top, top)
		}
		t.Paths[name] = true
		switch {
		case d.IsDir() && (d.Name() == "testdata" || d.Name()[0] == '_'):
			return fs.SkipDir // as the go command does
		case d.IsDir():
			return nil
		case path.Ext(name) == ".md":
			text, err := fs.ReadFile(fsys, name)
			t.Documents[name] = string(text)
			return err
		case path.Ext(name) == ".go":
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			syntax, err := parser.ParseFile(fset, name, text, parser.ParseComments)
			if err != nil {
				return err
			}
			t.Files = append(t.Files, &File{Path: name, Lines: bytes.Count(text, []byte("\n")), Syntax: syntax, fset: fset})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load tree: %w", err)
	}
	return t, nil
}

// Packages returns the files that are no tests by package.
func (t *Tree) Packages() map[string][]*File {
	pkgs := map[string][]*File{}
	for _, f := range t.Files {
		if !f.IsTest() {
			pkgs[f.Package()] = append(pkgs[f.Package()], f)
		}
	}
	return pkgs
}
