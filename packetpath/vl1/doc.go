// Package vl1 is the wire protocol of ZeroTier's virtual layer 1 as a root server and its clients
// speak it: identities, packets, their armor (authentication and encryption), fragments, the
// messages inside, and worlds (planet and moons).
//
// In go bytes of datagrams and text of identities; out come typed values, and the way back. A root
// handles a datagram like this:
//
//	IsFragment → Fragment, Assembler      one piece of a packet larger than a datagram
//	ParsePacket                           header accessors; relaying needs no more than that
//	Packet.Extended → DearmorExtended     an encrypted HELLO
//	PeekHello                             who says hello, before anything is verified
//	SecretIdentity.Agree → Key            one X25519 per pair of identities; worth keeping
//	Dearmor                               verify and decrypt in place
//	Decompress, Decode…                   the message
//
// and answers with NewPacket, Append…, [Packet.SetFragmented] if needed, Armor, Split.
//
// The package is pure: no I/O, no clock, no goroutines, no state but what callers hold, randomness
// only where keys are generated. Functions may be called from any goroutine; a [Hasher] and an
// [Assembler] each belong to one goroutine at a time. Packets alias their buffers: Armor, Dearmor
// and the Append functions work in place. What Decode functions return aliases the packet where the
// type says so (slices), and is a copy otherwise.
//
// Invariants: no function panics on foreign bytes that came through ParsePacket, IsFragment or a
// Decode function; nothing on the path of a HELLO, its answer, or suites 0 and 1 allocates; secrets
// leave only through the methods named SecretString.
//
// All integers on the wire are big-endian. Byte tables stand beside the constants of each format.
package vl1

import "errors"

// Errors of packets and messages. They are returned bare, because wrapping allocates and a root
// sees as many bad packets as the world cares to send; the caller knows the source and counts.
var (
	// ErrShort is returned when bytes end before the field that must follow.
	ErrShort = errors.New("vl1: cut short")
	// ErrMAC is returned when a packet was not made by the holder of the key, or was changed on the way.
	ErrMAC = errors.New("vl1: message authentication failed")
	// ErrSuite is returned for cipher suites that are unknown or refused (trusted paths).
	ErrSuite = errors.New("vl1: cipher suite not accepted")
	// ErrVerb is returned when a packet carries another message than the one asked for.
	ErrVerb = errors.New("vl1: packet has another verb")
	// ErrProtocol is returned for a HELLO with a protocol version below [MinProtocol].
	ErrProtocol = errors.New("vl1: protocol version too old")
	// ErrSource is returned for a HELLO whose source address is not that of the identity inside.
	ErrSource = errors.New("vl1: source address differs from the identity's")
	// ErrCompressed is returned when a payload is not a block of LZ4, or one of unlawful size.
	ErrCompressed = errors.New("vl1: bad compressed payload")
	// ErrEndpoint is returned for endpoints of an unknown type or with a wrong length.
	ErrEndpoint = errors.New("vl1: malformed endpoint")
	// ErrFragment is returned for fragments with impossible numbers.
	ErrFragment = errors.New("vl1: malformed fragment")
)
