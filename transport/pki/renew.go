package pki

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// RenewerOptions are the needs of a [Renewer]. All are required.
type RenewerOptions struct {
	Keychain *Keychain
	// Ask sends a request (DER) to a member that can sign, and returns the chain (PEM) and the current bundle.
	Ask func(ctx context.Context, request []byte) (chain []byte, bundle *Bundle, err error)
	// Save stores the new keys, before they are used.
	Save   func(Keys) error
	Logger *slog.Logger
}

// Renewer replaces the certificate in a keychain before it expires.
type Renewer struct {
	o    RenewerOptions
	kick chan struct{}
}

// Times of a Renewer. Each is spread by up to a tenth, so that members that joined together do not ask together.
const (
	renewTimeout  = 30 * time.Second
	renewRetryMin = 30 * time.Second
	renewRetryMax = time.Hour
)

// NewRenewer returns a renewer. It does nothing before Run.
func NewRenewer(o RenewerOptions) (*Renewer, error) {
	if o.Keychain == nil || o.Ask == nil || o.Save == nil || o.Logger == nil {
		return nil, errors.New("renewer without keychain, ask, save or logger")
	}
	return &Renewer{o: o, kick: make(chan struct{}, 1)}, nil
}

// Renew asks for a new certificate now, as the rotation of the CA needs it. Any goroutine may call it.
func (r *Renewer) Renew() {
	select {
	case r.kick <- struct{}{}:
	default: // it is about to happen
	}
}

// Run renews until the context ends, and returns nil then. A renewal that fails is tried again, later and later.
func (r *Renewer) Run(ctx context.Context) error {
	timer := time.NewTimer(renewRetryMax)
	defer timer.Stop()
	retry := time.Duration(0)
	for {
		wait := retry
		if wait == 0 {
			at := r.o.Keychain.Load().Credential.RenewAt()
			wait = max(0, time.Until(at))
		}
		timer.Reset(wait + rand.N(wait/10+1))
		select {
		case <-ctx.Done():
			return nil
		case <-r.kick:
		case <-timer.C:
		}
		old := r.o.Keychain.Load().Credential
		err := r.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			retry = min(max(2*retry, renewRetryMin), renewRetryMax)
			r.o.Logger.Warn("certificate not renewed", "error", err, "expires", old.self.NotAfter, "retry_in", retry)
		default:
			retry = 0
			c := r.o.Keychain.Load().Credential
			r.o.Logger.Info("certificate renewed", "expires", c.self.NotAfter, "ca", c.self.CA.Short())
			if !time.Now().Before(c.RenewAt()) { // old when it came: the signer's clock is far behind, or its CA about to end
				retry = renewRetryMax
			}
		}
	}
}

func (r *Renewer) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	old := r.o.Keychain.Load().Credential
	request, err := NewRequest(old.key)
	if err != nil {
		return err
	}
	chain, bundle, err := r.o.Ask(ctx, request)
	if err != nil {
		return err
	}
	c, err := NewCredential(old.key, chain)
	if err != nil {
		return err
	}
	if c.self.Cluster != old.self.Cluster || c.self.ID != old.self.ID {
		return &Error{Err: ErrBroken, Why: fmt.Sprintf("new certificate is for %v of cluster %v, this is %v", c.self, c.self.Cluster, old.self)}
	}
	k := Keys{Credential: c, Bundle: bundle}
	if err := k.check(); err != nil {
		return err
	}
	if err := r.o.Save(k); err != nil {
		return fmt.Errorf("store new certificate: %w", err)
	}
	return r.o.Keychain.Swap(k)
}
