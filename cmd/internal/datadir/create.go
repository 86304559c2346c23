package datadir

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/pki"
)

// Options say what Create makes where it finds nothing.
type Options struct {
	Name      string              // of the member
	Cluster   string              // name of the cluster, for people; "" = the member's
	Endpoints []netip.AddrPort    // for the planet, in this order; at least one
	WorldID   uint64              // 0 = random
	Identity  *vl1.SecretIdentity // nil = a new one; must be valid
	Planet    []byte              // signed, to be taken over with Identity; nil = a new one
	Key       *vl1.SigningKey     // that signs Planet, or the new planet; nil = kept elsewhere, or a new one
	Now       time.Time           // becomes the planet's timestamp
}

// OpenOrCreate opens the directory, and creates it if it is missing, empty or was not finished.
func OpenOrCreate(path string, o Options) (*Dir, error) {
	d, err := Open(path)
	if errors.Is(err, ErrMissing) {
		return Create(path, o)
	}
	return d, err
}

// Create makes a data directory, or finishes one that an interrupted Create began, and opens it. What is there is
// kept: an identity, a planet or a key is never replaced. A directory that is complete is opened as it is, unless
// it belongs to another identity than the one in o.
func Create(path string, o Options) (*Dir, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s, err := inspect(path)
	if err != nil {
		return nil, err
	}
	switch s {
	case stateJoining:
		return nil, joinUnfinished(path)
	case stateRestoring:
		return nil, restoreUnfinished(path)
	}
	if s == statePartial {
		if err := o.fits(path); err != nil {
			return nil, err
		}
	}
	if s != stateReady {
		if err := create(path, o); err != nil {
			return nil, err
		}
	}
	d, err := Open(path)
	if err != nil {
		return nil, err
	}
	if err := o.sameAs(path, d); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.Created = s != stateReady
	return d, nil
}

// sameAs refuses to go on with a directory that is complete but not what o asks for.
func (o *Options) sameAs(path string, d *Dir) error {
	if o.Identity != nil && d.Identity.Identity != o.Identity.Identity {
		return otherIdentity(path, d.Identity.Address)
	}
	if o.Planet == nil || bytes.Equal(o.Planet, d.PlanetRaw) {
		return nil
	}
	w, _, err := vl1.DecodeWorld(o.Planet)
	if err != nil {
		return err
	}
	if w.ID != d.Planet.ID || w.UpdateKey != d.Planet.UpdateKey {
		return &Error{
			Path: filepath.Join(path, FilePlanet), Err: ErrForeign, Why: fmt.Sprintf("is world %016x, not the one given (%016x)", d.Planet.ID, w.ID),
			Way: "name another directory, or leave out the planet to go on with this one",
		}
	}
	return nil // another version of it: the log knows which is newer
}

func otherIdentity(path string, other vl1.Address) error {
	return &Error{
		Path: path, Err: ErrForeign, Why: "already belongs to the root " + other.String(),
		Way: "name another directory, or leave out the identity to go on with this one",
	}
}

func (o *Options) check() error {
	switch {
	case o.Name == "":
		return errors.New("create data directory: no member name")
	case o.Planet != nil && o.Identity == nil:
		return errors.New("create data directory: a planet without the identity of its root")
	case o.Planet != nil:
		w, err := checkPlanet("the given planet", o.Planet, o.Identity.Identity)
		if err == nil && o.Key != nil && o.Key.Public() != w.UpdateKey {
			err = &Error{Path: "the given key", Err: ErrForeign, Why: "is not the one that signs the given planet"}
		}
		return err
	case len(o.Endpoints) == 0:
		return errors.New("create data directory: no endpoint where clients reach this member: name one")
	case len(o.Endpoints) > vl1.MaxEndpoints:
		return fmt.Errorf("create data directory: %d endpoints, a planet holds at most %d per root", len(o.Endpoints), vl1.MaxEndpoints)
	case slices.Contains(BuiltinWorlds[:], o.WorldID):
		return fmt.Errorf("create data directory: world ID %016x is the one that clients are built with: choose another", o.WorldID)
	}
	return nil
}

