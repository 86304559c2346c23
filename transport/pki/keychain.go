package pki

import (
	"fmt"
	"sync/atomic"
)

// Keys is what a member presents and whom it trusts, of one moment.
type Keys struct {
	Credential *Credential
	Bundle     *Bundle
}

// check complains about keys that do not belong together. It does not look at the time.
func (k *Keys) check() error {
	if k.Credential == nil || k.Bundle == nil {
		return fmt.Errorf("keys without certificate or CA bundle")
	}
	if self := k.Credential.self; !k.Bundle.Has(self.CA) {
		return &Error{
			Err:  ErrUntrusted,
			Why:  fmt.Sprintf("certificate of this member is signed by CA %s, which the CA bundle does not hold", self.CA.Short()),
			Hint: "if the CA was rotated while this member was away: join again with a new token",
		}
	}
	return nil
}

// Keychain holds a member's current keys. They are swapped while connections use them: each handshake takes what is
// current when it begins. Any goroutine may read and swap: one atomic pointer to an immutable value.
type Keychain struct {
	current atomic.Pointer[Keys]
}

// NewKeychain returns a keychain that holds the keys.
func NewKeychain(k Keys) (*Keychain, error) {
	c := new(Keychain)
	if err := c.Swap(k); err != nil {
		return nil, err
	}
	return c, nil
}

// Load returns the current keys.
func (c *Keychain) Load() Keys { return *c.current.Load() }

// Swap replaces the keys. Those that do not belong together are refused, and the old ones stay.
func (c *Keychain) Swap(k Keys) error {
	if err := k.check(); err != nil {
		return err
	}
	c.current.Store(&k)
	return nil
}
