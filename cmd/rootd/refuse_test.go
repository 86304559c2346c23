package main_test

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// refuses gives rootd everything that an operator may get wrong. Each time it must say what is wrong and how to get
// out of it, end with a code that is not 0, and leave the disk as it was.
func (b binaries) refuses(t *testing.T) {
	made := start(t, b.rootd())
	if err := made.Stop(grace); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		empty bool                                   // begin with an empty directory, not with one of a good rootd
		spoil func(t *testing.T, m *procs.Member)    // what is wrong
		want  func(m *procs.Member) (words []string) // what the refusal must mention
	}{
		{
			name:  "port in use",
			spoil: func(t *testing.T, m *procs.Member) { occupy(t, m.UDP) },
			want:  func(m *procs.Member) []string { return []string{m.UDP.String(), "in use", "hint:"} },
		},
		{
			name: "port in use at the first start", empty: true,
			spoil: func(t *testing.T, m *procs.Member) { occupy(t, m.UDP) },
			want:  func(m *procs.Member) []string { return []string{m.UDP.String(), "in use", "hint:"} },
		},
		{
			name: "metrics port in use",
			spoil: func(t *testing.T, m *procs.Member) {
				l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(m.HTTP))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			},
			want: func(m *procs.Member) []string { return []string{m.HTTP.String(), "in use"} },
		},
		{
			name:  "address of another host",
			spoil: func(_ *testing.T, m *procs.Member) { m.Args = append(m.Args, "-listen", "203.0.113.9:9993") },
			want:  func(*procs.Member) []string { return []string{"203.0.113.9:9993"} },
		},
		{
			name:  "world-readable identity",
			spoil: func(t *testing.T, m *procs.Member) { chmod(t, m, "identity.secret", 0o644) },
			want:  func(*procs.Member) []string { return []string{"identity.secret", "chmod 600"} },
		},
		{
			name:  "group-readable signing key",
			spoil: func(t *testing.T, m *procs.Member) { chmod(t, m, "planet.key", 0o640) },
			want:  func(*procs.Member) []string { return []string{"planet.key", "chmod 600"} },
		},
		{
			name:  "identity is missing",
			spoil: func(t *testing.T, m *procs.Member) { remove(t, m, "identity.secret") },
			want:  func(*procs.Member) []string { return []string{"identity.secret", "hint:"} },
		},
		{
			name: "identity that does not validate",
			spoil: func(t *testing.T, m *procs.Member) {
				edit(t, m, "identity.secret", func(s string) string { return "89abcdef01" + s[10:] })
				remove(t, m, "identity.public")
			},
			want: func(*procs.Member) []string { return []string{"identity.secret", "hint:"} },
		},
		{
			name: "identity of somebody else",
			spoil: func(t *testing.T, m *procs.Member) {
				all, err := os.ReadFile("../internal/demo/identities.txt")
				if err != nil {
					t.Fatal(err)
				}
				other, _, _ := strings.Cut(string(all), "\n")
				edit(t, m, "identity.secret", func(string) string { return other + "\n" })
				edit(t, m, "identity.public", func(string) string { return other[:strings.LastIndexByte(other, ':')] + "\n" })
			},
			want: func(*procs.Member) []string { return []string{"planet", "hint:"} },
		},
		{
			name: "damaged planet",
			spoil: func(t *testing.T, m *procs.Member) {
				edit(t, m, "planet", func(s string) string { return s[:200] + string(s[200]^1) + s[201:] })
			},
			want: func(m *procs.Member) []string { return []string{filepath.Join(m.DataDir, "planet"), "hint:"} },
		},
		{
			name:  "planet cut short",
			spoil: func(t *testing.T, m *procs.Member) { edit(t, m, "planet", func(s string) string { return s[:100] }) },
			want:  func(m *procs.Member) []string { return []string{filepath.Join(m.DataDir, "planet"), "hint:"} },
		},
		{
			name:  "planet is missing",
			spoil: func(t *testing.T, m *procs.Member) { remove(t, m, "planet") },
			want:  func(m *procs.Member) []string { return []string{filepath.Join(m.DataDir, "planet"), "hint:"} },
		},
		{
			name: "directory of something else", empty: true,
			spoil: func(t *testing.T, m *procs.Member) {
				edit(t, m, "PG_VERSION", func(string) string { return "17\n" })
				edit(t, m, "postgresql.conf", func(string) string { return "port = 5432\n" })
			},
			want: func(m *procs.Member) []string { return []string{m.DataDir, "hint:"} },
		},
		{
			name: "directory is a file", empty: true,
			spoil: func(t *testing.T, m *procs.Member) {
				edit(t, m, "file", func(string) string { return "" })
				m.DataDir = filepath.Join(m.DataDir, "file")
			},
			want: func(m *procs.Member) []string { return []string{m.DataDir} },
		},
		{
			name: "made by a newer version",
			spoil: func(t *testing.T, m *procs.Member) {
				edit(t, m, "rootd.json", func(s string) string { return strings.Replace(s, `"format": 1`, `"format": 99`, 1) })
			},
			want: func(*procs.Member) []string { return []string{"rootd.json", "99", "hint:"} },
		},
		{
			name: "damaged log",
			spoil: func(t *testing.T, m *procs.Member) {
				edit(t, m, "raft/raft.db", func(s string) string { return strings.Repeat("x", len(s)) })
			},
			want: func(*procs.Member) []string { return []string{"raft.db"} },
		},
		{
			name: "unknown setting",
			spoil: func(t *testing.T, m *procs.Member) {
				file := filepath.Join(t.TempDir(), "rootd.toml")
				if err := os.WriteFile(file, []byte("[peers]\nkeep_worm = \"25s\"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				m.Args = append(m.Args, "-config", file)
			},
			want: func(*procs.Member) []string { return []string{"rootd.toml:2", "keep_worm", "peers.keep_warm"} },
		},
		{
			name: "configuration file is missing", empty: true,
			spoil: func(_ *testing.T, m *procs.Member) { m.Args = append(m.Args, "-config", "/nonexistent/rootd.toml") },
			want:  func(*procs.Member) []string { return []string{"/nonexistent/rootd.toml"} },
		},
		{
			name: "unknown flag", empty: true,
			spoil: func(_ *testing.T, m *procs.Member) { m.Args = append(m.Args, "-warp", "9") },
			want:  func(*procs.Member) []string { return []string{"-warp", "-help"} },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := procs.MemberTest(t, b.rootd())
			if !tt.empty {
				clone(t, m, made)
			}
			top := m.DataDir
			tt.spoil(t, m)
			before := tree(t, top)
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			refused(t, m.Process(), tt.want(m)...)
			unchanged(t, top, before)
		})
	}
}

// clone gives m the files of another member, with their modes.
func clone(t *testing.T, m, of *procs.Member) {
	t.Helper()
	from := os.DirFS(of.DataDir)
	if err := os.CopyFS(m.DataDir, from); err != nil {
		t.Fatal(err)
	}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(m.DataDir, name), info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, m *procs.Member, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(m.DataDir, file), mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, m *procs.Member, file string) {
	t.Helper()
	if err := os.Remove(filepath.Join(m.DataDir, file)); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file of the data directory, or makes one, and keeps its mode.
func edit(t *testing.T, m *procs.Member, file string, change func(string) string) {
	t.Helper()
	path := filepath.Join(m.DataDir, filepath.FromSlash(file))
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(old))), 0o600); err != nil {
		t.Fatal(err)
	}
}
