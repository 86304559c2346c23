package snapshot

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rootd/rootd/fsm/table"

	"github.com/rootd/rootd/fsm"
)

// Section is a part of an archive.
type Section struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"` // in the file, headers apart
	Plain int64  `json:"plain"` // before compression
}

// Archive is an archive that is being read, from its beginning to its end, once.
type Archive struct {
	tar  tarReader
	meta *Meta
	sums sums
	dec  *zstd.Decoder

	packed  []byte // the present chunk
	plain   []byte
	rest    []byte // of plain: not handed out yet
	chunks  int
	last    bool // the present chunk is short: it must be the last
	err     error
	sizes   [4]Section // metadata, state, secrets, checksums
	secrets []byte
	mark    string // see sums.mark
}

// Open reads the metadata of an archive. Nothing of it is proved before State has returned [io.EOF], or Verify nil. Errors wrap
// [ErrForeign], [ErrTooNew] or [ErrDamaged].
func Open(r io.Reader) (*Archive, error) {
	a := &Archive{tar: tarReader{r: r}}
	name, size, err := a.tar.next()
	if err != nil {
		return nil, err
	}
	b, err := a.tar.content(name, size, maxMeta, nil)
	if err != nil {
		return nil, err
	}
	if a.meta, err = decodeMeta(b); err != nil {
		return nil, err
	}
	if !a.tar.created.Equal(a.meta.Created) {
		return nil, damaged("its headers have another time than %s", entryMeta)
	}
	a.sums.add(name, b)
	for i, name := range []string{"metadata", "state", "secrets", "checksums"} {
		a.sizes[i].Name = name
	}
	a.sizes[0].Bytes, a.sizes[0].Plain = size, size
	return a, nil
}

// Meta returns what the archive says of itself.
func (a *Archive) Meta() *Meta { return a.meta }

// Sections returns the parts that there are, with what was read of each.
func (a *Archive) Sections() []Section {
	var list []Section
	for _, s := range a.sizes {
		if s.Bytes > 0 {
			list = append(list, s)
		}
	}
	return list
}

// State returns the state as [fsm.Frozen.Write] wrote it. It returns [io.EOF] only when the whole archive, to the end of the file,
// has been read and found right; any other error wraps [ErrDamaged] or is the reader's.
func (a *Archive) State() io.Reader { return stateReader{a} }

type stateReader struct{ a *Archive }

func (s stateReader) Read(b []byte) (int, error) {
	a := s.a
	for len(a.rest) == 0 {
		if a.err == nil {
			a.err = a.advance()
		}
		if a.err != nil {
			return 0, a.err
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// advance reads the next chunk of the state, or all that follows the last: then the error is io.EOF.
func (a *Archive) advance() error {
	name, size, err := a.tar.next()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(name, statePrefix) {
		return a.finish(name, size)
	}
	if want := fmt.Sprintf(entryState, a.chunks); name != want || a.last || a.chunks == maxChunks {
		return damaged("%q is not the entry that comes next", name)
	}
	if a.dec == nil {
		if a.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(chunkSize)); err != nil {
			return err
		}
	}
	if a.packed, err = a.tar.content(name, size, maxChunk, a.packed); err != nil {
		return err
	}
	a.sums.add(name, a.packed)
	a.plain, err = a.dec.DecodeAll(a.packed, a.plain[:0])
	if err != nil || len(a.plain) == 0 {
		return damaged("%s does not decompress", name)
	}
	a.last = len(a.plain) < chunkSize
	a.chunks++
	a.rest = a.plain
	a.sizes[1].Bytes += size
	a.sizes[1].Plain += int64(len(a.plain))
	return nil
}

// finish reads what follows the state, to the end of the file.
func (a *Archive) finish(name string, size int64) (err error) {
	if a.dec != nil {
		a.dec.Close()
	}
	if a.chunks == 0 {
		return damaged("it has no state")
	}
	a.mark = a.sums.mark()
	if a.meta.Secrets.Any() {
		if name != entrySecrets {
			return damaged("%q is not the entry that comes next", name)
		}
		if a.secrets, err = a.tar.content(name, size, maxSecrets, nil); err != nil {
			return err
		}
		a.sums.add(name, a.secrets)
		a.sizes[2].Bytes, a.sizes[2].Plain = size, size
		if name, size, err = a.tar.next(); err != nil {
			return err
		}
	}
	if name != entrySums {
		return damaged("%q is not the entry that comes next", name)
	}
	want := a.sums.text.String()
	got, err := a.tar.content(name, size, len(want), nil)
	if err != nil {
		return err
	}
	if string(got) != want {
		return damaged("%s: %s", entrySums, firstDifference(string(got), want))
	}
	a.sizes[3].Bytes, a.sizes[3].Plain = size, size
	if name, _, err = a.tar.next(); err != nil {
		return err
	}
	if !a.tar.ended {
		return damaged("%q follows the last entry", name)
	}
	return io.EOF
}

// firstDifference names the first entry whose checksum is not the one listed.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			if _, name, ok := strings.Cut(w[i], "  "); ok {
				return "the checksum of " + name + " does not match"
			}
			break
		}
	}
	return "it lists other entries"
}

