package fsm

import (
	"fmt"
	"io"

	"github.com/rootd/rootd/fsm/table"
)

// Reader reads a snapshot in one pass, without a peer table: to look at it, check it, compare it. Memory is bounded by
// one block. For one goroutine.
type Reader struct {
	sr    snapshotReader
	s     State
	peers int // says the header
	done  bool
}

// NewReader reads the beginning of a snapshot, up to its peers. Errors wrap [ErrDamaged], [ErrTooNew] or [ErrMalformed].
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{sr: snapshotReader{r: r}}
	var err error
	if rd.peers, err = rd.sr.header(&rd.s); err == nil {
		err = rd.sr.meta(&rd.s)
	}
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return rd, nil
}

// State returns what the snapshot says, peers apart. Its number of peers and its hash are right after Peers has returned nil; until then
// nothing of it is proved.
func (r *Reader) State() *State { return &r.s }

// Format returns the version of the snapshot.
func (r *Reader) Format() int { return int(r.sr.version) }

// Len returns the number of peers that the snapshot announces.
func (r *Reader) Len() int { return r.peers }

// Hash returns the hash of the state in this version: see [Frozen.Hash].
func (r *Reader) Hash() Hash { return r.sr.hash(&r.s) }

// Peers calls yield for each peer, in the order of [table.Hash] if it was written by [Frozen.Write], and stops when yield
// fails. A nil error means that all checksums, counts and the state hash were right, and that nothing follows. The record is used
// again for the next call. Only once.
func (r *Reader) Peers(yield func(*table.Record) error) error {
	if r.done {
		return fmt.Errorf("read snapshot: its peers were read before")
	}
	r.done = true
	err := r.sr.body(&r.s, func(bl block) error {
		n, err := readPeers(bl, r.sr.version, &r.s.sum, &r.sr.once, yield)
		r.s.Peers += n
		return err
	})
	if err == nil {
		err = r.sr.finish(&r.s, r.peers, r.s.Peers)
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return nil
}
