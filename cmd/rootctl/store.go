package main

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/snapshot/agent"
)

// storeOptions say how to reach a store that is not a directory. Credentials are those of a file, else those that the environment and the
// machine have for all tools.
type storeOptions struct {
	endpoint    string
	region      string
	credentials string
}

func (o *storeOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.endpoint, "s3-endpoint", "", "https://HOST of the store, default AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else that of Amazon")
	f.StringVar(&o.region, "s3-region", "", "region of the bucket, default AWS_REGION, AWS_DEFAULT_REGION, else it is asked for")
	f.StringVar(&o.credentials, "s3-credentials", "", "file of two lines, access key and secret key, default AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, the machine's role")
}

// open returns the store of a name: a directory or s3://BUCKET/PREFIX.
func (o *storeOptions) open(e *env, where string) (agent.Store, error) {
	s := agent.S3Options{
		Endpoint: cmp.Or(o.endpoint, e.getenv("AWS_ENDPOINT_URL_S3"), e.getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com"),
		Region:   cmp.Or(o.region, e.getenv("AWS_REGION"), e.getenv("AWS_DEFAULT_REGION")),
	}
	if o.credentials != "" {
		b, err := datadir.ReadSecret(o.credentials)
		if err != nil {
			return nil, err
		}
		if s.AccessKey, s.SecretKey, err = agent.ParseCredentials(b); err != nil {
			return nil, fmt.Errorf("%s: %w", o.credentials, err)
		}
	}
	store, err := agent.Open(where, s)
	if err != nil {
		return nil, &userError{what: where, err: err, usage: true}
	}
	return store, nil
}

// splitURL splits the name of an archive in a store. An empty name means the newest.
func splitURL(where string) (store, name string) {
	if !strings.HasSuffix(where, ".rootd") {
		return where, ""
	}
	store, name = path.Split(where)
	if store = strings.TrimRight(store, "/"); store == "" {
		store = "."
	}
	return store, name
}
