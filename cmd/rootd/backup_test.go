package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBackupConfig(t *testing.T) {
	good := BackupConfig{Store: "/backup", Every: time.Hour}
	s3 := good
	s3.Store, s3.S3Endpoint = "s3://bucket/some/where", "https://s3.example.net"
	tests := []struct {
		name   string
		base   BackupConfig
		change func(*BackupConfig)
		key    string
		what   string
	}{
		{"directory", good, func(*BackupConfig) {}, "", ""},
		{"bucket", s3, func(*BackupConfig) {}, "", ""},
		{"none", good, func(c *BackupConfig) { c.Store, c.MaxAge = "", 1 }, "", ""},
		{"relative", good, func(c *BackupConfig) { c.Store = "backup" }, "backup.store", "absolute"},
		{"no bucket", s3, func(c *BackupConfig) { c.Store = "s3://" }, "backup.store", "bucket"},
		{"no endpoint", s3, func(c *BackupConfig) { c.S3Endpoint = "" }, "backup.s3_endpoint", "must be set"},
		{"bad endpoint", s3, func(c *BackupConfig) { c.S3Endpoint = "s3.example.net" }, "backup.s3_endpoint", "want https"},
		{"recipient", good, func(c *BackupConfig) { c.Recipients = "age1x" }, "backup.recipients", "public key"},
		{"too late at once", good, func(c *BackupConfig) { c.MaxAge = time.Minute }, "backup.max_age", "too late"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			c.Backup = tt.base
			tt.change(&c.Backup)
			key, what := c.check()
			if key != tt.key || !strings.Contains(what, tt.what) {
				t.Errorf("%q: %q, want %q with %q", key, what, tt.key, tt.what)
			}
		})
	}
	c := DefaultConfig()
	c.Backup.Store = "/backup"
	if ws := strings.Join(c.Warnings(), "\n"); !strings.Contains(ws, "hold no secrets") {
		t.Errorf("warnings %q", ws)
	}
	path := filepath.Join(t.TempDir(), "s3")
	if err := os.WriteFile(path, []byte("one line"), 0o600); err != nil {
		t.Fatal(err)
	}
	s3.S3Credentials = path
	if _, err := s3.open(t.TempDir()); err == nil || strings.Contains(err.Error(), "one line") {
		t.Errorf("credentials: %v", err)
	}
}
