package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// rotated: the CA is replaced in three steps, of which none begins while a member is away; a member is killed in between, and
// the rotation goes on from where it was. The cluster writes its log all the time.
func (f *fleet) rotated(planet *vl1.World, _ *device) {
	ctx := longDeadline(f.T)
	leader := f.leader(0, "")
	victim := (leader + 1) % 3
	ann := f.operator(leader, leader, "ann", false)
	if _, err := f.admin(leader).RotateCA(ctx, admin.RotateOptions{Begin: true}); !errors.Is(err, admin.ErrRefused) || !strings.Contains(err.Error(), "done already") {
		f.Errorf("the CA is minutes old: %v", err)
	}
	before, err := f.admin(victim).CAStatus(ctx)
	if err != nil || len(before.CAs) != 1 || before.Step != admin.CAStepNone || len(before.Members) != 3 {
		f.Fatalf("%+v, %v", before, err)
	}
	old := before.CAs[0].Fingerprint

	steps := []string{}
	o := admin.RotateOptions{Begin: true, Force: true}
	for range 4 {
		var st *admin.CAStatus
		eventually(f.T, "a step of the rotation", func() bool { // for a moment nobody dials one that has just refused
			if st, err = f.admin(leader).RotateCA(ctx, o); err != nil {
				f.Log(err)
			}
			return err == nil
		})
		steps = append(steps, st.Step)
		if st.Step == admin.CAStepNone {
			break
		}
		o = admin.RotateOptions{}
		f.members[victim].Kill()
		if _, err := f.admin(leader).RotateCA(ctx, o); !errors.Is(err, admin.ErrRefused) || !strings.Contains(err.Error(), f.name(victim)) {
			f.Errorf("a step without a member: %v", err)
		}
		f.start(victim)
		if err := f.members[victim].WaitReady(ctx); err != nil {
			f.Fatal(err)
		}
		d := f.device(17+len(steps), planet, victim) // what one sees all learn
		d.hello(f.T)
		waitKnown(f.T, f.members[leader], d.id.Address)
	}
	if got, want := strings.Join(steps, " "), "renew forget "; got != want {
		f.Errorf("steps %q, want %q", got, want)
	}
	st, err := f.admin(victim).CAStatus(ctx)
	if err != nil || len(st.CAs) != 1 || st.CAs[0].Fingerprint == old || st.Step != admin.CAStepNone {
		f.Fatalf("%+v, %v", st, err)
	}
	now := st.CAs[0].Fingerprint
	for i, m := range st.Members {
		if m.Certificate != now || len(m.Trusts) != 1 || m.Trusts[0] != now || m.Signs != now {
			f.Errorf("%+v", m)
		}
		dir, err := datadir.Read(f.members[i].DataDir)
		if err != nil {
			f.Fatal(err)
		}
		if dir.Authority.Fingerprint().String() != now || dir.Keys.Credential.Self().CA.String() != now || len(dir.Keys.Bundle.Fingerprints()) != 1 {
			f.Errorf("on the disk of %s: %v, %v", m.Name, dir.Authority, dir.Keys.Credential)
		}
		if _, err := os.Stat(filepath.Join(f.members[i].DataDir, datadir.FileCANext)); !errors.Is(err, os.ErrNotExist) {
			f.Errorf("%s keeps the key that was next: %v", m.Name, err)
		}
	}
	if st, err := f.admin(victim).RotateCA(ctx, admin.RotateOptions{}); err != nil || st.Step != admin.CAStepNone || st.CAs[0].Fingerprint != now {
		f.Errorf("run again when it was done: %+v, %v", st, err)
	}
	// What rested on the old CA is worth nothing, what is made now is good.
	ann.Close()
	if _, err := ann.Status(ctx); err == nil {
		f.Error("an operator's certificate of the old CA is good")
	}
	again := f.operator(leader, victim, "ann", false)
	eventually(f.T, "a new operator is let in", func() bool { _, err := again.Status(ctx); return err == nil })
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
}
