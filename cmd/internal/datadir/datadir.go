// Package datadir keeps the files of a member: its identity, its planet and the key that signs it, its certificate.
//
//	rootd.json        0644  what this directory is: format, member, cluster, creation; written last
//	identity.secret   0600  identity with its secret, the text form ZeroTier uses
//	identity.public   0644  the same without the secret
//	planet            0644  the signed planet, exactly the file that clients need
//	planet.key        0600  the planet's signing key; may be kept elsewhere instead
//	ca.pem            0644  the certificate authorities that members of this cluster trust
//	ca.key            0600  the cluster's authority with its private key: who has it can make members
//	ca-next.key       0600  the same of the authority that takes its place, while it is rotated
//	node.pem          0644  this member's certificate, and that of the authority that signed it
//	node.key          0600  this member's private key; it never leaves this directory
//	join.json         0644  a join was begun here and is not finished; no root may be made here
//	restore.json      0644  the same of a restore from an archive
//	recover.json      0644  the plan of a recovery that is not finished: the next to open the directory finishes it
//	superseded.json   0644  the cluster was restored without this member: it must not serve any more
//	lock              0600  locked by the process that uses the directory; holds its process ID
//	admin.sock        0600  the socket of the admin API, while rootd runs
//	raft/             0700  the log and its snapshots, owned by package replica
//	raft.new/         0700  the one that a recovery prepares; raft.old-EPOCH/: the one from before it, kept until somebody removes it
//
// Options and secrets flow in, opened and checked values flow out. [Create] makes what is missing and never replaces
// an identity, a planet or a key that is there; interrupted at any moment, it goes on where it was. [BeginJoin] and
// [Joining.Finish] are the same for a machine that becomes a member of a cluster that exists. [Open] takes the
// lock for the life of the process, and gives a directory that an older version made the certificates that it lacks. [Read]
// takes no lock and changes nothing. A directory that is refused is left as it was, byte for byte.
//
// A [Dir] or [Joining] may be used from one goroutine at a time, [Dir.SaveKeys] from one other. Errors are [*Error] where an operator can do something about it.
package datadir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// Names of the files in a data directory.
const (
	FileMeta    = "rootd.json"
	FileSecret  = "identity.secret"
	FilePublic  = "identity.public"
	FilePlanet  = "planet"
	FileKey     = "planet.key"
	FileCA      = "ca.pem"
	FileCAKey   = "ca.key"
	FileCANext  = "ca-next.key"
	FileNode    = "node.pem"
	FileNodeKey = "node.key"
	FileJoin    = "join.json"
	FileRestore = "restore.json"
	FileRecover = "recover.json"
	FileOver    = "superseded.json"
	FileLock    = "lock"
	FileSocket  = "admin.sock"
	DirRaft     = "raft"
)

// Formats of a directory, in rootd.json.
const (
	formatFounded = 1 // by init: a version without clusters may open it
	formatJoined  = 2 // by join: such a version must not, it would take itself for the only member

	// Format is the highest that this version knows.
	Format = formatJoined
)

// What an [Error] may wrap.
var (
	ErrMissing    = errors.New("no data directory")           // nothing there yet: Create makes it
	ErrInUse      = errors.New("data directory in use")       // another process has the lock
	ErrForeign    = errors.New("not a rootd data directory")  // made by something else, or for another root
	ErrBroken     = errors.New("data directory is broken")    // a file is damaged or does not fit the others
	ErrSuperseded = errors.New("epoch is over")               // the cluster was restored without this member
	ErrPermission = errors.New("data directory: permissions") // a secret others can read, or files we may not
)

// Error is a refusal that names the file, the reason and the way out.
type Error struct {
	Path string
	Why  string
	Way  string // out, see Hint
	Err  error  // one of the errors above
}

// Error returns "path: why".
func (e *Error) Error() string { return e.Path + ": " + e.Why }

// Hint returns what the operator can do, "" if nothing is known.
func (e *Error) Hint() string { return e.Way }

// Unwrap returns the kind of error.
func (e *Error) Unwrap() error { return e.Err }

// Meta is the content of rootd.json.
type Meta struct {
	Format  int       `json:"format"`
	Name    string    `json:"name"`    // of the member
	Cluster string    `json:"cluster"` // random, 32 hexadecimal digits; see ClusterID
	Created time.Time `json:"created"`

	ClusterName string           `json:"cluster_name,omitempty"` // for people; "" = the first member's name
	Member      pki.MemberID     `json:"member,omitempty"`       // in the cluster; 0 = a version without clusters made this
	Address     string           `json:"address,omitempty"`      // host:port at which other members dial this one; "" = not known yet
	Joined      bool             `json:"joined,omitempty"`       // by join: this member must never begin a log of its own
	Grown       bool             `json:"grown,omitempty"`        // this member's log has been that of several members
	Endpoints   []netip.AddrPort `json:"endpoints,omitempty"`    // that it joined with
	Contacts    []Contact        `json:"contacts,omitempty"`     // the other members, as it last knew them
	Former      []Contact        `json:"former,omitempty"`       // members of the epoch before, when this one restored the cluster
}

