package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/rootd/rootd/snapshot/agent"
)

// startS3 starts an S3-compatible server with a bucket and returns where it is. With ROOTD_S3_SERVER it is that program, a versitygw
// (go install github.com/versity/versitygw/cmd/versitygw@v1.8.0), which checks signatures and keeps files; else one in this process.
func startS3(t *testing.T) (endpoint, access, secret string) {
	t.Helper()
	access, secret = "backup", "correct-horse-battery"
	binary := os.Getenv("ROOTD_S3_SERVER")
	if binary == "" {
		s := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
		t.Cleanup(s.Close)
		makeBucket(t, s.URL, access, secret)
		return s.URL, access, secret
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	root := t.TempDir()
	cmd := exec.Command(binary, "--port", addr, "--access", access, "--secret", secret, "posix", "--nometa", root)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	makeBucket(t, "http://"+addr, access, secret)
	return "http://" + addr, access, secret
}

func makeBucket(t *testing.T, endpoint, access, secret string) {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(access, secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MakeBucket(t.Context(), "backups", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

// flaky is a way to the server that breaks when it is told to.
type flaky struct {
	next   http.RoundTripper
	broken atomic.Bool
	puts   atomic.Int32
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut {
		f.puts.Add(1)
		if f.broken.Load() {
			return nil, errors.New("the network is down")
		}
	}
	return f.next.RoundTrip(r)
}

// An agent against an S3 server over HTTP: backups, retention, a failed upload, and a restore from there.
func TestS3(t *testing.T) {
	endpoint, access, secret := startS3(t)
	way := &flaky{next: http.DefaultTransport}
	scratch := filepath.Join(t.TempDir(), "scratch")
	o := agent.S3Options{Endpoint: endpoint, Region: "us-east-1", Bucket: "backups", Prefix: "root/alice", AccessKey: access, SecretKey: secret, Scratch: scratch, Transport: way}
	store, err := agent.NewS3(o)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	src := newSource(t, 2000)
	ao := src.options(store)
	ao.Now = func() time.Time { return now }
	ao.Keep = agent.Keep{Last: 2, Daily: 3}
	a := agent.New(ao)
	once := func() error {
		t.Helper()
		now = now.Add(6 * time.Hour)
		src.addPeers(100_000+int(src.index)*10, 3)
		return a.Once(t.Context())
	}
	for range 20 { // five days
		if err := once(); err != nil {
			t.Fatal(err)
		}
	}
	list := names(t, store)
	if len(list) != 3 || src.backups() != 20 {
		t.Fatalf("after five days there are %q, %d were noted", list, src.backups())
	}
	want := src.Hash()
	if got := restored(t, store, list[2]); got.Hash() != want {
		t.Error("another state came back")
	}
	way.broken.Store(true)
	if err := once(); err == nil || !strings.Contains(err.Error(), "network is down") {
		t.Errorf("upload over a broken network: %v", err)
	}
	if got := names(t, store); fmt.Sprint(got) != fmt.Sprint(list) || src.backups() != 20 {
		t.Errorf("a failed upload left %q, before %q", got, list)
	}
	if es, err := os.ReadDir(scratch); err != nil || len(es) != 0 {
		t.Errorf("scratch directory: %v, %v", es, err)
	}
	way.broken.Store(false)
	if err := once(); err != nil {
		t.Fatal(err)
	}
	list = names(t, store)
	if got := restored(t, store, list[len(list)-1]); got.Hash() != src.Hash() {
		t.Error("another state came back")
	}

	for name, change := range map[string]func(*agent.S3Options){
		"no such bucket": func(o *agent.S3Options) { o.Bucket = "nowhere" },
		"nobody there":   func(o *agent.S3Options) { o.Endpoint = "http://127.0.0.1:1" },
	} {
		bad := o
		bad.Transport = nil
		change(&bad)
		s, err := agent.NewS3(bad)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := s.List(ctx); err == nil || !strings.Contains(err.Error(), "s3://"+bad.Bucket) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	if os.Getenv("ROOTD_S3_SERVER") != "" { // the one in this process does not look at signatures
		bad := o
		bad.SecretKey = "wrong"
		s, err := agent.NewS3(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(t.Context()); err == nil || !strings.Contains(err.Error(), "secret key") {
			t.Errorf("wrong secret key: %v", err)
		}
	}
}

func TestS3Options(t *testing.T) {
	for _, endpoint := range []string{"", "127.0.0.1:9000", "ftp://x", "http://", "https://u:p@host", "https://host/path"} {
		if _, err := agent.NewS3(agent.S3Options{Endpoint: endpoint, Bucket: "b"}); err == nil {
			t.Errorf("endpoint %q is taken", endpoint)
		}
	}
	if a, s, err := agent.ParseCredentials([]byte("AK\r\nSK\n")); err != nil || a != "AK" || s != "SK" {
		t.Errorf("%q %q %v", a, s, err)
	}
	for _, text := range []string{"", "one", "1\n2\n3"} {
		if _, _, err := agent.ParseCredentials([]byte(text)); err == nil {
			t.Errorf("%q is taken for credentials", text)
		}
	}
}
