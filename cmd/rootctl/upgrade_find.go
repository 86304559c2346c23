package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lines of the history that a later run reads.
const (
	lineBegin = "begin "
	lineDone  = "done "
	lineBack  = "taken back "
	lineOf    = "takes back "
	lineRuns  = "command of "
	lineStop  = "stopped at "
)

// find finds the operation that this one is, or goes on with. All clusters of the fleet know of it, so that none is worked on by another
// tool meanwhile; each has the history of its own members.
func (r *rolling) find(seen []*sight) error {
	for _, s := range seen {
		if s.operation.Running && (r.id == "" || r.id == s.operation.ID) {
			r.id = s.operation.ID
		}
	}
	switch {
	case r.id != "" && !r.o.resume && r.o.kind != "rollback" && !r.o.plan:
		o := seen[slices.IndexFunc(seen, func(s *sight) bool { return s.operation.Running })].operation
		return &userError{
			what: fmt.Sprintf("%s by %s is under way since %s, or was interrupted", o.Kind, o.By, o.Began.Local().Format(time.DateTime)),
			hint: "--resume goes on with it, upgrade --rollback takes it back, --abandon ends it as it is",
		}
	case r.id == "" && r.o.resume:
		return &userError{what: "there is nothing to resume", hint: "rootctl upgrade history shows what was done"}
	case r.id == "" && r.o.kind == "rollback":
		// What ended last is taken back.
		for _, s := range seen {
			if s.operation.ID != "" && s.operation.Kind == "upgrade" {
				r.of = s.operation.ID
				r.read(s, r.of)
			}
		}
		if len(r.begun) == 0 {
			return &userError{what: "there is no upgrade to take back", hint: "rootctl upgrade history shows what was done"}
		}
	}
	if r.id != "" {
		for _, s := range seen {
			r.read(s, r.id)
		}
	}
	for _, s := range seen {
		if began, ok := r.levels[s.Cluster]; ok && r.o.kind == "rollback" && s.Level > began {
			return &userError{
				what: fmt.Sprintf("cluster %s uses feature level %d since the upgrade, which began at %d: the older version cannot serve it any more", s.Cluster, s.Level, began),
				hint: "go on to a newer version instead",
			}
		}
	}
	if r.id != "" {
		return nil
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the program instead
	r.id = hex.EncodeToString(id[:])
	return nil
}

// read takes from a cluster's history what an operation did.
func (r *rolling) read(s *sight, id string) {
	for _, l := range s.operation.History {
		if l.ID != id {
			continue
		}
		if of, ok := strings.CutPrefix(l.Text, lineOf); ok { // what that did, this one goes on from
			r.read(s, of)
		}
		if _, text, ok := strings.Cut(l.Text, ", feature level "); ok && r.levels[s.Cluster] == 0 {
			r.levels[s.Cluster], _ = strconv.Atoi(text)
		}
		if name, ok := strings.CutPrefix(l.Text, lineBegin); ok {
			name, _, _ = strings.Cut(name, " ")
			r.begun = append(r.begun, name)
			delete(r.done, name)
		}
		for _, end := range []string{lineDone, lineBack, lineStop} { // the command has ended
			if text, ok := strings.CutPrefix(l.Text, end); ok {
				name, _, _ := strings.Cut(text, " ")
				delete(r.runs, strings.TrimSuffix(name, ":"))
			}
		}
		if text, ok := strings.CutPrefix(l.Text, lineRuns); ok {
			if name, at, ok := strings.Cut(text, ": "); ok {
				r.runs[name] = at
			}
		}
		if name, ok := strings.CutPrefix(l.Text, lineDone); ok {
			name, _, _ = strings.Cut(name, " ")
			r.done[name] = true
		}
		if name, ok := strings.CutPrefix(l.Text, lineBack); ok { // as if it had not been touched
			name, _, _ = strings.Cut(name, " ")
			delete(r.done, name)
			r.begun = slices.DeleteFunc(r.begun, func(b string) bool { return b == name })
		}
	}
}
