package vl1_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

// The vectors in testdata/*.json were made by the reference implementation: a sample that keeps
// every kind of case. VL1_VECTORS names a directory with the full set.

// hexBytes are bytes written in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// vectors reads testdata/name.json, or the same file of the full set.
func vectors[T any](tb testing.TB, name string) []T {
	tb.Helper()
	dir := os.Getenv("VL1_VECTORS")
	if dir == "" {
		dir = "testdata"
	}
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(v) == 0 {
		tb.Fatalf("%s: no vectors", name)
	}
	return v
}

// identities reads the throw-away identities in testdata.
var identities = sync.OnceValue(func() []*vl1.SecretIdentity {
	f, err := os.Open(filepath.Join("testdata", "identities.txt"))
	if err != nil {
		panic(err)
	}
	defer f.Close()
	var ids []*vl1.SecretIdentity
	for sc := bufio.NewScanner(f); sc.Scan(); {
		id, err := vl1.ParseSecretIdentity(sc.Text())
		if err != nil {
			panic(err)
		}
		ids = append(ids, id)
	}
	return ids
})

// pair returns two identities and the key they share.
func pair(tb testing.TB) (a, b *vl1.SecretIdentity, k vl1.Key) {
	tb.Helper()
	a, b = identities()[0], identities()[1]
	return a, b, agree(tb, a, &b.Key)
}

func agree(tb testing.TB, s *vl1.SecretIdentity, peer *vl1.PublicKey) vl1.Key {
	tb.Helper()
	k, err := s.Agree(peer)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func secret(tb testing.TB, s string) *vl1.SecretIdentity {
	tb.Helper()
	id, err := vl1.ParseSecretIdentity(s)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// slashEndpoint parses "IP/port", the spelling of the reference; "" is none.
func slashEndpoint(tb testing.TB, s string) netip.AddrPort {
	tb.Helper()
	if s == "" {
		return netip.AddrPort{}
	}
	ip, port, _ := strings.Cut(s, "/")
	var p uint16
	for _, c := range port {
		p = p*10 + uint16(c-'0')
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		tb.Fatal(err)
	}
	return netip.AddrPortFrom(a, p)
}

// build makes a packet with the header, verb and payload given.
func build(id []byte, dst, src vl1.Address, verbAndPayload []byte) vl1.Packet {
	p := vl1.NewPacket(make([]byte, 0, vl1.MaxPacket), binary.BigEndian.Uint64(id), dst, src, 0)
	return append(p[:vl1.HeaderLen-1], verbAndPayload...)
}
