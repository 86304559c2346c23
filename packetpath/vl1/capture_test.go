package vl1_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

// The captures in testdata/pcap are of a root and two clients of the reference (1.14.1); the .txt
// beside each says in a line a packet what an independent program decrypted. TestCaptures decodes
// every packet and writes the same lines.

func TestCaptures(t *testing.T) {
	for _, scenario := range []string{"one-direct", "one-relay"} {
		t.Run(scenario, func(t *testing.T) {
			dir := filepath.Join("testdata", "pcap", scenario)
			want := lines(t, filepath.Join(dir, "r0.txt"))
			c := newCapture(t, dir)
			var got []string
			for i, d := range datagrams(t, filepath.Join(dir, "r0.pcap")) {
				got = append(got, c.lines(i+1, d)...)
			}
			for i := range max(len(want), len(got)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("line %d:\n%s, want\n%s", i, at(got, i), at(want, i))
				}
			}
			if len(want) < 200 {
				t.Errorf("only %d lines", len(want))
			}
		})
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "(nothing)"
}

func lines(t *testing.T, name string) (out []string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		out = append(out, strings.TrimRight(sc.Text(), " "))
	}
	return out
}

// datagram is a UDP datagram of a capture.
type datagram struct {
	time     string // seconds.microseconds
	src, dst netip.AddrPort
	payload  []byte
}

// datagrams reads the UDP datagrams of a little-endian pcap file of Ethernet frames.
func datagrams(t *testing.T, name string) (out []datagram) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		t.Fatalf("%s is not a pcap file", name)
	}
	for b = b[24:]; len(b) > 0; {
		sec, usec, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
		frame := b[16 : 16+n]
		b = b[16+n:]
		d := datagram{time: fmt.Sprintf("%d.%06d", sec, usec)}
		ip := frame[14:]
		var udp []byte
		var src, dst netip.Addr
		switch {
		case ip[0]>>4 == 4 && ip[9] == 17:
			src, dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
			udp = ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])]
		case ip[0]>>4 == 6 && ip[6] == 17:
			src, dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
			udp = ip[40 : 40+binary.BigEndian.Uint16(ip[4:])]
		default:
			continue
		}
		d.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp))
		d.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:]))
		d.payload = udp[8:]
		out = append(out, d)
	}
	return out
}

// capture decodes the packets of one scenario.
type capture struct {
	t          *testing.T
	secrets    map[vl1.Address]*vl1.SecretIdentity
	assemblers map[netip.AddrPort]*vl1.Assembler // a relayed packet is seen twice: coming and going
}

func newCapture(t *testing.T, dir string) *capture {
	c := &capture{t: t, secrets: map[vl1.Address]*vl1.SecretIdentity{}, assemblers: map[netip.AddrPort]*vl1.Assembler{}}
	for _, node := range []string{"r0", "c1", "c2"} {
		b, err := os.ReadFile(filepath.Join(dir, node+".identity.secret"))
		if err != nil {
			t.Fatal(err)
		}
		id := secret(t, strings.TrimSpace(string(b)))
		if err := vl1.NewHasher().Validate(&id.Identity); err != nil {
			t.Error(err)
		}
		c.secrets[id.Address] = id
	}
	return c
}

func (c *capture) lines(no int, d datagram) []string {
	b := d.payload
	prefix := fmt.Sprintf("%5d %s %s > %s %dB", no, d.time, slash(d.src), slash(d.dst), len(b))
	a := c.assemblers[d.src]
	if a == nil {
		a = vl1.NewAssembler(0, 0)
		c.assemblers[d.src] = a
	}
	var whole vl1.Packet
	var out []string
	switch {
	case len(b) < vl1.MinDatagram:
		return []string{prefix + " junk"}
	case vl1.IsFragment(b):
		f := vl1.Fragment(b)
		out = append(out, fmt.Sprintf("%s FRAGMENT pid=%016x dst=%s no=%d total=%d hops=%d", prefix, f.ID(), f.Dest(), f.No(), f.Total(), f.Hops()))
		whole = a.Fragment(f, d.src.Addr(), 0)
	case vl1.Packet(b).Fragmented():
		p := vl1.Packet(b)
		out = append(out, fmt.Sprintf("%s HEAD OF FRAGMENTED pid=%016x", prefix, p.ID()))
		whole = a.Head(p, d.src.Addr(), 0)
	default:
		return []string{prefix + " " + c.packet(b)}
	}
	if whole != nil {
		prefix = fmt.Sprintf("%5d %s %s > %s %dB(frag)", no, d.time, slash(d.src), slash(d.dst), len(whole))
		out = append(out, prefix+" "+c.packet(whole))
	}
	return out
}

