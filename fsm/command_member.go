package fsm

import (
	"net/netip"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// TokenID names a join token. It is no secret.
type TokenID = [8]byte

// KeyHash is the SHA-256 of a member's public node key in PKIX form; it stays the same when the certificate is
// renewed. The zero value: none.
type KeyHash = [32]byte

// TokenCreate makes a join token known. Creating the same one again changes nothing; another one with its ID
// is refused with [ErrTokenExists].
type TokenCreate struct {
	ID         TokenID  // random, not zero
	SecretHash [32]byte // SHA-256 of the secret, which the log never sees
	Expires    int64    // ms since 1970
	Name       string   // a note for people, at most 64 bytes; may be empty
}

// TokenRevoke forgets a join token, used or not. Who joined with it stays a member. Unknown: [ErrTokenUnknown].
type TokenRevoke struct{ ID TokenID }

// MemberJoin admits a new member. It becomes known with [StatusJoining] and epoch 0, and the token is spent;
// [Response.Member] is its ID. Checked by [State.CheckJoin]; the same key with the same token again, as after a crash of
// the new member, gets the ID of the first time.
type MemberJoin struct {
	ID        table.MemberID   // proposed: [State.NextMemberID]; not 0
	Name      string           // 1 to 64 bytes; no other member may have it
	Address   string           // host:port at which other members reach it; no other member may have it
	Endpoints []netip.AddrPort // where clients will reach it: at most 32; no other member may have one of them
	KeyHash   KeyHash          // not zero
	Version   string           // of the software, at most 64 bytes
	Feature   uint16           // highest feature level that its software knows
	Token     TokenID
}

// MemberUp announces that a member starts: it gets a new epoch, and every attachment of its older epochs is stale
// from this entry on. [Response.Epoch] is the new epoch. Refused for one that was removed ([ErrMemberRemoved]).
//
// With Address, KeyHash, Feature or Position set it is a member of a cluster: then it must have joined ([ErrMemberUnknown]), unless it
// is the first, and its key must be its own ([ErrMemberKey]). Without them, what the log has of them stays.
type MemberUp struct {
	ID        table.MemberID   // not 0
	Name      string           // 1 to 64 bytes, UTF-8
	Endpoints []netip.AddrPort // where clients reach it: at most 32
	Version   string           // of the software, at most 64 bytes, UTF-8

	Address string  // host:port at which other members reach it; empty: nowhere
	KeyHash KeyHash // zero: it has no node key yet
	Feature uint16  // highest feature level that its software knows

	Position geo.Unit // where it is; unknown: what the log has stays
}

// MemberRemove takes a member out of the cluster for good: its attachments are stale, its key is revoked, its ID is
// never given again. Without Force one that is up is refused ([ErrMemberAlive]); the last one always is ([ErrLastMember]).
// Removing it again changes nothing.
type MemberRemove struct {
	ID    table.MemberID // not 0
	Force bool
}

// Health is what members reported about themselves since the last such entry, collected by the leader. The entry's time
// is the time of the reports. A report from another life of a member is ignored.
type Health struct {
	Reports []HealthReport // ascending by member; at most [MaxReports], maybe none
}

// HealthReport is how one member is.
type HealthReport struct {
	Member   table.MemberID // not 0
	Epoch    uint16         // of the life that reports; not 0
	Load     uint16         // ‰ of what it can carry; may exceed 1000
	CPU      uint16         // ‰ of its processors in use
	RSS      uint64         // bytes of memory in use
	PPS      uint32         // packets received per second
	Sessions uint32         // peers that it talks to
	LogLag   uint32         // entries that it knows of and has not applied
	DiskFree uint64         // bytes
	Probes   []Probe        // ascending by member; at most [MaxProbes]
	Geo      GeoDatabase    // what it locates peers with
}

// GeoDatabase tells databases of positions apart. The zero value: none.
type GeoDatabase struct {
	Hash  [8]byte // first bytes of the SHA-256 of the file
	Built uint32  // when, in seconds since [table.Epoch]
}

// Probe is whether the reporting member reached the public endpoints of another one with a real HELLO. Bit i stands
// for endpoint i of [Member.Endpoints].
type Probe struct {
	Member   table.MemberID // not 0, not the reporter
	Asked    uint32         // endpoints that were probed
	Answered uint32         // of them: those that answered
	RTT      uint32         // µs: shortest round trip to the member; 0: unknown
}

// MemberDown ends the life of a member: its attachments are stale, and its status is [StatusDown] until its next
// [MemberUp]. Refused with [ErrEpoch] if Epoch is not its current one, and with [ErrMemberAlive] if the cause does not
// hold.
type MemberDown struct {
	ID        table.MemberID // not 0
	Epoch     uint16
	Cause     DownCause
	Witnesses []table.MemberID // if lost: who does not hear it any more, ascending; at most [MaxReports]
}

// DownCause is why a member is declared down. The numbers are part of the log format.
type DownCause uint8

// The causes.
const (
	DownSilent  DownCause = 0 // it did not report for the setting member_down_after
	DownLost    DownCause = 1 // most of the other members that are up hear nothing of it any more
	DownStopped DownCause = 2 // it says so itself, as its last word
)

// Kind implements [Command].
func (*TokenCreate) Kind() Kind { return KindTokenCreate }

// Kind implements [Command].
func (*TokenRevoke) Kind() Kind { return KindTokenRevoke }

// Kind implements [Command].
func (*MemberJoin) Kind() Kind { return KindMemberJoin }

// Kind implements [Command].
func (c *MemberUp) Kind() Kind {
	if c.Address == "" && c.KeyHash == (KeyHash{}) && c.Feature == 0 && !c.Position.Known() {
		return KindMemberUp
	}
	return KindMemberUp2
}

// Kind implements [Command].
func (*MemberRemove) Kind() Kind { return KindMemberRemove }

// Kind implements [Command].
func (*Health) Kind() Kind { return KindHealth }

// Kind implements [Command].
func (*MemberDown) Kind() Kind { return KindMemberDown }
