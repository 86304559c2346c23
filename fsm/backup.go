package fsm

import (
	"encoding/binary"
	"fmt"
)

// Backup records that an archive of the state was written and verified, and which secrets are sealed in it. So every
// member knows how old the newest backup is, and whether any of them holds the key that signs the planet.
type Backup struct {
	Index uint64 // of the state in it
	Taken int64  // ms since 1970, not 0
	Holds Holds
	// PlanetKey is the SHA-256 of the planet's public key whose secret is in it. Zero exactly if HoldsPlanetKey is not set.
	PlanetKey [32]byte
	Where     string // for people: 1 to 64 bytes
}

// Holds are the secrets that are sealed in an archive.
type Holds byte

// The secrets there are.
const (
	HoldsIdentity Holds = 1 << iota
	HoldsAuthority
	HoldsPlanetKey

	holdsKnown = HoldsIdentity | HoldsAuthority | HoldsPlanetKey
)

// Backups are the backups worth knowing. Taken is 0 where there is none.
type Backups struct {
	Last Backup // the newest
	Key  Backup // the newest that holds a planet key
}

// Kind implements [Command].
func (*Backup) Kind() Kind { return KindBackup }

func (f *FSM) backup(c *Backup) {
	b, next := *c, &f.st.Backups
	b.Taken = min(b.Taken, f.st.Time) // nobody's clock keeps later ones out
	if b.Taken >= next.Last.Taken {
		next.Last = b
	}
	if b.Holds&HoldsPlanetKey != 0 && b.Taken >= next.Key.Taken {
		next.Key = b
	}
}

func (c *Backup) appendPayload(b []byte) ([]byte, error) {
	if c.Taken <= 0 || c.Taken > maxTime || c.Holds&^holdsKnown != 0 || (c.Holds&HoldsPlanetKey != 0) == (c.PlanetKey == [32]byte{}) {
		return b, fmt.Errorf("%w: backup with impossible values", ErrMalformed)
	}
	return c.append(b, 1)
}

func (c *Backup) append(b []byte, least int) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, c.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Taken))
	b = append(append(b, byte(c.Holds)), c.PlanetKey[:]...)
	return appendText(b, c.Where, least)
}

func readBackup(r *reader) *Backup {
	c := new(Backup)
	if c.read(r, 1); c.Taken == 0 {
		r.fail("backup without a time")
	}
	return c
}

func (c *Backup) read(r *reader, least int) {
	c.Index, c.Taken, c.Holds, c.PlanetKey, c.Where = r.uint64(), r.time(), Holds(r.byte()), r.hash(), r.text(least)
	if c.Holds&^holdsKnown != 0 || (c.Holds&HoldsPlanetKey != 0) == (c.PlanetKey == [32]byte{}) {
		r.fail("backup with secrets that are none")
	}
}

// appendBackups appends both backups, as in an entry; all zero: none.
func appendBackups(b []byte, s *State) []byte {
	b, _ = s.Backups.Last.append(b, 0) // texts were checked when their entries were decoded
	b, _ = s.Backups.Key.append(b, 0)
	return b
}

func (s *State) readBackups(r *reader) {
	s.Backups.Last.read(r, 0)
	s.Backups.Key.read(r, 0)
	if l, k := &s.Backups.Last, &s.Backups.Key; l.Taken < k.Taken || k.Taken != 0 && k.Holds&HoldsPlanetKey == 0 || l.Taken == 0 && *l != (Backup{}) || k.Taken == 0 && *k != (Backup{}) {
		r.fail("backups that cannot be")
	}
}
