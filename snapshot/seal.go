package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Seal decides who can open the secrets of an archive. The zero value leaves them out.
type Seal struct {
	to         []age.Recipient
	names      []string
	passphrase bool
}

// SealTo returns a seal that each holder of one of the recipients' keys opens: age1... public keys.
func SealTo(recipients ...string) (Seal, error) {
	if len(recipients) == 0 {
		return Seal{}, errors.New("seal: no recipients")
	}
	var s Seal
	for _, name := range recipients {
		name = strings.TrimSpace(name)
		to, err := age.ParseRecipients(strings.NewReader(name))
		if err != nil || len(to) != 1 || strings.Contains(name, "\n") {
			// The text is not repeated: it may be the secret key, given by mistake.
			return Seal{}, errors.New("seal: a recipient is not a public key of age (age1...): see age-keygen -y")
		}
		s.to, s.names = append(s.to, to[0]), append(s.names, name)
	}
	return s, nil
}

// MinPassphrase is the length of the shortest passphrase taken: whoever has the file may guess for years.
const MinPassphrase = 12

// SealWith returns a seal that the passphrase opens. Making and opening it takes about a second.
func SealWith(passphrase string) (Seal, error) {
	if len(passphrase) < MinPassphrase {
		return Seal{}, &Error{Err: ErrSeal, Why: fmt.Sprintf("the passphrase has less than %d bytes", MinPassphrase), Way: "take a longer one, or seal to a key: --recipient age1..."}
	}
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return Seal{}, fmt.Errorf("seal: %w", err)
	}
	return Seal{to: []age.Recipient{r}, passphrase: true}, nil
}

// Any reports whether secrets are sealed at all.
func (s Seal) Any() bool { return len(s.to) > 0 }

// describe says what close will seal.
func (s Seal) describe(x *Secrets) Sealed {
	if !s.Any() || x.Empty() {
		return Sealed{Seal: SealNone}
	}
	d := x.describe()
	d.Seal, d.Recipients = SealRecipients, s.names
	if s.passphrase {
		d.Seal = SealPassphrase
	}
	return d
}

// close returns the secrets, sealed together with the mark of what they belong to.
func (s Seal) close(x *Secrets, mark string) ([]byte, error) {
	plain, err := x.encode(mark)
	if err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, s.to...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil && b.Len() > maxSecrets {
		err = errors.New("too large")
	}
	if err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	return b.Bytes(), nil
}

// Key opens sealed secrets. The zero value opens none.
type Key struct{ ids []age.Identity }

// ParseKey reads the text of a file of age identities (AGE-SECRET-KEY-1...), as age-keygen writes it.
func ParseKey(text string) (Key, error) {
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return Key{}, errors.New("key file: no identities of age (AGE-SECRET-KEY-1...) in it") // err might quote it
	}
	return Key{ids}, nil
}

// Passphrase returns the key that a passphrase is.
func Passphrase(passphrase string) (Key, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return Key{}, fmt.Errorf("passphrase: %w", err)
	}
	return Key{[]age.Identity{id}}, nil
}

// open returns what is sealed in b.
func (k Key) open(b []byte, how string) ([]byte, error) {
	refuse := func(why string) error {
		way := "name the file with the secret key of one of its recipients"
		if how == SealPassphrase {
			way = "give the passphrase that it was made with"
		}
		return &Error{Err: ErrSealed, Why: why, Way: way}
	}
	if len(k.ids) == 0 {
		return nil, refuse("no key was given")
	}
	r, err := age.Decrypt(bytes.NewReader(b), k.ids...)
	if _, mismatch := errors.AsType[*age.NoIdentityMatchError](err); mismatch {
		if how == SealPassphrase {
			return nil, refuse("the passphrase is wrong, or a key was given where a passphrase is needed")
		}
		return nil, refuse("none of the keys given is one of a recipient")
	}
	if err != nil {
		return nil, damaged("%s: %v", entrySecrets, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSecrets+1))
	if err != nil || len(plain) > maxSecrets {
		return nil, damaged("%s does not decrypt", entrySecrets)
	}
	return plain, nil
}
