package mux

import (
	"net"
	"sync"

	"github.com/rootd/rootd/transport/pki"
)

type netConn = net.Conn // so that the embedded field is not exported

// Conn is a connection of the port, shaken hands and greeted. One goroutine may read while another one writes.
type Conn struct {
	netConn          // *tls.Conn
	raw     net.Conn // below it
	once    sync.Once
	onClose func()

	// What follows is written under Mux.mu, before Accept or Dial return the connection.

	proto Proto
	peer  pki.Peer // zero: a guest
	guest string   // source address of a guest that counts as one
}

// Peer returns who is at the other end; false for a guest, a client of [Join].
func (c *Conn) Peer() (pki.Peer, bool) { return c.peer, c.peer.ID != 0 }

// Operator returns the name of the operator at the other end, and the hash of its key; false if it is none.
func (c *Conn) Operator() (name string, key [32]byte, ok bool) {
	return c.peer.Operator, c.peer.KeyHash, c.peer.Operator != ""
}

// Proto returns what the connection speaks.
func (c *Conn) Proto() Proto { return c.proto }

// Close closes the connection. It may wait some seconds to tell the other side.
func (c *Conn) Close() error {
	err := c.netConn.Close()
	c.once.Do(c.onClose)
	return err
}

// cut closes the connection without a word, whatever its owner does with it right now.
func (c *Conn) cut() {
	_ = c.raw.Close()
	c.once.Do(c.onClose)
}

// PeerOf returns who is at the other end of a connection that came from Listen or Dial; false for any other connection and for guests.
func PeerOf(c net.Conn) (pki.Peer, bool) {
	if c, ok := c.(*Conn); ok {
		return c.Peer()
	}
	return pki.Peer{}, false
}

// host returns the address without the port.
func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}
