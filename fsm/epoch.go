package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/rootd/rootd/fsm/table"
)

// ErrEpochOld refuses a [NewEpoch] that is not newer than the present one.
var ErrEpochOld = errors.New("the epoch is not newer than the cluster's")

// Epoch is a life of the cluster: the zero value until it is restored for the first time. Members of two epochs do not speak to
// each other (package pki, which has the same type, says how they know).
type Epoch struct {
	Number uint32  // restores that led to it, for people
	ID     [8]byte // when it began, and chance; greater IDs are newer
}

// String returns "0", or the number, a dot and 16 hexadecimal digits.
func (e Epoch) String() string {
	if e == (Epoch{}) {
		return "0"
	}
	return strconv.FormatUint(uint64(e.Number), 10) + "." + hex.EncodeToString(e.ID[:])
}

// Began returns when the epoch began, by the clock of whoever restored the cluster, in ms since 1970; 0: it is the first.
func (e Epoch) Began() int64 {
	var b [8]byte
	copy(b[3:], e.ID[:5])
	return 1000 * int64(binary.BigEndian.Uint64(b[:]))
}

// NewEpoch begins another epoch of a cluster that is restored on new machines, or from its last member. It is not proposed to a
// running cluster: whoever restores applies it to the state before the first start.
//
// From it on the cluster has one member. All others are removed, their keys revoked, their IDs taken; so whatever is attached to
// them is stale. Tokens end. Peers, settings, planet and former members stay. A member with the ID and the key stays the same member.
type NewEpoch struct {
	Epoch     Epoch            // newer than the present one
	ID        table.MemberID   // of the member; not 0
	Name      string           // as in [MemberJoin], also what follows
	Address   string           //
	Endpoints []netip.AddrPort //
	KeyHash   KeyHash          //
	Version   string           //
	Feature   uint16           //
}

// Kind implements [Command].
func (*NewEpoch) Kind() Kind { return KindNewEpoch }

func (f *FSM) newEpoch(c *NewEpoch) error {
	st := &f.st
	m := Member{ID: c.ID, Status: StatusJoining, Joined: st.Time}
	held, again := st.Member(c.ID)
	switch {
	case bytes.Compare(c.Epoch.ID[:], st.Cluster.Epoch.ID[:]) <= 0 || c.Epoch.Number <= st.Cluster.Epoch.Number:
		return fmt.Errorf("%w: %v, after %v", ErrEpochOld, c.Epoch, st.Cluster.Epoch)
	case st.IsRemoved(c.ID) || st.IsRevoked(c.KeyHash):
		return ErrMemberRemoved
	case again && held.KeyHash != c.KeyHash:
		return fmt.Errorf("%w: %d", ErrMemberID, c.ID)
	case again:
		m = *held
		if m.Status != StatusJoining {
			m.Status, m.Epoch = StatusDown, nextEpoch(m.Epoch)
		}
		m.Health, m.LastReport = nil, 0
	}
	if other, ok := st.MemberByKeyHash(c.KeyHash); ok && other.ID != c.ID {
		return fmt.Errorf("%w: %s", ErrMemberKey, other.Name)
	}
	v4, _ := st.PublishedEndpoint(&m, false)
	v6, _ := st.PublishedEndpoint(&m, true)
	m.Name, m.Address, m.Endpoints, m.KeyHash, m.Version, m.Feature = c.Name, c.Address, c.Endpoints, c.KeyHash, c.Version, c.Feature
	st.published(&m, v4, v6)
	st.Removed = slices.Clone(st.Removed)
	for i := range st.Members {
		o := &st.Members[i]
		if at, _ := removedIndex(st.Removed, o.ID); o.ID != c.ID {
			st.Removed = slices.Insert(st.Removed, at, Removed{ID: o.ID, Name: o.Name, KeyHash: o.KeyHash, At: st.Time})
		}
	}
	st.Members, st.Tokens, st.Operators, st.HealthTime = []Member{m}, nil, nil, 0
	st.Operation.Over = st.Operation.ID != OperationID{} // its tool knew the members of before
	st.RTTs = st.RTTs.only(st.Members)
	st.Cluster.Epoch, st.Cluster.Restored = c.Epoch, st.Time
	return nil
}

func (c *NewEpoch) appendPayload(b []byte) ([]byte, error) {
	switch {
	case c.ID == 0:
		return b, fmt.Errorf("%w: member 0", ErrMalformed)
	case c.KeyHash == KeyHash{}:
		return b, fmt.Errorf("%w: member without a key", ErrMalformed)
	case c.Epoch.Number == 0 || c.Epoch.ID == [8]byte{}:
		return b, fmt.Errorf("%w: epoch 0 is the first", ErrMalformed)
	}
	b = binary.BigEndian.AppendUint32(b, c.Epoch.Number)
	b = append(b, c.Epoch.ID[:]...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(c.ID)), c.KeyHash[:]...)
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

func readNewEpoch(r *reader) *NewEpoch {
	c := &NewEpoch{Epoch: readEpoch(r)}
	if c.Epoch.Number == 0 || c.Epoch.ID == [8]byte{} {
		r.fail("epoch 0 is the first")
	}
	if c.ID, c.KeyHash = r.member(), r.hash(); c.KeyHash == (KeyHash{}) {
		r.fail("member without a key")
	}
	c.Feature = r.uint16()
	c.Name, c.Address, c.Version = r.text(1), r.hostPort(), r.text(0)
	c.Endpoints = readEndpoints(r)
	return c
}

func readEpoch(r *reader) (e Epoch) {
	e.Number = r.uint32()
	copy(e.ID[:], r.take(len(e.ID)))
	return e
}

// Contents returns the hash of what a restore brings back whatever the machines: all peers, the root, the cluster's ID and
// name, the settings, and which planet it is. It is SHA-256 over
//
//	16  "rootd contents 2"
//	16  sum over all peers, then 8: number of peers
//	..  cluster ID (16), address (5) and key (64) of the root, text: name
//	72  ID of the planet (8) and the key that signs it (64); zero: none
//	2   number of settings that were set, then for each: text: key, text: value
func (s *State) Contents() Hash {
	b := s.sum.append([]byte("rootd contents 2"))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Peers))
	b = append(b, s.Cluster.ID[:]...)
	b = append(s.Cluster.Root.Address.Append(b), s.Cluster.Root.Key[:]...)
	b = append(append(b, byte(len(s.Cluster.Name))), s.Cluster.Name...)
	if s.Planet != nil {
		b = binary.BigEndian.AppendUint64(b, s.Planet.World.ID)
		b = append(b, s.Planet.World.UpdateKey[:]...)
	} else {
		b = append(b, make([]byte, 72)...)
	}
	return sha256.Sum256(appendSettings(b, &s.Settings, snapshotVersion))
}
