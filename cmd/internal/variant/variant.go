package variant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Variant is a build that differs.
type Variant string

// The variants.
const (
	// Next understands feature level 2, which adds the entry kind "note" and the setting "last_note". At a leader it proposes a note
	// twice a second; the log refuses them until the level is in use.
	Next Variant = "next"
	// Crash ends as soon as it is started.
	Crash Variant = "crash"
	// Deaf is well and answers no HELLO.
	Deaf Variant = "deaf"
	// Forget loses its log each time it starts.
	Forget Variant = "forget"
)

// edit replaces a text in a file; no text to replace: the file is new.
type edit struct{ file, old, new string }

func (v Variant) edits() []edit {
	switch v {
	case Next:
		return next()
	case Crash:
		return []edit{{"cmd/rootd/main.go", "func main() {\n", "func main() {\n\tpanic(\"a bug\")\n"}}
	case Deaf:
		return []edit{
			{"packetpath/hello.go", "func (w *worker) hello(p vl1.Packet, from origin) {\n", "func (w *worker) hello(p vl1.Packet, from origin) {\n\treturn\n"},
			{"packetpath/hello.go", "func (w *worker) authenticHello(s *session, at *path, p vl1.Packet, from origin) {\n", "func (w *worker) authenticHello(s *session, at *path, p vl1.Packet, from origin) {\n\treturn\n"},
		}
	case Forget:
		const open = "\tlost := m.dir.LogIsGone()\n"
		return []edit{{"cmd/rootd/run.go", open, "\t_ = os.RemoveAll(m.dir.RaftDir())\n" + open}, {"cmd/rootd/run.go", "\t\"net\"\n", "\t\"net\"\n\t\"os\"\n"}}
	}
	return nil
}

// Build compiles packages of this module, named from its root ("./cmd/rootd"), as the variant into dir. Its name is their version.
func Build(ctx context.Context, dir string, v Variant, packages ...string) error {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("build variant %s: find the module: %w", v, err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	work, err := os.MkdirTemp("", "variant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	overlay, err := v.overlay(root, work)
	if err != nil {
		return fmt.Errorf("build variant %s: %w", v, err)
	}
	args := append([]string{
		"build", "-overlay", overlay, "-o", dir + string(os.PathSeparator),
		"-ldflags", "-X github.com/rootd/rootd/cmd/internal/build.version=" + string(v),
	}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build variant %s: %w\n%s", v, err, out)
	}
	return nil
}

// overlay writes the changed files, and what tells the tool chain of them.
func (v Variant) overlay(root, work string) (file string, err error) {
	changed := map[string][]byte{}
	for _, e := range v.edits() {
		if e.old == "" {
			changed[e.file] = []byte(e.new)
			continue
		}
		b, ok := changed[e.file]
		if !ok {
			if b, err = os.ReadFile(filepath.Join(root, e.file)); err != nil {
				return "", err
			}
		}
		if n := bytes.Count(b, []byte(e.old)); n != 1 {
			return "", fmt.Errorf("%s has the text that is to be replaced %d times, not once: change the edit in cmd/internal/variant: %q", e.file, n, e.old)
		}
		changed[e.file] = bytes.Replace(b, []byte(e.old), []byte(e.new), 1)
	}
	replace := map[string]string{}
	for name, text := range changed {
		to := filepath.Join(work, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, name)] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(work, "overlay.json")
	return file, os.WriteFile(file, b, 0o600)
}
