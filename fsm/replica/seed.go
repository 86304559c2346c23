package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
)

// Survey is what the directory of a replica that does not run holds, and what nobody else may have.
type Survey struct {
	Snapshot  uint64   // index of the newest snapshot; 0: none
	Committed uint64   // index of the last entry that is known to be committed
	First     uint64   // of the first entry of the log; 0: it is empty
	Last      uint64   // of the last entry: those after Committed may have been committed, or not
	Term      uint64   // the greatest one that this member has heard of
	Servers   []Server // of the last configuration
}

// Server is a server in a configuration.
type Server struct {
	ID, Address string
	Voter       bool
}

// Quorum is how many of the servers must vote.
func (s *Survey) Quorum() int {
	voters := 0
	for _, x := range s.Servers {
		if x.Voter {
			voters++
		}
	}
	return voters/2 + 1
}

// Examine brings o.FSM, which is at the beginning of the log, to the last entry in o.Dir, committed or not, and says what is
// there. It changes nothing but counters of the database. The replica must not run: [ErrInUse]. Of the options it wants Dir, FSM and Logger.
func Examine(o Options) (*Survey, error) {
	o = o.withDefaults()
	if _, err := os.Stat(filepath.Join(o.Dir, "raft.db")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("examine %s: there is no log", o.Dir)
	}
	st, err := openStores(o)
	if err != nil {
		return nil, err
	}
	defer st.close()
	rec, err := recoverState(st, o)
	if err != nil {
		return nil, err
	}
	first, last, err := st.log.bounds()
	if err != nil {
		return nil, err
	}
	s := &Survey{Snapshot: rec.snapshot, First: first, Committed: max(rec.snapshot, st.log.persisted()), Last: max(rec.snapshot, last)}
	if rec.sole {
		s.Committed = s.Last
	}
	re := replay{s: st, fsm: o.FSM, rec: &rec}
	if err := re.run(s.Committed+1, last, true); err != nil {
		return nil, err
	}
	if s.Term, err = st.bolt.GetUint64([]byte("CurrentTerm")); err != nil {
		return nil, fmt.Errorf("read term from %s: %w", st.path, err)
	}
	for _, x := range o.FSM.View().State().Voters.Servers {
		s.Servers = append(s.Servers, Server(x))
	}
	return s, nil
}

// SeedOptions are what a replica begins with. Last, Commands and Logger may be left out.
type SeedOptions struct {
	Dir         string   // missing or empty
	ID, Address string   // of the one server that there is
	FSM         *fsm.FSM // holds the state
	Term        uint64   // greater than any that the log was ever in
	Last        uint64   // index of the last entry that there ever was; 0: that of the state
	Now         int64    // ms since 1970: when the commands are logged
	Logger      *slog.Logger
	// Commands are applied to the state first, as entries of the log. All of them must succeed.
	Commands []fsm.Command
}

// Seed makes the directory of a replica whose log begins with a snapshot: the state in o.FSM, after the commands, with one
// server, which votes. Whoever joins it gets the snapshot: there is nothing in the log to replay.
func Seed(o SeedOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	index := max(o.Last, o.FSM.View().State().Index)
	for _, c := range o.Commands {
		entry, err := fsm.Encode(c)
		if err != nil {
			return err
		}
		fsm.Stamp(entry, o.Now)
		index++
		if r, ok := o.FSM.Apply(&raft.Log{Index: index, Term: o.Term, Type: raft.LogCommand, Data: entry}).(fsm.Response); !ok || r.Err != nil {
			return fmt.Errorf("begin with %v: %w", c.Kind(), r.Err)
		}
	}
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.Address)}}}
	index++
	o.FSM.StoreConfiguration(index, conf)

	st, err := openStores(Options{Dir: o.Dir, Logger: o.Logger})
	if err != nil {
		return err
	}
	if err := errors.Join(st.seed(&o, index, conf), st.close()); err != nil {
		return fmt.Errorf("make log in %s: %w", o.Dir, err)
	}
	return nil
}

func (s *stores) seed(o *SeedOptions, index uint64, conf raft.Configuration) error {
	exists, err := raft.HasExistingState(s.log, s.bolt, s.snapshots)
	if err != nil {
		return err
	}
	if exists {
		return fs.ErrExist
	}
	if err := s.claim(o.ID); err != nil {
		return err
	}
	state, err := o.FSM.Snapshot()
	if err != nil {
		return err
	}
	defer state.Release()
	_, tr := raft.NewInmemTransport(raft.ServerAddress(o.Address)) // spells addresses
	sink, err := s.snapshots.Create(raft.SnapshotVersionMax, index, o.Term, conf, index, tr)
	if err != nil {
		return err
	}
	if err := state.Persist(sink); err != nil {
		return err
	}
	return s.bolt.SetUint64([]byte("CurrentTerm"), o.Term)
}
