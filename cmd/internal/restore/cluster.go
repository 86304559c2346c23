package restore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// ErrAlive refuses to supersede a cluster that is alive.
var ErrAlive = errors.New("the cluster is alive")

// askLimit is how long a member may take to show that it is alive.
const askLimit = 3 * time.Second

// Other is a member of the cluster as it was, which the new epoch does not have.
type Other struct {
	ID      uint16 `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	Alive   bool   `json:"alive"`           // it answered, with a certificate of the cluster
	Epoch   string `json:"epoch,omitempty"` // of the cluster that it is in, if it is alive
}

// others lists the members of a state but self, and which of them are alive.
func others(ctx context.Context, st *fsm.State, self uint16, ca pki.Fingerprint) []Other {
	var all []Other
	for i := range st.Members {
		m := &st.Members[i]
		if uint16(m.ID) == self {
			continue
		}
		o := Other{ID: uint16(m.ID), Name: m.Name, Address: m.Address}
		for _, s := range st.Voters.Servers {
			o.Voter = o.Voter || s.Voter && s.ID == fmt.Sprint(o.ID)
		}
		all = append(all, o)
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var wg sync.WaitGroup
	for i := range all {
		o := &all[i]
		if o.Address == "" {
			continue
		}
		wg.Go(func() {
			c, _, err := mux.DialJoin(ctx, mux.DialTCP, o.Address, ca)
			if c == nil {
				return
			}
			if p, ok := mux.PeerOf(c); ok && err == nil {
				o.Alive, o.Epoch = true, p.Epoch.String()
			}
			_ = c.Close()
		})
	}
	wg.Wait()
	return all
}

// live refuses if the voters that are alive, and those that would be after a start of self, are a quorum.
func live(all []Other, self bool, epoch pki.Epoch) error {
	voters, alive := 0, 0
	var names []string
	for _, o := range all {
		if e, err := pki.ParseEpoch(o.Epoch); o.Alive && err == nil && e.Compare(epoch) > 0 {
			return &datadir.Error{
				Path: o.Name, Err: ErrAlive, Why: fmt.Sprintf("answers at %s, and is of a newer epoch (%v): the cluster was restored already", o.Address, e),
				Way: "join that cluster: rootctl token create there, then rootctl join here in an empty directory",
			}
		}
		if o.Voter {
			voters++
			if o.Alive {
				alive++
			}
		}
		if o.Alive {
			names = append(names, o.Name)
		}
	}
	have := alive
	if self {
		voters++
		have++
	}
	if alive == 0 || have < voters/2+1 {
		return nil
	}
	way := "to bring an archive's state back into it: rootctl snapshot restore; --force makes another cluster all the same, and ends that one"
	if self {
		way = "start rootd here: the quorum is not lost; --force ends the others all the same"
	}
	return &datadir.Error{Path: "the cluster", Err: ErrAlive, Why: fmt.Sprintf("is alive: %v answer, %d of %d voters are a quorum", names, voters/2+1, voters), Way: way}
}

// contacts are where the members of the epoch before may be up again.
func contacts(all []Other) []datadir.Contact {
	var out []datadir.Contact
	for _, o := range all {
		if o.Address != "" {
			out = append(out, datadir.Contact{Member: pki.MemberID(o.ID), Name: o.Name, Address: o.Address})
		}
	}
	return out
}

// member is the one that the new epoch begins with.
type member struct {
	id        uint16
	name      string
	address   string
	endpoints []netip.AddrPort
}

// epoch is the entry that begins the new epoch with the member.
func (m *member) epoch(e pki.Epoch, key fsm.KeyHash) *fsm.NewEpoch {
	b := build.Current()
	return &fsm.NewEpoch{
		Epoch: fsm.Epoch(e), ID: memberID(m.id), Name: m.name, Address: m.address, Endpoints: m.endpoints, KeyHash: key, Version: b.Version, Feature: uint16(b.FeatureLevel),
	}
}

// planet is the planet that clients need in the new epoch, signed; nil if the present one will do, or the key is not here.
func (m *member) planet(st *fsm.State, key *vl1.SigningKey, now time.Time) (raw []byte, next *admin.NextPlanet, err error) {
	if st.Planet == nil {
		return nil, nil, nil
	}
	next, err = admin.Next(st.Planet.World, st.Cluster.Root, []admin.Member{{ID: m.id, Name: m.name, Endpoints: m.endpoints, Epoch: 1}}, now)
	if err != nil || !next.Changed() || key == nil || key.Public() != st.Planet.World.UpdateKey {
		return nil, next, err
	}
	next.World.Sign(key)
	return next.World.AppendBinary(nil), next, nil
}

// sign makes the member's certificate in an epoch.
func (m *member) sign(a *pki.Authority, e pki.Epoch, key *pki.Key, now time.Time) (*pki.Credential, []byte, error) {
	request, err := pki.NewRequest(key)
	if err != nil {
		return nil, nil, err
	}
	chain, err := a.Sign(request, pki.Member{Cluster: a.Cluster(), Epoch: e, ID: pki.MemberID(m.id), Name: m.name}, now, 0)
	if err != nil {
		return nil, nil, err
	}
	c, err := pki.NewCredential(key, chain)
	return c, chain, err
}

// Planet says what becomes of the planet.
type Planet struct {
	WorldID string           `json:"world_id"`
	Changes bool             `json:"changes"` // the endpoints are others
	Signed  bool             `json:"signed"`  // and the key is here: the new one is published with the first start
	Added   []netip.AddrPort `json:"added,omitzero"`
	Removed []netip.AddrPort `json:"removed,omitzero"`
}

func planetOf(st *fsm.State, raw []byte, next *admin.NextPlanet) Planet {
	if st.Planet == nil {
		return Planet{}
	}
	p := Planet{WorldID: fmt.Sprintf("%016x", st.Planet.World.ID), Signed: raw != nil}
	if next != nil {
		p.Changes, p.Added, p.Removed = next.Changed(), next.Added, next.Removed
	}
	return p
}
