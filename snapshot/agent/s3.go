package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/rootd/rootd/snapshot"
)

// S3Options name a bucket of an S3-compatible store.
type S3Options struct {
	Endpoint string // http:// or https://, host and port
	Region   string // "" = asked
	Bucket   string // must exist
	Prefix   string // of all names, without a slash at either end; "" = none
	// AccessKey and SecretKey are the credentials; without them those of the environment and the machine are used.
	AccessKey, SecretKey string
	Scratch              string            // directory for archives on their way: made and verified there, then sent
	Transport            http.RoundTripper // nil: the usual
}

// S3 is a store in a bucket. An archive is written to the scratch directory first: it can be sent again, in parts, and what is
// sent was verified. The bucket shows an object only when all of it has arrived.
type S3 struct {
	o      S3Options
	client *minio.Client
}

var _ Store = (*S3)(nil)

// NewS3 returns a store in a bucket. It does not ask whether the bucket is there.
func NewS3(o S3Options) (*S3, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("s3 endpoint %q: want https://HOST or https://HOST:PORT", o.Endpoint)
	}
	mo := &minio.Options{Secure: u.Scheme == "https", Region: o.Region, Transport: o.Transport, MaxRetries: 3}
	if o.AccessKey != "" {
		mo.Creds = credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")
	} else {
		mo.Creds = credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}})
	}
	client, err := minio.New(u.Host, mo)
	if err != nil {
		return nil, fmt.Errorf("s3 endpoint %s: %w", o.Endpoint, err)
	}
	return &S3{o, client}, nil
}

// Put implements [Store].
func (s *S3) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if err := os.Mkdir(s.o.Scratch, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	local := filepath.Join(s.o.Scratch, "outgoing"+suffix)
	defer os.Remove(local)
	f, err := snapshot.Create(local)
	if err != nil {
		return err
	}
	defer f.Abandon()
	if err := write(f); err != nil {
		return err
	}
	if _, err := f.Verify(nil); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	_, err = s.client.FPutObject(ctx, s.o.Bucket, s.key(name), local, minio.PutObjectOptions{ContentType: "application/x-tar"})
	return s.explain(err)
}

func (s *S3) key(name string) string { return path.Join(s.o.Prefix, name) }

// Open implements [Store].
func (s *S3) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.client.GetObject(ctx, s.o.Bucket, s.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, s.explain(err)
	}
	return r, nil
}

// List implements [Store].
func (s *S3) List(ctx context.Context) (files []File, err error) {
	prefix := ""
	if s.o.Prefix != "" {
		prefix = s.o.Prefix + "/"
	}
	for o := range s.client.ListObjects(ctx, s.o.Bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if o.Err != nil {
			return nil, s.explain(o.Err)
		}
		files = append(files, File{strings.TrimPrefix(o.Key, prefix), o.Size})
	}
	return files, ctx.Err()
}

// Remove implements [Store].
func (s *S3) Remove(ctx context.Context, name string) error {
	return s.explain(s.client.RemoveObject(ctx, s.o.Bucket, s.key(name), minio.RemoveObjectOptions{}))
}

// String implements [Store].
func (s *S3) String() string { return "s3://" + path.Join(s.o.Bucket, s.o.Prefix) }

// explain adds the way out to the errors that operators make.
func (s *S3) explain(err error) error {
	if err == nil {
		return nil
	}
	way := map[string]string{
		"NoSuchBucket":          "make the bucket",
		"XMinioStorageFull":     "make room in the store, or keep fewer backups",
		"QuotaExceeded":         "make room in the store, or keep fewer backups",
		"NoSuchKey":             "rootctl snapshot list shows what is there",
		"AccessDenied":          "the credentials need s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject",
		"InvalidAccessKeyId":    "check the credentials",
		"SignatureDoesNotMatch": "check the secret key, the region and this machine's clock",
	}[minio.ToErrorResponse(err).Code]
	if way == "" {
		return fmt.Errorf("%s: %w", s, err)
	}
	return fmt.Errorf("%s: %w (%s)", s, err, way)
}

// ParseCredentials reads a file of two lines: access key, secret key. No error repeats what is in it.
func ParseCredentials(b []byte) (access, secret string, err error) {
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	if len(lines) != 2 || strings.TrimSpace(lines[0]) == "" {
		return "", "", errors.New("want two lines: the access key and the secret key")
	}
	return strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1]), nil
}
