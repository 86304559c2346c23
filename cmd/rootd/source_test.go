package main

import (
	"testing"

	"github.com/rootd/rootd/packetpath"
)

// Clients take 1.1.0 for a release with a bug and fall back to HELLO as keep-alive.
func TestSoftwareVersion(t *testing.T) {
	for text, want := range map[string]packetpath.Version{
		"":             {},
		"devel":        {},
		"0.3.12":       {Minor: 3, Revision: 12},
		"v1.2.3-rc1":   {Major: 1, Minor: 2, Revision: 3},
		"1.1.0":        {},
		"1.1.1":        {Major: 1, Minor: 1, Revision: 1},
		"300.1.1":      {},
		"0.3.12.dirty": {Minor: 3, Revision: 12},
	} {
		if got := parseSoftwareVersion(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
