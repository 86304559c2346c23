package fsm

import "encoding/binary"

// appendCluster appends the rest of the meta block, since version 2 of the snapshot. An address is drawn in
// codec_member.go.
//
//	..   for each member, in the order above: status (1), joined (8), address, hash of the node key (32),
//	     feature level (2), last report (8), 1 if there is one, then as in a health entry
//	8    time of the last health entry, ms since 1970
//	2    number of former members, ascending by ID, then for each: ID (2), removed (8), hash of the node key (32), text: name
//	2    number of tokens, ascending by ID, then for each: ID (8), SHA-256 of the secret (32), created (8), expires (8),
//	     used (8), member (2), hash of its node key (32), text: name
//	20   from version 3 on: epoch of the cluster: number (4), ID (8), when it began (8, ms since 1970)
func appendCluster(b []byte, s *State) []byte {
	for i := range s.Members {
		b = s.Members[i].appendCluster(b)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(s.HealthTime))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Removed)))
	for i := range s.Removed {
		r := &s.Removed[i]
		b = binary.BigEndian.AppendUint16(b, uint16(r.ID))
		b = binary.BigEndian.AppendUint64(b, uint64(r.At))
		b = append(b, r.KeyHash[:]...)
		b = append(append(b, byte(len(r.Name))), r.Name...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Tokens)))
	for i := range s.Tokens {
		t := &s.Tokens[i]
		b = append(append(b, t.ID[:]...), t.SecretHash[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(t.Created))
		b = binary.BigEndian.AppendUint64(b, uint64(t.Expires))
		b = binary.BigEndian.AppendUint64(b, uint64(t.Used))
		b = binary.BigEndian.AppendUint16(b, uint16(t.Member))
		b = append(b, t.KeyHash[:]...)
		b = append(append(b, byte(len(t.Name))), t.Name...)
	}
	return b
}

// epochFrom is the version of the snapshot that first has the epoch of the cluster.
const epochFrom = 3

func appendEpoch(b []byte, c *ClusterInfo) []byte {
	b = append(binary.BigEndian.AppendUint32(b, c.Epoch.Number), c.Epoch.ID[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(c.Restored))
}

func (m *Member) appendCluster(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, byte(m.Status)), uint64(m.Joined))
	b = append(append(b, byte(len(m.Address))), m.Address...)
	b = binary.BigEndian.AppendUint16(append(b, m.KeyHash[:]...), m.Feature)
	b = binary.BigEndian.AppendUint64(b, uint64(m.LastReport))
	if m.Health == nil {
		return append(b, 0)
	}
	return m.Health.append(append(b, 1))
}

// readCluster fills what belongs to a cluster into s, whose members are there already.
func readCluster(r *reader, s *State) {
	for i := 0; i < len(s.Members) && r.bad == ""; i++ {
		s.Members[i].readCluster(r)
	}
	s.HealthTime = r.time()
	for n := int(r.uint16()); n > 0 && r.bad == ""; n-- {
		x := Removed{ID: r.member(), At: r.time(), KeyHash: r.hash(), Name: r.text(1)}
		if k := len(s.Removed); k > 0 && x.ID <= s.Removed[k-1].ID {
			r.fail("former members out of order")
		}
		s.Removed = append(s.Removed, x)
	}
	for n := int(r.uint16()); n > 0 && r.bad == ""; n-- {
		t := Token{ID: r.tokenID(), SecretHash: r.hash(), Created: r.time(), Expires: r.time(), Used: r.time()}
		t.Member, t.KeyHash, t.Name = memberID(r.uint16()), r.hash(), r.text(0)
		if k := len(s.Tokens); k > 0 && string(t.ID[:]) <= string(s.Tokens[k-1].ID[:]) {
			r.fail("tokens out of order")
		}
		s.Tokens = append(s.Tokens, t)
	}
}

func (s *State) readEpoch(r *reader) {
	s.Cluster.Epoch, s.Cluster.Restored = readEpoch(r), r.time()
	if !s.Cluster.Bootstrapped() && (s.Cluster.Epoch != Epoch{} || s.Cluster.Restored != 0) {
		r.fail("epoch of no cluster")
	}
}

func (m *Member) readCluster(r *reader) {
	m.Status, m.Joined, m.Address, m.KeyHash = Status(r.byte()), r.time(), r.hostPort(), r.hash()
	m.Feature, m.LastReport = r.uint16(), r.time()
	switch r.byte() {
	case 0:
	case 1:
		h := readReport(r)
		if m.Health = &h; h.Member != m.ID {
			r.fail("report of another member")
		}
	default:
		r.fail("health neither there nor not")
	}
	switch {
	case m.Status != StatusJoining && m.Status != StatusUp && m.Status != StatusDown:
		r.fail("member with an unknown status")
	case (m.Status == StatusJoining) != (m.Epoch == 0):
		r.fail("member that is joining in an epoch, or up without one")
	}
}

// alone fills in what a snapshot of version 1 does not say, exactly as today's machine would have it after the same log.
func (s *State) alone(r *reader) {
	for i := range s.Members {
		m := &s.Members[i]
		if m.Status = StatusUp; m.Epoch == 0 {
			r.fail("member without an epoch")
		}
	}
}

// time reads ms since 1970.
func (r *reader) time() int64 {
	t := int64(r.uint64())
	if t < 0 || t > maxTime {
		r.fail("time out of range")
	}
	return t
}
