package restore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/pki"
)

// ArchiveOptions say how to begin a cluster from an archive. Progress, Logger and the secrets may be left out.
type ArchiveOptions struct {
	Path string // of the archive
	// Key returns what opens the secrets of the archive. It is called only if there are any.
	Key func(*snapshot.Meta) (snapshot.Key, error)
	// Secrets that are kept elsewhere. They come before those in the archive.
	Secrets snapshot.Secrets

	Dir       string // data directory: missing or empty
	Name      string // of the member
	Address   string // host:port at which other members will dial it
	Endpoints []netip.AddrPort
	Force     bool // although the cluster is alive
	Now       func() time.Time
	Logger    *slog.Logger
	Progress  func(read, total int64)
}

// Founding is what [FromArchive] would do, or has done.
type Founding struct {
	DataDir     string         `json:"data_dir"`
	Archive     *snapshot.Meta `json:"archive"`
	Cluster     string         `json:"cluster"`
	ClusterName string         `json:"cluster_name"`
	Root        string         `json:"address"`
	Name        string         `json:"name"`
	Member      uint16         `json:"member_id"`
	Address     string         `json:"cluster_address"`
	Epoch       string         `json:"epoch"` // of the archive
	Next        string         `json:"next_epoch"`
	Peers       int            `json:"peers"`
	PlanetKey   bool           `json:"has_signing_key"`
	Others      []Other        `json:"others"`
	Planet      Planet         `json:"planet"`
	Contents    string         `json:"contents_hash"`
	Duration    float64        `json:"read_seconds"` // to read and check the archive
	Done        bool           `json:"done"`
}

// Archive is an archive that was read and checked, whole, and that nothing stands against.
type Archive struct {
	o       ArchiveOptions
	fsm     *fsm.FSM
	secrets snapshot.Secrets
	self    member
	before  pki.Epoch
	plan    *Founding
}

// Plan is what [Archive.Found] would do.
func (a *Archive) Plan() *Founding { return a.plan }

// FromArchive reads an archive and looks at everything that could stand against a restore. It writes nothing.
func FromArchive(ctx context.Context, o ArchiveOptions) (*Archive, error) {
	if err := datadir.CheckRestore(o.Dir); err != nil {
		return nil, err
	}
	a := &Archive{o: o}
	meta, took, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	st := a.fsm.View().State()
	if err := a.checkSecrets(st); err != nil {
		return nil, err
	}
	a.before = pki.Epoch(st.Cluster.Epoch)
	a.self = member{id: uint16(st.NextMemberID()), name: o.Name, address: o.Address, endpoints: o.Endpoints}
	if a.self.id == 0 {
		return nil, errors.New("all 65,535 member IDs have been used")
	}
	raw, next, err := a.self.planet(st, a.secrets.PlanetKey, o.Now())
	if err != nil {
		return nil, err
	}
	a.plan = &Founding{
		DataDir: o.Dir, Archive: meta, Cluster: hex.EncodeToString(st.Cluster.ID[:]), ClusterName: st.Cluster.Name, Root: st.Cluster.Root.Address.String(),
		Name: o.Name, Member: a.self.id, Address: o.Address, Epoch: a.before.String(), Peers: st.Peers, PlanetKey: a.secrets.PlanetKey != nil,
		Planet: planetOf(st, raw, next), Contents: st.Contents().String(), Duration: took.Seconds(),
		Others: others(ctx, st, a.self.id, a.secrets.Authority.Fingerprint()),
	}
	if err := live(a.plan.Others, false, a.before); err != nil && !o.Force {
		return nil, err
	}
	return a, ctx.Err()
}

// read reads the archive into a state machine: nothing in it is believed before its last byte was checked.
func (a *Archive) read(ctx context.Context) (*snapshot.Meta, time.Duration, error) {
	began := time.Now()
	file, err := os.Open(a.o.Path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &datadir.Error{Path: a.o.Path, Err: fs.ErrInvalid, Why: "is no regular file", Way: "name the file of an archive: rootctl snapshot save"}
	}
	in, err := snapshot.Open(&counted{ctx: ctx, r: file, total: info.Size(), note: a.o.Progress})
	if err != nil {
		return nil, 0, named(a.o.Path, err)
	}
	if a.fsm, err = newFSM(); err != nil {
		return nil, 0, err
	}
	state := in.State()
	if err := a.fsm.Restore(io.NopCloser(state)); err != nil {
		if _, rerr := state.Read(make([]byte, 1)); rerr != nil && !errors.Is(rerr, io.EOF) {
			err = rerr // the archive says it better than the state in it
		}
		return nil, 0, named(a.o.Path, in.StateError(err))
	}
	took := time.Since(began)
	meta := in.Meta()
	if err := a.sameHash(meta); err != nil {
		return nil, 0, err
	}
	if !a.fsm.View().State().Cluster.Bootstrapped() {
		return nil, 0, named(a.o.Path, fmt.Errorf("%w: its state is of no cluster", snapshot.ErrDamaged))
	}
	if !meta.Secrets.Any() {
		return meta, took, nil
	}
	key, err := a.o.Key(meta)
	if err != nil {
		return nil, 0, err
	}
	s, err := in.OpenSecrets(key)
	if err != nil {
		return nil, 0, named(a.o.Path, err)
	}
	a.secrets = *s
	return meta, took, nil
}

