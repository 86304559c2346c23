package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// remoteClient returns a client of the member with the cluster port at an address, with an operator's certificate from a file.
// What is wrong with that is said when something is asked.
func remoteClient(address, cert string) *admin.Client {
	pass, err := readPass(cert)
	return admin.NewRemoteClient(address, func(ctx context.Context) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		return mux.DialAdmin(ctx, mux.DialTCP, address, pass)
	})
}

// readPass reads an operator's certificate.
func readPass(file string) (*pki.Pass, error) {
	const hint = "make one on a member: rootctl operator create"
	broken := func(why, hint string) error { return &pki.Error{Err: pki.ErrBroken, Why: why, Hint: hint} }
	if file == "" {
		return nil, broken("--address needs an operator's certificate: --cert FILE", hint)
	}
	fi, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, broken(fmt.Sprintf("--cert: there is no file %s", file), hint)
	case err != nil:
		return nil, broken("--cert: "+err.Error(), "")
	case fi.Mode().Perm()&0o077 != 0:
		return nil, broken(fmt.Sprintf("--cert: %s holds a private key, but other users may open it (mode %04o)", file, fi.Mode().Perm()), "chmod 600 "+file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, broken("--cert: "+err.Error(), "")
	}
	return pki.ParsePass(b)
}
