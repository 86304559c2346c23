package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/pki"
)

func memberID(id uint16) table.MemberID { return table.MemberID(id) }

// MemberOptions say how to go on from the last member. Dir is required.
type MemberOptions struct {
	Dir    string // data directory, of a member that does not run
	Force  bool   // although a quorum is alive
	Now    func() time.Time
	Logger *slog.Logger // nil: none
}

// Recovery is what [FromMember] would do, or has done.
type Recovery struct {
	DataDir     string    `json:"data_dir"`
	Cluster     string    `json:"cluster"`
	ClusterName string    `json:"cluster_name"`
	Root        string    `json:"address"`
	Name        string    `json:"name"`
	Member      uint16    `json:"member_id"`
	Epoch       string    `json:"epoch"` // the one that ends
	Next        string    `json:"next_epoch"`
	Committed   uint64    `json:"committed_index"` // entries up to here are safe
	Last        uint64    `json:"last_index"`      // those up to here become part of the cluster, though they may never have been committed
	Time        time.Time `json:"time"`            // of the last entry: what others committed later is lost
	Peers       int       `json:"peers"`
	Others      []Other   `json:"others"`
	Planet      Planet    `json:"planet"`
	Contents    string    `json:"contents_hash"` // of what stays the same
	Done        bool      `json:"done"`
	Kept        string    `json:"old_log,omitempty"` // where the old log is
}

// Plan says what FromMember would do. It changes nothing.
func (o MemberOptions) Plan(ctx context.Context) (*Recovery, error) {
	d, err := datadir.Read(o.Dir)
	if err != nil {
		return nil, err
	}
	f, err := newFSM()
	if err != nil {
		return nil, err
	}
	w, err := o.look(ctx, d, f)
	if err != nil {
		return nil, err
	}
	return w.plan, nil
}

// FromMember makes the directory of a member that does not run the whole cluster, in its next epoch.
func FromMember(ctx context.Context, o MemberOptions) (*Recovery, error) {
	d, err := datadir.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	r, err := o.recover(ctx, d)
	return r, errors.Join(err, d.Close())
}

// work is a recovery that was planned.
type work struct {
	plan   *Recovery
	self   member
	survey *replica.Survey
	before pki.Epoch
}

func (o MemberOptions) look(ctx context.Context, d *datadir.Dir, f *fsm.FSM) (*work, error) {
	refuse := func(why, way string) (*work, error) {
		return nil, &datadir.Error{Path: d.Path, Err: fs.ErrInvalid, Why: why, Way: way}
	}
	switch {
	case d.Meta.Member == 0:
		return refuse("was made by a version without clusters", "start rootd once, then it has a certificate")
	case d.Authority == nil:
		return refuse("does not hold the key of the cluster's authority ("+datadir.FileCAKey+")", "put it there from where it is kept: the old members would believe nobody else")
	}
	s, err := replica.Examine(replica.Options{Dir: d.RaftDir(), FSM: f, Logger: o.Logger})
	if errors.Is(err, replica.ErrInUse) {
		return refuse("rootd runs on it", "stop it first; if it has no leader, that is what rootctl recover is for")
	}
	if err != nil {
		return nil, err
	}
	st := f.View().State()
	m, ok := st.Member(memberID(uint16(d.Meta.Member)))
	switch {
	case st.Halted != "":
		return refuse("its log cannot be applied: "+st.Halted, "use the version of rootd that wrote it")
	case !st.Cluster.Bootstrapped():
		return refuse("its log is empty", "recover from another member, or from an archive: rootctl init --from")
	case !ok:
		return refuse("its log does not know it as a member: it was removed, or never caught up", "recover from another member, or from an archive: rootctl init --from")
	case len(st.Members) == 1 && len(st.Voters.Servers) <= 1:
		return refuse("is the only member of its cluster already", "start rootd: nothing is to be recovered")
	}
	w := &work{before: pki.Epoch(st.Cluster.Epoch), survey: s, self: member{id: uint16(m.ID), name: m.Name, address: m.Address, endpoints: m.Endpoints}}
	w.plan = &Recovery{
		DataDir: d.Path, Cluster: d.Meta.Cluster, ClusterName: st.Cluster.Name, Root: st.Cluster.Root.Address.String(), Name: m.Name, Member: uint16(m.ID),
		Epoch: w.before.String(), Committed: s.Committed, Last: s.Last, Time: time.UnixMilli(st.Time).UTC(), Peers: st.Peers, Contents: st.Contents().String(),
		Others: others(ctx, st, uint16(m.ID), d.Keys.Credential.Self().CA),
	}
	_, next, err := w.self.planet(st, nil, o.Now())
	if err != nil {
		return nil, err
	}
	w.plan.Planet = planetOf(st, nil, next)
	w.plan.Planet.Signed = next != nil && next.Changed() && d.SigningKey != nil
	votes := false
	for _, x := range s.Servers {
		votes = votes || x.Voter && x.ID == fmt.Sprint(m.ID)
	}
	if err := live(w.plan.Others, votes, w.before); err != nil && !o.Force {
		return w, err
	}
	return w, ctx.Err()
}

func (o MemberOptions) recover(ctx context.Context, d *datadir.Dir) (*Recovery, error) {
	f, err := newFSM()
	if err != nil {
		return nil, err
	}
	w, err := o.look(ctx, d, f)
	if err != nil {
		return nil, err
	}
	now, st := o.Now(), f.View().State()
	next := w.before.Next(now)
	self := d.Keys.Credential.Self()
	_, chain, err := w.self.sign(d.Authority, next, d.Keys.Credential.Key(), now)
	if err != nil {
		return nil, err
	}
	commands := []fsm.Command{w.self.epoch(next, self.KeyHash)}
	raw, _, err := w.self.planet(st, d.SigningKey, now)
	if err != nil {
		return nil, err
	}
	if raw != nil {
		commands = append(commands, &fsm.PublishPlanet{World: raw})
	}
	dir, err := d.NewRaftDir()
	if err != nil {
		return nil, err
	}
	if err := replica.Seed(replica.SeedOptions{
		Dir: dir, ID: fmt.Sprint(w.self.id), Address: w.self.address, FSM: f, Term: w.survey.Term + 1, Last: w.survey.Last,
		Now: now.UnixMilli(), Logger: o.Logger, Commands: commands,
	}); err != nil {
		d.DropRaftDir()
		return nil, err
	}
	p := w.plan
	if p.Kept, err = d.Recover(datadir.Recovery{Chain: chain, Former: contacts(p.Others)}, w.before); err != nil {
		return nil, err
	}
	p.Next, p.Done = next.String(), true
	return p, nil
}

func newFSM() (*fsm.FSM, error) { return fsm.New(fsm.Options{}) }
