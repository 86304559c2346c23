package pki

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Epoch is a life of a cluster. The first one, which init begins, is the zero value; each restore of the cluster from an
// archive, or from its last member, begins the next: with a greater number, and an ID of its own, so that two restores from
// one archive are not taken for the same.
//
// A certificate is of one epoch. Members of two epochs do not speak to each other; and since both trust the same CA, the
// certificate of the newer one proves to the older that its epoch is over.
type Epoch struct {
	Number uint32
	ID     [8]byte // random; zero in epoch 0
}

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
func (v *Verifier) sameEpoch(own Epoch, p Peer) error {
	switch {
	case p.Epoch == own:
		return nil
	case p.Epoch.Number > own.Number:
		if v.o.Superseded != nil {
			v.o.Superseded(p)
		}
		return &Error{
			Err:  ErrSuperseded,
			Why:  fmt.Sprintf("this member is of epoch %v of the cluster, which is over: %v is of epoch %v", own, p, p.Epoch),
			Hint: "the cluster was restored: stop this member, empty its data directory, join again with a new token",
		}
	case p.Epoch.Number < own.Number:
		return &Error{
			Err:  ErrSuperseded,
			Why:  fmt.Sprintf("%v is of epoch %v of the cluster, which is over: this is epoch %v", p, p.Epoch, own),
			Hint: "the cluster was restored: stop that member, empty its data directory, join again with a new token",
		}
	}
	return untrusted(fmt.Sprintf("%v is of epoch %v of the cluster, this member of %v: it was restored twice, and only one of the two may go on", p, p.Epoch, own))
}
