package snapshot_test

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rootd/rootd/snapshot"
)

// BenchmarkArchive says how fast an archive is written and verified. ROOTD_PEERS sets how many peers it has.
func BenchmarkArchive(b *testing.B) {
	peers := 100_000
	if s := os.Getenv("ROOTD_PEERS"); s != "" {
		var err error
		if peers, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	c := newCluster(b, peers)
	began := time.Now()
	f, err := c.Freeze()
	frozen := time.Since(began)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Release()
	m := c.meta(f)
	b.Run("state", func(b *testing.B) { // the floor: the stream without an archive around it
		b.SetBytes(f.Size())
		for b.Loop() {
			if err := f.Write(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(frozen.Nanoseconds()), "ns-to-freeze")
	})
	var w *snapshot.Written
	b.Run("write", func(b *testing.B) {
		b.SetBytes(f.Size())
		for b.Loop() {
			if w, err = snapshot.Write(io.Discard, m, f.Write, snapshot.Secrets{}, snapshot.Seal{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(w.Bytes)/float64(max(1, peers)), "B/peer")
	})
	b.Run("verify", func(b *testing.B) {
		var archive bytes.Buffer
		if _, err := snapshot.Write(&archive, m, f.Write, snapshot.Secrets{}, snapshot.Seal{}); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(f.Size())
		for b.Loop() {
			if err := check(archive.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