// fits refuses a half-made directory whose files are broken or belong to another identity, before anything is written.
func (o *Options) fits(path string) error {
	id, err := readIdentity(path)
	if errors.Is(err, fs.ErrNotExist) {
		if planet := filepath.Join(path, FilePlanet); exists(planet) {
			return &Error{Path: planet, Err: ErrForeign, Why: "is a planet without the identity of its root", Way: "put its " + FileSecret + " beside it, or move it away"}
		}
		_, err := readKey(filepath.Join(path, FileKey), nil)
		return err
	} else if err != nil {
		return err
	}
	if o.Identity != nil && id.Identity != o.Identity.Identity {
		return otherIdentity(path, id.Address)
	}
	planetPath := filepath.Join(path, FilePlanet)
	raw, err := os.ReadFile(planetPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		raw = o.Planet
	case err != nil:
		return fileError(planetPath, err)
	case o.Planet != nil && !bytes.Equal(raw, o.Planet):
		return &Error{Path: planetPath, Err: ErrForeign, Why: "is not the planet given", Way: "name another directory, or move this file away"}
	}
	var planet *vl1.World
	if raw != nil {
		if planet, err = checkPlanet(planetPath, raw, id.Identity); err != nil {
			return err
		}
	}
	if _, err = readKey(filepath.Join(path, FileKey), planet); err != nil {
		return err
	}
	a, err := readAuthority(path, pki.ClusterID{})
	if err != nil || a == nil {
		return err
	}
	return checkCertificates(path, &Meta{Cluster: a.Cluster().String(), Member: firstMember})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// create writes what is missing, the marker last. Each step is finished on disk before the next begins.
func create(path string, o Options) (err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	l, err := acquire(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	if s, err := inspect(path); err != nil || s == stateReady {
		return err // another process was faster
	}
	removeTemp(path)

	id, err := createIdentity(path, o.Identity)
	if err != nil {
		return err
	}
	if err := createPlanet(path, o, id); err != nil {
		return err
	}
	var cluster pki.ClusterID
	_, _ = rand.Read(cluster[:]) // never fails
	if a, err := readAuthority(path, pki.ClusterID{}); err != nil {
		return err
	} else if a != nil {
		cluster = a.Cluster() // an interrupted Create has chosen it
	}
	m := Meta{
		Format: formatFounded, Name: o.Name, Cluster: cluster.String(), ClusterName: o.Cluster, Member: firstMember,
		Created: o.Now.UTC().Truncate(time.Second),
	}
	if err := createCertificates(path, &m); err != nil {
		return err
	}
	return m.create(path)
}

// createIdentity returns the identity that is there, else the given one, else a new one.
func createIdentity(dir string, given *vl1.SecretIdentity) (*vl1.SecretIdentity, error) {
	path := filepath.Join(dir, FileSecret)
	id := given
	if exists(path) {
		var err error
		if id, err = ReadIdentity(path); err != nil {
			return nil, err
		}
	} else {
		h := vl1.NewHasher()
		var err error
		if id == nil {
			if id, err = h.Generate(); err != nil {
				return nil, fmt.Errorf("generate identity: %w", err)
			}
		} else if err := h.Validate(&id.Identity); err != nil {
			return nil, fmt.Errorf("identity %s: %w", id.Address, err)
		}
		if err := CreateFile(path, []byte(id.SecretString()+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("create %s: %w", FileSecret, err)
		}
	}
	if path := filepath.Join(dir, FilePublic); !exists(path) {
		if err := CreateFile(path, []byte(id.Identity.String()+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("create %s: %w", FilePublic, err)
		}
	}
	return id, nil
}

// createPlanet makes the signing key and a planet signed with it, unless there is a planet.
func createPlanet(dir string, o Options, id *vl1.SecretIdentity) error {
	planetPath := filepath.Join(dir, FilePlanet)
	if exists(planetPath) {
		return nil
	}
	keyPath := filepath.Join(dir, FileKey)
	key, err := readKey(keyPath, nil)
	if err != nil {
		return err
	}
	if key == nil && o.Key != nil {
		if err := CreateFile(keyPath, []byte(o.Key.SecretString()+"\n"), 0o600); err != nil {
			return fmt.Errorf("create %s: %w", FileKey, err)
		}
		key = o.Key
	}
	if o.Planet != nil {
		if err := CreateFile(planetPath, o.Planet, 0o644); err != nil {
			return fmt.Errorf("create %s: %w", FilePlanet, err)
		}
		return nil
	}
	if key == nil {
		if key, err = NewKey(keyPath); err != nil {
			return err
		}
	}
	worldID := o.WorldID
	if worldID == 0 {
		worldID = RandomWorldID()
	}
	w := &vl1.World{
		Type: vl1.WorldPlanet, ID: worldID, Timestamp: uint64(o.Now.UnixMilli()), UpdateKey: key.Public(),
		Roots: []vl1.Root{{Identity: id.Identity, Endpoints: o.Endpoints}},
	}
	w.Sign(key)
	raw := w.AppendBinary(nil)
	if _, err := checkPlanet(planetPath, raw, id.Identity); err != nil {
		return err
	}
	if err := CreateFile(planetPath, raw, 0o644); err != nil {
		return fmt.Errorf("create %s: %w", FilePlanet, err)
	}
	return nil
}

// NewKey makes a signing key and writes it to a file that must not exist yet.
func NewKey(path string) (*vl1.SigningKey, error) {
	key, err := vl1.GenerateSigningKey()
	if err != nil {
		return nil, fmt.Errorf("generate signing key: %w", err)
	}
	if err := CreateFile(path, []byte(key.SecretString()+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return key, nil
}

// BuiltinWorlds are the IDs of planets that clients are built with. A planet of the same ID could be replaced by one
// of them.
var BuiltinWorlds = [...]uint64{vl1.WorldIDEarth, vl1.WorldIDMars}

// RandomWorldID returns an ID for a new planet: not 0, and none that clients are built with.
func RandomWorldID() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		id := uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 |
			uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
		if id != 0 && !slices.Contains(BuiltinWorlds[:], id) {
			return id
		}
	}
}
