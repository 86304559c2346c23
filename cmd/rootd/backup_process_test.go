package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
)

// recipient is a public key of age whose secret half nobody kept.
const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// state takes the state through a member and reads it to its end.
func (f *fleet) state(member int, stale bool) (snapshot.Meta, *fsm.State, error) {
	f.Helper()
	var m snapshot.Meta
	head, r, err := f.admin(member).Snapshot(longDeadline(f.T), stale)
	if err != nil {
		return m, nil, err
	}
	defer r.Close()
	if err := json.Unmarshal(head.Meta, &m); err != nil {
		return m, nil, err
	}
	st, err := fsm.NewReader(r)
	if err != nil {
		return m, nil, err
	}
	if err := st.Peers(func(*table.Record) error { return nil }); err != nil {
		return m, nil, err
	}
	if got := st.Hash().String(); got != m.StateHash {
		err = fmt.Errorf("state hash is %s, announced was %s", got, m.StateHash)
	}
	return m, st.State(), err
}

// archived: whichever member is asked gives the state of the leader, or, stale, its own.
func (f *fleet) archived(*vl1.World, *device) {
	leader := f.members[f.leader(0, "")]
	for i := range f.members {
		m, st, err := f.state(i, false)
		if err != nil {
			f.Fatalf("member %d: %v", i+1, err)
		}
		if f.members[i] == leader && m.Member != fmt.Sprint("m", i+1) || m.Stale || len(st.Members) != 3 || m.Counts.Members != 3 || st.Peers != m.Counts.Peers {
			f.Errorf("through member %d: %+v", i+1, m)
		}
		if m, _, err = f.state(i, true); err != nil || m.Member != fmt.Sprint("m", i+1) || m.Stale != (f.members[i] != leader) {
			f.Errorf("of member %d: %+v, %v", i+1, m, err)
		}
	}
}

// backups: the agent makes one at once, and an operator another; the cluster knows both.
func (b binaries) backups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	m := procs.MemberTest(t, b.rootd(), "-backup-store", dir, "-backup-every", "1h", "-backup-recipients", recipient)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a backup", func() bool {
		return strings.Contains(b.ctl(t, m, "planet", "key", "status", "-o", "json"), `"safe": true`)
	})
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 1 {
		t.Fatalf("%d files in the directory, %v", len(es), err)
	}
	file := filepath.Join(dir, es[0].Name())
	if said := b.ctl(t, m, "snapshot", "inspect", file); !strings.Contains(said, "identity, authority, planet key; sealed to 1 recipient") {
		t.Errorf("the backup is\n%s", said)
	}
	if ps := strings.Join(status(t, m).Problems, "; "); strings.Contains(ps, "backup") {
		t.Errorf("problems: %s", ps)
	}
	mine := filepath.Join(dir, "mine.rootd")
	b.ctl(t, m, "snapshot", "save", mine, "-r", recipient)
	if said := b.ctl(t, m, "planet", "key", "status"); !strings.Contains(said, "mine.rootd") {
		t.Errorf("the cluster does not know of the newest backup:\n%s", said)
	}
	b.ctl(t, m, "snapshot", "verify", mine)
	b.ctl(t, m, "snapshot", "diff", file, mine)
	b.drill(t, m)
}

// drill: real members in a network of their own get what the archive has, and nothing of them stays.
func (b binaries) drill(t *testing.T, m *procs.Member) {
	t.Helper()
	dir := t.TempDir()
	phrase, file, room := filepath.Join(dir, "passphrase"), filepath.Join(dir, "a.rootd"), filepath.Join(dir, "room")
	if err := errors.Join(os.WriteFile(phrase, []byte("correct horse battery\n"), 0o600), os.Mkdir(room, 0o700)); err != nil {
		t.Fatal(err)
	}
	b.ctl(t, m, "snapshot", "save", file, "--passphrase-file", phrase)
	p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: []string{"snapshot", "drill", file, "--passphrase-file", phrase, "--rootd", b.rootd(), "--dir", room, "--members", "2"}})
	code, err := p.Wait(longDeadline(t))
	switch said := p.Output(); {
	case err == nil && code != 0 && strings.Contains(said, "make a network"):
		t.Logf("no drill on this machine:\n%s", said)
	case err != nil || code != 0 || !strings.Contains(said, "passed: 2 members"):
		t.Errorf("drill: exit code %d, %v:\n%s", code, err, said)
	}
	if es, err := os.ReadDir(room); err != nil || len(es) != 0 {
		t.Errorf("a drill left %v, %v", es, err)
	}
}
