package datadir

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/pki"
)

// intent is the content of join.json: a machine is about to join the cluster of this CA.
type intent struct {
	CA    string    `json:"ca"` // fingerprint
	Begun time.Time `json:"begun"`
}

// Joining is a directory in which a join was begun. Its lock is held until Finish or Close.
type Joining struct {
	Path string
	// Key is the node key. It is made once: who runs the join again, asks for a certificate of the same key.
	Key     *pki.Key
	Resumed bool // an interrupted join began it

	mark string // the file that says what was begun: FileJoin, or FileRestore
	lock *lock
}

// Joined is what a member that joins is handed. See [Joining.Finish].
type Joined struct {
	Name        string
	Address     string
	Endpoints   []netip.AddrPort
	ClusterName string
	Keys        pki.Keys
	Authority   *pki.Authority // nil: not handed out
	Identity    *vl1.SecretIdentity
	Planet      []byte
	PlanetKey   *vl1.SigningKey // nil: kept elsewhere
	Contacts    []Contact
	Former      []Contact // see Meta.Former
	Now         time.Time
}

// JoinFound is what a join would find in a directory.
type JoinFound struct {
	Dir *Dir     // a member of the cluster already: nothing is left to be done here. nil: it is not
	Key *pki.Key // of a join that was begun; nil: none was
}

// FindJoin looks what a join into the cluster of the CA would find, and changes nothing. It refuses what [BeginJoin] would.
func FindJoin(path string, ca pki.Fingerprint) (*JoinFound, error) {
	s, err := inspect(path)
	if err != nil {
		return nil, err
	}
	switch s {
	case stateMissing, stateEmpty:
		return &JoinFound{}, nil
	case stateJoining:
		in, err := readIntent(path)
		if err != nil {
			return nil, err
		}
		if in.CA != ca.String() {
			return nil, &Error{
				Path: filepath.Join(path, FileJoin), Err: ErrForeign, Why: "a join into another cluster was begun here",
				Way: "finish it with a token of that cluster, or name another directory with --data-dir",
			}
		}
		k, err := readNodeKey(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return &JoinFound{Key: k}, err
	case stateRestoring:
		return nil, restoreUnfinished(path)
	case stateReady:
		d, err := Read(path)
		if err != nil {
			return nil, err
		}
		if d.Keys.Bundle != nil && d.Keys.Bundle.Has(ca) {
			return &JoinFound{Dir: d}, nil
		}
		return nil, &Error{
			Path: path, Err: ErrForeign, Why: fmt.Sprintf("is the directory of member %s of another cluster (%s, root %s)", d.Meta.Name, d.Meta.ClusterLabel(), d.Identity.Address),
			Way: "name an empty or a new directory with --data-dir; a root that runs alone cannot become part of another",
		}
	}
	return nil, &Error{
		Path: path, Err: ErrForeign, Why: "holds files of a root that was not finished",
		Way: "finish it with rootctl init, or name an empty or a new directory with --data-dir",
	}
}

// BeginJoin prepares a directory for a join into the cluster of the CA, or goes on with one that was interrupted: it takes the
// lock, leaves a mark that keeps everybody from making a root there, and makes the node key. A directory that is a member of
// that cluster already is refused with [fs.ErrExist].
func BeginJoin(path string, ca pki.Fingerprint, now time.Time) (_ *Joining, err error) {
	if found, err := FindJoin(path, ca); err != nil {
		return nil, err
	} else if found.Dir != nil {
		return nil, alreadyMember(path, found.Dir)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	l, err := acquire(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.release())
		}
	}()
	found, err := FindJoin(path, ca) // again: now nobody else changes it
	if err != nil {
		return nil, err
	}
	if found.Dir != nil {
		return nil, alreadyMember(path, found.Dir)
	}
	removeTemp(path)
	if file := filepath.Join(path, FileJoin); !exists(file) {
		b, err := json.MarshalIndent(intent{CA: ca.String(), Begun: now.UTC().Truncate(time.Second)}, "", "  ")
		if err != nil {
			return nil, err
		}
		if err := CreateFile(file, append(b, '\n'), 0o644); err != nil {
			return nil, fmt.Errorf("create %s: %w", FileJoin, err)
		}
	}
	key, err := nodeKey(path)
	if err != nil {
		return nil, err
	}
	return &Joining{Path: path, Key: key, Resumed: found.Key != nil, mark: FileJoin, lock: l}, nil
}

