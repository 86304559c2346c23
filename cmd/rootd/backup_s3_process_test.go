package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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

	"github.com/rootd/rootd/cmd/internal/procs"
)

// A pair of keys of age, made for tests.
const (
	testRecipient = "age10x9qjps67a3lz7gwtlyeaw6fxth905wr8qq6esskc4xdwcq89c9skrlvns"
	testKey       = "AGE-SECRET-KEY-1UDVZDA47SDMH2YGTERN3N6KQGQ7FYG52ECMS5THEK4HZ20GFN9WSAPD3LF"
)

// What may be wrong with a store.
const (
	storeWell    = "well"
	storeRefuses = "refuses" // whatever is put there
	storeBreaks  = "breaks"  // in the middle of an upload
	storeFull    = "full"
	storeRots    = "rots" // what is read is not what was written
)

// bucket is an S3-compatible server on loopback, behind something that goes wrong when it is told to.
type bucket struct {
	url, access, secret string

	next  http.Handler
	state atomic.Value // one of the above
	parts atomic.Int64 // parts of multipart uploads that came
}

// newBucket starts a server with a bucket named backups: with ROOTD_S3_SERVER that program, a versitygw; else one in this process.
func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{access: "backup", secret: "correct-horse-battery", next: unchunked(gofakes3.New(s3mem.New()).Server())}
	b.state.Store(storeWell)
	if binary := os.Getenv("ROOTD_S3_SERVER"); binary != "" {
		b.next = b.startServer(t, binary)
	}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	b.url = s.URL
	if err := b.client(t).MakeBucket(t.Context(), "backups", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// unchunked takes the signatures out of the bodies of parts, which the server in this process does not do.
func unchunked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("partNumber") && strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING") {
			var body bytes.Buffer
			for in := bufio.NewReader(r.Body); ; {
				var size int64
				line, err := in.ReadString('\n')
				if err == nil {
					_, err = fmt.Sscanf(line, "%x;", &size)
				}
				if err == nil {
					_, err = io.CopyN(&body, in, size)
				}
				if err != nil {
					panic(http.ErrAbortHandler)
				}
				if size == 0 {
					break
				}
				_, _ = in.Discard(2)
			}
			r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
		}
		next.ServeHTTP(w, r)
	})
}

func (b *bucket) startServer(t *testing.T, binary string) http.Handler {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(binary, "--port", addr, "--access", b.access, "--secret", b.secret, "posix", "--sidecar", t.TempDir(), t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "the S3 server listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	to := &url.URL{Scheme: "http", Host: addr}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { // the host stays: it is signed
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
		r.Out.Host = r.In.Host
	}}
}

