package pki

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Epoch is a life of a cluster. The first one, which init begins, is the zero value; each restore of the cluster from an
// archive, or from its last member, begins another.
//
// A certificate is of one epoch. Members of two epochs do not speak to each other; and since both trust the same CA, the
// certificate of the newer one proves to the older that its epoch is over. The newer one is that of the later restore,
// whatever the numbers: two restores from one archive have the same.
type Epoch struct {
	Number uint32  // restores that led to it
	ID     [8]byte // when it began, in seconds since 1970 (5 bytes), and 3 random bytes; zero in epoch 0
}

// Next returns an epoch that supersedes e.
func (e Epoch) Next(now time.Time) Epoch {
	next := Epoch{Number: e.Number + 1}
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(max(now.Unix(), 1)))
	copy(next.ID[:5], at[3:])
	_, _ = rand.Read(next.ID[5:]) // never fails
	if next.Compare(e) <= 0 {     // a clock that is behind
		binary.BigEndian.PutUint64(next.ID[:], binary.BigEndian.Uint64(e.ID[:])+1<<24)
	}
	return next
}

// Compare tells which of two epochs is the newer one, as [cmp.Compare] does.
func (e Epoch) Compare(o Epoch) int { return bytes.Compare(e.ID[:], o.ID[:]) }

// String returns "0", or the number, a dot and 16 hexadecimal digits.
func (e Epoch) String() string {
	if e == (Epoch{}) {
		return "0"
	}
	return strconv.FormatUint(uint64(e.Number), 10) + "." + hex.EncodeToString(e.ID[:])
}

// ParseEpoch is the reverse of [Epoch.String].
func ParseEpoch(s string) (e Epoch, err error) {
	number, id, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(number, 10, 32)
	if err == nil && len(id) == 2*len(e.ID) {
		e.Number = uint32(n)
		_, err = hex.Decode(e.ID[:], []byte(id))
	}
	if err != nil || e.String() != s {
		return Epoch{}, fmt.Errorf("epoch %q: want 0, or a number, a dot and 16 lower-case hexadecimal digits", clip(s))
	}
	return e, nil
}

// sameEpoch decides about a peer with a good certificate of another epoch than this member's own.
func sameEpoch(own Epoch, p Peer) error {
	switch p.Epoch.Compare(own) {
	case 1:
		return &Error{
			Err:  ErrSuperseded,
			Why:  fmt.Sprintf("this member is of epoch %v of the cluster, which is over: %v is of epoch %v", own, p, p.Epoch),
			Hint: "the cluster was restored: stop this member, empty its data directory, join again with a new token",
		}
	case -1:
		return &Error{
			Err:  ErrSuperseded,
			Why:  fmt.Sprintf("%v is of epoch %v of the cluster, which is over: this is epoch %v", p, p.Epoch, own),
			Hint: "the cluster was restored: stop that member, empty its data directory, join again with a new token",
		}
	}
	return nil
}
