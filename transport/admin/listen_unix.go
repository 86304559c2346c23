//go:build unix

package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
)

// listenPrivate makes the socket in a directory of its own with mode 0700, narrows its mode and moves it into place:
// at no moment may another user connect.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := privateDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open admin socket: %w", err)
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open admin socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // the name it knows is gone; see listener.Close
	if err = os.Chmod(tmp, 0o600); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("open admin socket: %w", err)
	}
	return &listener{UnixListener: l, path: path}, nil
}

// privateDir makes a directory with a short name: the path of a socket has at most 107 bytes, and the one that is
// moved into place must not need more of them than admin.sock does.
func privateDir(parent string) (string, error) {
	for try := 0; ; try++ {
		dir := filepath.Join(parent, fmt.Sprintf(".%04x", rand.N(1<<16)))
		if err := os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) || try == 100 {
			return dir, err
		}
	}
}

// listener removes its socket when it closes.
type listener struct {
	*net.UnixListener
	path string
}

// Close stops listening and removes the socket.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if err == nil {
		_ = os.Remove(l.path) // a socket that stays is replaced at the next start
	}
	return err
}
