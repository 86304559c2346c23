package fsm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/geo"
)

func TestPlacesOfPrefixesAreSettings(t *testing.T) {
	m := newMachine(t)
	m.must(&fsm.Set{Key: "geo/10.0.0.0/8", Value: "52.3700,4.890,25 Amsterdam, NL"})
	m.must(&fsm.Set{Key: "geo/2001:db8::/32", Value: "-33.87,151.21"})
	m.must(&fsm.Set{Key: "voters", Value: "3"})
	s := m.View().State().Settings
	if got, _ := s.Value("geo/10.0.0.0/8"); got != "52.37,4.89,25 Amsterdam, NL" {
		t.Errorf("kept as %q", got)
	}
	list := s.GeoOverrides()
	if len(list) != 2 || list[0].Place.City != "Amsterdam" || list[1].Prefix.String() != "2001:db8::/32" {
		t.Errorf("places %v", list)
	}
	for key, value := range map[string]string{
		"geo/10.0.0.1/8": "1,1", "geo/10.0.0.1": "1,1", "geo/": "1,1", "geo/x": "1,1", "geo/10.0.0.0/8": "91,0", "geo/2001:DB8::/32": "1,1",
	} {
		if r := m.do(&fsm.Set{Key: key, Value: value}); !errors.Is(r.Err, fsm.ErrSetting) || !strings.Contains(r.Err.Error(), key) {
			t.Errorf("%s = %s: %v", key, value, r.Err)
		}
	}
	m.must(&fsm.Set{Key: "voters", Value: "5"})
	if next := m.View().State().Settings; !next.GeoSame(&s) {
		t.Error("another setting changed the places")
	}
	m.must(&fsm.Set{Key: "geo/10.0.0.0/8"})
	if next := m.View().State().Settings; next.GeoSame(&s) || len(next.GeoOverrides()) != 1 {
		t.Errorf("places %v after one was removed", next.GeoOverrides())
	}
	m.must(&fsm.Set{Key: "geo/10.0.0.0/8"}) // again: nothing
}

func TestAThousandPlacesAndNoMore(t *testing.T) {
	m := newMachine(t)
	for i := range fsm.MaxGeoOverrides {
		m.must(&fsm.Set{Key: fmt.Sprintf("geo/10.%d.%d.0/24", i/256, i%256), Value: "1,1"})
	}
	if r := m.do(&fsm.Set{Key: "geo/11.0.0.0/8", Value: "1,1"}); !errors.Is(r.Err, fsm.ErrSetting) {
		t.Errorf("one more: %v", r.Err)
	}
	m.must(&fsm.Set{Key: "geo/10.0.0.0/24", Value: "2,2"}) // one that is there may change
	again := newFSM(t)
	if err := restore(again, snapshotOf(t, m.FSM)); err != nil {
		t.Fatal(err)
	}
	if again.Hash() != m.Hash() || len(again.View().State().Settings.GeoOverrides()) != fsm.MaxGeoOverrides {
		t.Error("a snapshot with many settings comes back as something else")
	}
}

func TestPositionsOfMembersAndPeers(t *testing.T) {
	here := geo.Point{Lat: 52.37, Lon: 4.89}.Unit()
	m := newMachine(t)
	m.must(&fsm.MemberUp{ID: 1, Name: "ams", Position: here})
	m.must(&fsm.MemberUp{ID: 1, Name: "ams"}) // knows nothing: what is known stays
	m.must(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 3, Geo: fsm.GeoDatabase{Hash: [8]byte{1}, Built: 2}}}})
	m.must(fsm.Changes{{Address: 5, HasKey: true, Key: key(1), HasPosition: true, Position: here, Radius: 7}})
	check := func(f *fsm.FSM) {
		t.Helper()
		st := f.View().State()
		if st.Members[0].Position != here || st.Members[0].Health.Geo.Built != 2 {
			t.Errorf("member %+v", st.Members[0])
		}
		if r := (&machine{FSM: f, t: t}).peer(5); geo.Unit(r.Position) != here || geo.RadiusKm(r.Flags) != 128 {
			t.Errorf("peer %+v", r)
		}
	}
	check(m.FSM)
	again := newFSM(t)
	if err := restore(again, snapshotOf(t, m.FSM)); err != nil {
		t.Fatal(err)
	}
	check(again)
	m.must(fsm.Changes{{Address: 5, Key: key(1), HasPosition: true}})
	if r := m.peer(5); geo.Unit(r.Position).Known() || r.Flags != 0 {
		t.Errorf("peer %+v, expected nowhere", r)
	}
}
