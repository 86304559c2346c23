package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// appendMeta appends everything that a state holds besides its index and peers. Texts, endpoints: see codec_payload.go.
// A string is two bytes of length and that many bytes.
//
//	8    time, ms since 1970
//	1    1 if bootstrapped, then: cluster ID (16), created (8), address (5) and key (64) of the root, text: name
//	2    number of members, then for each: ID (2), epoch (2), up (8), text: name, text: version,
//	     number of endpoints (1), endpoints
//	2    size of the planet, then the planet. 0: none
//	2    number of settings that were set (1 byte before version 3), then for each: text: key, text: value
//	80   counters, in the order of [Counters]: 10 of 8 bytes, the last reserved and 0
//	8    index of the Raft configuration
//	2    number of its servers, then for each: 1 if voter, string: ID, string: address
//	..   from version 2 on: what belongs to a cluster of members (persist_member.go)
func appendMeta(b []byte, s *State, version uint16) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Time))
	if c := &s.Cluster; c.Bootstrapped() {
		b = append(append(b, 1), c.ID[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(c.Created))
		b = append(c.Root.Address.Append(b), c.Root.Key[:]...)
		b = append(append(b, byte(len(c.Name))), c.Name...)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Members)))
	for i := range s.Members {
		b = s.Members[i].append(b)
	}
	if s.Planet != nil {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s.Planet.Raw))), s.Planet.Raw...)
	} else {
		b = append(b, 0, 0)
	}
	b = appendSettings(b, &s.Settings, version)
	for _, v := range s.Counters.list() {
		b = binary.BigEndian.AppendUint64(b, *v)
	}
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, s.Voters.Index)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Voters.Servers)))
	for _, srv := range s.Voters.Servers {
		var voter byte
		if srv.Voter {
			voter = 1
		}
		b = appendString(append(b, voter), srv.ID)
		b = appendString(b, srv.Address)
	}
	if version == 1 {
		return b
	}
	if b = appendCluster(b, s); version < epochFrom {
		return b
	}
	b = appendHandoffs(appendEpoch(b, &s.Cluster), s)
	b = appendBackups(appendPlaces(b, s.Members), s)
	return appendHistory(appendOperators(appendOperation(b, s), s), s)
}

// append appends a member, whose texts and endpoints were checked when its entry was decoded.
func (m *Member) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(m.ID))
	b = binary.BigEndian.AppendUint16(b, m.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Up))
	b = append(append(b, byte(len(m.Name))), m.Name...)
	b = append(append(b, byte(len(m.Version))), m.Version...)
	b, _ = appendEndpoints(b, m.Endpoints)
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// readMeta fills the zero state s.
func readMeta(r *reader, s *State, version uint16) error {
	s.Time = int64(r.uint64())
	if s.Time < 0 || s.Time > maxTime {
		r.fail("time out of range")
	}
	switch r.byte() {
	case 0:
	case 1:
		readInfo(r, &s.Cluster)
	default:
		r.fail("cluster neither there nor not")
	}
	for n := int(r.uint16()); n > 0 && r.bad == ""; n-- {
		m := Member{ID: memberID(r.uint16()), Epoch: r.uint16(), Up: int64(r.uint64())}
		m.Name, m.Version = r.text(1), r.text(0)
		m.Endpoints = readEndpoints(r)
		if k := len(s.Members); m.ID == 0 || k > 0 && m.ID <= s.Members[k-1].ID {
			r.fail("members out of order, or without ID")
		}
		s.Members = append(s.Members, m)
	}
	if raw := r.take(int(r.uint16())); len(raw) > 0 {
		if err := s.readPlanet(raw); err != nil {
			return err
		}
	}
	s.Settings = DefaultSettings()
	for n := r.settings(version); n > 0 && r.bad == ""; n-- {
		next, err := s.Settings.With(r.text(1), r.text(1))
		if err != nil && r.bad == "" {
			return fmt.Errorf("%w: %w", ErrTooNew, err)
		}
		s.Settings = next
	}
	for _, v := range s.Counters.list() {
		*v = r.uint64()
	}
	if r.uint64() != 0 {
		r.fail("reserved counter in use")
	}
	s.Voters.Index = r.uint64()
	for n := int(r.uint16()); n > 0 && r.bad == ""; n-- {
		voter := r.byte() == 1
		srv := Server{Voter: voter, ID: string(r.take(int(r.uint16())))}
		srv.Address = string(r.take(int(r.uint16())))
		s.Voters.Servers = append(s.Voters.Servers, srv)
	}
	if version == 1 {
		s.alone(r)
	} else {
		readCluster(r, s)
	}
	if version >= epochFrom {
		s.readEpoch(r)
		s.readHandoffs(r)
		s.readPlaces(r)
		s.readBackups(r)
		s.readOperation(r)
		s.readOperators(r)
		s.readHistory(r)
	} else {
		for i := range s.Members {
			s.published(&s.Members[i], netip.AddrPort{}, netip.AddrPort{})
		}
	}
	return r.end()
}

func readInfo(r *reader, c *ClusterInfo) {
	copy(c.ID[:], r.take(len(c.ID)))
	if c.Created = int64(r.uint64()); c.Created <= 0 {
		r.fail("cluster without a time of creation")
	}
	c.Root.Address = r.address()
	copy(c.Root.Key[:], r.take(len(c.Root.Key)))
	c.Name = r.text(1)
}

func (s *State) readPlanet(raw []byte) error {
	w, n, err := vl1.DecodeWorld(raw)
	if err == nil && n != len(raw) {
		err = ErrMalformed
	}
	if err != nil {
		return fmt.Errorf("planet: %w", err)
	}
	raw = append([]byte(nil), raw...)
	s.Planet = &Planet{World: w, Raw: raw, Fingerprint: sha256.Sum256(raw)}
	return nil
}

// list returns the counters of the first version in the order in which snapshots have them. Later ones: see handoffs.
func (c *Counters) list() [9]*uint64 {
	return [...]*uint64{
		&c.Changes, &c.Created, &c.Expired, &c.Spared, &c.Collisions,
		&c.Unknown, &c.Stale, &c.Full, &c.Refused,
	}
}
