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
	if c.authority == nil {
		return nil, &rpc.Error{Code: "no_authority", Text: "this member does not keep the CA's key"}
	}
	chain, err := c.authority.Sign(request, from.Member, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	return json.Marshal(renewAnswer{chain, c.keychain.Load().Bundle.PEM()})
}

// askRenewal gets this member a new certificate: by its own CA key, or from the first member that has it.
func (c *cluster) askRenewal(ctx context.Context, request []byte) ([]byte, *pki.Bundle, error) {
	if c.authority != nil {
		chain, err := c.authority.Sign(request, c.mux.Self().Member, time.Now(), 0)
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
