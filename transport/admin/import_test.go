package admin_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// importer is an Importer that writes down what it got.
type importer struct {
	member
	got []vl1.Identity
}

func (i *importer) ImportPeers(_ context.Context, ids []vl1.Identity) (*admin.Imported, error) {
	i.got = append(i.got, ids...)
	return &admin.Imported{Created: len(ids) - 1, Collisions: []vl1.Address{ids[0].Address}}, i.err
}

func identities(n int) []vl1.Identity {
	ids := make([]vl1.Identity, n)
	for i := range ids {
		ids[i] = vl1.Identity{Address: vl1.Address(i + 1), Key: vl1.PublicKey{byte(i), byte(i >> 8), 63: 1}}
	}
	return ids
}

func TestImportPeers(t *testing.T) {
	i := &importer{}
	c := serveCluster(t, i)
	want := identities(admin.MaxImport)
	r, err := c.ImportPeers(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, i.got); diff != "" {
		t.Errorf("the member got other identities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&admin.Imported{Created: admin.MaxImport - 1, Collisions: []vl1.Address{1}}, r); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestImportRefusesNonsense(t *testing.T) {
	i := &importer{}
	h := admin.NewServer(i, slog.New(slog.DiscardHandler)).Handler()
	one := identities(1)[0].AppendBinary(nil)
	withSecret := bytes.Clone(one)
	withSecret[70] = 64
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"cut off":  {append(bytes.Clone(one), one[:70]...), "identity 2"},
		"text":     {[]byte(identities(1)[0].String()), "identity 1"},
		"secret":   {withSecret, "identity 1"},
		"too many": {bytes.Repeat(one, admin.MaxImport+1), "too large"},
		"reserved": {append([]byte{0xff}, one[1:]...), "identity 1"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/peers", bytes.NewReader(tc.body)))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: status %d, %s; want %d and %q", name, w.Code, w.Body, http.StatusBadRequest, tc.want)
		}
	}
	if len(i.got) != 0 {
		t.Errorf("the member got %d identities", len(i.got))
	}
}
