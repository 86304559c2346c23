package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ClusterID names a cluster for ever: 16 random bytes, made by init.
type ClusterID [16]byte

// ParseClusterID reads 32 hexadecimal digits.
func ParseClusterID(s string) (c ClusterID, err error) {
	if len(s) != 2*len(c) || s != strings.ToLower(s) {
		return c, fmt.Errorf("cluster ID %q: want %d lower-case hexadecimal digits", clip(s), 2*len(c))
	}
	if _, err := hex.Decode(c[:], []byte(s)); err != nil {
		return ClusterID{}, fmt.Errorf("cluster ID %q: want %d lower-case hexadecimal digits", clip(s), 2*len(c))
	}
	return c, nil
}

// String returns 32 hexadecimal digits.
func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// MemberID is the number of a member within its cluster. Zero is no member. Numbers are never used twice.
type MemberID uint16

// ParseMemberID reads a decimal number from 1 to 65535, without sign or leading zeros.
func ParseMemberID(s string) (MemberID, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("member ID %q: want a number from 1 to 65535", clip(s))
	}
	return MemberID(n), nil
}

// String returns the decimal number.
func (m MemberID) String() string { return strconv.Itoa(int(m)) }

// Member is what a certificate says about its owner.
type Member struct {
	Cluster ClusterID
	Epoch   Epoch // of the cluster
	ID      MemberID
	Name    string // as in the configuration; for people, never for decisions
}

// String returns "member 3 (ams1)".
func (m Member) String() string {
	if m.Name == "" {
		return "member " + m.ID.String()
	}
	return fmt.Sprintf("member %d (%s)", m.ID, m.Name)
}

// URI returns the name in certificates: rootd://CLUSTER/member/ID, or rootd://CLUSTER/epoch/EPOCH/member/ID if the cluster was
// restored.
func (m Member) URI() *url.URL {
	path := memberPath + m.ID.String()
	if m.Epoch != (Epoch{}) {
		path = epochPath + m.Epoch.String() + path
	}
	return &url.URL{Scheme: uriScheme, Host: m.Cluster.String(), Path: path}
}

const (
	uriScheme  = "rootd"
	memberPath = "/member/"
	epochPath  = "/epoch/"
	maxName    = 64 // bytes: what a common name may hold
)

// check complains about a member that cannot stand in a certificate.
func (m Member) check() error {
	switch {
	case m.ID == 0:
		return errors.New("no member ID")
	case m.Cluster == ClusterID{}:
		return errors.New("no cluster ID")
	case m.Name == "" || len(m.Name) > maxName:
		return fmt.Errorf("member name %q: want 1 to %d bytes", clip(m.Name), maxName)
	}
	for _, r := range m.Name {
		if r <= ' ' || r >= 0x7f {
			return fmt.Errorf("member name %q: want printable ASCII without spaces", clip(m.Name))
		}
	}
	return nil
}

// ParseMemberURI is the reverse of [Member.URI]. The name stays empty.
func ParseMemberURI(u *url.URL) (m Member, err error) {
	path := u.Path
	if rest, ok := strings.CutPrefix(path, epochPath); ok {
		epoch, id, _ := strings.Cut(rest, "/")
		if m.Epoch, err = ParseEpoch(epoch); err != nil {
			return Member{}, err
		}
		path = "/" + id
	}
	id, ok := strings.CutPrefix(path, memberPath)
	if !ok {
		return Member{}, fmt.Errorf("%q is not the URI of a member", clip(u.String()))
	}
	if m.Cluster, err = ParseClusterID(u.Host); err != nil {
		return Member{}, err
	}
	if m.ID, err = ParseMemberID(id); err != nil {
		return Member{}, err
	}
	if u.String() != m.URI().String() { // a user, port, query or fragment; another scheme or spelling
		return Member{}, fmt.Errorf("%q is not the URI of a member", clip(u.String()))
	}
	return m, nil
}

// Peer is a member, or an operator, whose certificate was verified.
type Peer struct {
	Member
	Operator string            // name of an operator, who is no member: the ID is 0; else empty
	Serial   string            // of the certificate, hexadecimal
	KeyHash  [sha256.Size]byte // SHA-256 of the public key (PKIX form): stays the same when the certificate is renewed
	NotAfter time.Time         // when the certificate expires
	CA       Fingerprint       // of the authority that signed it
}

// peerOf reads what the certificate says. It verifies nothing.
func peerOf(cert *x509.Certificate) (Peer, error) {
	if len(cert.URIs) != 1 || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) != 0 {
		return Peer{}, errors.New("certificate does not name a member, and nothing else")
	}
	m, err := ParseMemberURI(cert.URIs[0])
	if err != nil {
		return Peer{}, err
	}
	m.Name = cert.Subject.CommonName
	if err := m.check(); err != nil {
		return Peer{}, err
	}
	p := bare(cert)
	p.Member = m
	return p, nil
}

// bare is what a certificate says of its owner besides who that is.
func bare(cert *x509.Certificate) Peer {
	return Peer{Serial: cert.SerialNumber.Text(16), KeyHash: sha256.Sum256(cert.RawSubjectPublicKeyInfo), NotAfter: cert.NotAfter}
}

// String names the member or operator.
func (p Peer) String() string {
	if p.Operator != "" {
		return "operator " + p.Operator
	}
	return p.Member.String()
}

// clusterOf reads the cluster that a CA's certificate is of.
func clusterOf(ca *x509.Certificate) (ClusterID, error) {
	if len(ca.URIs) != 1 || ca.URIs[0].String() != uriScheme+"://"+ca.URIs[0].Host {
		return ClusterID{}, errors.New("certificate does not name a cluster")
	}
	return ParseClusterID(ca.URIs[0].Host)
}

// clip shortens text of unknown origin for an error.
func clip(s string) string {
	const most = 96
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
