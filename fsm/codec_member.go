package fsm

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Payloads of the kinds about members and tokens. An *address* is a length byte and host:port: printable ASCII, an IPv6
// host in brackets, the port 1 to 65535 without leading zeroes; length 0: none.
//
//	member up    ..  as the older kind 2 (codec_payload.go), then
//	  (kind 8)   ..  address, may be empty
//	             32  hash of the node key; zero: none
//	             2   feature level
//	             6   position: unit vector; zero: unknown. Not all four are empty: then it is kind 2
//	token create 8   ID, not zero
//	             32  SHA-256 of the secret
//	             8   expires, ms since 1970, not 0
//	             ..  text: name
//	token revoke 8   ID, not zero
//	member join  2   member, not 0
//	             8   token, not zero
//	             32  hash of the node key, not zero
//	             2   feature level
//	             ..  text: name, not empty
//	             ..  address, not empty
//	             ..  text: version
//	             ..  endpoints, as in member up
//	remove       2   member, not 0
//	             1   1 if forced, else 0
//	down         2   member, not 0
//	             2   epoch, not 0
//	health       2   number of reports, at most 256, ascending by member, each:
//	             2   member, not 0
//	             2   epoch, not 0
//	             2   load, ‰
//	             2   CPU, ‰
//	             8   memory in use, bytes
//	             4   packets received per second
//	             4   sessions
//	             4   log entries not applied
//	             8   disk free, bytes
//	             1   number of probes, at most 64, ascending by member, each:
//	               2   member, not 0, not the reporter
//	               4   bits of the endpoints that were probed
//	               4   bits of those that answered: a part of them
//	               4   shortest round trip, µs; 0: unknown
//	             8   first bytes of the hash of its geo database; zero: none
//	             4   when that was built, seconds since 2020-01-01
const (
	// MaxReports is the most reports in one health entry.
	MaxReports = 256
	// MaxProbes is the most probes in one report.
	MaxProbes = 64

	maxAddress = 255
)

func (c *TokenCreate) appendPayload(b []byte) ([]byte, error) {
	switch {
	case c.ID == TokenID{}:
		return b, fmt.Errorf("%w: token without an ID", ErrMalformed)
	case c.Expires <= 0 || c.Expires > maxTime:
		return b, fmt.Errorf("%w: time of expiry out of range", ErrMalformed)
	}
	b = append(append(b, c.ID[:]...), c.SecretHash[:]...)
	return appendText(binary.BigEndian.AppendUint64(b, uint64(c.Expires)), c.Name, 0)
}

func readTokenCreate(r *reader) *TokenCreate {
	c := &TokenCreate{ID: r.tokenID(), SecretHash: r.hash(), Expires: int64(r.uint64())}
	if c.Expires <= 0 || c.Expires > maxTime {
		r.fail("time of expiry out of range")
	}
	c.Name = r.text(0)
	return c
}

func (c *TokenRevoke) appendPayload(b []byte) ([]byte, error) {
	if c.ID == (TokenID{}) {
		return b, fmt.Errorf("%w: token without an ID", ErrMalformed)
	}
	return append(b, c.ID[:]...), nil
}

func (c *MemberJoin) appendPayload(b []byte) ([]byte, error) {
	switch {
	case c.ID == 0:
		return b, fmt.Errorf("%w: member 0", ErrMalformed)
	case c.Token == TokenID{}:
		return b, fmt.Errorf("%w: token without an ID", ErrMalformed)
	case c.KeyHash == KeyHash{}:
		return b, fmt.Errorf("%w: member without a key", ErrMalformed)
	case c.Address == "":
		return b, fmt.Errorf("%w: member without an address", ErrMalformed)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(c.ID))
	b = append(append(b, c.Token[:]...), c.KeyHash[:]...)
	b = binary.BigEndian.AppendUint16(b, c.Feature)
	b, err := appendText(b, c.Name, 1)
	if err != nil {
		return b, err
	}
	if b, err = appendAddress(b, c.Address); err != nil {
		return b, err
	}
	if b, err = appendText(b, c.Version, 0); err != nil {
		return b, err
	}
	return appendEndpoints(b, c.Endpoints)
}

