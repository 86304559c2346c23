package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/pki"
)

// callCA is one step of a rotation of the CA at a member: caRequest; answer: caReport.
const callCA = "ca/1"

// caStep is what a member does of a rotation. Each step can be repeated, and is refused before the one before it.
type caStep string

const (
	caLook   caStep = ""       // nothing
	caTrust  caStep = "trust"  // trust the new CA, too
	caRenew  caStep = "renew"  // get a certificate of the new CA, and sign with it from now on
	caForget caStep = "forget" // trust only the new CA
)

// caRequest is one step for a member. All of them hold all that is needed, for one that missed the step before.
type caRequest struct {
	Step   caStep `json:"step"`
	Next   string `json:"next"`   // fingerprint of the new CA
	Bundle []byte `json:"bundle"` // PEM: whom to trust
	Key    []byte `json:"key"`    // a secret, PEM: the new CA with its key, for members that keep the present one's
}

// caReport is how far a member is.
type caReport struct {
	Trusts  []string  `json:"trusts"`         // fingerprints
	CA      string    `json:"ca"`             // that signed its certificate
	Expires time.Time `json:"expires"`        // of its certificate
	Signs   string    `json:"signs"`          // that it signs with; empty: it keeps no key
	Next    string    `json:"next,omitempty"` // whose key it keeps, until the rotation is done
	Bundle  []byte    `json:"bundle"`         // PEM
}

// rotation is this member's part in replacing the CA.
type rotation struct {
	authority atomic.Pointer[pki.Authority] // what it signs with; nil: the CA's key is not kept here
	mu        sync.Mutex                    // guards the keys in the data directory, and their order in the keychain; held over writes
}

// signer is the CA that this member signs with, nil if it keeps none.
func (c *cluster) signer() *pki.Authority { return c.rotation.authority.Load() }

// saveKeys stores keys that are about to be used.
func (c *cluster) saveKeys(k pki.Keys) error {
	c.rotation.mu.Lock()
	defer c.rotation.mu.Unlock()
	if now := c.keychain.Load().Bundle; c.signer() != nil && !slices.Equal(now.Fingerprints(), k.Bundle.Fingerprints()) {
		return errors.New("the CA was rotated meanwhile")
	}
	return c.m.dir.SaveKeys(k)
}

// useKeys stores and uses keys. The lock is held, or nothing else runs yet.
func (c *cluster) useKeys(k pki.Keys) error {
	if err := c.m.dir.SaveKeys(k); err != nil {
		return err
	}
	return c.keychain.Swap(k)
}

func (c *cluster) handleCA(ctx context.Context, from pki.Peer, body []byte) ([]byte, error) {
	var r caRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	report, err := c.rotate(ctx, from.ID, &r)
	if err != nil {
		return nil, err
	}
	return json.Marshal(report)
}

// rotate takes one step that a member asks for, which may be this one.
func (c *cluster) rotate(ctx context.Context, from pki.MemberID, r *caRequest) (*caReport, error) {
	c.rotation.mu.Lock()
	defer c.rotation.mu.Unlock()
	if r.Step != caLook {
		if err := c.step(ctx, from, r); err != nil {
			return nil, fmt.Errorf("%s the CA %s: %w", r.Step, r.Next, err)
		}
		c.m.log.Info("step of a rotation of the CA", "reason", string(r.Step), "ca", r.Next)
	}
	k := c.keychain.Load()
	report := &caReport{CA: k.Credential.Self().CA.String(), Expires: k.Credential.Self().NotAfter.UTC(), Bundle: k.Bundle.PEM()}
	for _, f := range k.Bundle.Fingerprints() {
		report.Trusts = append(report.Trusts, f.String())
	}
	if a := c.signer(); a != nil {
		report.Signs = a.Fingerprint().String()
	}
	if n := c.m.dir.Next; n != nil {
		report.Next = n.Fingerprint().String()
	}
	return report, nil
}

func (c *cluster) step(ctx context.Context, from pki.MemberID, r *caRequest) error {
	k := c.keychain.Load()
	next, err := pki.ParseFingerprint(r.Next)
	if err != nil {
		return err
	}
	bundle, err := pki.ParseBundle(r.Bundle)
	if err != nil {
		return err
	}
	if !bundle.Has(next) || bundle.Cluster() != k.Bundle.Cluster() {
		return errors.New("the bundle is not one of this rotation")
	}
	switch r.Step {
	case caTrust:
		for _, f := range k.Bundle.Fingerprints() {
			if !bundle.Has(f) {
				return fmt.Errorf("CA %s, which is trusted, is not in the bundle", f.Short())
			}
		}
		if err := c.keepNext(r, next); err != nil {
			return err
		}
		k.Bundle = bundle
	case caRenew:
		if !k.Bundle.Has(next) {
			return errors.New("it is not trusted yet")
		}
		if k.Credential, err = c.signedBy(ctx, from, r, next); err != nil {
			return err
		}
	case caForget:
		if k.Credential.Self().CA != next {
			return errors.New("this member's certificate is not signed by it yet")
		}
		k.Bundle = bundle
	default:
		return fmt.Errorf("step %q is not known here", r.Step)
	}
	if err := c.useKeys(k); err != nil {
		return err
	}
	if r.Step != caForget {
		return nil
	}
	c.mux.Recheck()
	return c.m.dir.SaveNext(nil)
}

// keepNext keeps the new CA's key until it is used, if this member keeps the present one's.
func (c *cluster) keepNext(r *caRequest, next pki.Fingerprint) error {
	if c.signer() == nil || len(r.Key) == 0 {
		return nil
	}
	a, err := pki.ParseAuthority(r.Key)
	if err != nil {
		return err
	}
	if a.Fingerprint() != next {
		return errors.New("the key is another CA's")
	}
	return c.m.dir.SaveNext(a)
}

// signedBy returns a certificate of the new CA for this member: by its own key of it, or by the member that asks.
func (c *cluster) signedBy(ctx context.Context, from pki.MemberID, r *caRequest, next pki.Fingerprint) (*pki.Credential, error) {
	old := c.keychain.Load().Credential
	if err := c.keepNext(r, next); err != nil {
		return nil, err
	}
	if a := c.m.dir.Next; a != nil && a.Fingerprint() == next && c.signer() != nil {
		if err := c.m.dir.SaveAuthority(a); err != nil {
			return nil, err
		}
		c.rotation.authority.Store(a)
	}
	if old.Self().CA == next {
		return old, nil
	}
	request, err := pki.NewRequest(old.Key())
	if err != nil {
		return nil, err
	}
	var chain []byte
	if a := c.signer(); a != nil {
		chain, err = a.Sign(request, old.Self().Member, time.Now(), 0)
	} else {
		var answer renewAnswer
		var b []byte
		if b, err = c.call(ctx, table.MemberID(from), callRenew, request); err == nil {
			err = json.Unmarshal(b, &answer)
		}
		chain = answer.Chain
	}
	if err != nil {
		return nil, err
	}
	k, err := pki.NewCredential(old.Key(), chain)
	if err == nil && k.Self().CA != next {
		err = fmt.Errorf("the new certificate is signed by CA %s", k.Self().CA.Short())
	}
	return k, err
}
