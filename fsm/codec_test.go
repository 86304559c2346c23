package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

var addrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestEntriesAreWhatTheDocumentationDraws(t *testing.T) {
	change := fsm.Change{Address: 0x0102030405, Member: 7, Epoch: 3, V4: netip.MustParseAddrPort("192.0.2.1:9993")}
	change.Key[0], change.Key[1] = 0xaa, 0xbb
	for name, c := range map[string]struct {
		cmd  fsm.Command
		want string // payload, hexadecimal
	}{
		"endpoint change": {fsm.Changes{change}, "0007 0003 0001" + "02 0102030405 aabb c00002012709"},
		"position":        {fsm.Changes{{Address: 0x0102030405, Position: geo.Unit{0, -32767, 2}, Radius: 7, HasPosition: true}}, "0000 0000 0001" + "20 0102030405 0000 0000 8001 0002 07"},
		"keep-alive":      {&fsm.KeepAlive{Addresses: []vl1.Address{0x0102030405, 0x0102030406, 0x0102030506}}, "0003 0102030405 01 8002"},
		"expire":          {&fsm.Expire{Cutoff: 9, Addresses: []vl1.Address{5}}, "00000009 0001 0000000005"},
		"setting":         {&fsm.Set{Key: "ab", Value: "c"}, "02 6162 01 63"},
		"member up":       {&fsm.MemberUp{ID: 2, Name: "x", Endpoints: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:1")}}, "0002 01 78 00 01 06 20010db8000000000000000000000001 0001"},
		"member up 2":     {&fsm.MemberUp{ID: 2, Name: "x", Address: "a:1", KeyHash: fsm.KeyHash{9}, Feature: 3, Position: geo.Unit{0, -32767, 2}}, "0002 01 78 00 00 03 613a31 09" + zeroes(31) + "0003 0000 8001 0002"},
		"token create":    {&fsm.TokenCreate{ID: fsm.TokenID{1}, SecretHash: [32]byte{2}, Expires: 3, Name: "n"}, "01" + zeroes(7) + "02" + zeroes(31) + "0000000000000003 01 6e"},
		"token revoke":    {&fsm.TokenRevoke{ID: fsm.TokenID{1}}, "01" + zeroes(7)},
		"member join":     {&fsm.MemberJoin{ID: 2, Token: fsm.TokenID{1}, KeyHash: fsm.KeyHash{9}, Feature: 3, Name: "x", Address: "a:1", Version: "v"}, "0002 01" + zeroes(7) + "09" + zeroes(31) + "0003 01 78 03 613a31 01 76 00"},
		"member remove":   {&fsm.MemberRemove{ID: 2, Force: true}, "0002 01"},
		"member down":     {&fsm.MemberDown{ID: 2, Epoch: 7, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 3}}, "0002 0007 01 0002 0001 0003"},
		"handoffs": {
			fsm.Handoffs{
				{Address: 5, Step: fsm.HandoffBegin, V6: true, From: 1, Epoch: 3, Target: 2},
				{Address: 6, Step: fsm.HandoffLevel, From: 1, Epoch: 3},
				{Address: 7, Step: fsm.HandoffFailed, From: 2, Epoch: 1, Target: 1},
			},
			"0001 0003 0002" + "09 0000000005 0002" + "04 0000000006" + "0002 0001 0001" + "02 0000000007 0001",
		},
		"member set":      {&fsm.MemberSet{ID: 2, SetDrain: true, Drain: fsm.DrainOperator, Weight: 500}, "0002 03 01 01f4"},
		"new epoch":       {&fsm.NewEpoch{Epoch: fsm.Epoch{Number: 2, ID: [8]byte{5}}, ID: 2, KeyHash: fsm.KeyHash{9}, Feature: 3, Name: "x", Address: "a:1", Version: "v"}, "00000002 05" + zeroes(7) + "0002 09" + zeroes(31) + "0003 01 78 03 613a31 01 76 00"},
		"round trips":     {&fsm.RoundTrips{Member: 2, Epoch: 3, Rows: []fsm.RoundTrip{{Area: area(1, false), N: 4, Micros: 5, Dev: 6}}}, "0002 0003 0001 0a00010000000001 0004 00000005 00000006"},
		"vote set":        {&fsm.MemberSet{ID: 2, SetVote: true, Vote: fsm.VoteStandby, SetPriority: true, Priority: 9}, "0002 0c 02 09"},
		"operator":        {&fsm.SetOperator{KeyHash: fsm.KeyHash{9}, Name: "x", Expires: 5, ReadOnly: true}, "09" + zeroes(31) + "0000000000000005 01 01 78"},
		"backup":          {&fsm.Backup{Index: 6, Taken: 7, Holds: 5, PlanetKey: [32]byte{9}, Where: "x"}, "0000000000000006 0000000000000007 05 09" + zeroes(31) + "01 78"},
		"operate":         {&fsm.Operate{ID: fsm.OperationID{1}, Phase: fsm.OperationBegin, What: "u", By: "b", Text: "xy"}, "01" + zeroes(7) + "01 01 75 01 62 0002 7879"},
		"operate on":      {&fsm.Operate{ID: fsm.OperationID{1}, Phase: fsm.OperationGoOn}, "01" + zeroes(7) + "02 0000"},
		"restore begin":   {&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreBegin, Peers: 7, Settings: []fsm.KeyValue{{"ab", "c"}}}, "01" + zeroes(7) + "01 0000000000000007 0001 02 6162 01 63"},
		"restore part":    {&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestorePart, Seq: 9, Records: []table.Record{{Address: 5}}}, "01" + zeroes(7) + "02 00000009 0001 0000000005" + zeroes(142)},
		"restore end":     {&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreEnd, Peers: 7, Sum: [16]byte{3}}, "01" + zeroes(7) + "03 0000000000000007 03" + zeroes(15)},
		"restore abandon": {&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreAbandon}, "01" + zeroes(7) + "04"},
		"health": {
			&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 2, Load: 3, CPU: 4, RSS: 5, PPS: 6, Sessions: 7, LogLag: 8, DiskFree: 9, Probes: []fsm.Probe{{Member: 2, Asked: 3, Answered: 1, RTT: 4}}, Geo: fsm.GeoDatabase{Hash: [8]byte{0xaa}, Built: 10}}}},
			"0001 0001 0002 0003 0004 0000000000000005 00000006 00000007 00000008 0000000000000009 01 0002 00000003 00000001 00000004 aa" + zeroes(7) + "0000000a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := fsm.Encode(c.cmd)
			if err != nil {
				t.Fatal(err)
			}
			head := fmt.Sprintf("01%02x0000000000000000", byte(c.cmd.Kind()))
			want := head + strings.ReplaceAll(c.want, " ", "")
			if got := fmt.Sprintf("%x", b[:len(b)-4]); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func zeroes(n int) string { return strings.Repeat("00", n) }

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := commands().Draw(t, "command")
		b, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		fsm.Stamp(b, 1_700_000_000_123)
		e, err := fsm.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if e.Time != 1_700_000_000_123 {
			t.Errorf("time %d", e.Time)
		}
		if d := cmp.Diff(c, e.Command, addrPorts); d != "" {
			t.Error(d)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	good, _ := fsm.Encode(&fsm.KeepAlive{Addresses: []vl1.Address{1, 2}})
	raw := func(kind byte, payload ...byte) []byte {
		return seal(append([]byte{1, kind, 0, 0, 0, 0, 0, 0, 0, 0}, payload...))
	}
	flipped := bytes.Clone(good)
	flipped[12] ^= 1
	newer := seal(append([]byte{2}, good[1:len(good)-4]...))
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":                {nil, fsm.ErrDamaged},
		"cut":                  {good[:len(good)-1], fsm.ErrDamaged},
		"one bit flipped":      {flipped, fsm.ErrDamaged},
		"newer version":        {newer, fsm.ErrTooNew},
		"unknown kind":         {raw(99), fsm.ErrTooNew},
		"negative time":        {seal([]byte{1, 4, 0x80, 0, 0, 0, 0, 0, 0, 0}), fsm.ErrMalformed},
		"no addresses":         {raw(4, 0, 0), fsm.ErrMalformed},
		"descending addresses": {raw(4, 0, 2, 0, 0, 0, 0, 9, 0), fsm.ErrMalformed},
		"long number":          {raw(4, 0, 2, 0, 0, 0, 0, 9, 0x81, 0x00), fsm.ErrMalformed},
		"reserved address":     {raw(4, 0, 1, 0xff, 0, 0, 0, 9), fsm.ErrMalformed},
		"bytes left":           {raw(4, 0, 1, 0, 0, 0, 0, 9, 9), fsm.ErrMalformed},
		"unknown change flag":  {raw(3, 0, 1, 0, 1, 0, 1, 0x40, 0, 0, 0, 0, 9, 0, 0), fsm.ErrMalformed},
		"position, length 1":   {raw(3, 0, 0, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 1), fsm.ErrMalformed},
		"radius of nowhere":    {raw(3, 0, 0, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1), fsm.ErrMalformed},
		"radius of class 16":   {raw(3, 0, 0, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 9, 0, 0, 0x7f, 0xff, 0, 0, 0, 0, 16), fsm.ErrMalformed},
		"empty group":          {raw(3, 0, 1, 0, 1, 0, 0), fsm.ErrMalformed},
		"split group":          {raw(3, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0), fsm.ErrMalformed},
		"endpoint, no member":  {raw(3, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0, 0, 1, 2, 3, 4, 0, 1), fsm.ErrMalformed},
		"port 0":               {raw(3, 0, 1, 0, 1, 0, 1, 2, 0, 0, 0, 0, 9, 0, 0, 1, 2, 3, 4, 0, 0), fsm.ErrMalformed},
		"count beyond the end": {raw(3, 0, 1, 0, 1, 3, 0, 0, 0, 0, 0, 0, 9, 0, 0), fsm.ErrMalformed},
		"control character":    {raw(7, 1, 7, 0), fsm.ErrMalformed},
		"member 0":             {raw(2, 0, 0, 1, 'x', 0, 0), fsm.ErrMalformed},
		"long form of kind 2":  {raw(8, append([]byte{0, 1, 1, 'x', 0, 0, 0}, make([]byte, 40)...)...), fsm.ErrMalformed},
		"address, no port":     {raw(8, append([]byte{0, 1, 1, 'x', 0, 0, 1, 'a'}, make([]byte, 34)...)...), fsm.ErrMalformed},
		"token 0":              {raw(10, make([]byte, 8)...), fsm.ErrMalformed},
		"forced twice":         {raw(12, 0, 1, 2), fsm.ErrMalformed},
		"vote 3":               {raw(17, 0, 1, 4, 3), fsm.ErrMalformed},
		"nothing set":          {raw(17, 0, 1, 0), fsm.ErrMalformed},
		"down in epoch 0":      {raw(14, 0, 1, 0, 0), fsm.ErrMalformed},
		"restore, no ID":       {raw(22, make([]byte, 9)...), fsm.ErrMalformed},
		"restore, no step":     {raw(22, 1, 0, 0, 0, 0, 0, 0, 0, 9), fsm.ErrMalformed},
		"restore, no records":  {raw(22, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0), fsm.ErrMalformed},
		"restore, half record": {raw(22, append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1}, make([]byte, 99)...)...), fsm.ErrMalformed},
		"epoch 0":              {raw(18, make([]byte, 60)...), fsm.ErrMalformed},
		"epoch without a key":  {raw(18, append([]byte{0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 40)...)...), fsm.ErrMalformed},
		"reports out of order": {raw(13, append(append([]byte{0, 2}, report(2)...), report(1)...)...), fsm.ErrMalformed},
		"too many reports":     {raw(13, 0xff, 0xff), fsm.ErrMalformed},
		"report cut off":       {raw(13, append([]byte{0, 2}, report(2)...)...), fsm.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := fsm.Decode(c.b); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for name, c := range map[string]fsm.Command{
		"no changes":       fsm.Changes{},
		"too many changes": make(fsm.Changes, fsm.MaxChanges+1),
		"reserved address": fsm.Changes{{}},
		"IPv4 as IPv6":     fsm.Changes{{Address: 1, Member: 1, Epoch: 1, V6: netip.MustParseAddrPort("[::ffff:1.2.3.4]:1")}},
		"zone":             fsm.Changes{{Address: 1, Member: 1, Epoch: 1, V6: netip.MustParseAddrPort("[fe80::1%eth0]:1")}},
		"unsorted":         &fsm.Expire{Addresses: []vl1.Address{2, 1}},
		"no name":          &fsm.MemberUp{ID: 1},
		"no creation":      &fsm.Bootstrap{Name: "x", Root: vl1.Identity{Address: 1}},
		"huge planet":      &fsm.PublishPlanet{World: make([]byte, 9000)},
		"address":          &fsm.MemberUp{ID: 1, Name: "x", Address: "::1:80"},
		"address, port 0":  &fsm.MemberUp{ID: 1, Name: "x", Address: "a:0"},
		"address, 080":     &fsm.MemberUp{ID: 1, Name: "x", Address: "a:080"},
		"address, space":   &fsm.MemberUp{ID: 1, Name: "x", Address: "a b:80"},
		"address, long":    &fsm.MemberUp{ID: 1, Name: "x", Address: strings.Repeat("a", 254) + ":1"},
		"join, no key":     &fsm.MemberJoin{ID: 1, Name: "x", Address: "a:1", Token: fsm.TokenID{1}},
		"join, no token":   &fsm.MemberJoin{ID: 1, Name: "x", Address: "a:1", KeyHash: fsm.KeyHash{1}},
		"join, no address": &fsm.MemberJoin{ID: 1, Name: "x", Token: fsm.TokenID{1}, KeyHash: fsm.KeyHash{1}},
		"token, no expiry": &fsm.TokenCreate{ID: fsm.TokenID{1}},
		"report of 0":      &fsm.Health{Reports: make([]fsm.HealthReport, 1)},
		"reports twice":    &fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1}, {Member: 1, Epoch: 1}}},
		"probe of itself":  &fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1, Probes: []fsm.Probe{{Member: 1}}}}},
		"unasked answer":   &fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1, Probes: []fsm.Probe{{Member: 2, Asked: 1, Answered: 2}}}}},
		"too many reports": &fsm.Health{Reports: make([]fsm.HealthReport, fsm.MaxReports+1)},
		"long value":       &fsm.Set{Key: "a", Value: strings.Repeat("x", 65)},
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := fsm.Encode(c); !errors.Is(err, fsm.ErrMalformed) {
				t.Errorf("got %x, %v", b, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range examples() {
		b, err := fsm.Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := seal(body) // otherwise the checksum hides everything behind it
		e, err := fsm.Decode(b)
		if err != nil {
			if !errors.Is(err, fsm.ErrDamaged) && !errors.Is(err, fsm.ErrTooNew) && !errors.Is(err, fsm.ErrMalformed) {
				t.Fatalf("error without a class: %v", err)
			}
			return
		}
		again, err := fsm.Encode(e.Command)
		if err != nil {
			t.Fatalf("decoded, but not encodable: %v", err)
		}
		if fsm.Stamp(again, e.Time); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one command:\n%x\n%x", b, again)
		}
	})
}

// report is the bytes of an empty report of a member.
func report(member byte) []byte { return append([]byte{0, member, 0, 1}, make([]byte, 45)...) }

// seal appends the checksum that makes an entry of any bytes.
func seal(body []byte) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(body), checksum(body))
}
