// Package join is how a machine becomes a member: the token that an operator carries from the cluster to the machine, and
// the exchange between the machine and a member that follows.
//
// In flow tokens as text and connections of package mux (protocol [mux.Join]); out flow, at the machine's end, a [Result]
// with its certificate and the cluster's secrets, at the member's end, calls of an [Admitter], which knows the log.
// The package keeps nothing on disk and decides nothing about names or endpoints.
//
// # Token
//
// A token is "rootd-join-1." and, in base64url without padding:
//
//	 0  32  SHA-256 of the CA's certificate: whom to believe
//	32   8  token ID, random; no secret
//	40  16  secret, random; the log holds its SHA-256
//	56   8  expiry, ms since 1970
//	64   1  number n of addresses, 1 to 8
//	65   …  n times: u8 length, host:port of a member's cluster port
//	 …   4  checksum: the first bytes of the SHA-256 of the prefix and all of the above
//
// # Exchange
//
//	machine                                        member
//	  TCP, TLS 1.3, ALPN rootd-join/1        →
//	  verifies that the chain presented leads to the CA of the token, and names a member; else it ends here
//	  hello: token ID, secret, request       →
//	                                               checks token, clock, version, names, endpoints ([Admitter.Check])
//	                                         ←     note: what is being done (any number)
//	                                         ←     plan: what would come of it, what is wrong     (dry run: the end)
//	                                               writes the log ([Admitter.Admit])
//	                                         ←     offer: certificate, secrets                    (the end)
//	                                         ←     refusal, instead of any of these               (the end)
//
// A frame is one byte kind (1 hello, 2 note, 3 plan, 4 offer, 5 refusal), a u32 length (big-endian, at most 1 MiB), and a body
// of JSON. Unknown fields are ignored, so that fields can be added; what cannot be expressed so gets a new ALPN name.
//
// # What always holds
//
// The secret is not sent before the CA is verified. A machine that runs the exchange again with the same token and
// the same node key, wherever it was interrupted, gets the same member ID and a fresh certificate: the key is kept by the
// caller, the log remembers who used a token. Nothing about the cluster is said to who has no valid token. A dry run changes
// nothing. Secrets are inside types that print as "hidden"; they leave through methods made for that.
//
// # Concurrency
//
// [Server.Run] blocks; it has one goroutine per connection, bounded by the listener's mux. [Join] uses its caller's. All else is values.
package join