func (c *capture) packet(b []byte) string {
	p, err := vl1.ParsePacket(b)
	if err != nil {
		c.t.Fatal(err)
	}
	from, to := c.secrets[p.Source()], c.secrets[p.Dest()]
	if from == nil || to == nil {
		c.t.Fatalf("packet from %s to %s", p.Source(), p.Dest())
	}
	k := agree(c.t, to, &from.Key)
	head := fmt.Sprintf("%s>%s c%d h%d pid=%016x", p.Source(), p.Dest(), p.Suite(), p.Hops(), p.ID())
	if err := vl1.Dearmor(p, &k); err != nil {
		return head + " " + err.Error()
	}
	lz4 := ""
	if p.Compressed() {
		lz4 = "(lz4)"
		if p, err = vl1.Decompress(p, make([]byte, vl1.MaxPacket)); err != nil {
			return head + " " + err.Error()
		}
	}
	text, err := describe(p, &k)
	if err != nil {
		c.t.Errorf("%s: %v", head, err)
	}
	return strings.TrimRight(head+" "+p.Verb().String()+lz4+" "+text, " ")
}

// describe writes what a decrypted packet says.
func describe(p vl1.Packet, k *vl1.Key) (string, error) {
	switch p.Verb() {
	case vl1.VerbHello:
		var h vl1.Hello
		err := vl1.DecodeHello(p, k, &h)
		return fmt.Sprintf("proto=%d ver=%d.%d.%d ts=%d sentTo=%s planet=%d/%d moons=%d", h.Protocol, h.Major, h.Minor, h.Revision,
			h.Clock, slash(h.SentTo), h.PlanetID, h.PlanetTimestamp, h.MoonCount), err
	case vl1.VerbOK:
		return describeOK(p)
	case vl1.VerbWhois:
		l, err := vl1.DecodeWhois(p)
		if err != nil {
			return "", err
		}
		var s []string
		for i := range l.Len() {
			s = append(s, l.At(i).String())
		}
		return strings.Join(s, " "), nil
	case vl1.VerbRendezvous:
		m, err := vl1.DecodeRendezvous(p)
		return fmt.Sprintf("flags=0 with=%s at=%s", m.Peer, slash(m.Endpoint)), err
	case vl1.VerbMulticastLike:
		l, err := vl1.DecodeMulticastLike(p)
		var s []string
		for i := range l.Len() {
			g := l.At(i)
			s = append(s, fmt.Sprintf("%016x/%x/%08x", g.Network, g.MAC, g.ADI))
		}
		return strings.Join(s, " "), err
	case vl1.VerbMulticastGather:
		g, err := vl1.DecodeMulticastGather(p)
		flags := 0
		if g.Certificate != nil {
			flags = 1
		}
		return fmt.Sprintf("nw=%016x flags=%d mac=%x adi=%08x limit=%d", g.Group.Network, flags, g.Group.MAC, g.Group.ADI, g.Limit), err
	case vl1.VerbPushDirectPaths:
		paths, err := vl1.DecodePushDirectPaths(p, nil)
		var s []string
		for _, d := range paths {
			s = append(s, fmt.Sprintf("[flags=%02x %s]", uint8(d.Flags), slash(d.Endpoint)))
		}
		return strings.Join(s, " "), err
	case vl1.VerbFrame:
		f, err := vl1.DecodeFrame(p)
		return fmt.Sprintf("nw=%016x etype=%04x len=%d", f.Network, f.EtherType, len(f.Payload)), err
	case vl1.VerbNetworkConfigRequest:
		if _, err := vl1.DecodeNetworkConfigRequest(p); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("len=%d", len(p.Payload())), nil
}

func describeOK(p vl1.Packet) (string, error) {
	verb, id, body, err := vl1.DecodeOK(p)
	if err != nil {
		return "", err
	}
	text := ""
	switch verb {
	case vl1.VerbHello:
		var m vl1.OKHello
		err = vl1.DecodeOKHello(body, &m)
		text = fmt.Sprintf("ts=%d proto=%d ver=%d.%d.%d youAre=%s worlds=%dB", m.Clock, m.Protocol, m.Major, m.Minor, m.Revision, slash(m.SeenAt), len(m.Worlds))
	case vl1.VerbWhois:
		var who vl1.Identity
		who, err = vl1.DecodeOKWhois(body)
		text = who.Address.String()
	case vl1.VerbEcho:
		text = fmt.Sprintf("echo %dB", len(body))
	case vl1.VerbMulticastGather:
		_, err = vl1.DecodeOKGather(body)
		text = fmt.Sprintf("%x", body)
	case vl1.VerbMulticastFrame:
		text = fmt.Sprintf("%x", body)
	}
	return fmt.Sprintf("re=%s re_pid=%016x %s", verb, id, text), err
}

// slash writes an endpoint as the reference does.
func slash(ap netip.AddrPort) string { return fmt.Sprintf("%s/%d", ap.Addr(), ap.Port()) }
