//go:build unix

package admin

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// listenPrivate makes the socket in a directory of its own with mode 0700, narrows its mode and moves it into place:
// at no moment may another user connect.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
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
