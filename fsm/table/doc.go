// Package table is the set of all peers of a cluster: tens of millions of records in flat memory outside of the Go heap,
// written by one goroutine, the state machine's, and read by every packet without a lock.
//
// Records go in by Put, a Cursor, and Delete, as the log says; they come out by Lookup for packets, by Scan for housekeeping, and
// by Freeze for snapshots and the state hash. The package knows neither the log nor the clock.
//
// # Who may call what
//
// Lookup, LookupHot, LookupSteered, Prefetch, Scan, Len and Stats: any goroutine, at any time. Put, Delete, Visit and the methods of a Cursor, Freeze and Close:
// one goroutine, the writer; a table that nobody reads yet may be filled by several, with a [Loader] each. The methods of a Frozen: any
// goroutine, but Release after Range. There are no goroutines inside but short ones that make the system provide memory.
//
// # Design
//
//	directory ──► lane ──────► 1 to 7 blocks of slots:    64 bytes a peer, the hot part
//	 by the first   └► segment ► 1 to 22 blocks of entries: 64 bytes a peer for its key, and 32 for its handoff if it has one
//	 bits of Hash
//
// A slot is one cache line, found by the next bits of the hash: its home, or, if that was taken, one of seven neighbours in the same page, of which
// the home keeps a hint: see hops. When a segment is copied or loaded, nearly all peers get a place at home or among the nearest three neighbours, which
// are asked for with it: see settle. What a lookup reads before it, a lane, lies in an array that stays in the cache, so that a packet costs one or
// two misses; entries are needed for WHOIS, for handoffs, and for peers that this
// member has not met, so they lie apart, and are dense although slots must not be. At 0.62 to 0.81 load, that is 150 to 180 bytes
// a peer, and 32 more for one with a handoff. Blocks of a kind are all of one size, so what one segment gives back any other can use; each kind has
// chunks of memory of its own. The system's memory is taken in large chunks and returned when the table as a whole is gone; a
// table never shrinks.
//
// Growth is by one segment at a time: see fillAfter. In a segment of the directory a peer stays in its slot, and no slot is used twice: a deleted peer
// leaves a tombstone, and the next rebuild of its segment, which comes after a few hundred new peers there at the latest, leaves
// tombstones and stale entries behind. So a peer that exists is always found, and the longest Put is the copying of one
// segment, about 5,700 peers, whatever the size of the table.
//
// Slots lie in the order of the hash, page by page, and [Frozen.Range] sorts them: equal tables give equal
// sequences, snapshots can be cut into ranges of the hash, and a table that is loaded in this order is written
// sequentially.
//
// # Why readers need no lock
//
// There is one writer, its readers store nothing that it waits for, and what they look at they load by atomics. So all that is needed is
// order: readers see the writer's stores in the order of its program. Words of slots and entries, and undo, get that from store, or from a
// store that comes after fill; directories, lanes, the places of blocks and saved pages from Go's atomics. Five arguments rest on this, of
// which none needs a load of the writer to wait for a store before it; the details stand at the structures.
//
//   - A slot is whole: word 0 has the address and a sequence, which is odd while more than one word is being changed, and different
//     after any change: the same one comes back after 32,768 changes of a peer, seconds at the fastest, while a copy takes some ns. A reader that finds word 0 even and the same before and after its copy has copied a state that
//     existed. If it is odd, the reader takes the old words of what is being changed from the side, as long as it stays the same odd one; so it never waits, even for a writer that
//     has lost its processor. See Table.overwrite and undo.
//   - An entry belongs to its slot: it is written before the slot points to it, and never again in the life of the segment. A
//     peer whose key or handoff changes gets another entry.
//   - A lane is current: its count of changes was even, and the same before and after the reading. See lane.
//   - A segment is current: the reader asks the directory again after it read. If the answer is still the same segment, no
//     block had been given to another segment by then, since the writer takes a segment out of the directory first.
//     Otherwise it begins again. Headers are Go objects and cannot come back as another segment while a reader has one.
//   - A frozen page is old: the writer saves a page before its first change after a freeze; who copies the page in place, and
//     then finds no saved one, has copied before that change. See Table.Freeze.
//
// A lookup can fail to settle only if the writer finishes a change of the same peer, or a rebuild of its segment, during each of
// 64 tries, of some 50 ns each. It then reports the peer as unknown, as if it had come just before the peer was put.
//
// Memory is unmapped by a cleanup of the arena, to which every segment points, and readers keep their segment alive until they
// are done: a reader of a table that is closed meanwhile, as at a restore, reads valid memory.
//
// # Limits
//
// A freeze that is never released makes every change of a page that was not saved yet cost a copy of 1 KiB, and keeps all replaced
// segments. A table of n peers takes n times about 165 bytes for good, also when most of them are deleted.
package table