// sameHash compares the state that was read with what the archive says of it, if it has the format that such a state is written in today.
// Otherwise its own hash, which was checked as it was read, has to do.
func (a *Archive) sameHash(meta *snapshot.Meta) error {
	frozen, err := a.fsm.Freeze()
	if err != nil {
		return err
	}
	defer frozen.Release()
	if frozen.Format() != meta.StateFormat {
		return nil
	}
	if got := frozen.Hash().String(); got != meta.StateHash {
		return named(a.o.Path, fmt.Errorf("%w: its state has hash %.12s…, it says %.12s…", snapshot.ErrDamaged, got, meta.StateHash))
	}
	return nil
}

// checkSecrets takes those given instead of those in the archive, and refuses what is missing or of another root.
func (a *Archive) checkSecrets(st *fsm.State) error {
	s, given := &a.secrets, &a.o.Secrets
	if given.Identity != nil {
		s.Identity = given.Identity
	}
	if given.Authority != nil {
		s.Authority = given.Authority
	}
	if given.PlanetKey != nil {
		s.PlanetKey = given.PlanetKey
	}
	missing := func(what, flag string) error {
		return &datadir.Error{Path: a.o.Path, Err: snapshot.ErrNoSecret, Why: "does not hold " + what, Way: "name the file that does: " + flag}
	}
	foreign := func(what string) error {
		return &datadir.Error{Path: what, Err: datadir.ErrForeign, Why: "is not that of the cluster in " + a.o.Path, Way: "leave it out, or name the right one"}
	}
	switch {
	case s.Identity == nil:
		return missing("the root's identity", "--identity identity.secret")
	case s.Authority == nil:
		return missing("the key of the cluster's authority", "--ca ca.key")
	case s.Identity.Identity != st.Cluster.Root:
		return foreign("the identity")
	case s.Authority.Cluster() != pki.ClusterID(st.Cluster.ID):
		return foreign("the authority")
	case s.PlanetKey != nil && st.Planet != nil && s.PlanetKey.Public() != st.Planet.World.UpdateKey:
		return foreign("the planet key")
	}
	return nil
}

// Found writes the data directory of the first member of the next epoch. After an error, or a crash, the directory holds the
// beginning of a restore, which can be run again, or nothing.
func (a *Archive) Found() (_ *Founding, err error) {
	now, st, s := a.o.Now(), a.fsm.View().State(), &a.secrets
	j, err := datadir.BeginRestore(a.o.Dir, s.Authority.Cluster(), now)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Undo())
		}
		err = errors.Join(err, j.Close())
	}()
	next := a.before.Next(now)
	c, _, err := a.self.sign(s.Authority, next, j.Key, now)
	if err != nil {
		return nil, err
	}
	bundle, err := pki.NewBundle(s.Authority.Certificate())
	if err != nil {
		return nil, err
	}
	commands := []fsm.Command{a.self.epoch(next, c.Self().KeyHash)}
	planet, _, err := a.self.planet(st, s.PlanetKey, now)
	switch {
	case err != nil:
		return nil, err
	case planet != nil:
		commands = append(commands, &fsm.PublishPlanet{World: planet})
	case st.Planet != nil:
		planet = st.Planet.Raw
	default:
		return nil, &datadir.Error{Path: a.o.Path, Err: datadir.ErrBroken, Why: "holds no planet", Way: "it was made before the cluster had published one: take a later archive"}
	}
	if err := replica.Seed(replica.SeedOptions{
		Dir: j.RaftDir(), ID: fmt.Sprint(a.self.id), Address: a.self.address, FSM: a.fsm, Term: a.plan.Archive.Term + 1, Last: a.plan.Archive.Index,
		Now: now.UnixMilli(), Logger: a.o.Logger, Commands: commands,
	}); err != nil {
		return nil, err
	}
	d, err := j.Finish(datadir.Joined{
		Name: a.self.name, Address: a.self.address, Endpoints: slices.Clone(a.self.endpoints), ClusterName: st.Cluster.Name,
		Keys: pki.Keys{Credential: c, Bundle: bundle}, Authority: s.Authority, Identity: s.Identity, Planet: planet, PlanetKey: s.PlanetKey,
		Former: contacts(a.plan.Others), Now: now,
	})
	if err != nil {
		return nil, err
	}
	a.plan.Next, a.plan.Done = next.String(), true
	return a.plan, d.Close()
}

// named says which file an error is about, and keeps the way out.
func named(path string, err error) error {
	e := &datadir.Error{Path: path, Err: err, Why: err.Error()}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		e.Way = h.Hint()
	}
	return e
}

// counted reads, until ctx ends, and says how much.
type counted struct {
	ctx         context.Context
	r           io.Reader
	read, total int64
	note        func(read, total int64)
}

func (c *counted) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.read += int64(n)
	if c.note != nil {
		c.note(c.read, c.total)
	}
	return n, err
}

// ReadAuthority reads a file with the authority's key.
func ReadAuthority(path string) (*pki.Authority, error) {
	b, err := datadir.ReadSecret(path)
	if err != nil {
		return nil, err
	}
	a, err := pki.ParseAuthority(b)
	if err != nil {
		return nil, named(path, err)
	}
	return a, nil
}

// ReadSecrets reads the secrets that are kept in files. Empty names are left out.
func ReadSecrets(identity, authority, planetKey string) (s snapshot.Secrets, err error) {
	if identity != "" {
		if s.Identity, err = datadir.ReadIdentity(identity); err != nil {
			return s, err
		}
	}
	if authority != "" {
		if s.Authority, err = ReadAuthority(authority); err != nil {
			return s, err
		}
	}
	if planetKey != "" {
		s.PlanetKey, err = datadir.ReadKey(planetKey)
	}
	return s, err
}