func (b *bucket) client(t *testing.T) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(b.url, "http://"), &minio.Options{Creds: credentials.NewStaticV4(b.access, b.secret, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ServeHTTP implements [http.Handler].
func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	puts := r.Method == http.MethodPut && strings.Contains(r.URL.Path, ".rootd")
	if puts && r.URL.Query().Has("partNumber") {
		b.parts.Add(1)
	}
	switch state := b.state.Load(); {
	case puts && state == storeRefuses:
		s3Error(w, http.StatusForbidden, "AccessDenied", "you may not")
	case puts && state == storeFull:
		_, _ = io.Copy(io.Discard, r.Body)
		s3Error(w, http.StatusInsufficientStorage, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")
	case puts && state == storeBreaks:
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		panic(http.ErrAbortHandler) // the connection breaks
	case r.Method == http.MethodGet && strings.Contains(r.URL.Path, ".rootd") && state == storeRots:
		rec := httptest.NewRecorder()
		b.next.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		if len(body) > 0 {
			body[len(body)/2] ^= 1
		}
		_, _ = w.Write(body)
	default:
		b.next.ServeHTTP(w, r)
	}
}

func s3Error(w http.ResponseWriter, status int, code, why string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, why)
}

// TestBackupsToS3 is rootd's own agent against an S3-compatible server: retention, uploads in parts, everything that goes wrong, the alarm, and a
// new cluster from what is there.
func TestBackupsToS3(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	t.Parallel()
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, ".", "../rootctl"); err != nil {
		t.Fatal(err)
	}
	store, secrets := newBucket(t), t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(secrets, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const where = "s3://backups/root/alice"
	m := procs.MemberTest(t, b.rootd(), "-name", "m1", "-backup-store", where, "-backup-s3-endpoint", store.url, "-backup-s3-region", "us-east-1",
		"-backup-s3-credentials", file("credentials", store.access+"\n"+store.secret+"\n"), "-backup-recipients", testRecipient,
		"-backup-every", "1s", "-backup-max-age", "5s", "-backup-keep-last", "3", "-backup-keep-hourly", "0", "-backup-keep-daily", "0", "-backup-keep-weekly", "0", "-backup-keep-monthly", "0")
	populate(t, m, 250_000)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	f := &fleet{T: t, binary: b.rootd(), members: []*procs.Member{m}}

	eventually(t, "backups are made", func() bool { return gauge(t, m, "rootd_backups_total") >= 5 })
	list := b.stored(t, store, where)
	if len(list) != 3 || list[0].Bytes < 17<<20 || !list[0].Taken.After(list[1].Taken) || store.parts.Load() < 10 {
		t.Fatalf("the store has %+v; %d parts came", list, store.parts.Load())
	}
	t.Logf("an archive of %d bytes; %d parts; the last took %v s", list[0].Bytes, store.parts.Load(), gauge(t, m, "rootd_backup_duration_seconds"))
	if said := b.ctl(t, m, "planet", "key", "status", "-o", "json"); !strings.Contains(said, `"safe": true`) || !strings.Contains(said, where) {
		t.Errorf("rootctl planet key status:\n%s", said)
	}
	for state, why := range map[string]string{storeRefuses: "the credentials need", storeBreaks: where, storeFull: "make room in the store", storeRots: "damaged"} {
		good := b.stored(t, store, where)
		failures := gauge(t, m, "rootd_backup_failures_total")
		store.state.Store(state)
		eventually(t, "an alarm when the store "+state, func() bool {
			return gauge(t, m, "rootd_backup_failures_total") > failures+1 && gauge(t, m, "rootd_backup_overdue") == 1
		})
		said := b.ctl(t, m, "status")
		t.Logf("the store %s: %s", state, strings.Join(status(t, m).Problems, "; "))
		if !strings.Contains(said, "the newest backup is") || !strings.Contains(said, why) || strings.Contains(said, store.secret) {
			t.Errorf("the store %s, and rootctl status says:\n%s", state, said)
		}
		store.state.Store(storeWell)
		left := b.stored(t, store, where)
		if len(left) < 3 || left[0].Index < good[0].Index {
			t.Errorf("the store %s: there were %+v, and are %+v", state, good, left)
		}
		eventually(t, "no alarm", func() bool { return gauge(t, m, "rootd_backup_overdue") == 0 })
	}
	for u := range store.client(t).ListIncompleteUploads(t.Context(), "backups", "", true) {
		t.Errorf("parts of an upload that failed are left: %+v", u)
	}

	// The machine is lost.
	before := f.contents(0)
	m.Kill()
	if err := os.RemoveAll(m.DataDir); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(secrets, "alice.rootd")
	said := b.fetch(t, store, "fetch", where, archive)
	if !strings.Contains(said, "verified") || strings.Contains(said, store.secret) {
		t.Errorf("rootctl snapshot fetch:\n%s", said)
	}
	key := file("backup.key", testKey+"\n")
	n := procs.MemberTest(t, b.rootd())
	n.DataDir = filepath.Join(t.TempDir(), "new")
	b.ctl(t, n, "snapshot", "verify", archive, "--archive-key", key)
	b.ctl(t, n, "init", "--from", archive, "--archive-key", key, "--name", "r1", "--endpoint", n.UDP.String(), "--address", n.Cluster.String(), "--yes")
	f.members = append(f.members, n)
	f.start(1)
	if err := n.WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	if after := f.contents(1); after != before {
		t.Errorf("contents %s, before %s", after, before)
	}
}

// fetch runs rootctl snapshot with the store's credentials in the environment, as its users have them.
func (b binaries) fetch(t *testing.T, s *bucket, args ...string) string {
	t.Helper()
	p := procs.StartTest(t, procs.Command{
		Path: b.rootctl(), Args: append([]string{"snapshot"}, args...),
		Env: []string{"AWS_ENDPOINT_URL=" + s.url, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=" + s.access, "AWS_SECRET_ACCESS_KEY=" + s.secret},
	})
	if code, err := p.Wait(deadline(t)); err != nil || code != 0 {
		t.Fatalf("rootctl snapshot %q: exit code %d, %v:\n%s", args, code, err, p.Output())
	}
	return p.Output()
}

type storedBackup struct {
	URL   string    `json:"url"`
	Taken time.Time `json:"taken"`
	Index uint64    `json:"index"`
	Bytes int64     `json:"bytes"`
}

// stored is what the store has, the newest first.
func (b binaries) stored(t *testing.T, s *bucket, where string) (list []storedBackup) {
	t.Helper()
	if err := json.Unmarshal([]byte(b.fetch(t, s, "list", where, "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// gauge is a metric without labels; -1 if it is not there.
func gauge(t *testing.T, m *procs.Member, name string) (value float64) {
	t.Helper()
	r, err := http.Get(m.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			if _, err := fmt.Sscan(string(rest), &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	return -1
}
