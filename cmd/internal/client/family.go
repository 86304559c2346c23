package client

import (
	"fmt"
	"slices"
	"strings"
)

// Times of the protocol, in milliseconds. They are the same in all families that this package models;
// what differs is in [Family].
const (
	tickPeriod     = 5_000   // background tick: visit every upstream
	queuePeriod    = 500     // check of the queues, and the least time between two WHOIS for one address
	queueTimeout   = 5_000   // how long a packet waits for an identity
	heartbeat      = 14_000  // ECHO if nothing was sent on a path for this long
	aliveWindow    = 19_000  // a path is alive if any datagram came from it within this
	fullPingPeriod = 60_000  // HELLO instead of ECHO
	rootGate       = 224_000 // families 5 and 6 visit a root only when the last visit is older
	pathExpiry     = 243_000 // since the last authentic direct packet of the peer on the path
	peerTimeout    = 500_000 // silence after which a root has the worst relay quality
	housekeeping   = 30_000  // forget path objects nobody refers to
	surfaceMemory  = 600_000 // how long a report of our external address counts
	trustMemory    = 600_000 // how long a frame of a shared network keeps a peer trusted
	gatherPeriod   = 60_000  // at most one MULTICAST_GATHER per group and period
	confirmEvery   = 1_000   // family 3 and later: HELLO to one unknown path at most once in this time
	pushWithPath   = 120_000 // we push our direct paths to a trusted peer this often if it is direct,
	pushWithout    = 15_000  // and this often if it is relayed

	ancientTick  = 6_250   // background tick of ancient clients
	ancientHello = 120_000 // silence of the best path after which they say HELLO
	ancientJunk  = 19_000  // and empty datagrams between
)

// unknownLatency is the latency of a path before the first OK(HELLO).
const unknownLatency = 0xffff

// LearnRule says what a client does with an OK from an endpoint that is not in the root's path table.
type LearnRule uint8

const (
	// LearnSticky refuses a second path with the socket and address family, or the IP, of a living one;
	// otherwise it takes the dead entry with the same IP, a free slot, or the worst entry.
	LearnSticky LearnRule = iota
	// LearnStickyFirstDead is LearnSticky, but the first dead entry is overwritten.
	LearnStickyFirstDead
	// LearnFirstDead overwrites the first entry that is dead or has the same IP, else takes a free slot.
	LearnFirstDead
	// LearnFreeFirst takes a free slot, else the entry that has been dead for longest.
	LearnFreeFirst
	// LearnOneSocket ignores a second port of an IP that is alive on the same socket; otherwise it takes the dead
	// entry with that IP and socket, a free slot, or the oldest entry.
	LearnOneSocket
	// LearnLast keeps one path per address family: to whoever answered last, or to the endpoint that a redirect named
	// while it lives.
	LearnLast
)

// PruneRule says what a visit does to paths that are expired or below the highest priority.
type PruneRule uint8

const (
	// PruneDrop removes them.
	PruneDrop PruneRule = iota
	// PruneCompact moves the good ones forward and leaves what is behind them: bad entries at the end of the table
	// stay, unpinged, and entries that moved remain twice.
	PruneCompact
	// PruneSkip removes them one by one, but does not look at the entry that moves into a freed slot before the next visit.
	PruneSkip
)

// RedirectRule says what a pushed path with the redirect flag does.
type RedirectRule uint8

const (
	// RedirectPriority raises the named path two above the path of arrival and erases everything lower.
	RedirectPriority RedirectRule = iota
	// RedirectPrefer remembers one preferred endpoint per address family, and greets it.
	RedirectPrefer
	// RedirectIgnored treats the record as a plain push.
	RedirectIgnored
)

// EchoGate says which ECHO requests a client answers.
type EchoGate uint8

const (
	EchoPerPeer EchoGate = iota // one per second and peer
	EchoUngated                 // all
	EchoPerPath                 // one per 166 ms and path
)