func readMemberJoin(r *reader) *MemberJoin {
	c := &MemberJoin{ID: r.member(), Token: r.tokenID(), KeyHash: r.hash(), Feature: r.uint16()}
	c.Name, c.Address, c.Version = r.text(1), r.hostPort(), r.text(0)
	c.Endpoints = readEndpoints(r)
	if c.KeyHash == (KeyHash{}) || c.Address == "" {
		r.fail("member without a key or an address")
	}
	return c
}

func (c *MemberUp) appendPayload(b []byte) ([]byte, error) {
	if c.ID == 0 {
		return b, fmt.Errorf("%w: member 0", ErrMalformed)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(c.ID))
	b, err := appendText(b, c.Name, 1)
	if err != nil {
		return b, err
	}
	if b, err = appendText(b, c.Version, 0); err != nil {
		return b, err
	}
	if b, err = appendEndpoints(b, c.Endpoints); err != nil || c.Kind() == KindMemberUp {
		return b, err
	}
	if b, err = appendAddress(b, c.Address); err != nil {
		return b, err
	}
	if !c.Position.Valid() {
		return b, fmt.Errorf("%w: position is no unit vector", ErrMalformed)
	}
	return appendUnit(binary.BigEndian.AppendUint16(append(b, c.KeyHash[:]...), c.Feature), c.Position), nil
}

func readMemberUp(r *reader, k Kind) *MemberUp {
	c := &MemberUp{ID: r.member(), Name: r.text(1), Version: r.text(0)}
	c.Endpoints = readEndpoints(r)
	if k == KindMemberUp2 {
		c.Address, c.KeyHash, c.Feature, c.Position = r.hostPort(), r.hash(), r.uint16(), r.unit()
		if c.Kind() != k {
			r.fail("nothing about the cluster")
		}
	}
	return c
}

func (c *MemberRemove) appendPayload(b []byte) ([]byte, error) {
	if c.ID == 0 {
		return b, fmt.Errorf("%w: member 0", ErrMalformed)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(c.ID))
	if c.Force {
		return append(b, 1), nil
	}
	return append(b, 0), nil
}

func readMemberRemove(r *reader) *MemberRemove {
	c := &MemberRemove{ID: r.member()}
	switch r.byte() {
	case 0:
	case 1:
		c.Force = true
	default:
		r.fail("forced neither nor not")
	}
	return c
}

func (c *MemberDown) appendPayload(b []byte) ([]byte, error) {
	if why := c.check(); why != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, uint16(c.ID)), c.Epoch)
	b = binary.BigEndian.AppendUint16(append(b, byte(c.Cause)), uint16(len(c.Witnesses)))
	for _, w := range c.Witnesses {
		b = binary.BigEndian.AppendUint16(b, uint16(w))
	}
	return b, nil
}

func (c *MemberDown) check() string {
	switch {
	case c.ID == 0 || c.Epoch == 0:
		return "member or epoch 0"
	case c.Cause > DownStopped:
		return "unknown cause"
	case len(c.Witnesses) > MaxReports:
		return "too many witnesses"
	case c.Cause != DownLost && len(c.Witnesses) > 0:
		return "witnesses of something else than a loss"
	}
	for i, w := range c.Witnesses {
		if w == 0 || w == c.ID || i > 0 && w <= c.Witnesses[i-1] {
			return "witnesses are not other members, ascending"
		}
	}
	return ""
}

func readMemberDown(r *reader) *MemberDown {
	c := &MemberDown{ID: r.member(), Epoch: r.epoch(), Cause: DownCause(r.byte())}
	n := int(r.uint16())
	for range n {
		if r.bad != "" {
			return c
		}
		c.Witnesses = append(c.Witnesses, r.member())
	}
	if why := c.check(); why != "" {
		r.fail(why)
	}
	return c
}

func (c *Health) appendPayload(b []byte) ([]byte, error) {
	if len(c.Reports) > MaxReports {
		return b, fmt.Errorf("%w: %d reports, at most %d", ErrMalformed, len(c.Reports), MaxReports)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Reports)))
	for i := range c.Reports {
		h := &c.Reports[i]
		if i > 0 && h.Member <= c.Reports[i-1].Member {
			return b, fmt.Errorf("%w: report of member %d does not come after that of %d", ErrMalformed, h.Member, c.Reports[i-1].Member)
		}
		if why := h.check(); why != "" {
			return b, fmt.Errorf("report of member %d: %w: %s", h.Member, ErrMalformed, why)
		}
		b = h.Geo.append(h.append(b))
	}
	return b, nil
}

