// Package admin is the admin API of a member: what rootctl asks and a running rootd answers.
//
// It is HTTP with JSON over a unix socket that only its owner may open (mode 0600); whoever opens it may do everything.
// Requests flow in through [Server], which asks a [Source] (implemented by the daemon) and writes the answer; [Client]
// is the other end. Paths begin with a version: fields may be added to the types of /v1, never removed or changed.
//
//	GET /v1/status          Status
//	GET /v1/peers           JSON lines: one {"peer":Peer} each, then {"end":{"count":N}} or {"error":Error}
//	    ?prefix=8a&member=m1&limit=100&unconfirmed=1
//	GET /v1/peers/ADDRESS   Peer
//	GET /v1/planet          Planet
//	PUT /v1/planet          body: the signed world, binary; answers Planet
//
// A Source that is a [Cluster] too serves besides:
//
//	GET    /v1/members                         Members
//	DELETE /v1/members/MEMBER?force=1&dry_run=1  Removal
//	POST   /v1/members/MEMBER/promote?force=1  Member; also demote
//	POST   /v1/members/MEMBER/auto             Member: its vote is left to the cluster
//	PUT    /v1/leader/preference               body: {"members":[MEMBER]}, the best first; answers Members
//	POST   /v1/leader/transfer?to=MEMBER       Member: the new leader
//	GET    /v1/tokens                          {"tokens":[Token]}
//	POST   /v1/tokens                          body: TokenRequest; answers NewToken, the only answer with a secret
//	DELETE /v1/tokens/ID                       Token
//	GET    /v1/settings                        {"settings":[Setting]}
//	PUT    /v1/settings/KEY                    body: the value as text, empty restores the default; answers Setting
//	GET    /v1/planet/adoption                 Adoption
//	PUT    /v1/restore?force=1                 body: an archive; answers Restoration
//
// one that is an [Operations]: GET and POST /v1/operation, and one that is a [Steering]: GET /v1/explain/PEER-OR-IP,
// GET /v1/rtt and GET /v1/steering.
//
// One that is [Snapshots] too:
//
//	GET  /v1/snapshot?stale=1  a line of JSON, SnapshotHead, then the state as bytes; broken off if it fails half-way
//	GET  /v1/backups           Backups
//	POST /v1/backups           body: Backup; answers Backups
//
// A Source that is [Operators] too serves besides:
//
//	GET    /v1/operators                       {"operators":[Operator]}
//	POST   /v1/operators                       body: OperatorRequest; answers NewOperator. On the unix socket only
//	DELETE /v1/operators/NAME                  {"operators":[Operator]}: those that were revoked
//
// The same API is served on the cluster port, ALPN rootd-admin/1, to operators: who has a certificate of the cluster's CA for
// it, and is let in by the log ([Server.RunRemote]). One that is read-only may GET everything but a snapshot.
//
// An answer that is not 2xx carries an [Error]. A list without its end line was cut short, and the client says so.
//
// Server's handler may be called from any number of goroutines and so calls the Source from many; [Server.Run] blocks
// until its context ends and all requests are done. Client may be used from any goroutine.
package admin

