package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// TestDiskFull saves, fetches and restores onto disks of all sizes up to one that is enough: what does not fit is refused with the
// reason and the way out, and leaves nothing behind that could be taken for an archive or a member.
func TestDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	// on runs a command with a disk of its own, and lists what is there afterwards.
	on := func(kib int, args ...string) (code int, said string, left []string) {
		t.Helper()
		script := `mount -t tmpfs -o size="$1"k none "$0" && shift || exit 99; "$@"; code=$?; echo; echo left:; find "$0" -type f; exit $code`
		c := exec.CommandContext(deadline(t), "unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", script, disk, fmt.Sprint(kib)}, args...)...)
		out, _ := c.CombinedOutput()
		said, list, _ := strings.Cut(string(out), "\nleft:\n")
		return c.ProcessState.ExitCode(), said, strings.Fields(list)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts a disk")
	} else if code, said, _ := on(64, "true"); code != 0 {
		t.Skipf("no disk can be mounted: %s", said)
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, ".", "../rootctl"); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, b.rootd())
	store := t.TempDir()
	archive := filepath.Join(store, "alice-00000000-20261122T170501Z-i1.rootd")
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ctl(t, f.members[0], "snapshot", "save", archive, "--passphrase-file", passphrase)
	m := procs.MemberTest(t, b.rootd())
	for what, args := range map[string][]string{
		"save":        {"snapshot", "save", disk + "/new.rootd", "--passphrase-file", passphrase, "--data-dir", f.members[0].DataDir},
		"fetch":       {"snapshot", "fetch", archive, disk + "/new.rootd"},
		"init --from": {"init", "--from", archive, "--passphrase-file", passphrase, "--data-dir", disk + "/new", "--name", "r1", "--endpoint", m.UDP.String(), "--address", m.Cluster.String(), "--yes", "--force"},
	} {
		full, done := 0, false
		for kib := 4; !done; kib += kib / 2 {
			code, said, left := on(kib, append([]string{b.rootctl()}, args...)...)
			done = code == 0
			if done || kib > 1<<20 {
				t.Logf("%s: full at %d sizes; %d KiB are enough:\n%s", what, full, kib, said)
				break
			}
			full++
			if code != 1 || !strings.Contains(said, "no space left on device") || !strings.Contains(said, "hint: the disk is full") {
				t.Errorf("%s, %d KiB: exit code %d:\n%s", what, kib, code, said)
			}
			for _, file := range left {
				if filepath.Base(file) != "lock" {
					t.Errorf("%s, %d KiB: it has left %v", what, kib, left)
				}
			}
		}
		if full == 0 || !done {
			t.Errorf("%s: full %d times, done in the end: %v", what, full, done)
		}
	}
}
