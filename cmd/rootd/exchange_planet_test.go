package main

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A root that is at none of its endpoints any more is looked for where it greets from, at the ports that it had, and not everywhere.
func TestPlacesOfARootElsewhere(t *testing.T) {
	ports := func(list ...string) (all []netip.AddrPort) {
		for _, s := range list {
			all = append(all, netip.MustParseAddrPort(s))
		}
		return all
	}
	r := &vl1.Root{Endpoints: ports("192.0.2.1:9993", "192.0.2.2:9993", "192.0.2.3:443")}
	var paths []packetpath.PathInfo
	for _, from := range ports("198.51.100.7:50001", "198.51.100.7:50002", "[2001:db8::7]:50003", "198.51.100.8:50001") {
		paths = append(paths, packetpath.PathInfo{Endpoint: from})
	}
	want := ports("198.51.100.7:9993", "198.51.100.7:443", "[2001:db8::7]:9993", "[2001:db8::7]:443")
	if got := placesOf(paths, r); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := placesOf(nil, r); got != nil {
		t.Errorf("%v", got)
	}
}
