package snapshot_test

import (
	"bytes"
	"testing"

	"github.com/rootd/rootd/snapshot"
)

// FuzzArchive: whatever the bytes, reading ends, within bounds, and what is taken is what Write would have written.
func FuzzArchive(f *testing.F) {
	c := newCluster(f, 5)
	sealed, key := c.sealed()
	f.Add(sealed)
	f.Add(c.archive(c.secrets, snapshot.Seal{}))
	f.Add(sealed[:1024])
	f.Add([]byte{})
	es, h := entries(f, sealed)
	es[1].content = []byte("nonsense")
	f.Add(join(f, es, h, true))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := snapshot.Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		if a.Verify() != nil {
			return
		}
		es, h := entries(t, b)
		if again := join(t, es, h, true); !bytes.Equal(again, b) {
			t.Error("an archive has two forms")
		}
		if _, err := a.OpenSecrets(key); err != nil && a.Meta().Secrets.Any() && bytes.Equal(b, sealed) {
			t.Error(err)
		}
	})
}