// Founds reports whether this member may begin a log of its own: there is no other one of this cluster.
func (m *Meta) Founds() bool { return !m.Joined && !m.Grown }

// Contact is another member.
type Contact struct {
	Member  pki.MemberID `json:"member"`
	Name    string       `json:"name"`
	Address string       `json:"address"` // host:port
}

// ClusterID is the ID that the log of a new cluster begins with.
func (m *Meta) ClusterID() (id [16]byte) {
	_, _ = hex.Decode(id[:], []byte(m.Cluster)) // checked when it was read
	return id
}

// clusterIDLen is the length of Meta.Cluster.
const clusterIDLen = 32

func (m *Meta) complete() bool {
	_, err := hex.DecodeString(m.Cluster)
	return m.Format >= 1 && m.Name != "" && len(m.Cluster) == clusterIDLen && err == nil && m.Joined == (m.Format == formatJoined) && (!m.Joined || m.Member != 0)
}

func (m *Meta) cluster() pki.ClusterID { return m.ClusterID() }

// Dir is a data directory whose files were read and found good.
type Dir struct {
	Path       string
	Meta       Meta
	Identity   *vl1.SecretIdentity
	Planet     *vl1.World
	PlanetRaw  []byte          // the planet's file
	SigningKey *vl1.SigningKey // nil: kept elsewhere
	Keys       pki.Keys        // certificate and CAs; zero after Read where an older version made the directory
	Authority  *pki.Authority  // nil: kept elsewhere
	Next       *pki.Authority  // that a rotation is about to put in its place; nil: there is none
	Created    bool            // by this call of Create
	Warnings   []string        // of Create: what the operator should know, one sentence each

	lock *lock // nil after Read
}

// RaftDir is where the log lives.
func (d *Dir) RaftDir() string { return filepath.Join(d.Path, DirRaft) }

// SetContacts notes the other members of the cluster, and with that, that the log is that of several. From then on this member must not
// begin another one: it would have forgotten what it voted for, and may lose what the others take for safe. Meta stays as it was read.
func (d *Dir) SetContacts(all []Contact) error {
	m := d.Meta
	m.Grown, m.Contacts = true, all
	return m.write(d.Path)
}

// LogIsGone reports whether the log of a member of several is not there any more.
func (d *Dir) LogIsGone() bool {
	return d.Meta.Grown && !exists(filepath.Join(d.RaftDir(), fileLog))
}

// fileLog is the log within its directory, as package replica names it.
const fileLog = "raft.db"

// Fingerprint is the planet's: see [Fingerprint].
func (d *Dir) Fingerprint() string { return Fingerprint(d.PlanetRaw) }

// Fingerprint names a signed world: the first 16 bytes of its SHA-256, hexadecimal.
func Fingerprint(world []byte) string {
	sum := sha256.Sum256(world)
	return hex.EncodeToString(sum[:16])
}

// Open checks the directory, takes its lock and reads it. The lock is held until Close.
func Open(path string) (*Dir, error) {
	if _, err := Read(path); err != nil { // refuse before the lock's file is touched
		return nil, err
	}
	l, err := acquire(path)
	if err != nil {
		return nil, err
	}
	if err := finishRecovery(path); err != nil {
		return nil, errors.Join(err, l.release())
	}
	d, err := Read(path) // again: now nobody else changes it
	if err == nil && d.Meta.Member == 0 {
		err = d.upgrade()
	}
	if err != nil {
		return nil, errors.Join(err, l.release())
	}
	d.lock = l
	removeTemp(path)
	for _, mark := range []string{FileJoin, FileRestore} { // of a join that is finished; harmless if they stay
		_ = os.Remove(filepath.Join(path, mark))
	}
	return d, nil
}

// Close releases the lock.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.release()
	d.lock = nil
	return err
}

// SetPlanet replaces the planet's file with a newer signed world. The log has the last word on which planet is
// current; this file is what an operator copies to clients, and what a member serves before it has read its log.
func (d *Dir) SetPlanet(raw []byte) error {
	w, err := checkPlanet(filepath.Join(d.Path, FilePlanet), raw, d.Identity.Identity)
	if err != nil {
		return err
	}
	if bytes.Equal(raw, d.PlanetRaw) {
		return nil
	}
	if err := WriteFile(filepath.Join(d.Path, FilePlanet), raw, 0o644); err != nil {
		return fmt.Errorf("write planet: %w", err)
	}
	d.Planet, d.PlanetRaw = w, bytes.Clone(raw)
	return nil
}

