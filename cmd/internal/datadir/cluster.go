package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// firstMember is the ID of the member that founds a cluster.
const firstMember pki.MemberID = 1

// SaveKeys stores a new certificate, or new CAs to trust, for the key that this member has. What is trusted is written
// first: a crash between the two files leaves it with the old certificate, which work together as long as the old CA is
// trusted.
func (d *Dir) SaveKeys(k pki.Keys) error {
	if err := checkKeys(d.Path, &d.Meta, k); err != nil {
		return err
	}
	if k.Credential.Self().KeyHash != d.Keys.Credential.Self().KeyHash {
		return errors.New("store certificate: it is for another key than " + FileNodeKey)
	}
	if err := writeKeys(d.Path, k); err != nil {
		return err
	}
	d.Keys = k
	return nil
}

// SaveAuthority stores the CA that new certificates are signed with, as its rotation needs it.
func (d *Dir) SaveAuthority(a *pki.Authority) error {
	if err := d.writeAuthority(FileCAKey, a); err != nil {
		return err
	}
	d.Authority = a
	return nil
}

// SaveNext stores the CA that a rotation is about to put in place; nil forgets it.
func (d *Dir) SaveNext(a *pki.Authority) error {
	if a == nil {
		if err := os.Remove(filepath.Join(d.Path, FileCANext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", FileCANext, err)
		}
	} else if err := d.writeAuthority(FileCANext, a); err != nil {
		return err
	}
	d.Next = a
	return nil
}

func (d *Dir) writeAuthority(name string, a *pki.Authority) error {
	if a.Cluster() != d.Meta.cluster() {
		return fmt.Errorf("store %v: this is cluster %s", a, d.Meta.Cluster)
	}
	b, err := a.PEM()
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(d.Path, name), b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// SetAddress stores where other members dial this one.
func (d *Dir) SetAddress(address string) error {
	if d.Meta.Address == address {
		return nil
	}
	m := d.Meta
	m.Address = address
	if err := m.write(d.Path); err != nil {
		return err
	}
	d.Meta = m
	return nil
}

// ClusterLabel is the name of the cluster, for people.
func (m *Meta) ClusterLabel() string {
	if m.ClusterName != "" {
		return m.ClusterName
	}
	return m.Name
}

// upgrade gives a directory that an older version made its certificates: it founded a cluster, and did not know it.
func (d *Dir) upgrade() error {
	m := d.Meta
	m.Member = firstMember
	if err := checkCertificates(d.Path, &m); err != nil {
		return err
	}
	if err := createCertificates(d.Path, &m); err != nil {
		return err
	}
	var err error
	if d.Authority, err = readAuthority(d.Path, m.cluster()); err != nil {
		return err
	}
	if d.Keys, err = readKeys(d.Path, &m); err != nil {
		return err
	}
	if err := m.write(d.Path); err != nil { // last: until then the next start does all of this again
		return err
	}
	d.Meta = m
	return nil
}

// createCertificates makes what is missing of the CA, the node key and its certificate. What is there is kept.
func createCertificates(path string, m *Meta) error {
	now := time.Now() // not the planet's time: certificates are compared with real clocks
	a, err := readAuthority(path, m.cluster())
	if err != nil {
		return err
	}
	if a == nil {
		if a, err = pki.NewAuthority(m.cluster(), m.ClusterLabel(), now); err != nil {
			return err
		}
		b, err := a.PEM()
		if err != nil {
			return err
		}
		if err := CreateFile(filepath.Join(path, FileCAKey), b, 0o600); err != nil {
			return fmt.Errorf("create %s: %w", FileCAKey, err)
		}
	}
	bundle, err := pki.NewBundle(a.Certificate())
	if err != nil {
		return err
	}
	if file := filepath.Join(path, FileCA); !exists(file) {
		if err := CreateFile(file, bundle.PEM(), 0o644); err != nil {
			return fmt.Errorf("create %s: %w", FileCA, err)
		}
	}
	key, err := nodeKey(path)
	if err != nil {
		return err
	}
	file := filepath.Join(path, FileNode)
	if exists(file) {
		return nil
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		return err
	}
	chain, err := a.Sign(request, pki.Member{Cluster: m.cluster(), ID: m.Member, Name: m.Name}, now, 0)
	if err != nil {
		return err
	}
	if err := CreateFile(file, chain, 0o644); err != nil {
		return fmt.Errorf("create %s: %w", FileNode, err)
	}
	return nil
}

// checkCertificates complains about files that createCertificates would trip over, before anything is written.
func checkCertificates(path string, m *Meta) error {
	if _, err := readAuthority(path, m.cluster()); err != nil {
		return err
	}
	if _, err := readNodeKey(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !exists(filepath.Join(path, FileNode)) || !exists(filepath.Join(path, FileCA)) {
		return nil
	}
	_, err := readKeys(path, m)
	return err
}

// nodeKey returns the key that is there, else a new one, which is stored.
func nodeKey(path string) (*pki.Key, error) {
	k, err := readNodeKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = pki.NewKey(); err != nil {
		return nil, err
	}
	b, err := k.PEM()
	if err != nil {
		return nil, err
	}
	if err := CreateFile(filepath.Join(path, FileNodeKey), b, 0o600); err != nil {
		return nil, fmt.Errorf("create %s: %w", FileNodeKey, err)
	}
	return k, nil
}

// readNodeKey fails with [fs.ErrNotExist] where there is none.
func readNodeKey(path string) (*pki.Key, error) {
	file := filepath.Join(path, FileNodeKey)
	b, err := ReadSecret(file)
	if err != nil {
		return nil, err
	}
	k, err := pki.ParseKey(b)
	if err != nil {
		return nil, broken(file, err, "restore it from a backup; else remove this member, and join again in a new directory")
	}
	return k, nil
}

// readAuthority returns nil without an error if the CA's key is kept elsewhere. A zero cluster means any.
func readAuthority(path string, cluster pki.ClusterID) (*pki.Authority, error) {
	return readAuthorityFile(filepath.Join(path, FileCAKey), cluster)
}

func readAuthorityFile(file string, cluster pki.ClusterID) (*pki.Authority, error) {
	b, err := ReadSecret(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no key here is a fine answer
	} else if err != nil {
		return nil, err
	}
	a, err := pki.ParseAuthority(b)
	if err != nil {
		return nil, broken(file, err, "restore it from a backup, or copy it from another member")
	}
	if cluster != (pki.ClusterID{}) && a.Cluster() != cluster {
		return nil, &Error{Path: file, Err: ErrBroken, Why: fmt.Sprintf("is of cluster %v, this is %v", a.Cluster(), cluster), Way: "one of the files was replaced: put the right ones back from a backup"}
	}
	return a, nil
}

// readKeys reads and checks what this member presents and whom it trusts.
func readKeys(path string, m *Meta) (pki.Keys, error) {
	const way = "restore it from a backup; else remove this member, and join again in a new directory"
	var k pki.Keys
	file := filepath.Join(path, FileCA)
	b, err := os.ReadFile(file)
	if err != nil {
		return k, missingFile(file, err, "copy it from another member, or restore it from a backup")
	}
	if k.Bundle, err = pki.ParseBundle(b); err != nil {
		return k, broken(file, err, "copy it from another member, or restore it from a backup")
	}
	key, err := readNodeKey(path)
	if err != nil {
		return k, missingFile(filepath.Join(path, FileNodeKey), err, way)
	}
	file = filepath.Join(path, FileNode)
	if b, err = os.ReadFile(file); err != nil {
		return k, missingFile(file, err, way)
	}
	if k.Credential, err = pki.NewCredential(key, b); err != nil {
		return k, broken(file, err, way)
	}
	return k, checkKeys(path, m, k)
}

// checkKeys complains about keys that do not belong together, or not to this member.
func checkKeys(path string, m *Meta, k pki.Keys) error {
	file := filepath.Join(path, FileNode)
	if _, err := pki.NewKeychain(k); err != nil {
		return broken(file, err, "if the CA was rotated while this member was away: join again, in a new directory")
	}
	if self := k.Credential.Self(); self.Cluster != m.cluster() || self.ID != m.Member {
		return &Error{
			Path: file, Err: ErrBroken, Why: fmt.Sprintf("is of %v of cluster %v, this is member %d of %s", self, self.Cluster, m.Member, m.Cluster),
			Way: "one of the files was replaced: put the right ones back from a backup",
		}
	}
	return nil
}

func writeKeys(path string, k pki.Keys) error {
	if err := WriteFile(filepath.Join(path, FileCA), k.Bundle.PEM(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", FileCA, err)
	}
	if err := WriteFile(filepath.Join(path, FileNode), chainPEM(k.Credential), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", FileNode, err)
	}
	return nil
}

// create writes rootd.json, which must not be there.
func (m *Meta) create(path string) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := CreateFile(filepath.Join(path, FileMeta), b, 0o644); err != nil {
		return fmt.Errorf("create %s: %w", FileMeta, err)
	}
	return nil
}

// write replaces rootd.json.
func (m *Meta) write(path string) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(path, FileMeta), b, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", FileMeta, err)
	}
	return nil
}

func (m *Meta) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", FileMeta, err)
	}
	return append(b, '\n'), nil
}

// broken names the file in an error of package pki.
func broken(file string, err error, way string) error {
	return &Error{Path: file, Err: ErrBroken, Why: err.Error(), Way: way}
}
