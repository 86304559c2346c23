package packetpath

import (
	"math/bits"
	"sync/atomic"
)

// Counter names one of the packet path's counters.
type Counter int

// The counters. Their names and meanings are in [CounterDefs].
const (
	Received Counter = iota
	ReceivedBytes
	Sent
	SentBytes
	SendErrors
	Junk
	Relayed
	RelayedBytes
	RelayNoRoute
	RelayHopLimit
	RelayLimited
	Introductions
	IntroductionsLimited
	FragmentsReceived
	FragmentsDropped
	Assembled
	HelloReceived
	HelloAnswered
	HelloLimited
	HelloOld
	ExtendedHello
	BadMAC
	BadPacket
	UnknownPeer
	SuiteRefused
	UnconfirmedWithheld
	Replayed
	NewcomersQueued
	NewcomersLimited
	NewcomersDropped
	NewcomersInvalid
	NewcomersAccepted
	KnownQueued
	KnownLimited
	KnownDropped
	SessionsFull
	Collisions
	WhoisReceived
	WhoisAnswered
	WhoisUnknown
	WhoisLimited
	EchoAnswered
	EchoLimited
	Likes
	LikesRefused
	GatherAnswered
	GatherLimited
	ConfigRefused
	Ignored
	Challenges
	PathsConfirmed
	PathsEvicted
	KeepWarmSent
	WorldsSent
	SightingsOffered
	LinkSent
	LinkReceived
	LinkNoRoute
	LinkFailed
	LinkMessages
	FencedDropped
	RescuesBegun
	RescuePushes
	RescuePins
	Rescued
	RescuedElsewhere
	RescuesGivenUp
	Decisions
	DecisionsToMove
	DecisionsHeld
	ShadowSame
	ShadowMoves
	ShadowStays
	ShadowElsewhere
	RTTSamples
	RTTSamplesDropped
	RTTEchoes
	ProbesAsked
	ProbesSent
	ProbesDone
	HandoffsSent
	HandoffsConfirmed
	HandoffsRolledBack
	HandoffsNotAccepted
	HandoffsCancelled
	HandoffSelfRedirects
	HandoffMuted
	HandoffHintsDropped
	numCounters
)

// CounterDef describes a counter to whoever exports it.
type CounterDef struct {
	Name string // snake_case, without prefix and the "_total" that exporters add
	Help string // one sentence
}

