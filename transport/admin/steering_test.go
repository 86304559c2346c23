package admin

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestParseRTTFilter(t *testing.T) {
	for _, bad := range []string{"within=nonsense", "within=192.0.2.1", "limit=-1", "limit=x"} {
		q, _ := url.ParseQuery(bad)
		if f, err := parseRTTFilter(q); err == nil {
			t.Errorf("%s is %+v", bad, f)
		}
	}
	q, _ := url.ParseQuery("within=192.0.2.0/24&limit=7&member=ams")
	f, err := parseRTTFilter(q)
	if want := (RTTFilter{netip.MustParsePrefix("192.0.2.0/24"), "ams", 7}); err != nil || f != want {
		t.Errorf("%+v, %v", f, err)
	}
}
