package pki_test

import (
	"testing"

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
