// Package rpc is how members call each other: named calls with a body of bytes, answered or refused, over connections
// of package mux that are kept and shared; and calls whose answer is a stream of any length.
//
// In flow calls (a [Caller]) and connections (a [Server]); out flow answers, or an [*Error] that the handler at the
// other end returned: code, text and hint cross the wire as they are. What a body means is the business of those who
// call and handle. The name of a call ends in its version ("propose/1"): a member that does not know it says so with
// [CodeUnknownCall], which a caller may answer by an older version of it.
//
// # Frames
//
// After mux's greeting each side sends frames. Numbers are big-endian.
//
//	0  u32  length of what follows, 5 to 5 + MaxBody + 9216
//	4  u8   kind
//	5  u32  call: chosen by the caller, unique among those in progress on the connection
//	9  …    by kind
//
//	1 call     u32 milliseconds left (0: no deadline), u8 n, n bytes name, body            caller → server
//	2 answer   body                                                                         server → caller
//	3 error    u8 n, n bytes code, u16 n, n bytes text, u16 n, n bytes hint                 server → caller
//	4 cancel                                                                                caller → server
//	5 ping                                                                                  caller → server
//	6 pong                                                                                  server → caller
//	7 stream   as call; the only frame that a caller sends on its connection                caller → server
//	8 data     1 byte or more of a stream                                                   server → caller
//	9 end      of a stream that is complete                                                 server → caller
//
// A frame that breaks these rules ends the connection. Each stream has a connection to itself, so that TCP holds back a
// writer whose reader is slow, and nobody else; closing it cancels the handler.
//
// # Bounds
//
// A body has at most MaxBody bytes. Calls in progress are bounded per connection at both ends: a caller waits for its turn,
// a server refuses with [CodeBusy]. A call ends with its context; a connection on which calls wait and nothing is heard, not
// even an answer to pings, is given up after [SilenceLimit], and its calls end with [ErrLost].
//
// A call that ended with ErrLost, or with its context, may have been carried out.
//
// # Concurrency
//
// All methods may be called by any goroutine, [Server.Handle] only before Run. Handlers run in goroutines of their own.
// A connection has one goroutine that reads and one that writes, so no one ever waits for a lock during I/O.
package rpc
