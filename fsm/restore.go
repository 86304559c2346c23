package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/rootd/rootd/fsm/table"
)

// Restore implements [raft.FSM]. The new state replaces the old one at once, after every block, the counts and the
// state hash have been checked; otherwise the old state stays and the error, which wraps [ErrDamaged], [ErrTooNew] or
// [ErrMalformed], says what is wrong.
func (f *FSM) Restore(rc io.ReadCloser) error {
	st, err := readSnapshot(rc, f.opts.Table)
	if cerr := rc.Close(); err == nil && cerr != nil {
		_ = st.peers.Close()
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	// The old table is not closed: whoever still reads it finds every peer, and its memory returns to the system when
	// the last of them lets go.
	f.mu.Lock()
	defer f.mu.Unlock()
	f.st = *st
	f.staged = nil // what the snapshot says is later
	f.restoredAt.Store(0)
	f.publish()
	return nil
}

// readSnapshot reads a whole snapshot into a new state with a new table.
func readSnapshot(r io.Reader, o table.Options) (*State, error) {
	s := new(State)
	sr := snapshotReader{r: r}
	peers, err := sr.header(s)
	if err != nil {
		return nil, err
	}
	o.Capacity, o.Private = max(o.Capacity, peers), true
	if s.peers, err = table.New(o); err != nil {
		return nil, fmt.Errorf("make peer table: %w", err)
	}
	err = sr.meta(s)
	if err == nil {
		err = s.fill(&sr)
	}
	if err == nil {
		err = sr.finish(s, peers, s.peers.Len())
	}
	s.peers.Share()
	if err != nil {
		_ = s.peers.Close()
		return nil, err
	}
	return s, nil
}

// snapshotReader reads a snapshot block by block; memory is bounded by the largest block.
type snapshotReader struct {
	r       io.Reader
	version uint16
	n       int // blocks read
	buf     []byte
	end     []byte // payload of the end block
}

func (sr *snapshotReader) header(s *State) (peers int, err error) {
	var b [snapshotHeader]byte
	if _, err := io.ReadFull(sr.r, b[:]); err != nil {
		return 0, cutOff("header", err)
	}
	body := b[:snapshotHeader-4]
	switch {
	case string(body[:8]) != snapshotMagic:
		return 0, fmt.Errorf("%w: not a snapshot of rootd", ErrDamaged)
	case crc(body) != binary.BigEndian.Uint32(b[len(body):]):
		return 0, fmt.Errorf("%w: checksum of the header does not match", ErrDamaged)
	}
	if sr.version = binary.BigEndian.Uint16(b[8:]); sr.version == 0 || sr.version > snapshotVersion {
		return 0, fmt.Errorf("snapshot of version %d: %w", sr.version, ErrTooNew)
	}
	s.Index = binary.BigEndian.Uint64(b[10:])
	n := binary.BigEndian.Uint64(b[18:])
	if n > 1<<40 {
		return 0, fmt.Errorf("%w: %d peers", ErrMalformed, n)
	}
	return int(n), nil
}

// block returns the next block's payload, valid until the next call.
func (sr *snapshotReader) block() (kind byte, payload []byte, err error) {
	name := fmt.Sprintf("block %d", sr.n)
	var h [blockHeader]byte
	if _, err := io.ReadFull(sr.r, h[:]); err != nil {
		return 0, nil, cutOff(name, err)
	}
	kind, size := h[0], int(binary.BigEndian.Uint32(h[1:]))
	most := map[byte]int{blockMeta: maxMeta, blockRTTs: blockRecords * rttSize, blockPeers: blockRecords * recordSize, blockEnd: endSize}[kind]
	if most == 0 || size == 0 || size > most {
		return 0, nil, fmt.Errorf("%w: %s has type %#02x and %d bytes", ErrDamaged, name, kind, size)
	}
	if need := blockHeader + size + blockTrailer; cap(sr.buf) < need {
		sr.buf = make([]byte, need)
	}
	b := sr.buf[:blockHeader+size+blockTrailer]
	copy(b, h[:])
	if _, err := io.ReadFull(sr.r, b[blockHeader:]); err != nil {
		return 0, nil, cutOff(name, err)
	}
	body := b[:blockHeader+size]
	if crc(body) != binary.BigEndian.Uint32(b[len(body):]) {
		return 0, nil, fmt.Errorf("%w: checksum of %s does not match", ErrDamaged, name)
	}
	sr.n++
	return kind, body[blockHeader:], nil
}

// meta reads the first block.
func (sr *snapshotReader) meta(s *State) error {
	kind, b, err := sr.block()
	if err != nil {
		return err
	}
	if kind != blockMeta {
		return fmt.Errorf("%w: meta block missing", ErrMalformed)
	}
	if err := readMeta(&reader{b: b}, s, sr.version); err != nil {
		return fmt.Errorf("meta block: %w", err)
	}
	return nil
}

// body reads all peers, and keeps the end block for finish.
func (sr *snapshotReader) body(s *State, yield func(*table.Record) error) error {
	for {
		kind, b, err := sr.block()
		if err != nil {
			return err
		}
		switch kind {
		case blockMeta:
			return fmt.Errorf("%w: meta block repeated", ErrMalformed)
		case blockRTTs:
			if err := readRTTs(s, b); err != nil {
				return fmt.Errorf("block %d: %w", sr.n-1, err)
			}
		case blockPeers:
			if err := readPeers(b, sr.version, yield); err != nil {
				return fmt.Errorf("block %d: %w", sr.n-1, err)
			}
		case blockEnd:
			sr.end = b
			return nil
		}
	}
}

func readPeers(b []byte, version uint16, yield func(*table.Record) error) error {
	if len(b)%recordSizeOf(version) != 0 {
		return fmt.Errorf("%w: %d bytes are not whole records", ErrMalformed, len(b))
	}
	r := reader{b: b}
	var rec table.Record
	for len(r.b) > 0 {
		if readRecord(&r, &rec, version); r.bad != "" {
			return r.end()
		}
		if err := yield(&rec); err != nil {
			return err
		}
	}
	return nil
}

// fillBatch is how many peers the reader of a snapshot hands to the goroutine that puts them into the table at a time.
const fillBatch = yieldRecords

// fill puts the peers of a snapshot into the table, which nobody reads yet: one goroutine reads, checks and hashes
// them, another one stores them.
func (s *State) fill(sr *snapshotReader) error {
	full, empty := make(chan []table.Record, 4), make(chan []table.Record, 8)
	for range cap(empty) - 1 { // some are full, one is at each end
		empty <- make([]table.Record, 0, fillBatch)
	}
	stored := make(chan error, 1)
	go func() {
		var err error
		for batch := range full {
			for i := range batch {
				if err == nil {
					if err = s.peers.Put(&batch[i]); err != nil {
						err = fmt.Errorf("store peer %s: %w", batch[i].Address, err)
					}
				}
			}
			empty <- batch[:0]
			runtime.Gosched() // see yieldRecords
		}
		stored <- err
	}()
	batch := make([]table.Record, 0, fillBatch)
	err := sr.body(s, func(rec *table.Record) error {
		s.sum.add(rec)
		s.Peers++
		if batch = append(batch, *rec); len(batch) == fillBatch {
			full <- batch
			batch = <-empty
			runtime.Gosched()
		}
		return nil
	})
	full <- batch
	close(full)
	if serr := <-stored; err == nil {
		err = serr
	}
	return err
}

// finish checks what was read, different peers among it, against the header's number of peers and the end block.
func (sr *snapshotReader) finish(s *State, peers, different int) error {
	b := sr.end
	var extra [1]byte
	if n, err := io.ReadFull(sr.r, extra[:]); n != 0 || err != io.EOF {
		return fmt.Errorf("%w: bytes after the end block", ErrDamaged)
	}
	if len(b) != endSize {
		return fmt.Errorf("%w: end block of %d bytes", ErrMalformed, len(b))
	}
	counted := binary.BigEndian.Uint64(b)
	if s.Peers != peers || counted != uint64(peers) || different != peers {
		return fmt.Errorf("%w: header says %d peers, end %d, found %d (%d different)", ErrDamaged, peers, counted, s.Peers, different)
	}
	if got, want := s.hash(sr.version), Hash(b[8:]); got != want {
		return fmt.Errorf("%w: state hash is %s, expected %s", ErrDamaged, got, want)
	}
	return nil
}

func cutOff(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off in %s", ErrDamaged, what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}