// Family is a span of client releases that treat a root alike.
type Family struct {
	Name     string // as in flags and scenarios, after a release of the span: "1.14"
	Index    int    // F0 … F6 of the protocol description
	Releases string // the span, for people

	Protocol, Major, Minor uint8
	Revision               uint16

	MaxPaths        int
	Learn           LearnRule
	Prune           PruneRule
	Redirect        RedirectRule
	Echo            EchoGate
	RootGate        bool  // visits a root only every 224 s …
	PathlessRetry   bool  // … except while it has no path to it
	HelloEverywhere bool  // every HELLO leaves from all sockets, not from the path's
	HelloOnce       bool  // the full HELLO to known paths happens on the first tick only (a timer that resets itself)
	ChecksWorld     bool  // endpoints of a root must be in its world entry
	ConfirmGate     bool  // unknown paths are tried at most once a second
	LikePeriod      int64 // ms between announcements of all multicast groups
	PushWindow      int64 // a push within this many ms of the last one counts against the gate
	PushLimit       int   // pushes in a row that are obeyed
	AES             bool  // can encrypt with AES-GMAC-SIV
	HelloTail       bool  // HELLO carries planet and moons
	OwnSurfaces     bool  // pushes the external addresses that others reported, too
	// Ancient clients know no ECHO: they send HELLO when the best path was silent for two minutes, and empty datagrams
	// between, and learn paths from OK(HELLO) alone.
	Ancient bool
}

func (f *Family) String() string { return f.Name }

// Families returns the modelled families, oldest first.
func Families() []Family {
	base := Family{
		MaxPaths: 16, Learn: LearnSticky, Prune: PruneCompact, Echo: EchoPerPeer, HelloOnce: true,
		ChecksWorld: true, LikePeriod: 120_000, PushWindow: 30_000, PushLimit: 8, HelloTail: true,
	}
	f0 := base
	f0.Name, f0.Index, f0.Releases = "1.0", 0, "1.0.1 - 1.0.5"
	f0.Protocol, f0.Major, f0.Minor, f0.Revision = 4, 1, 0, 5
	f0.Redirect, f0.ChecksWorld, f0.Prune, f0.HelloTail = RedirectIgnored, false, PruneDrop, false
	f0.PushWindow, f0.PushLimit, f0.HelloOnce, f0.Ancient, f0.Learn = 60_000, 5, false, true, LearnFreeFirst

	f0b := base
	f0b.Name, f0b.Index, f0b.Releases = "1.2.4", 0, "1.2.4"
	f0b.Protocol, f0b.Major, f0b.Minor, f0b.Revision = 9, 1, 2, 4
	f0b.Redirect, f0b.Prune, f0b.Learn = RedirectPrefer, PruneDrop, LearnLast
	f0b.PushWindow, f0b.PushLimit = 60_000, 5

	f1 := base
	f1.Name, f1.Index, f1.Releases = "1.4", 1, "1.2.6 - 1.4.6"
	f1.Protocol, f1.Major, f1.Minor, f1.Revision = 10, 1, 4, 6

	f2 := base
	f2.Name, f2.Index, f2.Releases = "1.6.0", 2, "1.5.0 - 1.6.2"
	f2.Protocol, f2.Major, f2.Minor, f2.Revision = 12, 1, 6, 0
	f2.Learn, f2.Echo, f2.LikePeriod, f2.AES = LearnStickyFirstDead, EchoUngated, 60_000, true

	f3 := f2
	f3.Name, f3.Index, f3.Releases = "1.8", 3, "1.6.3 - 1.8.4"
	f3.Minor, f3.Revision = 8, 4
	f3.Learn, f3.Echo, f3.ConfirmGate = LearnFirstDead, EchoPerPath, true

	f4 := f3
	f4.Name, f4.Index, f4.Releases = "1.10.2", 4, "1.8.5 - 1.10.2"
	f4.Minor, f4.Revision = 10, 2
	f4.Learn, f4.MaxPaths, f4.HelloEverywhere, f4.OwnSurfaces = LearnFreeFirst, 64, true, true

	f5 := f4
	f5.Name, f5.Index, f5.Releases = "1.10.6", 5, "1.10.3 - 1.10.6"
	f5.Minor, f5.Revision = 10, 6
	f5.Learn, f5.Prune, f5.RootGate, f5.HelloOnce = LearnOneSocket, PruneSkip, true, false

	f6 := f5
	f6.Name, f6.Index, f6.Releases = "1.14", 6, "1.12.0 - 1.14.x"
	f6.Minor, f6.Revision, f6.PathlessRetry = 14, 1, true

	return []Family{f0, f0b, f1, f2, f3, f4, f5, f6}
}

// FamilyByName finds a family; the error lists the names.
func FamilyByName(name string) (*Family, error) {
	all := Families()
	i := slices.IndexFunc(all, func(f Family) bool { return f.Name == name })
	if i < 0 {
		names := make([]string, len(all))
		for i := range all {
			names[i] = all[i].Name
		}
		return nil, fmt.Errorf("client family %q: unknown; one of %s", name, strings.Join(names, ", "))
	}
	return &all[i], nil
}