// Verify reads everything and checks it: the archive to the end of the file, the state to its last record, and that it
// is the one that the metadata names. It leaves the secrets sealed.
func (a *Archive) Verify() error {
	return a.Peers(nil, nil)
}

// Peers is Verify, and shows what it sees: the state, peers apart, then each peer, in the order in which they were written. What it shows is proved only
// when it returns nil. It stops when yield fails. Either function may be nil.
func (a *Archive) Peers(state func(*fsm.State) error, yield func(*table.Record) error) error {
	r, err := fsm.NewReader(a.State())
	if err != nil {
		return a.StateError(err)
	}
	if state != nil {
		if err := state(r.State()); err != nil {
			return err
		}
	}
	if yield == nil {
		yield = func(*table.Record) error { return nil }
	}
	if err := r.Peers(yield); err != nil {
		return a.StateError(err)
	}
	m, st := a.meta, r.State()
	said := describe(st)
	switch {
	case said.Cluster.ID != m.Cluster.ID, said.Cluster.Root != m.Cluster.Root, said.Index != m.Index, said.Counts != m.Counts,
		r.Hash().String() != m.StateHash, r.Format() != m.StateFormat:
		return damaged("its state is not the one that %s names", entryMeta)
	}
	return nil
}

// StateError says why the state could not be read: it prefers what the archive's reader said to what its reader made of it.
func (a *Archive) StateError(err error) error {
	if a.err != nil && !errors.Is(a.err, io.EOF) {
		return a.err
	}
	if errors.Is(err, fsm.ErrTooNew) {
		return &Error{Err: ErrTooNew, Why: err.Error(), Way: fmt.Sprintf("use rootd %q, which made it, or a later one", a.meta.Software)}
	}
	if errors.Is(err, fsm.ErrDamaged) || errors.Is(err, fsm.ErrMalformed) {
		return damaged("%v", err)
	}
	return err
}

// OpenSecrets opens the secrets. State must have been read to its end, or Verify have returned nil. Errors wrap [ErrNoSecret],
// [ErrSealed] or [ErrDamaged].
func (a *Archive) OpenSecrets(k Key) (*Secrets, error) {
	if !a.tar.ended {
		return nil, errors.New("open secrets: the archive was not read to its end")
	}
	if a.secrets == nil {
		return nil, &Error{
			Err: ErrNoSecret, Why: "it was made without a recipient or passphrase",
			Way: "take identity.secret, ca.key and planet.key from where they are kept, or an archive that has them: rootctl snapshot inspect says which",
		}
	}
	plain, err := k.open(a.secrets, a.meta.Secrets.Seal)
	if err != nil {
		return nil, err
	}
	return decodeSecrets(plain, a.meta, a.mark)
}
