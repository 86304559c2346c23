package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

// renewAnswer is a new certificate.
type renewAnswer struct {
	Chain  []byte `json:"chain"`  // PEM
	Bundle []byte `json:"bundle"` // PEM: the CAs that members trust
}

// handleRenew signs a new certificate for a member that asks over a connection made with its old one.
func (c *cluster) handleRenew(_ context.Context, from pki.Peer, request []byte) ([]byte, error) {
	if c.signer() == nil {
		return nil, &rpc.Error{Code: "no_authority", Text: "this member does not keep the CA's key"}
	}
	chain, err := c.signer().Sign(request, from.Member, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	return json.Marshal(renewAnswer{chain, c.keychain.Load().Bundle.PEM()})
}

// renewNow replaces a certificate that is old when the member starts, if it keeps the CA's key: nobody would take it, so
// nobody could be asked, and the first member may be the only one. Any other start leaves it to the renewer.
func (c *cluster) renewNow(now time.Time) error {
	k := c.keychain.Load()
	if c.signer() == nil || now.Before(k.Credential.RenewAt()) {
		return nil
	}
	request, err := pki.NewRequest(k.Credential.Key())
	if err != nil {
		return err
	}
	self := k.Credential.Self()
	chain, err := c.signer().Sign(request, self.Member, now, 0)
	if err != nil {
		return err
	}
	if k.Credential, err = pki.NewCredential(k.Credential.Key(), chain); err != nil {
		return err
	}
	if !k.Bundle.Has(k.Credential.Self().CA) {
		return nil // in the middle of a rotation of the CA
	}
	c.m.log.Info("certificate renewed", "expires", k.Credential.Self().NotAfter)
	return c.useKeys(k)
}

// askRenewal gets this member a new certificate: by its own CA key, or from the first member that has it.
func (c *cluster) askRenewal(ctx context.Context, request []byte) ([]byte, *pki.Bundle, error) {
	if c.signer() != nil {
		chain, err := c.signer().Sign(request, c.mux.Self().Member, time.Now(), 0)
		return chain, c.keychain.Load().Bundle, err
	}
	errs := []error{errors.New("no other member")}
	for _, m := range c.m.fsm.View().State().Members {
		if m.ID == c.m.id {
			continue
		}
		b, err := c.call(ctx, m.ID, callRenew, request)
		var answer renewAnswer
		if err == nil {
			err = json.Unmarshal(b, &answer)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		bundle, err := pki.ParseBundle(answer.Bundle)
		return answer.Chain, bundle, err
	}
	return nil, nil, errors.Join(errs...)
}