// Read checks the directory and reads it without a lock, for a look from outside while rootd may be running.
func Read(path string) (*Dir, error) {
	state, err := inspect(path)
	switch {
	case err != nil:
		return nil, err
	case state == stateJoining:
		return nil, joinUnfinished(path)
	case state == stateRestoring:
		return nil, restoreUnfinished(path)
	case state != stateReady:
		return nil, &Error{Path: path, Err: ErrMissing, Why: "there is no rootd data directory yet", Way: "make one: rootctl init --data-dir " + path}
	}
	if err := checkOver(path); err != nil {
		return nil, err
	}
	d := &Dir{Path: path}
	if d.Meta, err = readMeta(filepath.Join(path, FileMeta)); err != nil {
		return nil, err
	}
	if d.Identity, err = readIdentity(path); err != nil {
		return nil, err
	}
	planetPath := filepath.Join(path, FilePlanet)
	if d.PlanetRaw, err = os.ReadFile(planetPath); err != nil {
		return nil, missingFile(planetPath, err, "restore it from a client or a backup; clients would not take one made anew")
	}
	if d.Planet, err = checkPlanet(planetPath, d.PlanetRaw, d.Identity.Identity); err != nil {
		return nil, err
	}
	if d.SigningKey, err = readKey(filepath.Join(path, FileKey), d.Planet); err != nil {
		return nil, err
	}
	if d.Authority, err = readAuthority(path, d.Meta.cluster()); err != nil {
		return nil, err
	}
	if d.Next, err = readAuthorityFile(filepath.Join(path, FileCANext), d.Meta.cluster()); err != nil {
		return nil, err
	}
	if d.Meta.Member != 0 {
		d.Keys, err = readKeys(path, &d.Meta)
	}
	return d, err
}

func readMeta(path string) (Meta, error) {
	var m Meta
	b, err := os.ReadFile(path)
	if err != nil {
		return m, fileError(path, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, &Error{Path: path, Err: ErrBroken, Why: "damaged: " + err.Error(), Way: "restore it from a backup"}
	}
	switch {
	case m.Format > Format:
		return m, &Error{
			Path: path, Err: ErrForeign, Why: fmt.Sprintf("format %d, this rootd knows up to %d", m.Format, Format),
			Way: "a newer rootd made this directory: use that version or a later one",
		}
	case !m.complete():
		return m, &Error{Path: path, Err: ErrBroken, Why: "damaged: fields are missing", Way: "restore it from a backup"}
	}
	return m, nil
}

// readIdentity reads and fully validates identity.secret, and compares identity.public with it.
func readIdentity(dir string) (*vl1.SecretIdentity, error) {
	id, err := ReadIdentity(filepath.Join(dir, FileSecret))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FilePublic)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil
	} else if err != nil {
		return nil, fileError(path, err)
	}
	if string(bytes.TrimSpace(b)) != id.Identity.String() {
		return nil, &Error{Path: path, Err: ErrBroken, Why: "belongs to another identity than " + FileSecret, Way: "one of the two was replaced: put the right pair back from a backup"}
	}
	return id, nil
}

// ReadIdentity reads a file with a secret identity, as zerotier-idtool and rootctl write it, and fully validates it.
func ReadIdentity(path string) (*vl1.SecretIdentity, error) {
	b, err := ReadSecret(path)
	if err != nil {
		return nil, missingFile(path, err, "restore it from a backup: without it no client knows this root")
	}
	id, err := vl1.ParseSecretIdentity(string(bytes.TrimSpace(b)))
	if err != nil {
		return nil, &Error{Path: path, Err: ErrBroken, Why: err.Error(), Way: "restore it from a backup"}
	}
	if err := vl1.NewHasher().Validate(&id.Identity); err != nil {
		return nil, &Error{Path: path, Err: ErrBroken, Why: err.Error(), Way: "no client would believe this identity: restore it from a backup, or make one with rootctl identity new"}
	}
	return id, nil
}

// readKey returns nil without an error if the key is kept elsewhere.
func readKey(path string, planet *vl1.World) (*vl1.SigningKey, error) {
	k, err := ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no key here is a fine answer
	} else if err != nil {
		return nil, err
	}
	if planet != nil && k.Public() != planet.UpdateKey {
		return nil, &Error{Path: path, Err: ErrBroken, Why: "is not the key that signs this planet", Way: "put the right key back, or move this one away"}
	}
	return k, nil
}

// checkPlanet returns the world in raw if it is a planet, signed, and names the root self.
func checkPlanet(path string, raw []byte, self vl1.Identity) (*vl1.World, error) {
	broken := func(why string) error {
		return &Error{Path: path, Err: ErrBroken, Why: why, Way: "restore it from a client or a backup; look at it with rootctl planet inspect"}
	}
	w, n, err := vl1.DecodeWorld(raw)
	switch {
	case err != nil:
		return nil, broken("damaged: " + err.Error())
	case n != len(raw):
		return nil, broken(fmt.Sprintf("damaged: %d bytes after its end", len(raw)-n))
	case w.Check() != nil:
		return nil, broken(w.Check().Error())
	case w.Type != vl1.WorldPlanet:
		return nil, broken("is a moon, not a planet")
	case !w.Verify(&w.UpdateKey):
		return nil, broken("damaged, or not signed by its own key")
	}
	for i := range w.Roots {
		if w.Roots[i].Identity == self {
			return w, nil
		}
	}
	return nil, &Error{Path: path, Err: ErrForeign, Why: "names other roots, not " + self.Address.String(), Way: "it belongs to another identity: put the right pair of files together"}
}

func missingFile(path string, err error, hint string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{Path: path, Err: fmt.Errorf("%w: %w", ErrBroken, fs.ErrNotExist), Why: "is missing", Way: hint}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return fileError(path, err)
}
