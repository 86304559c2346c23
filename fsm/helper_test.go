package fsm_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

const began = int64(1_700_000_000_000) // time of the first entry, ms

func newFSM(t testing.TB) *fsm.FSM {
	t.Helper()
	f, err := fsm.New(fsm.Options{Table: table.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func entry(t testing.TB, c fsm.Command, ms int64) []byte {
	t.Helper()
	b, err := fsm.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	fsm.Stamp(b, ms)
	return b
}

// machine is a state machine with a log.
type machine struct {
	*fsm.FSM
	t     testing.TB
	index uint64
	now   int64
}

// newMachine returns a bootstrapped machine with member 1 in epoch 1.
func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{FSM: newFSM(t), t: t, now: began}
	m.must(bootstrap())
	m.must(&fsm.MemberUp{ID: 1, Name: "ams"})
	return m
}

func (m *machine) do(c fsm.Command) fsm.Response {
	m.t.Helper()
	m.index++
	return m.Apply(&raft.Log{Index: m.index, Type: raft.LogCommand, Data: entry(m.t, c, m.now)}).(fsm.Response)
}

func (m *machine) must(c fsm.Command) fsm.Response {
	m.t.Helper()
	r := m.do(c)
	if r.Err != nil {
		m.t.Fatal(r.Err)
	}
	return r
}

func (m *machine) peer(a vl1.Address) (r table.Record) {
	m.t.Helper()
	if !m.View().Peer(a, &r) {
		m.t.Fatalf("peer %s is not known", a)
	}
	return r
}

func bootstrap() *fsm.Bootstrap {
	return &fsm.Bootstrap{ID: [16]byte{1}, Name: "alice", Root: vl1.Identity{Address: 0xa11ce, Key: vl1.PublicKey{9}}, Created: began}
}

// join is a join of member id with the token and the key that have its number.
func join(id table.MemberID) *fsm.MemberJoin {
	n := byte(id)
	return &fsm.MemberJoin{
		ID: id, Name: fmt.Sprintf("m%d", id), Address: fmt.Sprintf("192.0.2.%d:9995", id), KeyHash: fsm.KeyHash{n}, Version: "0.2", Feature: 1,
		Endpoints: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 9993)}, Token: fsm.TokenID{n},
	}
}

// token is the token that join(id) uses; it lives for an hour.
func token(id table.MemberID, now int64) *fsm.TokenCreate {
	return &fsm.TokenCreate{ID: fsm.TokenID{byte(id)}, SecretHash: [32]byte{byte(id), 1}, Expires: now + 3_600_000}
}

// newEpoch begins the nth epoch with member id, whose key has its number.
func newEpoch(n byte, id table.MemberID) *fsm.NewEpoch {
	j := join(id)
	return &fsm.NewEpoch{
		Epoch: fsm.Epoch{Number: uint32(n), ID: [8]byte{n}}, ID: id, Name: j.Name, Address: j.Address, KeyHash: j.KeyHash,
		Version: j.Version, Feature: j.Feature, Endpoints: j.Endpoints,
	}
}

func key(n byte) vl1.PublicKey { return vl1.PublicKey{n, 1, n} }

// snapshotOf returns the bytes of a snapshot of f.
func snapshotOf(t testing.TB, f *fsm.FSM) []byte {
	t.Helper()
	s, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var sink memSink
	if err := s.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	return sink.Bytes()
}

func restore(f *fsm.FSM, b []byte) error { return f.Restore(io.NopCloser(bytes.NewReader(b))) }

// memSink is a snapshot sink in memory.
type memSink struct {
	bytes.Buffer
	cancelled bool
}

func (*memSink) ID() string      { return "test" }
func (*memSink) Close() error    { return nil }
func (s *memSink) Cancel() error { s.cancelled = true; return nil }

// Generators: few addresses, keys and members, so that they meet.

func addresses() *rapid.Generator[vl1.Address] {
	return rapid.Custom(func(t *rapid.T) vl1.Address { return vl1.Address(rapid.Uint64Range(1, 40).Draw(t, "address")) << 8 })
}

func addressLists() *rapid.Generator[[]vl1.Address] {
	return rapid.Custom(func(t *rapid.T) []vl1.Address {
		as := rapid.SliceOfN(addresses(), 1, 20).Draw(t, "addresses")
		slices.Sort(as)
		return slices.Compact(as)
	})
}

