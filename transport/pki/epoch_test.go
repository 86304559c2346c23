package pki_test

import (
	"testing"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

func FuzzEpoch(f *testing.F) {
	for _, s := range []string{"0", "1.0123456789abcdef", "0.0000000000000001", "01.0123456789abcdef", "1.0123456789ABCDEF", "0.0000000000000000", "4294967296.0123456789abcdef", "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := pki.ParseEpoch(s)
		if err == nil && e.String() != s {
			t.Errorf("%q became %v", s, e)
		}
	})
}

func TestMemberURIOfAnEpoch(t *testing.T) {
	t.Parallel()
	m := pki.Member{Cluster: alice, Epoch: pki.Epoch{Number: 3, ID: [8]byte{1, 2}}, ID: 12}
	u := m.URI()
	if want := "rootd://" + alice.String() + "/epoch/3.0102000000000000/member/12"; u.String() != want {
		t.Errorf("%v, want %s", u, want)
	}
	if got, err := pki.ParseMemberURI(u); err != nil || got != m {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestNextEpoch(t *testing.T) {
	t.Parallel()
	var e pki.Epoch
	for i, at := range []time.Time{start, start, start.Add(time.Second), start.Add(-time.Hour), time.Unix(0, 0)} {
		next := e.Next(at)
		if next.Compare(e) <= 0 || next.Number != uint32(i+1) {
			t.Errorf("after %v comes %v", e, next)
		}
		e = next
	}
	if one, other := (pki.Epoch{}).Next(start), (pki.Epoch{}).Next(start.Add(time.Second)); other.Compare(one) <= 0 {
		t.Errorf("%v is not newer than %v", other, one)
	}
}
