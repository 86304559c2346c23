package procs

import (
	"io"
	"strings"
	"sync"
)

// tail keeps the end of what is written to it, and passes everything on to copy.
type tail struct {
	copy io.Writer // may be nil; set before the first write

	mu  sync.Mutex // guards buf
	buf []byte
}

// Write never fails: a process must not notice that nobody reads its output any more.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - keptOutput; over > keptOutput { // moved seldom, not at every write
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	if t.copy != nil {
		_, _ = t.copy.Write(b)
	}
	return len(b), nil
}

// String returns the end of the output, beginning at the start of a line if something was cut off.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buf) <= keptOutput {
		return string(t.buf)
	}
	_, lines, _ := strings.Cut(string(t.buf[len(t.buf)-keptOutput:]), "\n")
	return lines
}