func changes() *rapid.Generator[fsm.Change] {
	return rapid.Custom(func(t *rapid.T) fsm.Change {
		c := fsm.Change{Address: addresses().Draw(t, "a"), HasKey: rapid.Bool().Draw(t, "has key")}
		n := byte(1)
		if rapid.IntRange(0, 9).Draw(t, "other key") == 0 {
			n = 2
		}
		if c.Key = key(n); !c.HasKey {
			c.Key = vl1.PublicKey{n, 1}
		}
		if c.Member = table.MemberID(rapid.Uint16Range(0, 3).Draw(t, "member")); c.Member != 0 {
			c.Epoch = rapid.Uint16Range(1, 2).Draw(t, "epoch")
			port := rapid.Uint16Range(1, 3).Draw(t, "port")
			if rapid.Bool().Draw(t, "v4") {
				c.V4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(port)}), port)
			}
			if rapid.Bool().Draw(t, "v6") {
				c.V6 = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(port)}), port)
			}
		}
		if rapid.Bool().Draw(t, "software") {
			c.Protocol, c.Major, c.Minor, c.Revision = 11, 1, rapid.Byte().Draw(t, "minor"), 5
		}
		c.Planet = rapid.Uint64Range(0, 1).Draw(t, "planet") * 1_650_000_000_000
		if c.HasPosition = rapid.Bool().Draw(t, "has position"); c.HasPosition {
			if c.Position = units().Draw(t, "position"); c.Position.Known() {
				c.Radius = rapid.Byte().Draw(t, "radius") % geo.RadiusClasses
			}
		}
		return c
	})
}

func units() *rapid.Generator[geo.Unit] {
	return rapid.SampledFrom([]geo.Unit{{}, geo.Point{Lat: 52.37, Lon: 4.89}.Unit(), geo.Point{Lat: -33.9, Lon: 18.4}.Unit()})
}

func commands() *rapid.Generator[fsm.Command] {
	return rapid.Custom(func(t *rapid.T) fsm.Command {
		switch rapid.IntRange(0, 22).Draw(t, "kind") {
		case 0:
			return &fsm.KeepAlive{Addresses: addressLists().Draw(t, "alive")}
		case 1:
			return &fsm.Expire{Cutoff: rapid.Uint32Range(122_000_000, 122_200_000).Draw(t, "cutoff"), Addresses: addressLists().Draw(t, "old")}
		case 2:
			return &fsm.MemberUp{
				ID: memberIDs().Draw(t, "id"), Name: "m", Version: "1.0", Endpoints: []netip.AddrPort{listed4, listed6},
			}
		case 3:
			set := &fsm.Set{
				Key:   rapid.SampledFrom([]string{"max_peers", "peer_expiry", "nonsense", "geo/10.0.0.0/8"}).Draw(t, "key"),
				Value: rapid.SampledFrom([]string{"", "30", "48h", "52.37,4.89"}).Draw(t, "value"),
			}
			if rapid.Bool().Draw(t, "together") {
				return &fsm.SetMany{By: "anna", Settings: []fsm.KeyValue{{Key: "geo/10.0.0.0/8", Value: rapid.SampledFrom([]string{"", "52.37,4.89"}).Draw(t, "place")}, {
					Key: "max_peers", Value: rapid.SampledFrom([]string{"", "30", "none"}).Draw(t, "most"),
				}}}
			}
			return set
		case 4:
			w := vl1.World{
				Type: vl1.WorldPlanet, ID: 77, Timestamp: rapid.Uint64Range(1, 9).Draw(t, "timestamp"),
				Roots: []vl1.Root{{Identity: bootstrap().Root, Endpoints: []netip.AddrPort{listed4, listed6}}},
			}
			return &fsm.PublishPlanet{World: w.AppendBinary(nil)}
		case 5:
			return bootstrap()
		case 11, 12:
			return fsm.Handoffs(rapid.SliceOfN(handoffs(), 1, 30).Draw(t, "handoffs"))
		case 13:
			c := &fsm.MemberSet{ID: memberIDs().Draw(t, "id"), SetDrain: true, Drain: fsm.Drain(rapid.IntRange(0, 2).Draw(t, "drain"))}
			if c.SetVote = rapid.Bool().Draw(t, "set vote"); c.SetVote {
				c.Vote = fsm.Vote(rapid.IntRange(0, 2).Draw(t, "vote"))
			}
			if c.SetPriority = rapid.Bool().Draw(t, "set priority"); c.SetPriority {
				c.Priority = rapid.Uint8().Draw(t, "priority")
			}
			c.Position = units().Draw(t, "position")
			return c
		case 6, 7, 8, 9, 10:
			return memberCommands().Draw(t, "about members")
		case 14, 15:
			return roundTrips().Draw(t, "round trips")
		}
		return fsm.Changes(rapid.SliceOfN(changes(), 1, 30).Draw(t, "changes"))
	})
}

