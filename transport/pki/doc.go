// Package pki is who is who between the members of a cluster: the cluster's certificate authority (CA), the members'
// certificates, and the check of the certificate that a peer presents.
//
// In flow certificate requests, PEM files and what the other side of a TLS connection presents; out flow certificates,
// a [Keychain] with what this member presents and trusts, and a [Peer]: a member whose certificate has been verified.
// The package opens no connections. It reads the clock only through the times and functions it is given.
//
// # Life of a certificate
//
// An [Authority] is made once, by init, and lives [AuthorityLife]. It signs member certificates that live [MemberLife]
// and begin [Backdate] before they were signed. A [Renewer] replaces a member's certificate once two thirds of its life
// have passed, which leaves it ten days to reach a member that can sign.
//
//	subject        CN = name of the member
//	SAN            URI rootd://CLUSTER/member/ID      CLUSTER: 32 hexadecimal digits, ID: decimal, 1 to 65535; or, of a cluster
//	               that was restored, rootd://CLUSTER/epoch/EPOCH/member/ID
//	key            Ed25519, the member's own: it never leaves its machine
//	key usage      digital signature; TLS server and client
//	serial         128 random bits
//
// A CA's certificate carries the URI rootd://CLUSTER. What people compare, and what a join token holds, is its
// [Fingerprint]: the SHA-256 of the certificate, written sha256: and 64 hexadecimal digits.
//
// # Clocks
//
// Certificates are backdated, so a member whose clock is up to [Backdate] behind the signer's takes them at once. A
// clock that is ahead begins to matter when it makes a certificate look expired, ten days by default. Beyond that
// peers are refused with [ErrNotYetValid] or [ErrExpired], and the text names both times. Nothing else is tolerated:
// a second allowance at the moment of verification would only prolong the life of expired certificates.
//
// # Rotation of the CA
//
// A [Bundle] holds every CA that is trusted. To replace one: make a new Authority for the same cluster; hand
// bundle.With(new) to all members, and wait until all have it; sign with the new one and let every member renew
// ([Renewer.Renew]); then hand out bundle.Without(old). At no moment does a member meet a peer whose CA it does not know.
//
// # Removal
//
// A certificate of a removed member is still good as such. What ends it at once is the function that a [Verifier] asks
// about every peer, [VerifierOptions].Admit, together with a transport that closes what is open.
//
// # Epochs
//
// A cluster that is restored, from an archive or from its last member, keeps its CA and begins a new [Epoch], in which all
// certificates are new. Members of the epoch before are refused by everybody, and learn why: the certificate of whoever
// refuses them proves that their epoch is over. With a new CA instead they could not tell the restored cluster from an attacker.
//
// # Concurrency
//
// Everything but a [Renewer] is immutable or safe for any goroutine; a Renewer has one Run. Private keys are inside types that print
// as "hidden" whatever verb is used, and leave only through methods that have PEM in their name.
package pki
