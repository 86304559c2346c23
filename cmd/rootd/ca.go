package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

var _ admin.CA = source{}

const (
	// caPatience is how long one member may take for one step.
	caPatience = 20 * time.Second
	// caFresh is the age below which a CA is not replaced without force: whoever runs the command again after it was done
	// means the rotation before.
	caFresh = 24 * time.Hour
)

// caView is what all members say about CAs.
type caView struct {
	members []fsm.Member
	reports []*caReport // of each member; nil: it could not be asked
	errs    []error
}

// lookCA asks all members.
func (c *cluster) lookCA(ctx context.Context) *caView {
	v := &caView{members: c.m.fsm.View().State().Members}
	v.reports, v.errs = c.askCA(ctx, v.members, &caRequest{Step: caLook})
	return v
}

// askCA has members take a step, all at the same time.
func (c *cluster) askCA(ctx context.Context, members []fsm.Member, r *caRequest) ([]*caReport, []error) {
	reports, errs := make([]*caReport, len(members)), make([]error, len(members))
	body, err := json.Marshal(r)
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, caPatience)
			defer cancel()
			id := members[i].ID
			switch {
			case err != nil:
				errs[i] = err
			case id == c.m.id:
				reports[i], errs[i] = c.rotate(ctx, pki.MemberID(id), r)
			default:
				var b []byte
				if b, errs[i] = c.call(ctx, id, callCA, body); errs[i] == nil {
					reports[i] = new(caReport)
					errs[i] = json.Unmarshal(b, reports[i])
				}
			}
			if errs[i] != nil {
				reports[i], errs[i] = nil, fmt.Errorf("member %s: %w", members[i].Name, errs[i])
			}
		})
	}
	wg.Wait()
	return reports, errs
}

// next is the CA that a rotation under way leads to: the one whose key members keep for it; where all have forgotten that
// already, the one that they sign with. Empty: none is under way.
func (v *caView) next() string {
	var next, signs string
	uneven := false
	for _, r := range v.reports {
		if r == nil {
			continue
		}
		if r.Next != "" && (next == "" || r.Next < next) {
			next = r.Next
		}
		if signs == "" {
			signs = r.Signs
		}
		uneven = uneven || len(r.Trusts) != 1 || r.CA != r.Trusts[0]
	}
	if next == "" && uneven {
		return signs
	}
	return next
}

// phase is the first step that not all members have taken.
func (v *caView) phase(next string) caStep {
	all := func(done func(*caReport) bool) bool {
		return !slices.ContainsFunc(v.reports, func(r *caReport) bool { return r != nil && !done(r) })
	}
	switch {
	case next == "":
		return caLook
	case !all(func(r *caReport) bool { return slices.Contains(r.Trusts, next) }):
		return caTrust
	case !all(func(r *caReport) bool { return r.CA == next && (r.Signs == "" || r.Signs == next) }):
		return caRenew
	case !all(func(r *caReport) bool { return len(r.Trusts) == 1 && r.Next == "" }):
		return caForget
	}
	return caLook
}

// CAStatus implements [admin.CA].
func (s source) CAStatus(ctx context.Context) (*admin.CAStatus, error) {
	if s.m.cluster == nil {
		return nil, noClusterPort("CA")
	}
	return s.m.cluster.lookCA(ctx).status(), nil
}

func (v *caView) status() *admin.CAStatus {
	next := v.next()
	st := &admin.CAStatus{Next: next, Step: string(v.phase(next))}
	known := map[string]bool{}
	for i := range v.members {
		m := admin.CAMember{Name: v.members[i].Name}
		if r := v.reports[i]; r == nil {
			m.Error = v.errs[i].Error()
		} else {
			m.Certificate, m.Expires, m.Trusts, m.Signs = r.CA, r.Expires, r.Trusts, r.Signs
			bundle, err := pki.ParseBundle(r.Bundle)
			if err != nil {
				m.Error = err.Error()
				bundle = new(pki.Bundle)
			}
			for _, cert := range bundle.Certificates() {
				if f := pki.FingerprintOf(cert).String(); !known[f] {
					known[f] = true
					st.CAs = append(st.CAs, admin.CAInfo{Fingerprint: f, Made: cert.NotBefore.Add(pki.Backdate).UTC(), Expires: cert.NotAfter.UTC()})
				}
			}
		}
		st.Members = append(st.Members, m)
	}
	slices.SortFunc(st.CAs, func(a, b admin.CAInfo) int { return a.Made.Compare(b.Made) })
	return st
}

