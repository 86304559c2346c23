package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFleetOverPorts: an entry of admin is a cluster port or a socket, and a port is asked with the cluster's own certificate.
func TestFleetOverPorts(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fleet.toml")
	text := "[[cluster]]\nname = 'alice'\nadmin = ['127.0.0.1:1']\ncert = 'alice.pem'\n[[cluster]]\nname = 'bob'\nadmin = ['127.0.0.1:1']\n[[cluster]]\nname = 'carol'\nadmin = ['/nowhere/admin.sock']\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openFleet(&env{pass: "mine.pem"}, file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for cluster, want := range map[string]string{
		"alice": "ask the member at 127.0.0.1:1: --cert: there is no file alice.pem",
		"bob":   "ask the member at 127.0.0.1:1: --cert: there is no file mine.pem",
		"carol": "ask rootd at /nowhere/admin.sock: there is no such socket",
	} {
		if _, err := c.clients[cluster][0].Status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", cluster, err, want)
		}
	}
}
