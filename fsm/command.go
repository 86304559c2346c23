package fsm

import (
	"net/netip"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Sighting is the raw fact that members propose: "member M received an authenticated packet from peer P at
// endpoint E". It is what the packet path hands to the proposer; the log carries the smaller [Change].
type Sighting struct {
	Identity vl1.Identity
	// Endpoint is where the peer was seen. Invalid: only the identity is known, nothing is attached.
	Endpoint netip.AddrPort
	// Protocol, Major, Minor and Revision are the software version of the peer's HELLO. Protocol 0: unknown.
	Protocol, Major, Minor uint8
	Revision               uint16
	// Planet is the timestamp, in ms, of the planet that the peer carries. 0: unknown.
	Planet uint64
	// Member saw the peer, in its Epoch.
	Member table.MemberID
	Epoch  uint16
	// Validated says that the identity passed the full, memory-hard validation. Without it nothing is believed of
	// a peer that the log does not know.
	Validated bool
}

// Change is one peer's part of a [Changes] entry: what became different about it. Fields at their zero value say
// nothing and leave the record as it is.
type Change struct {
	Address vl1.Address
	// Key makes the peer known if HasKey; the proposing member validated it. Otherwise the change is for a
	// known peer, and only the first two bytes are meaningful, here and in the log: they must match.
	Key    vl1.PublicKey
	HasKey bool
	// V4 and V6 are the endpoints at which Member sees the peer: its new attachment in that family.
	V4, V6 netip.AddrPort
	// Protocol, Major, Minor and Revision replace the software version unless Protocol is 0.
	Protocol, Major, Minor uint8
	Revision               uint16
	// Planet replaces the timestamp (ms, 48 bits) of the planet that the peer carries unless 0.
	Planet uint64
	// Position replaces where the peer is if HasPosition, Radius the class of the radius of its error ([geo.RadiusClass]).
	// The zero Unit: it is not known any more.
	Position    geo.Unit
	Radius      uint8
	HasPosition bool
	// Member proposes the change, in its Epoch.
	Member table.MemberID
	Epoch  uint16
}

// Kind is the second byte of a log entry: what its payload means. The numbers are part of the log format.
type Kind uint8

// The kinds of entries. A new kind takes the next number; none is ever reused.
const (
	KindBootstrap Kind = 1
	KindMemberUp  Kind = 2
	KindChanges   Kind = 3
	KindKeepAlive Kind = 4
	KindExpire    Kind = 5
	KindPlanet    Kind = 6
	KindSetting   Kind = 7
	// KindMemberUp2 is a [MemberUp] that says something about its cluster port, key or feature level.
	KindMemberUp2    Kind = 8
	KindTokenCreate  Kind = 9
	KindTokenRevoke  Kind = 10
	KindMemberJoin   Kind = 11
	KindMemberRemove Kind = 12
	KindHealth       Kind = 13
	KindMemberDown   Kind = 14

	KindHandoffs   Kind = 15
	KindRoundTrips Kind = 16
	KindMemberSet  Kind = 17
	KindNewEpoch   Kind = 18
	KindOperate    Kind = 19
	KindBackup     Kind = 20
	KindOperator   Kind = 21
	KindRestore    Kind = 22
	KindSettings   Kind = 23
)

// String returns the kind as logs and metrics name it.
func (k Kind) String() string {
	switch k {
	case KindBootstrap:
		return "bootstrap"
	case KindMemberUp, KindMemberUp2:
		return "member_up"
	case KindChanges:
		return "changes"
	case KindKeepAlive:
		return "keep_alive"
	case KindExpire:
		return "expire"
	case KindPlanet:
		return "planet"
	case KindSetting:
		return "setting"
	case KindSettings:
		return "settings"
	case KindTokenCreate:
		return "token_create"
	case KindTokenRevoke:
		return "token_revoke"
	case KindMemberJoin:
		return "member_join"
	case KindMemberRemove:
		return "member_remove"
	case KindHealth:
		return "health"
	case KindMemberDown:
		return "member_down"
	case KindHandoffs:
		return "handoffs"
	case KindMemberSet:
		return "member_set"
	case KindRoundTrips:
		return "round_trips"
	case KindNewEpoch:
		return "new_epoch"
	case KindOperate:
		return "operate"
	case KindBackup:
		return "backup"
	case KindOperator:
		return "operator"
	case KindRestore:
		return "restore"
	}
	return "unknown"
}

// known reports whether entries of the kind can be read.
func (k Kind) known() bool { return k.String() != "unknown" }

// Command is the meaning of one log entry: one of [Bootstrap], [Changes], [KeepAlive], [Expire], [PublishPlanet],
// [Set], [Handoffs], [RoundTrips], [Operate], [Backup], [SetOperator], [Restore], and those about members: [TokenCreate], [TokenRevoke], [MemberJoin], [MemberUp], [Health], [MemberDown],
// [MemberRemove], [MemberSet] and [NewEpoch].
type Command interface {
	// Kind is the number that stands for the type of command in the log.
	Kind() Kind
	appendPayload(b []byte) ([]byte, error)
}

// Bootstrap is the first command of a cluster's log. A second one is refused with [ErrBootstrapped].
type Bootstrap struct {
	ID      [16]byte     // random; tells clusters apart, also those with the same name
	Name    string       // 1 to 64 bytes, UTF-8
	Root    vl1.Identity // the ZeroTier identity that all members serve
	Created int64        // ms since 1970
}

// Changes are what became different about peers, in the order in which it happened. At most [MaxChanges].
type Changes []Change

// KeepAlive says of peers that they are still there and where the log has them. At most [MaxAddresses], ascending.
type KeepAlive struct{ Addresses []vl1.Address }

// Expire removes those of the addresses that were last seen before Cutoff, in seconds since [table.Epoch]. One
// that was seen meanwhile stays. At most [MaxAddresses], ascending.
type Expire struct {
	Cutoff    uint32
	Addresses []vl1.Address
}

// PublishPlanet offers a signed planet. The first one is taken as it is; a later one must replace the held one:
// same world ID, newer timestamp, signed by the held one's update key.
type PublishPlanet struct{ World []byte }

// Set changes one setting of the cluster. Keys and values are checked against [SettingKeys].
type Set struct{ Key, Value string }

// Kind implements [Command].
func (*Bootstrap) Kind() Kind { return KindBootstrap }

// Kind implements [Command].
func (*KeepAlive) Kind() Kind { return KindKeepAlive }

// Kind implements [Command].
func (*Expire) Kind() Kind { return KindExpire }

// Kind implements [Command].
func (*PublishPlanet) Kind() Kind { return KindPlanet }

// Kind implements [Command].
func (*Set) Kind() Kind { return KindSetting }