// RotateCA implements [admin.CA]. It takes one step at all members that have not taken it, and says how far all are then.
func (s source) RotateCA(ctx context.Context, o admin.RotateOptions) (*admin.CAStatus, error) {
	const what = "rotate the CA"
	c := s.m.cluster
	if c == nil {
		return nil, noClusterPort(what)
	}
	v := c.lookCA(ctx)
	if err := errors.Join(v.errs...); err != nil {
		return nil, refused(what, fmt.Sprintf("not all members can be asked: %v", err), "start it, or remove it (rootctl member remove): one that misses a step must join again")
	}
	next := v.next()
	r := &caRequest{Step: v.phase(next), Next: next}
	if r.Step == caLook {
		if !o.Begin {
			return v.status(), nil
		}
		if err := c.beginRotation(r, o.Force); err != nil {
			return nil, err
		}
	} else if a := c.nextAuthority(); r.Step != caForget && (a == nil || a.Fingerprint().String() != next) {
		return nil, refused(what, "this member does not keep the key of the CA that the rotation leads to, "+next, "run it on the member where it was begun: rootctl ca status shows which ones sign with it")
	}
	if err := c.fill(v, r, c.nextAuthority()); err != nil {
		return nil, err
	}
	// This member first: if it fails here, nobody else has begun.
	self := slices.DeleteFunc(slices.Clone(v.members), func(m fsm.Member) bool { return m.ID != s.m.id })
	others := slices.DeleteFunc(slices.Clone(v.members), func(m fsm.Member) bool { return m.ID == s.m.id })
	for _, part := range [][]fsm.Member{self, others} {
		if _, errs := c.askCA(ctx, part, r); errors.Join(errs...) != nil {
			return nil, refused(what, errors.Join(errs...).Error(), "nothing is lost: run it again, it goes on from here")
		}
	}
	return c.lookCA(ctx).status(), nil
}

// beginRotation makes the new CA. Until this member has stored it, which is the first thing that follows, nothing has happened.
func (c *cluster) beginRotation(r *caRequest, force bool) error {
	const what = "rotate the CA"
	if c.signer() == nil {
		return refused(what, "this member does not keep the CA's key", "run it on a member that does (ca.key in its data directory)")
	}
	if age := time.Since(c.signer().Certificate().NotBefore.Add(pki.Backdate)); age < caFresh && !force {
		return refused(what, fmt.Sprintf("the CA was made %s ago, so a rotation is done already", age.Round(time.Second)), "to make another one all the same: --force")
	}
	a, err := pki.NewAuthority(c.signer().Cluster(), c.m.dir.Meta.ClusterLabel(), time.Now())
	if err != nil {
		return err
	}
	c.rotation.mu.Lock()
	defer c.rotation.mu.Unlock()
	r.Step, r.Next = caTrust, a.Fingerprint().String()
	return c.m.dir.SaveNext(a)
}

// nextAuthority is the CA that this member keeps for a rotation under way, nil if there is none.
func (c *cluster) nextAuthority() *pki.Authority {
	c.rotation.mu.Lock()
	defer c.rotation.mu.Unlock()
	return c.m.dir.Next
}

// fill completes a request: all CAs that anybody trusts and the new one, or the new one alone.
func (c *cluster) fill(v *caView, r *caRequest, next *pki.Authority) (err error) {
	bundle := c.keychain.Load().Bundle
	if next != nil && r.Step != caForget {
		if bundle, err = bundle.With(next.Certificate()); err != nil {
			return err
		}
		if r.Key, err = next.PEM(); err != nil {
			return err
		}
	}
	for _, report := range v.reports {
		more, err := pki.ParseBundle(report.Bundle)
		if err != nil {
			return err
		}
		for _, cert := range more.Certificates() {
			if bundle, err = bundle.With(cert); err != nil {
				return err
			}
		}
	}
	if r.Step == caForget {
		for _, f := range bundle.Fingerprints() {
			if f.String() == r.Next {
				continue
			}
			if bundle, err = bundle.Without(f); err != nil {
				return err
			}
		}
	}
	r.Bundle = bundle.PEM()
	return nil
}
