package snapshot

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Format is the version of the archives that this binary writes. It reads that and all before.
const Format = 1

// Meta says what is in an archive.
type Meta struct {
	Format   int       `json:"format"`
	Software string    `json:"software"` // version of rootd that made it
	Created  time.Time `json:"created"`  // whole seconds
	Member   string    `json:"member"`   // whose state it is
	// Stale: that member did not lead the cluster when it gave its state, which may lack what was committed last.
	Stale bool `json:"stale"`

	Cluster     Cluster   `json:"cluster"`
	Index       uint64    `json:"index"` // of the last log entry in the state
	Term        uint64    `json:"term"`
	Time        time.Time `json:"time"`         // of the cluster at Index
	StateFormat int       `json:"state_format"` // version of the stream in state/
	StateHash   string    `json:"state_hash"`   // 64 hexadecimal digits, at the end of the stream
	Counts      Counts    `json:"counts"`
	Planet      *Planet   `json:"planet"` // nil: none is published

	Secrets Sealed `json:"secrets"` // filled in by Write
}

// Cluster names a cluster and its root.
type Cluster struct {
	ID      string    `json:"id"` // 32 hexadecimal digits
	Name    string    `json:"name"`
	Epoch   string    `json:"epoch"` // "0", or as [fsm.Epoch] is written: restores that it has been through, and which
	Created time.Time `json:"created"`
	Root    string    `json:"root"` // public identity
}

// Counts count what is in the state.
type Counts struct {
	Peers    int `json:"peers"`
	Members  int `json:"members"`
	Voters   int `json:"voters"`
	Removed  int `json:"removed"` // former members
	Tokens   int `json:"tokens"`
	Settings int `json:"settings"` // that were set
}

// Planet names the planet in the state.
type Planet struct {
	WorldID     string `json:"world_id"` // 16 hexadecimal digits
	Timestamp   uint64 `json:"timestamp"`
	Fingerprint string `json:"fingerprint"` // SHA-256 of the signed world
	Roots       int    `json:"roots"`
	Endpoints   int    `json:"endpoints"`
	Key         string `json:"key"` // that signs it: see KeyFingerprint
}

// Sealed says which secrets are in secrets.age, and who can open it.
type Sealed struct {
	// Seal is how: none, recipients, passphrase.
	Seal       string   `json:"seal"`
	Recipients []string `json:"recipients,omitzero"` // public keys of age

	Identity  string `json:"identity,omitempty"`   // address of the identity whose secret is in it
	Authority string `json:"authority,omitempty"`  // fingerprint of the authority's certificate whose key is in it
	PlanetKey string `json:"planet_key,omitempty"` // fingerprint of the planet's signing key in it
}

// Values of Sealed.Seal.
const (
	SealNone       = "none"
	SealRecipients = "recipients"
	SealPassphrase = "passphrase"
)

// Any reports whether there are secrets.
func (s *Sealed) Any() bool { return s.Seal != SealNone }

// HoldsPlanetKey reports whether the key that signs the planet of the archive is among its secrets.
func (m *Meta) HoldsPlanetKey() bool {
	return m.Planet != nil && m.Secrets.PlanetKey != "" && m.Secrets.PlanetKey == m.Planet.Key
}

// KeyFingerprint names a public key: its SHA-256, hexadecimal.
func KeyFingerprint(k vl1.PublicKey) string {
	sum := sha(k[:])
	return hex.EncodeToString(sum[:])
}

// Describe fills in what a state says of itself. The caller adds who, when and in which term. While the cluster writes an older format than
// the latest, it reads all peers.
func Describe(f *fsm.Frozen) Meta {
	m := describe(f.State())
	m.StateFormat, m.StateHash = f.Format(), f.Hash().String()
	return m
}

// describe is Describe without what depends on the format.
func describe(st *fsm.State) Meta {
	c := &st.Cluster
	m := Meta{
		Format: Format,
		Cluster: Cluster{
			ID: hex.EncodeToString(c.ID[:]), Name: c.Name, Epoch: c.Epoch.String(), Created: time.UnixMilli(c.Created).UTC(), Root: c.Root.String(),
		},
		Index: st.Index, Time: time.UnixMilli(st.Time).UTC(),
		Counts: Counts{
			Peers: st.Peers, Members: len(st.Members), Removed: len(st.Removed), Tokens: len(st.Tokens),
			Settings: len(st.Settings.Explicit()),
		},
		Secrets: Sealed{Seal: SealNone},
	}
	for _, s := range st.Voters.Servers {
		if s.Voter {
			m.Counts.Voters++
		}
	}
	if p := st.Planet; p != nil {
		m.Planet = &Planet{
			WorldID: fmt.Sprintf("%016x", p.World.ID), Timestamp: p.World.Timestamp, Fingerprint: p.FingerprintString(),
			Roots: len(p.World.Roots), Key: KeyFingerprint(p.World.UpdateKey),
		}
		for i := range p.World.Roots {
			m.Planet.Endpoints += len(p.World.Roots[i].Endpoints)
		}
	}
	return m
}

// encode returns the bytes of the first entry.
func (m *Meta) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err == nil && len(b) > maxMeta {
		err = fmt.Errorf("%d bytes are too many", len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return append(b, '\n'), nil
}

// decodeMeta is the reverse, for this format and all before.
func decodeMeta(b []byte) (*Meta, error) {
	var v struct {
		Format   int    `json:"format"`
		Software string `json:"software"`
	}
	if err := json.Unmarshal(b, &v); err != nil || v.Format < 1 {
		return nil, damaged("%s cannot be read", entryMeta)
	}
	if v.Format > Format {
		return nil, &Error{
			Err: ErrTooNew, Why: fmt.Sprintf("it has format %d, this version knows up to %d", v.Format, Format),
			Way: fmt.Sprintf("use rootd %q, which made it, or a later one", v.Software),
		}
	}
	m := new(Meta)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, damaged("%s: %v", entryMeta, err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Meta) check() error {
	hexa := func(s string, bytes int) bool {
		b, err := hex.DecodeString(s)
		return err == nil && len(b) == bytes
	}
	s := &m.Secrets
	switch {
	case !hexa(m.Cluster.ID, 16), !hexa(m.StateHash, 32), m.Counts.Peers < 0, m.Created.Nanosecond() != 0, m.Created.Unix() < 0:
		return damaged("%s has impossible values", entryMeta)
	case s.Seal != SealNone && s.Seal != SealRecipients && s.Seal != SealPassphrase,
		!s.Any() && s.Identity+s.Authority+s.PlanetKey != "",
		(s.Seal == SealRecipients) != (len(s.Recipients) > 0):
		return damaged("%s does not say which secrets it has", entryMeta)
	}
	return nil
}