// Finish writes what the cluster has handed out, rootd.json last, and returns the directory with its lock. Interrupted at any
// moment, the next BeginJoin and Finish complete it. What cannot be written without replacing an identity or a key is
// refused before anything is.
func (j *Joining) Finish(o Joined) (*Dir, error) {
	if err := j.check(&o); err != nil {
		return nil, err
	}
	if err := writeKeys(j.Path, o.Keys); err != nil {
		return nil, err
	}
	secrets := []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{FileSecret, []byte(o.Identity.SecretString() + "\n"), 0o600},
		{FilePublic, []byte(o.Identity.Identity.String() + "\n"), 0o644},
	}
	if o.Authority != nil {
		b, err := o.Authority.PEM()
		if err != nil {
			return nil, err
		}
		if err := WriteFile(filepath.Join(j.Path, FileCAKey), b, 0o600); err != nil { // it may have been rotated since
			return nil, fmt.Errorf("write %s: %w", FileCAKey, err)
		}
	}
	if o.PlanetKey != nil {
		secrets = append(secrets, struct {
			name string
			data []byte
			mode fs.FileMode
		}{FileKey, []byte(o.PlanetKey.SecretString() + "\n"), 0o600})
	}
	for _, f := range secrets {
		if file := filepath.Join(j.Path, f.name); !exists(file) {
			if err := CreateFile(file, f.data, f.mode); err != nil {
				return nil, fmt.Errorf("create %s: %w", f.name, err)
			}
		}
	}
	if err := WriteFile(filepath.Join(j.Path, FilePlanet), o.Planet, 0o644); err != nil { // a newer one may have come since
		return nil, fmt.Errorf("write %s: %w", FilePlanet, err)
	}
	self := o.Keys.Credential.Self()
	m := Meta{
		Format: formatJoined, Name: o.Name, Cluster: self.Cluster.String(), Created: o.Now.UTC().Truncate(time.Second),
		ClusterName: o.ClusterName, Member: self.ID, Address: o.Address, Joined: true, Endpoints: o.Endpoints, Contacts: o.Contacts,
		Former: o.Former,
	}
	if err := m.create(j.Path); err != nil {
		return nil, err
	}
	_ = os.Remove(filepath.Join(j.Path, j.mark)) // Open does it again
	d, err := Read(j.Path)
	if err != nil {
		return nil, err
	}
	d.Created = true
	d.lock, j.lock = j.lock, nil
	return d, nil
}

// check refuses what does not belong together, or to what is there.
func (j *Joining) check(o *Joined) error {
	if o.Name == "" || o.Identity == nil || o.Keys.Credential == nil {
		return errors.New("join: name, identity or certificate is missing")
	}
	if _, err := pki.NewKeychain(o.Keys); err != nil {
		return err
	}
	self := o.Keys.Credential.Self()
	if o.Authority != nil && o.Authority.Cluster() != self.Cluster {
		return fmt.Errorf("join: %v, the certificate is of cluster %v", o.Authority, self.Cluster)
	}
	if mine, theirs := keyText(j.Key), keyText(o.Keys.Credential.Key()); !bytes.Equal(mine, theirs) {
		return errors.New("join: the certificate is for another key than " + FileNodeKey)
	}
	w, err := checkPlanet("the cluster's planet", o.Planet, o.Identity.Identity)
	if err != nil {
		return err
	}
	if o.PlanetKey != nil && o.PlanetKey.Public() != w.UpdateKey {
		return &Error{Path: "the cluster's planet key", Err: ErrBroken, Why: "is not the one that signs its planet"}
	}
	if file := filepath.Join(j.Path, FileSecret); exists(file) {
		id, err := ReadIdentity(file)
		if err != nil {
			return err
		}
		if id.Identity != o.Identity.Identity {
			return otherIdentity(j.Path, id.Address)
		}
	}
	if o.PlanetKey != nil {
		_, err = readKey(filepath.Join(j.Path, FileKey), w)
	}
	return err
}

// Abandon undoes BeginJoin if that began the join, for a machine that was refused. A join that was resumed stays: the cluster may know
// its key.
func (j *Joining) Abandon() error {
	if j.Resumed {
		return nil
	}
	for _, name := range []string{FileNodeKey, j.mark} { // the mark goes last: a key alone looks like a half-made root
		if err := os.Remove(filepath.Join(j.Path, name)); err != nil {
			return fmt.Errorf("undo join: %w", err)
		}
	}
	return nil
}

// Close releases the lock, if Finish has not handed it on. The join can be gone on with later.
func (j *Joining) Close() error {
	if j.lock == nil {
		return nil
	}
	err := j.lock.release()
	j.lock = nil
	return err
}

func readIntent(path string) (intent, error) {
	var in intent
	file := filepath.Join(path, FileJoin)
	b, err := os.ReadFile(file)
	if err != nil {
		return in, fileError(file, err)
	}
	if err := json.Unmarshal(b, &in); err != nil || in.CA == "" {
		return in, &Error{Path: file, Err: ErrBroken, Why: "damaged", Way: "name a new directory with --data-dir"}
	}
	return in, nil
}

func joinUnfinished(path string) error {
	return &Error{
		Path: path, Err: ErrMissing, Why: "a join was begun here and is not finished",
		Way: "run the same rootctl join again; it goes on where it was",
	}
}

func alreadyMember(path string, d *Dir) error {
	return &Error{
		Path: path, Err: fs.ErrExist, Why: fmt.Sprintf("is a member of this cluster already: %v", d.Keys.Credential.Self()),
		Way: "start it: rootd -data-dir " + path,
	}
}

// keyText is the key as PEM, to compare it.
func keyText(k *pki.Key) []byte {
	b, err := k.PEM()
	if err != nil {
		return nil
	}
	return b
}

// chainPEM is the certificate and its CA's.
func chainPEM(c *pki.Credential) []byte {
	var out []byte
	for _, der := range c.TLS().Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
