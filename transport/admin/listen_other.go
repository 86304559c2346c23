//go:build !unix

package admin

import (
	"errors"
	"net"
)

// listenPrivate is not there: no socket could be kept to its owner.
func listenPrivate(string) (net.Listener, error) {
	return nil, errors.New("open admin socket: this system has no unix sockets with owners")
}
