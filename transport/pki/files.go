package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of the files in a directory of [Files].
const (
	BundleFile     = "ca.pem"         // 0644: the CAs that are trusted
	AuthorityFile  = "ca-key.pem"     // 0600: CA certificate and private key; only on members that sign
	CredentialFile = "member.pem"     // 0600: private key, certificate, CA certificate
	KeyFile        = "member-key.pem" // 0600: private key while there is no certificate for it yet
)

// Files is the directory where a member keeps its keys. A file is replaced as a whole, durably, or not at all. Files
// with private keys that others may read are refused.
type Files struct {
	Dir string
}

// SaveKeys stores what the member presents and trusts, and removes the key file of a join, whose key is in there. A
// crash between the two files leaves the new bundle with the old certificate, which work together as long as the
// bundle still trusts the old CA.
func (f Files) SaveKeys(k Keys) error {
	if err := k.check(); err != nil {
		return err
	}
	cred, err := k.Credential.PEM()
	if err != nil {
		return err
	}
	if err := f.write(BundleFile, k.Bundle.PEM(), 0o644); err != nil {
		return err
	}
	if err := f.write(CredentialFile, cred, 0o600); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(f.Dir, KeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// LoadKeys reads what SaveKeys stored. It fails with [fs.ErrNotExist] where nothing is.
func (f Files) LoadKeys() (Keys, error) {
	b, err := f.read(BundleFile, false)
	if err != nil {
		return Keys{}, err
	}
	bundle, err := ParseBundle(b)
	if err != nil {
		return Keys{}, f.at(BundleFile, err)
	}
	if b, err = f.read(CredentialFile, true); err != nil {
		return Keys{}, err
	}
	cred, err := ParseCredential(b)
	if err != nil {
		return Keys{}, f.at(CredentialFile, err)
	}
	k := Keys{cred, bundle}
	if err := k.check(); err != nil {
		return Keys{}, f.at(CredentialFile, err)
	}
	return k, nil
}

// SaveAuthority stores the CA's key.
func (f Files) SaveAuthority(a *Authority) error {
	b, err := a.PEM()
	if err != nil {
		return err
	}
	return f.write(AuthorityFile, b, 0o600)
}

// LoadAuthority reads the CA's key. It fails with [fs.ErrNotExist] where it is not kept.
func (f Files) LoadAuthority() (*Authority, error) {
	b, err := f.read(AuthorityFile, true)
	if err != nil {
		return nil, err
	}
	a, err := ParseAuthority(b)
	if err != nil {
		return nil, f.at(AuthorityFile, err)
	}
	return a, nil
}

// MemberKey returns the member's private key: of its certificate, else the one that an interrupted join has left, else
// a new one, which is stored. So a join that is run again asks for a certificate of the same key.
func (f Files) MemberKey() (*Key, error) {
	b, err := f.read(CredentialFile, true)
	if err == nil {
		c, err := ParseCredential(b)
		if err != nil {
			return nil, f.at(CredentialFile, err)
		}
		return c.key, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		b, err = f.read(KeyFile, true)
	}
	switch {
	case err == nil:
		k, err := ParseKey(b)
		if err != nil {
			return nil, f.at(KeyFile, err)
		}
		return k, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	k, err := NewKey()
	if err != nil {
		return nil, err
	}
	if b, err = k.PEM(); err != nil {
		return nil, err
	}
	return k, f.write(KeyFile, b, 0o600)
}

// at says which file an error is about.
func (f Files) at(name string, err error) error {
	return fmt.Errorf("%s: %w", filepath.Join(f.Dir, name), err)
}

func (f Files) read(name string, secret bool) ([]byte, error) {
	path := filepath.Join(f.Dir, name)
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if secret && fi.Mode().Perm()&0o077 != 0 {
		return nil, &Error{
			Err: ErrBroken, Why: fmt.Sprintf("%s: holds a private key but other users may open it (mode %04o)", path, fi.Mode().Perm()),
			Hint: "chmod 600 " + path + "    (and think about who may have read it)",
		}
	}
	if fi.Size() > maxPEM {
		return nil, &Error{Err: ErrBroken, Why: fmt.Sprintf("%s: too large (%d bytes)", path, fi.Size())}
	}
	return os.ReadFile(path)
}

// write replaces the file: a temporary one in the same directory, synced, renamed, the directory synced.
func (f Files) write(name string, b []byte, mode fs.FileMode) (err error) {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.Dir, ".tmp-"+name+"-") // mode 0600 from the start
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(f.Dir, name)); err != nil {
		return err
	}
	d, err := os.Open(f.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
