package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/pki"
)

// Secrets are what a cluster cannot live without, and cannot make again. Any of them may be missing: kept elsewhere.
type Secrets struct {
	Identity  *vl1.SecretIdentity // of the root: what clients know it by
	Authority *pki.Authority      // makes members
	PlanetKey *vl1.SigningKey     // signs the planet: without it every client must be touched
}

// Empty reports whether there are none.
func (s *Secrets) Empty() bool { return s.Identity == nil && s.Authority == nil && s.PlanetKey == nil }

// secretsFile is the plain text of secrets.age.
type secretsFile struct {
	// Archive is the SHA-256 of the lines of SHA256SUMS before its own: these secrets belong to that archive.
	Archive   string `json:"archive"`
	Identity  string `json:"identity,omitempty"`   // text form, with its secret
	Authority string `json:"authority,omitempty"`  // certificate and private key, PEM
	PlanetKey string `json:"planet_key,omitempty"` // text form
}

func (s *Secrets) encode(mark string) ([]byte, error) {
	f := secretsFile{Archive: mark}
	if s.Identity != nil {
		f.Identity = s.Identity.SecretString()
	}
	if s.Authority != nil {
		b, err := s.Authority.PEM()
		if err != nil {
			return nil, err
		}
		f.Authority = string(b)
	}
	if s.PlanetKey != nil {
		f.PlanetKey = s.PlanetKey.SecretString()
	}
	return json.Marshal(f)
}

// decodeSecrets is the reverse. It checks that they are those that m names, sealed for the archive with the mark. No error
// repeats what is in it.
func decodeSecrets(b []byte, m *Meta, mark string) (*Secrets, error) {
	var f secretsFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(&f) != nil {
		return nil, damaged("%s: its content is not understood", entrySecrets)
	}
	if f.Archive != mark {
		return nil, damaged("%s was sealed for another archive: somebody put them together", entrySecrets)
	}
	var s Secrets
	var errs [3]error
	if f.Identity != "" {
		s.Identity, errs[0] = vl1.ParseSecretIdentity(f.Identity)
	}
	if f.Authority != "" {
		s.Authority, errs[1] = pki.ParseAuthority([]byte(f.Authority))
	}
	if f.PlanetKey != "" {
		s.PlanetKey, errs[2] = vl1.ParseSigningKey(f.PlanetKey)
	}
	if errors.Join(errs[:]...) != nil {
		return nil, damaged("%s: a key in it is none", entrySecrets)
	}
	held := s.describe()
	if held.Identity != m.Secrets.Identity || held.Authority != m.Secrets.Authority || held.PlanetKey != m.Secrets.PlanetKey {
		return nil, damaged("%s has other keys than %s says", entrySecrets, entryMeta)
	}
	return &s, nil
}

// describe names the secrets that there are.
func (s *Secrets) describe() (d Sealed) {
	if s.Identity != nil {
		d.Identity = s.Identity.Address.String()
	}
	if s.Authority != nil {
		d.Authority = s.Authority.Fingerprint().String()
	}
	if s.PlanetKey != nil {
		d.PlanetKey = KeyFingerprint(s.PlanetKey.Public())
	}
	return d
}
