package client_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
)

// record is a UDP datagram of a capture.
type record struct {
	at       int64 // ms since 1970
	from, to netip.AddrPort
	b        []byte
}

// readPcap reads a capture of Ethernet frames, classic little-endian format, and returns its UDP datagrams.
func readPcap(t *testing.T, file string) []record {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b2c3d4 || le.Uint32(b[20:]) != 1 {
		t.Fatalf("%s: not a capture of Ethernet frames", file)
	}
	var out []record
	for b = b[24:]; len(b) >= 16; {
		at := int64(le.Uint32(b))*1000 + int64(le.Uint32(b[4:]))/1000
		n := int(le.Uint32(b[8:]))
		frame := b[16 : 16+n]
		b = b[16+n:]
		r, err := parseUDP(frame)
		if err != nil {
			continue // ARP, neighbour discovery
		}
		r.at = at
		out = append(out, r)
	}
	return out
}

var errNotUDP = errors.New("not a UDP datagram")

func parseUDP(f []byte) (record, error) {
	if len(f) < 14+20+8 {
		return record{}, errNotUDP
	}
	ip := f[14:]
	var src, dst netip.Addr
	var udp []byte
	switch binary.BigEndian.Uint16(f[12:]) {
	case 0x0800:
		if ip[9] != 17 {
			return record{}, errNotUDP
		}
		src, dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		udp = ip[4*int(ip[0]&0xf):]
	case 0x86dd:
		if ip[6] != 17 || len(ip) < 48 {
			return record{}, errNotUDP
		}
		src, dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		udp = ip[40:]
	default:
		return record{}, errNotUDP
	}
	be := binary.BigEndian
	return record{
		from: netip.AddrPortFrom(src, be.Uint16(udp)), to: netip.AddrPortFrom(dst, be.Uint16(udp[2:])),
		b: udp[8:be.Uint16(udp[4:])],
	}, nil
}
