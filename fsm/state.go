package fsm

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// State is what the log says, up to one index. A *State and everything it points to is immutable: it is replaced,
// never changed. The exception is the peer table behind [State.Peer], which is live: it may already hold changes of
// entries after Index, never fewer than those up to it.
type State struct {
	Index   uint64 // of the last entry applied
	Time    int64  // ms since 1970: the latest leader time of any entry up to Index
	Cluster ClusterInfo
	Members []Member  // ascending by ID
	Removed []Removed // former members, ascending by ID
	Tokens  []Token   // ascending by ID
	// Operators may use the admin API from afar; ascending by key.
	Operators []Operator
	// HealthTime is when members' health was last collected, in ms since 1970: the time of the last [Health] entry.
	HealthTime int64
	Backups    Backups
	Planet     *Planet // nil before the first one is published
	Settings   Settings
	History    []SettingChange // the last changes of settings, oldest first
	// Operation is the last one that was begun, OperationSteps the history of all, the oldest first.
	Operation      Operation
	OperationSteps []OperationStep
	RTTs           RTTs
	Peers          int // known peers
	Counters       Counters
	Voters         Configuration
	// Halted is why this member stopped applying the log, or "". It then serves from its last state, takes no more
	// snapshots, and needs a newer binary or more memory, and a restart.
	Halted string

	peers *table.Table
	sum   sum // over the records in peers at Index
}

// ClusterInfo is what [Bootstrap] said, and the last [NewEpoch]. The zero value: not bootstrapped yet.
type ClusterInfo struct {
	ID      [16]byte
	Name    string
	Root    vl1.Identity
	Created int64 // ms since 1970

	Epoch    Epoch // zero: the first
	Restored int64 // ms since 1970: when the epoch began; 0: it is the first
}

// Bootstrapped reports whether the cluster has been created.
func (c *ClusterInfo) Bootstrapped() bool { return c.Created != 0 }

// Planet is the signed planet that the cluster hands to its clients.
type Planet struct {
	World *vl1.World
	Raw   []byte // the bytes that were signed and published
	// Fingerprint is the SHA-256 of Raw.
	Fingerprint [sha256.Size]byte
}

// FingerprintString returns the fingerprint as people compare it: 64 hexadecimal digits.
func (p *Planet) FingerprintString() string { return hex.EncodeToString(p.Fingerprint[:]) }

// Configuration is the Raft membership at an exact index of the log.
type Configuration struct {
	Index   uint64
	Servers []Server // in the order of the log
}

// Server is one Raft replica.
type Server struct {
	ID, Address string
	Voter       bool
}

// Counters count what entries did since the cluster began. They are part of the replicated state: all members agree.
type Counters struct {
	Changes    uint64 // changes of peers applied
	Created    uint64 // peers that became known
	Expired    uint64 // peers removed by expiry
	Spared     uint64 // peers named by an expiry that had been seen meanwhile
	Collisions uint64 // changes ignored: another identity holds the address
	Unknown    uint64 // changes ignored: peer not known and no identity given
	Stale      uint64 // attachments ignored: not the member's current epoch
	Full       uint64 // new peers refused: at the max_peers setting
	Refused    uint64 // whole entries refused

	Handoffs          uint64 // intents accepted
	HandoffsRefused   uint64 // steps of handoffs that did not agree with the peer any more
	HandoffsDone      uint64 // peers that arrived at their target
	HandoffsFailed    uint64 // handoffs that were rolled back
	HandoffsCancelled uint64 // intents given up before anything was sent
	HandoffsVoid      uint64 // intents that nobody ended, or whose peer went elsewhere
	HandoffLevels     uint64 // peers whose path of one family was lifted to the priority of the other's
}

// Peer fills r with what the log says about a peer. Wait-free, no allocation; any goroutine.
func (s *State) Peer(a vl1.Address, r *table.Record) bool { return s.peers.Lookup(a, r) }

// PeerSteered is Peer without the key: what a decision needs.
func (s *State) PeerSteered(a vl1.Address, w *table.Words) bool { return s.peers.LookupSteered(a, w) }

// PeerKeyless is Peer without the key, which it leaves alone.
func (s *State) PeerKeyless(a vl1.Address, r *table.Record) bool {
	var w table.Words
	known := s.PeerSteered(a, &w)
	if known {
		r.Address = a
		w.Record(r)
	}
	return known
}

// Table returns the live peer table, for reading: lookups without the key, prefetching, scans.
func (s *State) Table() *table.Table { return s.peers }

// Attached returns the member to which r is attached in a family, and false if it is attached to none or the
// attachment is of an older epoch of that member.
func (s *State) Attached(r *table.Record, v6 bool) (table.MemberID, bool) {
	ep, id, epoch := r.V4, r.V4Member, r.V4Epoch
	if v6 {
		ep, id, epoch = r.V6, r.V6Member, r.V6Epoch
	}
	if !ep.IsValid() {
		return 0, false
	}
	return id, s.current(id, epoch)
}

// AttachedIn is Attached for a record in words.
func (s *State) AttachedIn(w *table.Words, v6 bool) (table.MemberID, bool) {
	if !w.Located(v6) {
		return 0, false
	}
	id, epoch := w.Attached(v6)
	return id, s.current(id, epoch)
}

// current reports whether the member is in that epoch.
func (s *State) current(id table.MemberID, epoch uint16) bool {
	m, ok := s.Member(id)
	return ok && m.Epoch == epoch
}
