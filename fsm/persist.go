package fsm

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm/table"
)

// A snapshot: a header, then blocks until an end block. All numbers are big-endian.
//
//	offset size
//	0      8    "rootdfsm"
//	8      2    version of the format: 4, or 3 below feature level 2; 1 to 3 are still read
//	10     8    index of the last entry applied
//	18     8    number of peers
//	26     4    CRC-32C of all bytes before it
//
// One block:
//
//	offset size
//	0      1    type: 'M' meta (first, once), 'R' measured round trips, 'P' peers (any number), 'E' end (last, once)
//	1      4    size n of the payload
//	5      n    payload
//	5+n    4    CRC-32C of all bytes of the block before it
//
// The payload of 'P' is 1 to 8192 records of 147 bytes (see appendRecord), in any order; that of 'M' is drawn at
// appendMeta. The payload of 'E' is the number of peers (8) and the state hash (32): what was read must have it.
const (
	snapshotMagic   = "rootdfsm"
	snapshotVersion = 4 // the latest
	snapshotHeader  = 30

	blockMeta  = 'M'
	blockPeers = 'P'
	blockRTTs  = 'R'
	blockEnd   = 'E'

	blockHeader  = 5
	blockTrailer = 4
	blockRecords = 8192
	// yieldRecords is after how many records a processor is offered to whoever waits for it: packets do not wait for a snapshot
	// until the scheduler takes it away, which is after 10 ms.
	yieldRecords = 512

	maxMeta = 16 << 20
	endSize = 8 + len(Hash{})
)

// Frozen is the whole state at one index, while the machine goes on. As long as it is not released it costs
// memory: see [table.Frozen]. Its methods may be called from any goroutine.
type Frozen struct {
	state State // peers is not used: it is live
	peers *table.Frozen
}

var _ raft.FSMSnapshot = (*Frozen)(nil)

// Freeze returns the present state, in microseconds, whatever the number of peers. It must be released. Any goroutine.
func (f *FSM) Freeze() (*Frozen, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.st.Halted != "" {
		return nil, fmt.Errorf("take snapshot: %w: %s", ErrHalted, f.st.Halted)
	}
	return &Frozen{state: f.st, peers: f.st.peers.Freeze()}, nil
}

// Snapshot implements [raft.FSM].
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.staged != nil {
		return nil, fmt.Errorf("take snapshot: %w: one goes on, and a snapshot would not have it", ErrRestoring)
	}
	s, err := f.Freeze()
	if err != nil {
		return nil, err // not a nil *Frozen in an interface
	}
	return s, nil
}

// Size returns about how many bytes Write writes.
func (s *Frozen) Size() int64 { return int64(s.state.Peers)*recordSize + 1<<10 }

// State returns what is frozen, peers apart: only their number is.
func (s *Frozen) State() *State { return &s.state }

// Format returns the version of the format in which Write writes it: by the feature level that the cluster uses.
func (s *Frozen) Format() int { return int(s.state.format()) }

// Hash returns the state hash that Write puts at the end. In an older format it takes as long as Write.
func (s *Frozen) Hash() Hash {
	if s.state.format() >= hashesFrom {
		return s.state.Hash()
	}
	hash, _ := s.write(io.Discard) // what fails there fails in Write
	return hash
}

// Release implements [raft.FSMSnapshot].
func (s *Frozen) Release() { s.peers.Release() }

// Persist implements [raft.FSMSnapshot]. It runs beside Apply.
func (s *Frozen) Persist(sink raft.SnapshotSink) error {
	if err := s.Write(sink); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

// Write writes the snapshot, for [FSM.Restore] and [NewReader]. It runs beside Apply.
func (s *Frozen) Write(w io.Writer) error {
	_, err := s.write(w)
	return err
}

// write returns the state hash, too.
func (s *Frozen) write(w io.Writer) (hash Hash, err error) {
	version := s.state.format()
	b := append(make([]byte, 0, snapshotHeader), snapshotMagic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint64(b, s.state.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(s.state.Peers))
	b = binary.BigEndian.AppendUint32(b, crc(b))
	if _, err := w.Write(b); err != nil {
		return hash, err
	}
	buf := appendMeta(startBlock(nil, blockMeta), &s.state, version)
	if err := endBlock(w, buf); err != nil {
		return hash, err
	}
	if err := s.writeRTTs(w); err != nil {
		return hash, err
	}
	buf, n := startBlock(make([]byte, 0, blockHeader+blockRecords*recordSize+blockTrailer), blockPeers), 0
	var once sum
	s.peers.Range(func(r *table.Record) bool {
		buf = appendRecord(buf, r)
		if version < hashesFrom {
			once.plus(hashEncodedOnce(buf[len(buf)-recordSize:]))
		}
		if n++; n%yieldRecords == 0 {
			runtime.Gosched()
		}
		if n%blockRecords == 0 {
			err = endBlock(w, buf)
			buf = startBlock(buf[:0], blockPeers)
		}
		return err == nil
	})
	switch {
	case err != nil:
		return hash, err
	case n != s.state.Peers:
		return hash, fmt.Errorf("peer table held %d peers, not %d", n, s.state.Peers)
	case n%blockRecords != 0:
		if err := endBlock(w, buf); err != nil {
			return hash, err
		}
	}
	if version >= hashesFrom {
		hash = s.state.Hash()
	} else {
		hash = s.state.hash(version, &once)
	}
	buf = binary.BigEndian.AppendUint64(startBlock(buf[:0], blockEnd), uint64(n))
	return hash, endBlock(w, append(buf, hash[:]...))
}

func startBlock(b []byte, kind byte) []byte { return append(b, kind, 0, 0, 0, 0) }

// endBlock completes the block in b and writes it.
func endBlock(w io.Writer, b []byte) error {
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-blockHeader))
	_, err := w.Write(binary.BigEndian.AppendUint32(b, crc(b)))
	return err
}
