// Package snapshot is the archive: the whole state of a cluster, and the keys it cannot live without, in one file that anyone
// can check.
//
// Flows: [Write] makes an archive of metadata, a stream of state as [fsm.Frozen.Write] gives it, and secrets; [Open] reads one.
// Both stream: memory does not depend on the number of peers, and neither a pipe nor a standard output is a problem. What an
// archive says is [Meta]; what is in it, besides, is State, for [fsm.FSM.Restore] or [fsm.NewReader], and [Secrets].
//
// # Format
//
// Version 1 is a tar file (ustar) of these entries, in this order, that any tar, zstd, age and sha256sum open:
//
//	rootd-snapshot.json  what the archive is: the JSON of Meta
//	state/000000.zst     the state: 4 MiB of it compressed with zstd, and
//	state/000001.zst     so on; only the last one may be shorter. cat state/* | zstd -d
//	secrets.age          identity, authority and planet key, sealed with age; missing where Meta says so
//	SHA256SUMS           SHA-256 of every entry before it, as sha256sum writes and checks it
//
// Every header is mode 0600, owner 0, without names, and has one time: that of the archive. docs/snapshot-format.md has the rest.
//
// # Invariants
//
// One content has one form: each byte of an archive is checked, by a SHA-256 or because it can have only one value,
// so that a file with any other bit is refused. Unknown entries, other orders, and bytes after the end are refused. Nothing that was read is to be trusted
// before [Archive.State] has returned [io.EOF], which it does only after everything to the end of the file was checked.
// A file without secrets.age holds no secret, and says so. Checksums find damage, not forgery; secrets that were
// sealed with a passphrase prove, when they are opened, that whoever made the archive knew it.
//
// An [Archive] belongs to one goroutine at a time; Write and State use more, which end with them.
package snapshot