// listed4 and listed6 are in the generated planets.
var (
	listed4 = netip.MustParseAddrPort("192.0.2.9:9993")
	listed6 = netip.MustParseAddrPort("[2001:db8::9]:9993")
)

func handoffs() *rapid.Generator[fsm.Handoff] {
	return rapid.Custom(func(t *rapid.T) fsm.Handoff {
		h := fsm.Handoff{
			Address: addresses().Draw(t, "a"), Step: fsm.HandoffStep(rapid.SampledFrom([]int{1, 1, 1, 2, 3, 4, 5}).Draw(t, "step")),
			V6: rapid.Bool().Draw(t, "v6"), From: memberIDs().Draw(t, "from"), Epoch: rapid.Uint16Range(1, 2).Draw(t, "epoch"),
		}
		if h.Step != fsm.HandoffLevel && h.Step != fsm.HandoffRescued {
			h.Target = h.From%3 + 1
		}
		return h
	})
}

func memberIDs() *rapid.Generator[table.MemberID] {
	return rapid.Custom(func(t *rapid.T) table.MemberID { return table.MemberID(rapid.Uint16Range(1, 3).Draw(t, "member")) })
}

func memberCommands() *rapid.Generator[fsm.Command] {
	return rapid.Custom(func(t *rapid.T) fsm.Command {
		id := memberIDs().Draw(t, "id")
		epoch := rapid.Uint16Range(1, 3).Draw(t, "epoch")
		switch rapid.IntRange(0, 13).Draw(t, "what") {
		case 13:
			return &fsm.SetOperator{KeyHash: fsm.KeyHash{byte(id)}, Name: "x", Expires: began + rapid.Int64Range(-1, 100_000).Draw(t, "expires"), ReadOnly: epoch == 1}
		case 11:
			return operation(rapid.Byte().Filter(func(n byte) bool { return n != 0 }).Draw(t, "operation"), fsm.OperationPhase(rapid.IntRange(1, 3).Draw(t, "phase")))
		case 12:
			b := &fsm.Backup{Index: 3, Taken: began + rapid.Int64Range(0, 200_000).Draw(t, "taken"), Holds: fsm.Holds(rapid.IntRange(0, 7).Draw(t, "holds")), Where: "x"}
			if b.Holds&fsm.HoldsPlanetKey != 0 {
				b.PlanetKey[0] = byte(id)
			}
			return b
		case 10:
			return newEpoch(rapid.Byte().Filter(func(n byte) bool { return n != 0 }).Draw(t, "epoch of the cluster"), id)
		case 0, 1:
			return token(memberIDs().Draw(t, "token"), began+rapid.Int64Range(0, 100_000_000).Draw(t, "expires"))
		case 2:
			return &fsm.TokenRevoke{ID: fsm.TokenID{byte(id)}}
		case 3, 4:
			j := join(id)
			j.Token = fsm.TokenID{byte(memberIDs().Draw(t, "token"))}
			j.KeyHash = fsm.KeyHash{byte(memberIDs().Draw(t, "key"))}
			return j
		case 5:
			j := join(id)
			return &fsm.MemberUp{ID: id, Name: j.Name, Address: j.Address, Endpoints: j.Endpoints, KeyHash: fsm.KeyHash{byte(memberIDs().Draw(t, "key"))}, Feature: 1, Position: units().Draw(t, "position")}
		case 6:
			down := &fsm.MemberDown{ID: id, Epoch: epoch, Cause: fsm.DownCause(rapid.IntRange(0, 2).Draw(t, "cause"))}
			for i := table.MemberID(1); i <= 3 && down.Cause == fsm.DownLost; i++ {
				if i != id && rapid.Bool().Draw(t, "witness") {
					down.Witnesses = append(down.Witnesses, i)
				}
			}
			return down
		case 7:
			return &fsm.MemberRemove{ID: id, Force: rapid.Bool().Draw(t, "force")}
		}
		h := new(fsm.Health)
		for i := table.MemberID(1); i <= 3; i++ {
			if rapid.Bool().Draw(t, "reports") {
				h.Reports = append(h.Reports, fsm.HealthReport{Member: i, Epoch: epoch, Load: epoch, Geo: fsm.GeoDatabase{Hash: [8]byte{byte(epoch)}, Built: 7}, Probes: []fsm.Probe{{Member: i%3 + 1, Asked: 3, Answered: 2}}})
			}
		}
		return h
	})
}

func operation(id byte, phase fsm.OperationPhase) *fsm.Operate {
	o := &fsm.Operate{ID: fsm.OperationID{id % 4, 1}, Phase: phase, Text: "step"}
	if phase == fsm.OperationBegin {
		o.What, o.By = "upgrade", "somebody"
	}
	return o
}

