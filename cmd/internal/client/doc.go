// Package client models how a real ZeroTier client treats its roots.
//
// A [Client] is a pure state machine. Time and events go in (Tick, Receive, SendFrame), datagrams come out
// through the caller's [Env]. It opens no socket, starts no goroutine, reads no clock and has a random
// source of its own, so the same code runs on real sockets under load and, thousands at a time, in virtual
// time, and two runs with the same seed and the same input make the same output.
//
// What real clients do differs by version in exactly the places that matter to a root: which path they
// keep, when they notice that a member is gone, what a redirect does to them. Those differences are data: a
// [Family] names a span of releases and lists its rules. docs/client-model.md compares every rule with what
// was measured on real clients.
//
// # Ownership
//
// A Client and the Env passed to it are used by one goroutine at a time. Many clients share one Env: it
// holds scratch space and nothing that outlives a call. Worlds and identities handed to a Client are shared
// and never written to.
//
// # Invariants
//
//   - The path table of a peer never exceeds the family's limit, and never names an endpoint that the
//     endpoint check refused.
//   - A datagram given to Env.Send is complete, armored and at most 1432 bytes; it is valid until Send
//     returns.
//   - Next never lies: nothing the model does by itself happens before the time it returns.
//
// # What is left out
//
// Certificates and rules of virtual networks (a frame of a network that both sides know is trusted),
// bonding, the TCP fallback, and the memory-hard validation of other clients' identities.
package client
