package join

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// Options are the needs of [Join]. Token and Key are required.
type Options struct {
	Token *Token
	Key   *pki.Key // node key; the caller keeps it, and gives the same one when it tries again

	Name      string           // of the member to be
	Address   string           // host:port of its cluster port, as other members will dial it
	Endpoints []netip.AddrPort // where clients will reach it
	Version   string           // of its software
	Feature   uint16           // highest feature level that it knows
	Probe     *vl1.Identity    // that answers HELLOs at the endpoints meanwhile: [Responder.Identity]; nil: none does
	DryRun    bool             // only find out what would come of it
	Force     bool             // pass over problems that are forceable

	Dial func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
	Now  func() time.Time                                            // nil: [time.Now]
	Note func(text string)                                           // told what takes time; nil: nobody is
}

// Result is what a machine learned and got. Everything in it was verified against the token and against each other.
type Result struct {
	Server    pki.Peer // the member that answered
	Plan      *Plan
	Offer     *Offer              // nil after a dry run, and so is all below
	Keys      pki.Keys            // certificate of the node key, and the CAs
	Authority *pki.Authority      // nil: not handed out
	Identity  *vl1.SecretIdentity // the root's
	PlanetKey *vl1.SigningKey     // nil: not kept in the cluster
}

// Join asks the members in the token, one after the other, until one answers for good. What a member, or this function,
// refuses is a [*Refusal]; the result then holds the plan if it got that far. It may be called again after any error, with
// the same key: it goes on where it was.
func Join(ctx context.Context, o Options) (*Result, error) {
	if o.Dial == nil {
		o.Dial = mux.DialTCP
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	var worst *Refusal // of those that do not answer for good: the one that says most
	var learned *Result
	for _, address := range o.Token.Addresses {
		r, err := o.ask(ctx, address)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		refusal := explain(address, err)
		if !refusal.elsewhere() {
			refusal.unsure = worst != nil
			return r, refusal
		}
		if worst == nil || worst.Code == CodeUnavailable {
			worst, learned = refusal, r
		}
	}
	return learned, worst
}

// elsewhere reports whether another member may answer better.
func (r *Refusal) elsewhere() bool {
	return r.Code == CodeUnavailable || r.Code == CodeInternal || r.local
}

// explain makes a refusal of what went wrong at this end.
func explain(address string, err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	r := &Refusal{Code: CodeUnavailable, Why: err.Error(), cause: err, local: true}
	switch {
	case errors.Is(err, pki.ErrUntrusted), errors.Is(err, pki.ErrBroken):
		r.Code = CodeCluster
		r.Why = fmt.Sprintf("%s is not a member of the token's cluster; nothing secret was sent: %v", address, err)
		r.Way = "the token is of another cluster, or older than a rotation of its CA, or somebody else answers there: make a new token, check the address"
	case errors.Is(err, pki.ErrExpired), errors.Is(err, pki.ErrNotYetValid):
		r.Code = CodeClock
		r.Way = "set this machine's clock (timedatectl set-ntp true), and check the member's"
	case errors.Is(err, mux.ErrNotServed):
		r.Way = "that rootd does not take new members (yet): is it up, and of the same version?"
	case errors.Is(err, mux.ErrBusy):
		r.Way = "try again in a moment"
	case errors.Is(err, errOffer):
		r.Code = CodeInternal
		r.Way = "nothing was written; are all members of one version?"
	default:
		if _, ok := errors.AsType[*mux.DialError](err); ok {
			r.Way = "is rootd running there, and is its cluster port (TCP) open for this machine?"
		} else {
			r.Why = fmt.Sprintf("connection to %s broke off: %v", address, err)
			r.Way = "run the same command again: it goes on where it was"
		}
	}
	return r
}

// ask has one exchange with the member at the address.
func (o *Options) ask(ctx context.Context, address string) (*Result, error) {
	o.Note("dialing " + address)
	c, ca, err := mux.DialJoin(ctx, o.Dial, address, o.Token.CA) // verifies the CA; so far nothing of ours was sent
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r := &Result{}
	r.Server, _ = c.Peer()
	o.Note(fmt.Sprintf("%v is of the cluster in the token", r.Server.Member))
	hello, err := o.hello()
	if err != nil {
		return nil, err
	}
	if err := writeFrame(c, kindHello, hello); err != nil {
		return nil, err
	}
	for {
		k, body, err := readFrame(c, maxFrame)
		if err != nil {
			return r, err
		}
		switch k {
		case kindNote:
			var n noteJSON
			if json.Unmarshal(body, &n) == nil {
				o.Note(clean(n.Text))
			}
		case kindPlan:
			r.Plan = new(Plan)
			if err := json.Unmarshal(body, r.Plan); err != nil {
				return r, fmt.Errorf("%w: plan: %w", errFrame, err)
			}
			if r.Plan.Cluster != ca.Cluster().String() {
				return r, fmt.Errorf("%w: of cluster %s, the CA is of %v", errOffer, clean(r.Plan.Cluster), ca.Cluster())
			}
			for _, p := range r.Plan.Problems {
				p.Why, p.Way = clean(p.Why), clean(p.Way)
			}
			if o.DryRun {
				return r, nil
			}
		case kindOffer:
			if o.DryRun {
				return r, fmt.Errorf("%w: an offer in answer to a dry run", errFrame)
			}
			return r, o.take(r, ca, body)
		case kindRefusal:
			refusal := new(Refusal)
			if err := json.Unmarshal(body, refusal); err != nil {
				return r, fmt.Errorf("%w: refusal: %w", errFrame, err)
			}
			refusal.Why, refusal.Way = clean(refusal.Why), clean(refusal.Way)
			return r, refusal
		default:
			return r, fmt.Errorf("%w: of unknown kind %d", errFrame, k)
		}
	}
}

func (o *Options) hello() ([]byte, error) {
	csr, err := pki.NewRequest(o.Key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(helloJSON{
		Token: o.Token.ID, Secret: o.Token.secret.Reveal(), CSR: csr, Name: o.Name, Address: o.Address, Endpoints: o.Endpoints,
		Version: o.Version, Feature: o.Feature, Clock: o.Now().UnixMilli(), Probe: o.Probe, DryRun: o.DryRun, Force: o.Force,
	})
}

// errOffer is wrapped by complaints about an offer that does not hold together.
var errOffer = errors.New("the member's offer cannot be used")

// take reads an offer, and verifies that all of it belongs together and to us.
func (o *Options) take(r *Result, ca *pki.Bundle, body []byte) error {
	bad := func(what string, err error) error {
		r.Offer = nil
		return fmt.Errorf("%w: %s: %w", errOffer, what, err)
	}
	offer, err := DecodeOffer(body)
	if err != nil {
		return bad("its form", err)
	}
	if r.Keys.Credential, err = pki.NewCredential(o.Key, offer.Chain); err != nil {
		return bad("certificate", err)
	}
	if r.Keys.Bundle, err = pki.ParseBundle(offer.Bundle); err != nil {
		return bad("CA bundle", err)
	}
	if _, err := pki.NewKeychain(r.Keys); err != nil {
		return bad("certificate", err)
	}
	self := r.Keys.Credential.Self()
	if self.Cluster != ca.Cluster() || offer.Cluster != ca.Cluster() || self.ID != offer.Member || self.Name != o.Name {
		return bad("certificate", fmt.Errorf("it is of %v of cluster %v", self, self.Cluster))
	}
	if !r.Keys.Bundle.Has(ca.Fingerprints()[0]) {
		return bad("CA bundle", errors.New("it does not trust the CA in the token"))
	}
	if !offer.Authority.Empty() {
		if r.Authority, err = pki.ParseAuthority(offer.Authority.Reveal()); err != nil {
			return bad("CA key", err)
		}
		if r.Authority.Cluster() != ca.Cluster() {
			return bad("CA key", fmt.Errorf("it is of cluster %v", r.Authority.Cluster()))
		}
	}
	if r.Identity, err = vl1.ParseSecretIdentity(string(bytes.TrimSpace(offer.Identity.Reveal()))); err != nil {
		return bad("identity", errors.New("it is damaged")) // the cause might quote it
	}
	w, n, err := vl1.DecodeWorld(offer.Planet)
	if err != nil || n != len(offer.Planet) || !w.Verify(&w.UpdateKey) {
		return bad("planet", errors.New("it is damaged, or not signed by its own key"))
	}
	if !offer.PlanetKey.Empty() {
		if r.PlanetKey, err = vl1.ParseSigningKey(string(bytes.TrimSpace(offer.PlanetKey.Reveal()))); err != nil {
			return bad("planet key", errors.New("it is damaged"))
		}
	}
	r.Offer = offer
	return nil
}
