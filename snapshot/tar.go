package snapshot

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// Entries of an archive.
const (
	entryMeta    = "rootd-snapshot.json"
	entryState   = "state/%06d.zst"
	entrySecrets = "secrets.age"
	entrySums    = "SHA256SUMS"

	statePrefix = "state/"
)

// Limits of what is read into memory.
const (
	chunkSize  = 4 << 20 // of state, before compression
	maxChunk   = chunkSize + chunkSize/64
	maxMeta    = 1 << 20
	maxSecrets = 1 << 20
	maxChunks  = 1_000_000 // 4 TB, and as many as the names have digits for
	tarBlock   = 512
)

func sha(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// header returns the one header that an entry can have.
func header(name string, size int64, created time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: created, Format: tar.FormatUSTAR}
}

// sums collects the lines of SHA256SUMS.
type sums struct{ text strings.Builder }

func (s *sums) add(name string, content []byte) {
	sum := sha(content)
	s.text.WriteString(hex.EncodeToString(sum[:]) + "  " + name + "\n")
}

// mark names everything that was added so far: secrets are sealed together with it.
func (s *sums) mark() string {
	sum := sha([]byte(s.text.String()))
	return hex.EncodeToString(sum[:])
}

// tarReader reads entries in their one form, and refuses every other.
type tarReader struct {
	r       io.Reader
	created time.Time // of all entries; that of the first
	started bool
	ended   bool
	block   [tarBlock]byte
	pad     [tarBlock]byte
}

// next reads the header of the next entry; name is "" at the end of the archive.
func (t *tarReader) next() (name string, size int64, err error) {
	where := "the header of an entry"
	if n, err := io.ReadFull(t.r, t.block[:]); err != nil {
		if n == 0 && !t.started && err == io.EOF { //nolint:errorlint // io.ReadFull returns it as it is
			return "", 0, &Error{Err: ErrForeign, Why: "the file is empty", Way: "take another copy, or another backup: this one was never written"}
		}
		if !t.started && !bytes.HasPrefix(t.block[:n], []byte(entryMeta)) {
			return "", 0, foreign()
		}
		return "", 0, cut(where, err)
	}
	if !t.started && !bytes.HasPrefix(t.block[:], []byte(entryMeta+"\x00")) {
		return "", 0, foreign()
	}
	if t.block == [tarBlock]byte{} {
		return "", 0, t.end()
	}
	h, err := tar.NewReader(bytes.NewReader(t.block[:])).Next()
	if err != nil {
		return "", 0, damaged("the header of an entry is not readable")
	}
	if !t.started {
		t.started, t.created = true, h.ModTime
	}
	var want bytes.Buffer
	if err := tar.NewWriter(&want).WriteHeader(header(h.Name, h.Size, t.created)); err != nil || !bytes.Equal(want.Bytes(), t.block[:]) {
		return "", 0, damaged("the header of %q is not in its one form", h.Name)
	}
	return h.Name, h.Size, nil
}

func foreign() error {
	return &Error{
		Err: ErrForeign, Why: "it does not begin with " + entryMeta,
		Way: "name a file that rootctl snapshot save or a scheduled backup made; what Raft keeps in a data directory is none",
	}
}

// content reads the content of an entry and its padding.
func (t *tarReader) content(name string, size int64, limit int, buf []byte) ([]byte, error) {
	if size > int64(limit) || size < 0 {
		return nil, damaged("%s has %d bytes, which is too much", name, size)
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(t.r, buf); err != nil {
		return nil, cut(name, err)
	}
	pad := t.pad[:-size&(tarBlock-1)]
	if _, err := io.ReadFull(t.r, pad); err != nil {
		return nil, cut(name, err)
	}
	for _, b := range pad {
		if b != 0 {
			return nil, damaged("the padding of %s is not empty", name)
		}
	}
	return buf, nil
}

// end reads what follows the first of two empty blocks: the second, and nothing.
func (t *tarReader) end() error {
	if _, err := io.ReadFull(t.r, t.block[:]); err != nil {
		return cut("its last block", err)
	}
	if t.block != [tarBlock]byte{} {
		return damaged("its last block is not empty")
	}
	if n, err := io.ReadFull(t.r, t.block[:1]); n != 0 {
		return damaged("bytes follow its end")
	} else if err != io.EOF { //nolint:errorlint // io.ReadFull returns it as it is
		return fmt.Errorf("read archive: %w", err)
	}
	t.ended = true
	return nil
}
