package snapshot

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Written says what Write wrote.
type Written struct {
	Meta       Meta
	Bytes      int64 // of the archive
	StateBytes int64 // of the state, before compression
}

// Write writes an archive: what m says, what state writes, and the secrets, sealed, unless the seal is that of [SealNone].
// m.Secrets is filled in here, m.Created if it is zero. The state is compressed on several processors while it is written. After an error, what
// was written is no archive, and is refused as such; the caller removes it.
//
// Write does not look into the state: [Archive.Verify] on what was written does.
func Write(w io.Writer, m Meta, state func(io.Writer) error, s Secrets, seal Seal) (*Written, error) {
	out := &writer{counter: counter{w: w}}
	out.tar = tar.NewWriter(&out.counter)
	m.Format = Format
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	m.Created = m.Created.UTC().Truncate(time.Second)
	m.Secrets = seal.describe(&s)
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	out.created = m.Created
	head, err := m.encode()
	if err == nil {
		err = out.entry(entryMeta, head)
	}
	var stateBytes int64
	if err == nil {
		stateBytes, err = out.state(state)
	}
	if err == nil && m.Secrets.Any() {
		var sealed []byte
		if sealed, err = seal.close(&s, out.sums.mark()); err == nil {
			err = out.entry(entrySecrets, sealed)
		}
	}
	if err == nil {
		err = out.entry(entrySums, []byte(out.sums.text.String()))
	}
	if err == nil {
		err = out.tar.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	return &Written{Meta: m, Bytes: out.counter.n, StateBytes: stateBytes}, nil
}

// writer writes entries.
type writer struct {
	counter counter
	tar     *tar.Writer
	created time.Time
	sums    sums
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (w *writer) entry(name string, content []byte) error {
	if err := w.tar.WriteHeader(header(name, int64(len(content)), w.created)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := w.tar.Write(content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := w.tar.Flush(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.sums.add(name, content)
	return nil
}

// state runs the function that writes the state, compresses its chunks side by side and writes them in order.
func (w *writer) state(state func(io.Writer) error) (int64, error) {
	procs := min(runtime.GOMAXPROCS(0), 8)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(procs), zstd.WithEncoderCRC(false), zstd.WithWindowSize(chunkSize))
	if err != nil {
		return 0, err
	}
	defer enc.Close()
	c := &chunker{enc: enc, queue: make(chan *chunk, procs), free: make(chan *chunk, procs+2), failed: make(chan struct{})}
	written := make(chan error, 1)
	go func() { written <- c.drain(w) }()
	err = state(c)
	if err == nil {
		err = c.flush()
	}
	close(c.queue)
	if werr := <-written; werr != nil {
		return 0, werr // it is why the state could not go on
	}
	if err != nil {
		return 0, err
	}
	if c.n == 0 {
		return 0, errors.New("there is no state")
	}
	return c.total, nil
}

// chunk is a part of the state on its way: raw from the chunker, packed by a goroutine of its own, written by drain.
type chunk struct {
	n           int
	raw, packed []byte
	done        chan struct{}
}

// chunker cuts what is written to it into chunks.
type chunker struct {
	enc    *zstd.Encoder
	queue  chan *chunk   // in order; closed after the last
	free   chan *chunk   // to be used again
	failed chan struct{} // closed when nobody takes chunks any more

	now   *chunk
	n     int
	total int64
}

var errStopped = errors.New("the archive cannot be written")

// Write implements [io.Writer]. It waits for the compression, which waits for the archive's writer.
func (c *chunker) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		if c.now == nil {
			c.now = c.take()
		}
		k := min(chunkSize-len(c.now.raw), len(b)-done)
		c.now.raw = append(c.now.raw, b[done:done+k]...)
		done += k
		if len(c.now.raw) == chunkSize {
			if err := c.flush(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (c *chunker) take() *chunk {
	select {
	case k := <-c.free:
		k.raw, k.packed, k.done = k.raw[:0], k.packed[:0], make(chan struct{})
		return k
	default:
		return &chunk{done: make(chan struct{})}
	}
}

// flush sends the present chunk on its way.
func (c *chunker) flush() error {
	k := c.now
	if k == nil {
		return nil
	}
	if c.n == maxChunks {
		return errors.New("the state is too large")
	}
	k.n, c.now = c.n, nil
	c.n++
	c.total += int64(len(k.raw))
	select {
	case c.queue <- k:
	case <-c.failed:
		return errStopped
	}
	go func() {
		defer close(k.done)
		k.packed = c.enc.EncodeAll(k.raw, k.packed)
	}()
	return nil
}

// drain writes chunks until there are no more, and goes on without writing after an error.
func (c *chunker) drain(w *writer) (err error) {
	for k := range c.queue {
		<-k.done
		if err != nil {
			continue
		}
		if err = w.entry(fmt.Sprintf(entryState, k.n), k.packed); err != nil {
			close(c.failed)
			continue
		}
		select {
		case c.free <- k:
		default:
		}
	}
	return err
}