// examples has one command of every kind.
func examples() []fsm.Command {
	return []fsm.Command{
		bootstrap(),
		&fsm.Backup{Index: 6, Taken: began, Holds: 5, PlanetKey: [32]byte{9}, Where: "a.rootd"},
		&fsm.MemberUp{ID: 1, Name: "ams", Version: "0.1", Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9993")}},
		fsm.Changes{
			{Address: 5, HasKey: true, Key: key(1), Member: 1, Epoch: 1, V4: netip.MustParseAddrPort("192.0.2.7:1"), Protocol: 11, Planet: 9},
			{Address: 6, Key: vl1.PublicKey{1, 1}, Member: 2, Epoch: 1, V6: netip.MustParseAddrPort("[2001:db8::7]:1")},
		},
		fsm.Changes{{Address: 6, Key: vl1.PublicKey{1, 1}, HasPosition: true, Position: geo.Point{Lat: 52.37, Lon: 4.89}.Unit(), Radius: 4}},
		&fsm.KeepAlive{Addresses: []vl1.Address{5, 6, 1000}},
		&fsm.Expire{Cutoff: 77, Addresses: []vl1.Address{5}},
		&fsm.PublishPlanet{World: []byte{1, 2, 3}},
		&fsm.Set{Key: "peer_expiry", Value: "48h"},
		&fsm.SetMany{By: "anna", Settings: []fsm.KeyValue{{Key: "peer_expiry"}, {Key: "voters", Value: "3"}}},
		&fsm.SetOperator{KeyHash: fsm.KeyHash{9}, Name: "ann", Expires: began + 1},
		&fsm.MemberUp{ID: 2, Name: "nyc", Version: "0.2", Address: "[2001:db8::2]:9995", KeyHash: fsm.KeyHash{2}, Feature: 1},
		&fsm.MemberUp{ID: 3, Name: "syd", Position: geo.Point{Lat: -33.87, Lon: 151.21}.Unit()},
		&fsm.TokenCreate{ID: fsm.TokenID{7}, SecretHash: [32]byte{8}, Expires: began, Name: "for nyc"},
		&fsm.TokenRevoke{ID: fsm.TokenID{7}},
		join(2),
		&fsm.MemberRemove{ID: 2, Force: true},
		&fsm.Health{Reports: []fsm.HealthReport{
			{Member: 1, Epoch: 1, Load: 10, CPU: 20, RSS: 30, PPS: 40, Sessions: 50, LogLag: 60, DiskFree: 70, Probes: []fsm.Probe{{Member: 2, Asked: 3, Answered: 1, RTT: 80_000}}},
			{Member: 2, Epoch: 1, Geo: fsm.GeoDatabase{Hash: [8]byte{1}, Built: 2}},
		}},
		&fsm.RoundTrips{Member: 1, Epoch: 1, Rows: []fsm.RoundTrip{{Area: area(3, false), Micros: 12_345, Dev: 67, N: 8}, {Area: area(3, true), Micros: 9, N: 1}}},
		&fsm.MemberDown{ID: 2, Epoch: 1, Cause: fsm.DownLost, Witnesses: []table.MemberID{1, 3}},
		fsm.Handoffs{
			{Address: 5, Step: fsm.HandoffBegin, From: 1, Epoch: 1, Target: 2},
			{Address: 6, Step: fsm.HandoffLevel, V6: true, From: 1, Epoch: 1},
			{Address: 5, Step: fsm.HandoffFailed, From: 2, Epoch: 1, Target: 1},
		},
		&fsm.MemberSet{ID: 2, SetDrain: true, Drain: fsm.DrainOperator, Weight: 500, SetVote: true, Vote: fsm.VoteAlways, SetPriority: true, Priority: 7},
		&fsm.MemberSet{ID: 2, Position: geo.Point{Lat: -33.87, Lon: 151.21}.Unit()},
		newEpoch(1, 9),
		&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreBegin, Peers: 2, Settings: []fsm.KeyValue{{"max_peers", "30"}, {"peer_expiry", "48h"}}},
		&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestorePart, Seq: 3, Records: []table.Record{{Address: 5, Key: key(1), V4: netip.MustParseAddrPort("192.0.2.7:1"), V4Member: 1, V4Epoch: 1}, {Address: 6}}},
		&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreEnd, Peers: 2, Sum: [16]byte{9}},
		&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreAbandon},
		operation(3, fsm.OperationBegin),
		operation(3, fsm.OperationEnd),
	}
}
