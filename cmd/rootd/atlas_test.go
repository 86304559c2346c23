package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlacesInTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rootd.toml")
	parse := func(text string) (*Invocation, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ParseArgs([]string{"-config", path}, nil)
	}
	inv, err := parse("position = \"52.37,4.89\"\n[geo]\noverrides = [\"10.0.0.0/8 52.37,4.89,25 Amsterdam, NL\", \"2001:db8::/32 -33.87,151.21\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if o := inv.Config.Geo.Overrides; len(o) != 2 || o[0].Place.Country != "NL" || o[1].Prefix.String() != "2001:db8::/32" {
		t.Errorf("overrides %v", o)
	}
	again, err := ParseArgs([]string{"-geo-overrides", text(&inv.Config.Geo.Overrides)}, nil)
	if err != nil || len(again.Config.Geo.Overrides) != 2 {
		t.Errorf("as a flag: %v", err)
	}
	for text, want := range map[string]string{
		`position = "Amsterdam"`:                                          "rootd.toml:1: position:",
		"[geo]\noverrides = \"10.0.0.0/8 1,1\"":                           "needs a list",
		"[geo]\noverrides = [\"10.0.0.1/8 1,1\"]":                         "bits beyond",
		"[geo]\noverrides = [\"10.0.0.0/8 1,1\", \"10.0.0.0/8 2,2\"]":     "there twice",
		"[geo]\noverrides = [\"10.0.0.0/8 1,1\", \"11.0.0.0/8 nowhere\"]": "rootd.toml:2: geo.overrides:",
		"[geo]\noverrides = [1]":                                          "entry 1",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
}
