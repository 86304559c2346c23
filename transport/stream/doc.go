// Package stream carries Raft between members: a raft.StreamLayer over package mux, and the raft.NetworkTransport on it.
//
// In flow Raft's dials and the connections that mux accepted for [mux.Raft]; out flow connections whose other end is the
// member that Raft means, or none. Raft itself knows servers by an ID, which is the member's number in decimal, and
// dials addresses. So that the two cannot be confused, the transport dials an address that names both:
//
//	3@203.0.113.7:9995        what [Layer.Dial] takes, made by [Addresses]: member 3, at this address
//	203.0.113.7:9995          taken too: any member of the cluster, as after a bootstrap without directory
//
// mux verifies that a member of the cluster answers, and that it is the one before the @. The directory that is given to
// [New] says where a member is now, and comes first, so that an address may change without an entry in the log. The
// addresses in Raft's configuration should have the same form, for a member that is not in the directory yet.
//
// The layer may be used by any goroutine. It starts none; the transport starts its own, which end with its Close, as
// all connections do that were dialed or accepted through the layer.
package stream
