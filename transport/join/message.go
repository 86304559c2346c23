package join

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/pki"
)

// Request is what a machine asks for, as the member that it dialed hands it to its [Admitter]. It is JSON for other
// members, so that a follower can pass it on to the leader.
type Request struct {
	Token      TokenID  `json:"token"`
	SecretHash [32]byte `json:"secret_hash"` // SHA-256 of the secret that was sent
	CSR        []byte   `json:"csr"`         // certificate request (DER) of the node key; its signature was checked
	KeyHash    [32]byte `json:"key_hash"`    // SHA-256 of the node key's public half (PKIX form)

	Name      string           `json:"name"`
	Address   string           `json:"address"`   // host:port of its cluster port, as other members will dial it
	Endpoints []netip.AddrPort `json:"endpoints"` // where clients will reach it; may be empty
	Version   string           `json:"version"`   // of its software
	Feature   uint16           `json:"feature"`   // highest feature level that it knows
	Clock     time.Time        `json:"clock"`     // what its clock said when it sent the request

	// Probe is the identity that answers HELLOs at the endpoints while the exchange lasts (see [Responder]); nil: nothing does.
	Probe *vl1.Identity `json:"probe,omitempty"`
	// DryRun: nothing is to be changed. Force: forceable problems are to be passed over.
	DryRun bool `json:"dry_run,omitempty"`
	Force  bool `json:"force,omitempty"`
	// From is where the connection came from, as the member saw it.
	From netip.AddrPort `json:"from"`
}

// MarshalText writes a token ID as text, in JSON too.
func (t TokenID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (t *TokenID) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTokenID(string(b))
	return err
}

// Plan is what would come of a request.
type Plan struct {
	Cluster     string       `json:"cluster"`               // its ID, 32 hexadecimal digits
	ClusterName string       `json:"cluster_name"`          // for people
	Root        vl1.Address  `json:"root"`                  // of the ZeroTier identity that all members serve
	Member      pki.MemberID `json:"member,omitempty"`      // the ID it will get, or has already; 0: not known yet
	Again       bool         `json:"again,omitempty"`       // the machine has joined with this token before
	Members     []Member     `json:"members"`               // those that there are
	Probes      []Probe      `json:"probes,omitempty"`      // what members found at the endpoints
	Problems    []*Refusal   `json:"problems,omitempty"`    // all that stands against it, what cannot be forced first
	Planet      []byte       `json:"planet,omitempty"`      // the signed planet of now
	AutoPublish bool         `json:"auto_publish"`          // the next planet is signed and published by the cluster itself
	Voters      int          `json:"voters,omitempty"`      // most members that vote; the others stand by
	ServerName  string       `json:"server,omitempty"`      // the member that answers
	ServerClock time.Time    `json:"server_clock,omitzero"` // what its clock says
}

// Member is one that there is already.
type Member struct {
	ID        pki.MemberID     `json:"id"`
	Name      string           `json:"name"`
	Address   string           `json:"address"` // host:port of its cluster port
	Endpoints []netip.AddrPort `json:"endpoints"`
	Version   string           `json:"version"`
	Status    string           `json:"status"`
}

// Probe is what one member found at one endpoint with a real HELLO.
type Probe struct {
	Member    string         `json:"member"` // name of the one that probed
	Endpoint  netip.AddrPort `json:"endpoint"`
	OK        bool           `json:"ok"`
	RTTMillis float64        `json:"rtt_ms,omitzero"`
	Why       string         `json:"why,omitempty"` // if not
}

// Blocker returns the problem for which the request is refused, nil if there is none.
func (p *Plan) Blocker(force bool) *Refusal {
	for _, r := range p.Problems {
		if !r.Forceable {
			return r
		}
	}
	if !force && len(p.Problems) > 0 {
		return p.Problems[0]
	}
	return nil
}

// Offer makes the machine a member. It holds the cluster's secrets.
type Offer struct {
	Member      pki.MemberID
	Cluster     pki.ClusterID
	ClusterName string
	Chain       []byte   // its certificate and the CA's (PEM)
	Bundle      []byte   // the CAs that members trust (PEM)
	Planet      []byte   // the signed planet
	Members     []Member // the others
	Identity    Hidden   // the root's, with its secret (text)
	Authority   Hidden   // the CA with its key (PEM); may be empty
	PlanetKey   Hidden   // the planet's signing key (text); empty: not kept in the cluster
}

// offerJSON is the form in which an Offer crosses the wire.
type offerJSON struct {
	Member      pki.MemberID `json:"member"`
	Cluster     string       `json:"cluster"`
	ClusterName string       `json:"cluster_name"`
	Chain       []byte       `json:"chain"`
	Bundle      []byte       `json:"bundle"`
	Planet      []byte       `json:"planet"`
	Members     []Member     `json:"members"`
	Identity    []byte       `json:"identity"`
	Authority   []byte       `json:"authority,omitempty"`
	PlanetKey   []byte       `json:"planet_key,omitempty"`
}

// Encode returns the offer with its secrets in the clear, for a channel that is encrypted. The reverse is [DecodeOffer].
func (o *Offer) Encode() ([]byte, error) {
	return json.Marshal(offerJSON{
		Member: o.Member, Cluster: o.Cluster.String(), ClusterName: o.ClusterName, Chain: o.Chain, Bundle: o.Bundle, Planet: o.Planet,
		Members: o.Members, Identity: o.Identity.Reveal(), Authority: o.Authority.Reveal(), PlanetKey: o.PlanetKey.Reveal(),
	})
}

// DecodeOffer reads what [Offer.Encode] wrote. Its errors quote nothing of it.
func DecodeOffer(b []byte) (*Offer, error) {
	var j offerJSON
	if json.Unmarshal(b, &j) != nil {
		return nil, fmt.Errorf("offer: not readable")
	}
	cluster, err := pki.ParseClusterID(j.Cluster)
	if err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	return &Offer{
		Member: j.Member, Cluster: cluster, ClusterName: j.ClusterName, Chain: j.Chain, Bundle: j.Bundle, Planet: j.Planet, Members: j.Members,
		Identity: Hide(j.Identity), Authority: Hide(j.Authority), PlanetKey: Hide(j.PlanetKey),
	}, nil
}

// String names the offer, never its secrets.
func (o *Offer) String() string {
	return fmt.Sprintf("offer to be member %d of cluster %v", o.Member, o.Cluster)
}
