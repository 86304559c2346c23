// Package mux is the one TCP port of a member: TLS 1.3 in both directions, told apart by ALPN, verified by the cluster's
// certificates on both sides; and the dialer of the same.
//
// In flow TCP connections from anybody; out flow a [Conn] per connection, whose [pki.Peer] says which member is at
// the other end, through the listener of its protocol.
//
//	ALPN            client certificate   who listens
//	rootd-raft/1    required             transport/stream
//	rootd-rpc/1     required             transport/rpc
//	rootd-admin/1   required             transport/admin
//	rootd-join/1    none asked for       transport/join; the joiner pins the CA's fingerprint
//
// # Greeting
//
// TLS alone cannot tell a client why it was refused: with TLS 1.3 its handshake is over before the server has looked
// at its certificate. So the server's first bytes after the handshake are a greeting, and [Mux.Dial] returns an error that says
// what is wrong, or a connection that works:
//
//	byte 0     0 welcome, what follows belongs to the protocol; else the Code of a refusal
//	byte 1     length n of the reason; only with a refusal
//	byte 2…    n bytes: the reason, UTF-8; then the server closes
//
// # What strangers can use up
//
// Handshakes in progress are bounded, in total and per source address, and end after a timeout; what is more is closed
// before a byte of it is read. Connections without a client certificate are bounded for as long as they live.
//
// # Removal, expiry, rotation
//
// Each handshake uses the keys that the keychain holds at that moment. A connection lives no longer than the certificate it was opened with
// is good: [Mux.Recheck], which Run calls every minute, closes those whose peer would be refused now, and
// [Mux.CloseMember] closes those of one member at once. There is no way to become connected around it: a connection is registered first,
// and its peer is verified after that.
//
// # Concurrency
//
// All methods may be called by any goroutine. [New] starts none, [Mux.Run] owns those that shake hands, Dial uses its caller's.
// Mux.mu guards the registry and is held for moments, never across I/O. Nothing here needs a real network or clock:
// the listener and the dialer are options, [Network] is one of both in memory, and all of it runs in a testing/synctest bubble.
package mux