import (
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Status is one screen about a member.
type Status struct {
	Name     string      `json:"name"`            // of the member
	MemberID uint16      `json:"member_id"`       // in the log; 0 = not yet a member
	Drain    string      `json:"drain,omitempty"` // as of [Drain.State]
	Address  vl1.Address `json:"address"`         // the root's
	Identity string      `json:"identity"`        // public text form
	DataDir  string      `json:"data_dir"`

	Version string    `json:"version"`
	Commit  string    `json:"commit,omitempty"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Uptime  int64     `json:"uptime_seconds"`

	Ready    bool     `json:"ready"`             // serves clients
	Problems []string `json:"problems,omitzero"` // what an operator should look at, one sentence each

	Cluster   ClusterStatus    `json:"cluster"`
	Raft      RaftStatus       `json:"raft"`
	Peers     PeersStatus      `json:"peers"`
	Planet    *PlanetSummary   `json:"planet,omitempty"` // nil: none in the log yet
	Listen    []ListenStatus   `json:"listen"`
	Rates     Rates            `json:"rates"`
	Totals    Totals           `json:"totals"`
	Memory    uint64           `json:"memory_bytes"` // resident, 0 = unknown
	Metrics   string           `json:"metrics_url,omitempty"`
	Endpoints []netip.AddrPort `json:"endpoints"` // configured or guessed public endpoints
}

// ClusterStatus names the cluster.
type ClusterStatus struct {
	Name    string `json:"name,omitempty"`
	ID      string `json:"id"`
	Members int    `json:"members"`
	Epoch   string `json:"epoch"` // "0" until the cluster is restored for the first time
	// Contents is the hash of what a restore brings back: peers, root, settings. 64 hexadecimal digits.
	Contents string `json:"contents_hash"`
	// HandoffsFailed counts the handoffs that were rolled back since the cluster began.
	HandoffsFailed uint64 `json:"handoffs_failed"`
}

// RaftStatus is about the log.
type RaftStatus struct {
	State         string `json:"state"` // leader, follower, candidate, shutdown
	Term          uint64 `json:"term"`
	Leader        string `json:"leader,omitempty"` // member name, "" = none known
	AppliedIndex  uint64 `json:"applied_index"`
	CommitIndex   uint64 `json:"commit_index"`
	LastIndex     uint64 `json:"last_index"`
	SnapshotIndex uint64 `json:"snapshot_index"`
	LogBytes      int64  `json:"log_bytes"` // on disk, 0 = unknown
}

// PeersStatus counts peers.
type PeersStatus struct {
	Known     int `json:"known"`     // in the replicated table
	Sessions  int `json:"sessions"`  // with soft state at this member
	Confirmed int `json:"confirmed"` // sessions with a confirmed path
	OnPlanet  int `json:"on_planet"` // sessions that carry the current planet
}

// ListenStatus is one UDP address served.
type ListenStatus struct {
	Address netip.AddrPort `json:"address"`
	Workers int            `json:"workers"`
}

// Rates are averages over Window, per second.
type Rates struct {
	Window          float64 `json:"window_seconds"`
	PacketsReceived float64 `json:"packets_received"`
	PacketsSent     float64 `json:"packets_sent"`
	BytesReceived   float64 `json:"bytes_received"`
	BytesSent       float64 `json:"bytes_sent"`
	Hellos          float64 `json:"hellos"`
	Whois           float64 `json:"whois"`
	Relayed         float64 `json:"relayed"`
	Introductions   float64 `json:"introductions"`
	Dropped         float64 `json:"dropped"`
	LogEntries      float64 `json:"log_entries"`
}

// Totals count since the start of the process.
type Totals struct {
	PacketsReceived uint64 `json:"packets_received"`
	PacketsSent     uint64 `json:"packets_sent"`
	Relayed         uint64 `json:"relayed"`
	Dropped         uint64 `json:"dropped"`
	Validated       uint64 `json:"identities_validated"`
	Refused         uint64 `json:"identities_refused"`
}

// Peer is what is known of one peer.
type Peer struct {
	Address   vl1.Address `json:"address"`
	Identity  string      `json:"identity"` // public text form
	LastSeen  time.Time   `json:"last_seen"`
	Protocol  uint8       `json:"protocol"`
	Version   string      `json:"version"`          // of its software, "1.14.2"; "" = unknown
	Planet    uint64      `json:"planet_timestamp"` // that it carries, ms since 1970; 0 = unknown
	OnPlanet  bool        `json:"on_planet"`        // carries the current one
	Session   bool        `json:"session"`          // has soft state at the member that answers
	Confirmed bool        `json:"confirmed"`        // has a confirmed path there
	Paths     []Path      `json:"paths"`            // those of the log's attachments first, at most one member a family
}

// Path is one way to reach a peer.
type Path struct {
	Family       string         `json:"family"`   // v4 or v6
	Endpoint     netip.AddrPort `json:"endpoint"` // invalid ("") = in the log without an endpoint
	Member       string         `json:"member"`   // that has it
	MemberID     uint16         `json:"member_id"`
	Epoch        uint16         `json:"epoch"`    // of the member, at the attachment
	Attached     bool           `json:"attached"` // the log has the peer at this member, in this family
	Live         bool           `json:"live"`     // from a session at the member that answers, not only from the log
	Confirmed    bool           `json:"confirmed"`
	LastReceived time.Time      `json:"last_received,omitzero"`
	RTTMillis    float64        `json:"rtt_ms,omitzero"`
}

// PlanetSummary is the planet in a few words.
type PlanetSummary struct {
	WorldID     string    `json:"world_id"`  // 16 hexadecimal digits
	Timestamp   uint64    `json:"timestamp"` // ms since 1970: its version
	Time        time.Time `json:"time"`
	Fingerprint string    `json:"fingerprint"` // first 16 bytes of the SHA-256 of the signed world, hexadecimal
	Bytes       int       `json:"bytes"`
	Roots       int       `json:"roots"`
	Endpoints   int       `json:"endpoints"`
}

// Planet is the planet itself.
type Planet struct {
	PlanetSummary
	Raw  []byte `json:"raw"`  // exactly the file that clients need; base64 in JSON
	Auto bool   `json:"auto"` // the cluster signs and publishes the next one by itself
}

// PeerFilter chooses peers of a list. The zero value chooses all.
type PeerFilter struct {
	Prefix      string // leading hexadecimal digits of the address
	Member      string // attached to this member, by name
	Limit       int    // 0 = no limit
	Unconfirmed bool   // only peers without a confirmed path here
}
