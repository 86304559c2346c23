package main_test

import (
	"bufio"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// device is a ZeroTier client of very few words on a real socket: it says HELLO, asks WHOIS, and answers the ECHO and WHOIS by
// which a root finds out whether somebody is there.
type device struct {
	id    *vl1.SecretIdentity
	root  vl1.Identity
	world *vl1.World
	key   vl1.Key
	conn  *net.UDPConn
	deaf  atomic.Bool     // it hears nothing
	heard chan vl1.Packet // what is no ECHO, decrypted
	peers chan vl1.Packet // what comes from others by way of the root, as it came
}

// devices returns n clients of the root at addr, with identities that are ready made. They have not spoken yet.
func devices(t *testing.T, n int, planet *vl1.World, addr netip.AddrPort) []*device {
	t.Helper()
	f, err := os.Open("../internal/demo/identities.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []*device
	for lines := bufio.NewScanner(f); len(list) < n && lines.Scan(); {
		id, err := vl1.ParseSecretIdentity(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		d := &device{id: id, root: planet.Roots[0].Identity, world: planet, heard: make(chan vl1.Packet, 64), peers: make(chan vl1.Packet, 64)}
		if d.key, err = id.Agree(&d.root.Key); err != nil {
			t.Fatal(err)
		}
		if d.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.listen()
		}()
		t.Cleanup(func() {
			d.conn.Close()
			<-ended
		})
		list = append(list, d)
	}
	return list
}

// listen reads until the socket is closed. A root that is not there makes reads fail, which does not matter.
func (d *device) listen() {
	buf := make([]byte, 2048)
	for {
		n, err := d.conn.Read(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue
		}
		if d.deaf.Load() {
			continue
		}
		p, err := vl1.ParsePacket(append([]byte(nil), buf[:n]...))
		if err != nil {
			continue
		}
		if p.Source() != d.root.Address {
			select {
			case d.peers <- p:
			default:
			}
			continue
		}
		id := p.ID()
		if vl1.Dearmor(p, &d.key) != nil {
			continue
		}
		if p.Verb() == vl1.VerbEcho {
			d.send(vl1.AppendOKEcho(d.packet(vl1.VerbOK), id, p.Payload()), vl1.SuiteSalsa)
			continue
		}
		if p.Verb() == vl1.VerbWhois { // of the root
			d.send(vl1.AppendOKWhois(d.packet(vl1.VerbOK), id, &d.root), vl1.SuiteSalsa)
			continue
		}
		select {
		case d.heard <- p:
		default: // nobody is interested
		}
	}
}

func (d *device) packet(v vl1.Verb) vl1.Packet {
	return vl1.NewPacket(make([]byte, 0, 1500), rand.Uint64(), d.root.Address, d.id.Address, v)
}

func (d *device) send(p vl1.Packet, s vl1.Suite) {
	vl1.Armor(p, &d.key, s)
	_, _ = d.conn.Write(p) // lost, like any datagram
}

// hello says HELLO until the root answers, and returns the answer.
func (d *device) hello(t *testing.T) (ok vl1.OKHello) {
	t.Helper()
	body := d.ask(t, vl1.VerbHello, func() {
		h := vl1.Hello{
			Protocol: 11, Major: 1, Minor: 12, Clock: uint64(time.Now().UnixMilli()), Identity: d.id.Identity,
			HasPlanet: true, PlanetID: d.world.ID, PlanetTimestamp: d.world.Timestamp,
		}
		d.send(vl1.AppendHello(d.packet(vl1.VerbHello), &h, &d.key), vl1.SuitePoly1305)
	})
	if err := vl1.DecodeOKHello(body, &ok); err != nil {
		t.Fatal(err)
	}
	return ok
}

// whois asks for an address until the root answers, and returns the identity.
func (d *device) whois(t *testing.T, a vl1.Address) vl1.Identity {
	t.Helper()
	body := d.ask(t, vl1.VerbWhois, func() {
		d.send(vl1.AppendWhois(d.packet(vl1.VerbWhois), a), vl1.SuiteSalsa)
	})
	id, err := vl1.DecodeOKWhois(body)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// ask repeats a request until there is an OK for its verb, and returns the body.
func (d *device) ask(t *testing.T, verb vl1.Verb, request func()) []byte {
	t.Helper()
	again := time.NewTicker(1200 * time.Millisecond)
	defer again.Stop()
	request()
	for ctx := deadline(t); ; {
		select {
		case p := <-d.heard:
			if p.Verb() != vl1.VerbOK {
				continue
			}
			if inRe, _, body, err := vl1.DecodeOK(p); err == nil && inRe == verb {
				return body
			}
		case <-again.C:
			request()
		case <-ctx.Done():
			t.Fatalf("no answer to %v from %s at %s", verb, d.root.Address, d.conn.RemoteAddr())
		}
	}
}
