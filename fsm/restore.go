package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

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
	o.Capacity = max(o.Capacity, peers)
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
	n       int    // blocks read
	once    sum    // over the peers, as it was before hashesFrom, of an older version
	buf     []byte // of the last block
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

// A block of a snapshot as it was read: nothing of it is proved before payload has looked at its checksum.
type block struct {
	kind   byte
	number int
	b      []byte // header, payload, checksum
}

func (b block) payload() ([]byte, error) {
	body := b.b[:len(b.b)-blockTrailer]
	if crc(body) != binary.BigEndian.Uint32(b.b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum of block %d does not match", ErrDamaged, b.number)
	}
	return body[blockHeader:], nil
}

// block reads the next block, into sr.buf.
func (sr *snapshotReader) block() (block, error) {
	var h [blockHeader]byte
	if _, err := io.ReadFull(sr.r, h[:]); err != nil {
		return block{}, cutOff(fmt.Sprintf("block %d", sr.n), err)
	}
	kind, size := h[0], int(binary.BigEndian.Uint32(h[1:]))
	most := map[byte]int{blockMeta: maxMeta, blockRTTs: blockRecords * rttSize, blockPeers: blockRecords * recordSize, blockEnd: endSize}[kind]
	if most == 0 || size == 0 || size > most {
		return block{}, fmt.Errorf("%w: block %d has type %#02x and %d bytes", ErrDamaged, sr.n, kind, size)
	}
	if need := blockHeader + size + blockTrailer; cap(sr.buf) < need {
		sr.buf = make([]byte, need)
	}
	b := sr.buf[:blockHeader+size+blockTrailer]
	copy(b, h[:])
	if _, err := io.ReadFull(sr.r, b[blockHeader:]); err != nil {
		return block{}, cutOff(fmt.Sprintf("block %d", sr.n), err)
	}
	sr.n++
	return block{kind, sr.n - 1, b}, nil
}

// meta reads the first block.
func (sr *snapshotReader) meta(s *State) error {
	bl, err := sr.block()
	if err != nil {
		return err
	}
	b, err := bl.payload()
	switch {
	case err != nil:
		return err
	case bl.kind != blockMeta:
		return fmt.Errorf("%w: meta block missing", ErrMalformed)
	}
	if err := readMeta(&reader{b: b}, s, sr.version); err != nil {
		return fmt.Errorf("meta block: %w", err)
	}
	return nil
}

// body reads all other blocks. It gives those of peers away, who has to prove them, and keeps the end block for finish.
func (sr *snapshotReader) body(s *State, peers func(block) error) error {
	for {
		bl, err := sr.block()
		if err != nil {
			return err
		}
		if bl.kind == blockPeers {
			if err := peers(bl); err != nil {
				return err
			}
			continue
		}
		b, err := bl.payload()
		if err != nil {
			return err
		}
		switch bl.kind {
		case blockMeta:
			return fmt.Errorf("%w: meta block repeated", ErrMalformed)
		case blockRTTs:
			if err := readRTTs(s, b); err != nil {
				return fmt.Errorf("block %d: %w", bl.number, err)
			}
		case blockEnd:
			sr.end = b
			return nil
		}
	}
}

// readPeers proves and reads a block of peers. The records are added to s, in an older version to once too, and yield gets each of them.
func readPeers(bl block, version uint16, s, once *sum, yield func(*table.Record) error) (n int, err error) {
	b, err := bl.payload()
	if err != nil {
		return 0, err
	}
	size := recordSizeOf(version)
	if len(b)%size != 0 {
		return 0, fmt.Errorf("block %d: %w: %d bytes are not whole records", bl.number, ErrMalformed, len(b))
	}
	var rec table.Record
	for ; len(b) > 0; b = b[size:] {
		if why := readRecord(b[:size], &rec); why != "" {
			return n, fmt.Errorf("block %d: %w: %s", bl.number, ErrMalformed, why)
		}
		if version >= hashesFrom {
			s.addEncoded((*[recordSize]byte)(b))
		} else {
			s.add(&rec)
			once.plus(hashEncodedOnce(b[:size]))
		}
		if err := yield(&rec); err != nil {
			return n, err
		}
		if n++; n%yieldRecords == 0 {
			runtime.Gosched()
		}
	}
	return n, nil
}

// filler is a goroutine that puts peers of a snapshot into the table.
type filler struct {
	peers *table.Loader
	sum   sum
	once  sum
	n     int
}

// fill puts the peers of a snapshot into the table, which nobody reads yet: this goroutine reads, and as many as there are
// processors check, hash and store the blocks.
func (s *State) fill(sr *snapshotReader) error {
	var (
		fillers = make([]filler, runtime.GOMAXPROCS(0))
		full    = make(chan block)
		empty   = make(chan []byte, len(fillers)+1) // one at each goroutine
		failed  = make(chan error, len(fillers))
		running sync.WaitGroup
	)
	for i := range fillers {
		f := &fillers[i]
		f.peers = s.peers.Loader()
		empty <- nil
		running.Go(func() {
			defer f.peers.Rest()
			for bl := range full {
				n, err := readPeers(bl, sr.version, &f.sum, &f.once, f.put)
				if f.n += n; err != nil {
					failed <- err
					return
				}
				empty <- bl.b
			}
		})
	}
	err := sr.body(s, func(bl block) error {
		select {
		case full <- bl:
			sr.buf = nil
		case err := <-failed:
			return err
		}
		select {
		case sr.buf = <-empty:
			return nil
		case err := <-failed:
			return err
		}
	})
	close(full)
	running.Wait()
	if len(failed) > 0 && err == nil {
		err = <-failed
	}
	for i := range fillers {
		s.sum.merge(&fillers[i].sum)
		sr.once.merge(&fillers[i].once)
		s.Peers += fillers[i].n
	}
	return err
}

func (f *filler) put(r *table.Record) error {
	if err := f.peers.Put(r); err != nil {
		return fmt.Errorf("store peer %s: %w", r.Address, err)
	}
	return nil
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
	if got, want := sr.hash(s), Hash(b[8:]); got != want {
		return fmt.Errorf("%w: state hash is %s, expected %s", ErrDamaged, got, want)
	}
	return nil
}

// hash returns the hash of s, which was read, as members computed it that wrote this version.
func (sr *snapshotReader) hash(s *State) Hash {
	if sr.version >= hashesFrom {
		return s.hash(sr.version, &s.sum)
	}
	return s.hash(sr.version, &sr.once)
}

func cutOff(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off in %s", ErrDamaged, what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}