func readHealth(r *reader) *Health {
	c := new(Health)
	n := int(r.uint16())
	if n > MaxReports {
		r.fail("too many reports")
	}
	for i := 0; i < n && r.bad == ""; i++ {
		h := readReport(r)
		h.Geo = readGeoDatabase(r)
		if i > 0 && h.Member <= c.Reports[i-1].Member {
			r.fail("reports out of order")
		}
		c.Reports = append(c.Reports, h)
	}
	return c
}

func (g *GeoDatabase) append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, g.Hash[:]...), g.Built)
}

func readGeoDatabase(r *reader) GeoDatabase {
	var g GeoDatabase
	copy(g.Hash[:], r.take(len(g.Hash)))
	g.Built = r.uint32()
	return g
}

// check says what is wrong with a report, or "".
func (h *HealthReport) check() string {
	if h.Member == 0 || h.Epoch == 0 {
		return "member or epoch 0"
	}
	if len(h.Probes) > MaxProbes {
		return "too many probes"
	}
	for i := range h.Probes {
		p := &h.Probes[i]
		switch {
		case p.Member == 0 || p.Member == h.Member:
			return "probe of no other member"
		case i > 0 && p.Member <= h.Probes[i-1].Member:
			return "probes out of order"
		case p.Answered&^p.Asked != 0:
			return "an endpoint answered that was not asked"
		}
	}
	return ""
}

func (h *HealthReport) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(h.Member))
	b = binary.BigEndian.AppendUint16(b, h.Epoch)
	b = binary.BigEndian.AppendUint16(b, h.Load)
	b = binary.BigEndian.AppendUint16(b, h.CPU)
	b = binary.BigEndian.AppendUint64(b, h.RSS)
	b = binary.BigEndian.AppendUint32(b, h.PPS)
	b = binary.BigEndian.AppendUint32(b, h.Sessions)
	b = binary.BigEndian.AppendUint32(b, h.LogLag)
	b = binary.BigEndian.AppendUint64(b, h.DiskFree)
	b = append(b, byte(len(h.Probes)))
	for _, p := range h.Probes {
		b = binary.BigEndian.AppendUint16(b, uint16(p.Member))
		b = binary.BigEndian.AppendUint32(b, p.Asked)
		b = binary.BigEndian.AppendUint32(b, p.Answered)
		b = binary.BigEndian.AppendUint32(b, p.RTT)
	}
	return b
}

func readReport(r *reader) HealthReport {
	h := HealthReport{
		Member: r.member(), Epoch: r.epoch(), Load: r.uint16(), CPU: r.uint16(), RSS: r.uint64(),
		PPS: r.uint32(), Sessions: r.uint32(), LogLag: r.uint32(), DiskFree: r.uint64(),
	}
	n := int(r.byte())
	if n > MaxProbes {
		r.fail("too many probes")
	}
	for i := 0; i < n && r.bad == ""; i++ {
		h.Probes = append(h.Probes, Probe{Member: r.member(), Asked: r.uint32(), Answered: r.uint32(), RTT: r.uint32()})
	}
	if why := h.check(); why != "" {
		r.fail(why)
	}
	return h
}

// checkAddress says what is wrong with a host:port in the log, or "".
func checkAddress(s string) string {
	at := strings.LastIndexByte(s, ':')
	if len(s) > maxAddress || at <= 0 {
		return "address is not host:port"
	}
	host, port := s[:at], s[at+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "address with a wrong port"
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return "address with an IPv6 host that is not in brackets"
	}
	if host == "" || strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '[' || c == ']' }) {
		return "address with a wrong host"
	}
	return ""
}

func appendAddress(b []byte, s string) ([]byte, error) {
	if s != "" {
		if why := checkAddress(s); why != "" {
			return b, fmt.Errorf("%q: %w: %s", s, ErrMalformed, why)
		}
	}
	return append(append(b, byte(len(s))), s...), nil
}

// hostPort reads a length byte and a host:port, or nothing.
func (r *reader) hostPort() string {
	s := string(r.take(int(r.byte())))
	if s != "" {
		if why := checkAddress(s); why != "" {
			r.fail(why)
		}
	}
	return s
}