// CounterDefs describes every [Counter], in order.
var CounterDefs = [numCounters]CounterDef{
	Received:             {"received_packets", "Datagrams received on all sockets."},
	ReceivedBytes:        {"received_bytes", "UDP payload bytes received."},
	Sent:                 {"sent_packets", "Datagrams sent on all sockets, relays included."},
	SentBytes:            {"sent_bytes", "UDP payload bytes sent."},
	SendErrors:           {"send_error_packets", "Datagrams that the kernel refused to send."},
	Junk:                 {"junk_packets", "Datagrams too short or malformed to be a ZeroTier packet."},
	Relayed:              {"relayed_packets", "Packets and fragments relayed between peers."},
	RelayedBytes:         {"relayed_bytes", "Bytes relayed between peers."},
	RelayNoRoute:         {"relay_no_route_packets", "Packets not relayed because the destination is unknown or has no live path."},
	RelayHopLimit:        {"relay_hop_limit_packets", "Packets not relayed because they had used up their hops."},
	RelayLimited:         {"relay_limited_packets", "Packets not relayed because their source or destination exceeded relay.source_rate or relay.destination_rate."},
	Introductions:        {"introduction_pairs", "Pairs of peers introduced to each other by RENDEZVOUS."},
	IntroductionsLimited: {"introduction_limited_packets", "Pairs not introduced because the sender of the packet exceeded relay.introduction_rate."},
	FragmentsReceived:    {"fragment_packets", "Fragments received that are addressed to the root."},
	FragmentsDropped:     {"fragment_dropped_packets", "Fragments to the root dropped by limits or as malformed."},
	Assembled:            {"assembled_packets", "Packets to the root put together from fragments."},
	HelloReceived:        {"hello_packets", "HELLO received."},
	HelloAnswered:        {"hello_answered_packets", "HELLO answered with OK."},
	HelloLimited:         {"hello_limited_packets", "Authentic HELLO not answered because of limits.hello_*."},
	HelloOld:             {"hello_old_protocol_packets", "HELLO ignored because their protocol is below 4."},
	ExtendedHello:        {"hello_extended_armor_packets", "HELLO received in extended armor."},
	BadMAC:               {"bad_mac_packets", "Packets dropped because their MAC was wrong."},
	BadPacket:            {"bad_packets", "Authentic packets dropped because their content was malformed."},
	UnknownPeer:          {"unknown_peer_packets", "Packets to the root dropped because their sender is unknown."},
	SuiteRefused:         {"suite_refused_packets", "Packets dropped because their cipher suite is not allowed for their verb."},
	UnconfirmedWithheld:  {"unconfirmed_withheld_packets", "Replies withheld because the path was unconfirmed and they would exceed the request."},
	Replayed:             {"replayed_packets", "Packets that were seen before and not believed."},
	NewcomersQueued:      {"newcomer_queued_packets", "HELLO of unknown identities queued for validation."},
	NewcomersLimited:     {"newcomer_limited_packets", "HELLO of unknown identities dropped by limits.new_identity_rate of their network prefix."},
	NewcomersDropped:     {"newcomer_dropped_packets", "HELLO of unknown identities dropped because the validation queue was full."},
	NewcomersInvalid:     {"newcomer_invalid_identities", "Identities refused because they do not validate."},
	NewcomersAccepted:    {"newcomer_accepted_identities", "New identities validated and accepted."},
	KnownQueued:          {"rekey_queued_packets", "Packets of known peers without a session, queued for key agreement."},
	KnownLimited:         {"rekey_limited_packets", "Packets of known peers without a session, dropped by limits.rekey_rate of their network prefix."},
	KnownDropped:         {"rekey_dropped_packets", "Packets of known peers without a session, dropped because their queue was full."},
	SessionsFull:         {"sessions_full_packets", "Peers refused because peers.max_sessions was reached."},
	Collisions:           {"identity_collision_packets", "HELLO of a valid identity whose address belongs to another one, answered with an error."},
	WhoisReceived:        {"whois_addresses", "Addresses asked for by WHOIS."},
	WhoisAnswered:        {"whois_answered_addresses", "Addresses answered."},
	WhoisUnknown:         {"whois_unknown_addresses", "Addresses asked for and not known."},
	WhoisLimited:         {"whois_limited_addresses", "Addresses not answered because of limits.whois_*."},
	EchoAnswered:         {"echo_answered_packets", "ECHO answered."},
	EchoLimited:          {"echo_limited_packets", "ECHO not answered because of limits.echo_rate."},
	Likes:                {"multicast_likes", "Multicast subscriptions stored or refreshed."},
	LikesRefused:         {"multicast_likes_refused", "Multicast subscriptions refused by limits."},
	GatherAnswered:       {"gather_answered_packets", "MULTICAST_GATHER answered."},
	GatherLimited:        {"gather_limited_packets", "MULTICAST_GATHER not answered because of multicast.gather_rate."},
	ConfigRefused:        {"config_refused_packets", "Network configuration requests answered with an error: a root is no controller."},
	Ignored:              {"ignored_packets", "Authentic packets of verbs that a root does not answer."},
	Challenges:           {"challenge_packets", "Questions (ECHO, or WHOIS to clients without it) sent to confirm a path."},
	PathsConfirmed:       {"path_confirmed_paths", "Paths confirmed by a challenge."},
	PathsEvicted:         {"path_evicted_paths", "Paths forgotten because a peer had too many or they fell silent."},
	KeepWarmSent:         {"keep_warm_packets", "Questions (ECHO, or WHOIS to clients without it) sent to keep the NAT mapping of a quiet peer open."},
	WorldsSent:           {"world_packets", "Planets and moons sent in OK(HELLO)."},
	SightingsOffered:     {"sightings", "Sightings handed to the proposer."},
	LinkSent:             {"link_sent_packets", "Packets handed to the member that has their receiver."},
	LinkReceived:         {"link_received_packets", "Packets that other members handed over for peers here."},
	LinkNoRoute:          {"link_no_route_packets", "Of these, packets whose receiver is not here (any more)."},
	LinkFailed:           {"link_failed_packets", "Packets and messages that could not be handed to another member."},
	LinkMessages:         {"link_messages", "Messages received from other members: introductions, multicast."},
	FencedDropped:        {"fenced_packets", "Datagrams ignored because the cluster believes this member dead."},
	RescuesBegun:         {"rescue_peers", "Peers of dead members, and of those lost before a restore, that fell to this member's share."},
	RescuePushes:         {"rescue_push_packets", "Redirects to this member sent to such peers by way of another root."},
	RescuePins:           {"rescue_pin_packets", "Redirects that erased the dead path of a rescued peer."},
	Rescued:              {"rescued_peers", "Such peers that came to this member."},
	RescuedElsewhere:     {"rescued_elsewhere_peers", "Such peers that the log found at another member meanwhile."},
	HandoffsSent:         {"handoff_sent_peers", "Peers that were redirected to another member."},
	HandoffsConfirmed:    {"handoff_confirmed_peers", "Of these, peers that arrived there."},
	HandoffsRolledBack:   {"handoff_rolled_back_peers", "Of these, peers that were taken back, because the other member did not see them in time or died."},
	HandoffsNotAccepted:  {"handoff_not_accepted_peers", "Intents that the log did not accept in time."},
	HandoffsCancelled:    {"handoff_cancelled_peers", "Intents given up because the peer or the other member was not as before when the log had accepted them."},
	HandoffSelfRedirects: {"handoff_self_redirect_packets", "Redirects of peers to this member itself: to take one back, or to keep its path of the other address family."},
	HandoffMuted:         {"handoff_muted_packets", "Packets of or for peers that are being handed off, not answered or not sent."},
	HandoffHintsDropped:  {"handoff_dropped_hints", "Peers to be handed off that were put off because too many others waited."},
	RescuesGivenUp:       {"rescue_given_up_peers", "Such peers that did not come: they are offline, or no other root reaches them."},
	Decisions:            {"steering_decisions", "Decisions where a peer should be."},
	DecisionsToMove:      {"steering_move_decisions", "Decisions to hand a peer off."},
	DecisionsHeld:        {"steering_held_decisions", "Of these, those not carried out because steering is off or shadow."},
	ShadowSame:           {"steering_shadow_same_decisions", "Decisions that the rules of steering_shadow would have made alike."},
	ShadowMoves:          {"steering_shadow_move_decisions", "Decisions to stay where those rules would have handed the peer off."},
	ShadowStays:          {"steering_shadow_stay_decisions", "Decisions to hand off where those rules would have let the peer stay."},
	ShadowElsewhere:      {"steering_shadow_elsewhere_decisions", "Decisions to hand off where those rules would have chosen another member."},
	RTTSamples:           {"rtt_samples", "Round trips to peers measured."},
	RTTSamplesDropped:    {"rtt_dropped_samples", "Round trips measured and not taken, because too many came at once."},
	RTTEchoes:            {"rtt_echo_packets", "Questions (ECHO, or WHOIS to clients without it) sent to measure a round trip."},
	ProbesAsked:          {"probe_asked_peers", "Peers that another member was asked to measure."},
	ProbesSent:           {"probe_sent_peers", "Of these, peers sent to it for that."},
	ProbesDone:           {"probe_done_peers", "Peers of other members measured here."},
}

// counters are written by the one goroutine that owns them and read by anyone: the owner counts in plain words
// and publishes those that changed once a batch, so that counting costs the packet path no atomic.
type counters struct {
	changed   [(numCounters + 63) / 64]uint64 // a bit for each counter
	n         [numCounters]uint64
	published [numCounters]atomic.Uint64
	_         [64]byte // no other worker's words in the last cache line
}

func (c *counters) add(k Counter, n int) {
	c.n[k] += uint64(n)
	c.changed[k/64] |= 1 << (k % 64)
}

func (c *counters) inc(k Counter) { c.add(k, 1) }

func (c *counters) publish() {
	for i, word := range c.changed {
		for ; word != 0; word &= word - 1 {
			k := 64*i + bits.TrailingZeros64(word)
			c.published[k].Store(c.n[k])
		}
		c.changed[i] = 0
	}
}
