package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
)

// One log entry. All numbers are big-endian.
//
//	offset size
//	0      1    version of the format: 1
//	1      1    kind
//	2      8    leader time, ms since 1970, stamped by the leader when it appends the entry
//	10     n    payload, by kind (codec_payload.go, codec_changes.go, codec_member.go)
//	10+n   4    CRC-32C of all bytes before it
//
// There is exactly one encoding of each command: anything else is refused, so that an entry can be compared, hashed
// and stored as bytes.
const (
	// EntryVersion is the version of the entry format that [AppendEntry] writes.
	EntryVersion = 1

	entryHeader  = 10
	entryTrailer = 4

	// MaxChanges is the most changes in one entry.
	MaxChanges = 1000
	// MaxAddresses is the most addresses in one keep-alive or expiry entry.
	MaxAddresses = 10_000
	// MaxEntry is the size that no entry exceeds, in bytes.
	MaxEntry = 128 << 10
)

var (
	// ErrDamaged is wrapped when an entry or snapshot is not what was written: its checksum does not match.
	ErrDamaged = errors.New("damaged")
	// ErrTooNew is wrapped when an entry or snapshot is of a version or kind that this binary does not know.
	ErrTooNew = errors.New("written by a newer version of rootd; upgrade this member")
	// ErrMalformed is wrapped when bytes with a good checksum do not have the one valid form.
	ErrMalformed = errors.New("malformed")
)

// Entry is a decoded log entry.
type Entry struct {
	Time    int64 // ms since 1970; 0: not stamped yet
	Command Command
}

// Encode returns the entry of a command, without a time: the leader stamps it with [Stamp].
func Encode(c Command) ([]byte, error) { return AppendEntry(nil, c) }

// AppendEntry appends the entry of a command to b. It refuses what [Decode] would refuse.
func AppendEntry(b []byte, c Command) ([]byte, error) {
	start := len(b)
	out := append(b, EntryVersion, byte(c.Kind()), 0, 0, 0, 0, 0, 0, 0, 0)
	out, err := c.appendPayload(out)
	if err != nil {
		return b, fmt.Errorf("encode %s entry: %w", c.Kind(), err)
	}
	if n := len(out) - start + entryTrailer; n > MaxEntry {
		return b, fmt.Errorf("encode %s entry: %w: %d bytes, at most %d", c.Kind(), ErrMalformed, n, MaxEntry)
	}
	return binary.BigEndian.AppendUint32(out, crc(out[start:])), nil
}

// Stamp writes the leader's time, in ms since 1970, into an entry made by [Encode], in place.
func Stamp(entry []byte, ms int64) {
	body := entry[:len(entry)-entryTrailer]
	binary.BigEndian.PutUint64(body[2:], uint64(ms))
	binary.BigEndian.PutUint32(entry[len(body):], crc(body))
}

// Decode reads an entry. The error wraps [ErrDamaged], [ErrTooNew] or [ErrMalformed]. Nothing in the result aliases b.
func Decode(b []byte) (Entry, error) {
	var d decoder
	return d.decode(b)
}

// Checker checks entries as [Decode] does, for callers that need no more than its error. The zero value is ready; any
// goroutine may use it. It keeps the memory of the largest entries: to decode each anew would cost more than all else that
// a leader does with an entry.
type Checker struct{ decoders sync.Pool }

// Check returns the error of Decode.
func (c *Checker) Check(b []byte) error {
	d, ok := c.decoders.Get().(*decoder)
	if !ok {
		d = new(decoder)
	}
	_, err := d.decode(b)
	c.decoders.Put(d)
	return err
}

// decoder decodes entries, using the memory of the last one for the next: what it returns is valid until then.
type decoder struct {
	changes  Changes
	handoffs Handoffs
}

func (d *decoder) decode(b []byte) (Entry, error) {
	kind, ms, payload, err := splitEntry(b)
	if err != nil {
		return Entry{}, err
	}
	r := reader{b: payload}
	var c Command
	switch kind {
	case KindBootstrap:
		c = readBootstrap(&r)
	case KindMemberUp, KindMemberUp2:
		c = readMemberUp(&r, kind)
	case KindChanges:
		d.changes = readChanges(&r, d.changes[:0])
		c = d.changes
	case KindKeepAlive:
		c = &KeepAlive{Addresses: readAddresses(&r)}
	case KindExpire:
		c = &Expire{Cutoff: r.uint32(), Addresses: readAddresses(&r)}
	case KindPlanet:
		c = readPlanet(&r)
	case KindSettings:
		c = readSetMany(&r)
	case KindSetting:
		c = &Set{Key: r.text(1), Value: r.text(0)}
	case KindTokenCreate:
		c = readTokenCreate(&r)
	case KindTokenRevoke:
		c = &TokenRevoke{ID: r.tokenID()}
	case KindMemberJoin:
		c = readMemberJoin(&r)
	case KindMemberRemove:
		c = readMemberRemove(&r)
	case KindHealth:
		c = readHealth(&r)
	case KindMemberDown:
		c = readMemberDown(&r)
	case KindHandoffs:
		d.handoffs = readHandoffs(&r, d.handoffs[:0])
		c = d.handoffs
	case KindMemberSet:
		c = readMemberSet(&r)
	case KindRoundTrips:
		c = readRoundTrips(&r)
	case KindOperate:
		c = readOperate(&r)
	case KindNewEpoch:
		c = readNewEpoch(&r)
	case KindBackup:
		c = readBackup(&r)
	case KindOperator:
		c = readOperator(&r)
	case KindRestore:
		c = readRestore(&r)
	}
	if err := r.end(); err != nil {
		return Entry{}, fmt.Errorf("%s entry: %w", kind, err)
	}
	return Entry{Time: ms, Command: c}, nil
}

// splitEntry checks everything about an entry but its payload.
func splitEntry(b []byte) (k Kind, ms int64, payload []byte, err error) {
	if len(b) < entryHeader+entryTrailer {
		return 0, 0, nil, fmt.Errorf("log entry of %d bytes: %w: too short", len(b), ErrDamaged)
	}
	body := b[:len(b)-entryTrailer]
	if got, want := crc(body), binary.BigEndian.Uint32(b[len(body):]); got != want {
		return 0, 0, nil, fmt.Errorf("log entry of %d bytes: %w: checksum %08x, expected %08x", len(b), ErrDamaged, got, want)
	}
	if v := body[0]; v != EntryVersion {
		return 0, 0, nil, fmt.Errorf("log entry of version %d: %w", v, ErrTooNew)
	}
	if k = Kind(body[1]); !k.known() {
		return 0, 0, nil, fmt.Errorf("log entry of kind %d: %w", k, ErrTooNew)
	}
	if ms = int64(binary.BigEndian.Uint64(body[2:])); ms < 0 || ms > maxTime {
		return 0, 0, nil, fmt.Errorf("%s entry: %w: time out of range", k, ErrMalformed)
	}
	if len(b) > MaxEntry {
		return 0, 0, nil, fmt.Errorf("%s entry: %w: %d bytes, at most %d", k, ErrMalformed, len(b), MaxEntry)
	}
	return k, ms, body[entryHeader:], nil
}

// maxTime is the latest time of an entry: the end of what 32 bits of seconds since table.Epoch can say.
const maxTime = (epochUnix + 1<<32 - 1) * 1000

// epochUnix is table.Epoch in seconds since 1970.
const epochUnix = 1_577_836_800

func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
