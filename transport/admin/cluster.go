package admin

import (
	"context"
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Cluster is what a [Source] serves besides, where it is a member of a cluster that can grow. [NewServer] looks whether its Source is one;
// if not, the routes are unknown. Its methods are called from many goroutines at once. A member that is not the leader passes
// changes on to it; without one they fail with [ErrUnavailable].
type Cluster interface {
	Membership
	Tokens
	Settings
	Rollout
}

// Membership is about members. A member is named by its name, or by its ID in decimal.
type Membership interface {
	Members(ctx context.Context) (*Members, error)
	// RemoveMember takes a member out of the cluster for good. Without force it refuses one that is alive, or whose removal
	// would lose the quorum; with dryRun it only says what would come of it.
	RemoveMember(ctx context.Context, member string, o RemoveOptions) (*Removal, error)
	// PromoteMember makes a nonvoter a voter, DemoteMember the reverse; it stays so until LeaveVote leaves it to the cluster
	// again. What is so already succeeds. Force passes over that the member is behind, or that fewer voters would survive a loss.
	PromoteMember(ctx context.Context, member string, force bool) (*Member, error)
	DemoteMember(ctx context.Context, member string, force bool) (*Member, error)
	LeaveVote(ctx context.Context, member string) (*Member, error)
	// ReadmitMember lets a member whose log is gone, and that says so, begin with an empty one: it takes its vote, which it gets back
	// by itself. Refused if most of the others that vote are not well.
	ReadmitMember(ctx context.Context, member string) (*Member, error)
	// PreferLeaders says which members should lead, the best first; none = any.
	PreferLeaders(ctx context.Context, members []string) (*Members, error)
	// TransferLeadership makes another member the leader, "" = the one that is furthest, and returns it once it is.
	TransferLeadership(ctx context.Context, to string) (*Member, error)
}

// Tokens is about join tokens. A token is named by its ID, 16 hexadecimal digits.
type Tokens interface {
	Tokens(ctx context.Context) ([]Token, error)
	CreateToken(ctx context.Context, r TokenRequest) (*NewToken, error)
	RevokeToken(ctx context.Context, id string) (*Token, error)
}

// Settings is about what the log says of how the cluster behaves.
type Settings interface {
	Settings(ctx context.Context) ([]Setting, error)
	// SetSetting changes one setting; an empty value restores its default.
	SetSetting(ctx context.Context, key, value string) (*Setting, error)
}

// Rollout is about the planet on its way to the clients.
type Rollout interface {
	// Adoption counts the peers in the log by the planet they carry.
	Adoption(ctx context.Context) (*Adoption, error)
}

// Members is the cluster as the member that answers sees it.
type Members struct {
	Cluster     string    `json:"cluster"`      // its ID, 32 hexadecimal digits
	ClusterName string    `json:"cluster_name"` // for people
	Leader      string    `json:"leader"`       // name, "" = none known
	Self        uint16    `json:"self"`         // the member that answers
	Quorum      bool      `json:"quorum"`       // the leader hears from a majority of voters
	MaxVoters   int       `json:"max_voters"`   // setting "voters": members beyond stand by
	Time        time.Time `json:"time"`         // the log's, to compare reports with
	Members     []Member  `json:"members"`      // ascending by ID
	Removed     []Former  `json:"removed,omitzero"`
	Rescues     []Rescue  `json:"rescues,omitzero"` // of the peers of members that died in the last hour, the latest first
}

// Rescue is what became of the peers of a member that died, or of all members that were lost when the cluster was restored. They were
// sent redirects by way of another root, or a direct word.
type Rescue struct {
	Member    string    `json:"member"`            // "": the members of the epoch before
	Restored  bool      `json:"restored,omitzero"` // it is about these
	Epoch     uint16    `json:"epoch"`             // that ended
	At        time.Time `json:"at"`
	Peers     int       `json:"peers"`     // that were there, active, and nowhere else
	Pushed    int       `json:"pushed"`    // were redirected
	Arrived   int       `json:"arrived"`   // came to the member that redirected them
	Elsewhere int       `json:"elsewhere"` // were found at another member, or forgotten
	Waiting   int       `json:"waiting"`   // are still tried
	GivenUp   int       `json:"given_up"`  // did not come
}

// Roles of a member in the log's replication.
const (
	RoleLeader   = "leader"
	RoleVoter    = "voter"
	RoleNonvoter = "nonvoter" // catching up, or standing by
	RoleNone     = ""         // not a replica: it has never been up
)

// Votes that an operator may want of a member.
const (
	VoteAuto    = "auto"
	VoteVoter   = "voter"
	VoteStandby = "standby"
)

// Statuses of a member, as package fsm names them.
const (
	StatusJoining = "joining"
	StatusUp      = "up"
	StatusSuspect = "suspect"
	StatusDown    = "down"
)

// Member is one member of the cluster.
type Member struct {
	ID           uint16           `json:"id"`
	Name         string           `json:"name"`
	Status       string           `json:"status"`
	Drain        string           `json:"drain,omitempty"`    // as of [Drain.State]
	LogGone      bool             `json:"log_gone,omitempty"` // it says that its log is gone, and waits to be readmitted
	Role         string           `json:"role"`
	Vote         string           `json:"vote"`     // wanted: auto, voter, standby
	Priority     uint8            `json:"priority"` // as leader: the voter with the greatest should lead
	Version      string           `json:"version"`
	Feature      uint16           `json:"feature"`
	Address      string           `json:"address"` // host:port of its cluster port, "" = none
	Endpoints    []netip.AddrPort `json:"endpoints"`
	Published    []netip.AddrPort `json:"published"` // of them: those in the current planet
	Epoch        uint16           `json:"epoch"`
	Joined       time.Time        `json:"joined,omitzero"`
	Up           time.Time        `json:"up,omitzero"`          // since when it lives its current epoch
	LastReport   time.Time        `json:"last_report,omitzero"` // by the log's time
	AppliedIndex uint64           `json:"applied_index"`        // 0 = unknown
	Lag          uint64           `json:"lag"`                  // entries that it has yet to apply
	KeyHash      string           `json:"key_hash,omitempty"`   // SHA-256 of its node key, hexadecimal
	Health       *Health          `json:"health,omitempty"`     // nil = it has not reported yet
	Reach        []Reach          `json:"reach,omitzero"`
}

// Health is what a member last reported of itself.
type Health struct {
	Load             float64 `json:"load"` // 1 = all it can carry
	CPU              float64 `json:"cpu"`  // 1 = all its processors busy
	Memory           uint64  `json:"memory_bytes"`
	PacketsPerSecond uint32  `json:"packets_per_second"`
	Sessions         uint32  `json:"sessions"`
	DiskFree         uint64  `json:"disk_free_bytes"`
}

// Reach is whether others reach an endpoint of a member with a real HELLO.
type Reach struct {
	Endpoint netip.AddrPort `json:"endpoint"`
	Asked    bool           `json:"asked"` // somebody tried
	OK       bool           `json:"ok"`    // and was answered
}

// Former is a member that was removed.
type Former struct {
	ID   uint16    `json:"id"`
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// RemoveOptions say how to remove a member.
type RemoveOptions struct {
	Force  bool // although it is alive, or the quorum is lost
	Alone  bool // although no other root of the planet could carry the clients
	DryRun bool
}

// Removal is what comes, or came, of the removal of a member.
type Removal struct {
	Member   Member   `json:"member"`
	Done     bool     `json:"done"`
	Problems []string `json:"problems,omitzero"` // for which it is refused without force
	Peers    int      `json:"peers"`             // that were attached to it
	// VotersLeft of VotersNeeded for a quorum are reachable after it.
	VotersLeft   int `json:"voters_left"`
	VotersNeeded int `json:"voters_needed"`
}

// Token is a join token as far as the log knows it. Its secret is not among that.
type Token struct {
	ID      string    `json:"id"`
	Note    string    `json:"note"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state"` // open, used, expired
	Used    time.Time `json:"used,omitzero"`
	Member  string    `json:"member,omitempty"` // who joined with it
}

// States of a token.
const (
	TokenOpen    = "open"
	TokenUsed    = "used"
	TokenExpired = "expired"
)

// TokenRequest asks for a token.
type TokenRequest struct {
	Life int64  `json:"life_seconds"` // 0 = a day
	Note string `json:"note"`         // up to 64 bytes
}

// NewToken is a token that was just made: the only answer that holds its secret.
type NewToken struct {
	Token
	Text      string   `json:"token"`     // what rootctl join takes; a secret
	CA        string   `json:"ca"`        // fingerprint of the authority in it
	Addresses []string `json:"addresses"` // that it tells to dial
}

// Setting is one setting of the cluster.
type Setting struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Default  string `json:"default"`
	Explicit bool   `json:"explicit"` // was set
	Help     string `json:"help"`
}

// Adoption counts peers by the planet they carry.
type Adoption struct {
	Planet   PlanetSummary     `json:"planet"` // the current one
	Auto     bool              `json:"auto"`   // the cluster signs and publishes the next one by itself
	Peers    int               `json:"peers"`  // in the log
	Adopted  int               `json:"adopted"`
	Unknown  int               `json:"unknown"`  // never said which they carry
	Versions []AdoptionVersion `json:"versions"` // newest first, unknown ones left out
	Curve    []AdoptionPoint   `json:"curve,omitzero"`
}

// AdoptionVersion is one planet that peers carry.
type AdoptionVersion struct {
	Timestamp uint64    `json:"timestamp"` // ms since 1970
	Time      time.Time `json:"time"`
	Peers     int       `json:"peers"`
}

// AdoptionPoint is how many peers carried the current planet at a time.
type AdoptionPoint struct {
	Time    time.Time `json:"time"`
	Peers   int       `json:"peers"`
	Adopted int       `json:"adopted"`
}

// NextPlanet is the planet that the members' endpoints call for.
type NextPlanet struct {
	World    *vl1.World       `json:"-"`                 // unsigned, newer than the current one
	Added    []netip.AddrPort `json:"added,omitzero"`    // to this root
	Removed  []netip.AddrPort `json:"removed,omitzero"`  // from this root
	LeftOut  []netip.AddrPort `json:"left_out,omitzero"` // did not fit
	Unserved []string         `json:"unserved,omitzero"` // names of members without an endpoint in it
}

// Changed reports whether there is anything to publish.
func (n *NextPlanet) Changed() bool { return len(n.Added)+len(n.Removed) > 0 }
