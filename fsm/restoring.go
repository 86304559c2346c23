package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/rootd/rootd/fsm/table"
)

// ErrRestoring is wrapped by refusals of a step of a restore, and of Raft's snapshots while one goes on.
var ErrRestoring = errors.New("restore")

// RestoreID names one restore: random, not zero.
type RestoreID = [8]byte

// Restore is one step of bringing the peers and settings of an archive back into a running cluster. The log itself carries the
// archive: so all members have it at the same entry, whoever leads, whatever crashes; and until the last step nothing has changed.
//
// Begin makes room beside the present peers, Part fills it, in any order, and End puts it in place of the present peers and
// settings, if count and sum are right. Entries in between act on the present state, as ever. Abandon gives up; so does a new
// Begin, and a minute without a step. Membership, tokens, planet and whatever else is of the running cluster stays: an attachment that comes
// back counts if its member still lives the life that it had then.
type Restore struct {
	ID   RestoreID
	Step RestoreStep
	// Peers is how many there are, of Begin and End.
	Peers uint64
	// Settings are those that were set, ascending by key, of Begin. The cluster's feature level stays.
	Settings []KeyValue
	// Seq numbers a Part, from 0. The same part again changes nothing.
	Seq uint32
	// Records are the peers of a Part: 1 to MaxRestoreRecords.
	Records []table.Record
	// Sum is that of all peers, of End: [State.PeersSum].
	Sum [16]byte
}

// RestoreStep is a step of a restore. The numbers are part of the log format.
type RestoreStep uint8

// The steps.
const (
	RestoreBegin   RestoreStep = 1
	RestorePart    RestoreStep = 2
	RestoreEnd     RestoreStep = 3
	RestoreAbandon RestoreStep = 4
)

const (
	// MaxRestoreRecords is the most peers in one part.
	MaxRestoreRecords = 800

	maxRestoreParts = 1 << 20
	// restorePatience is for how long a restore may rest before it is given up, in ms of the log's time.
	restorePatience = 60_000
)

// staged is a restore that goes on. It belongs to the goroutine that applies, and is in no snapshot: there is none meanwhile.
type staged struct {
	id       RestoreID
	at       int64 // of the last step
	settings Settings
	peers    *table.Table
	sum      sum
	count    uint64
	seen     []uint64 // bits: parts that are there
}

// Kind implements [Command].
func (*Restore) Kind() Kind { return KindRestore }

// PeersSum returns the sum over all peers: equal for equal peers, whatever their order.
func (s *State) PeersSum() [16]byte { return [16]byte(s.sum.append(nil)) }

// Restoring reports whether a restore goes on. For the goroutine that applies, and while it rests.
func (f *FSM) Restoring() bool { return f.staged != nil }

// RestoredAt returns the index of the entry that put the last restore in place; 0 if there was none since the snapshot that the state began
// with. Any goroutine.
func (f *FSM) RestoredAt() uint64 { return f.restoredAt.Load() }

func (f *FSM) restoreStep(c *Restore) error {
	s := f.staged
	if c.Step != RestoreBegin && (s == nil || s.id != c.ID) {
		return fmt.Errorf("%w: it was given up, or another one has begun", ErrRestoring)
	}
	switch c.Step {
	case RestoreBegin:
		return f.restoreBegin(c)
	case RestorePart:
		s.at = f.st.Time
		return f.restorePart(c)
	case RestoreEnd:
		return f.restoreEnd(c)
	}
	f.dropStaged()
	return nil
}

func (f *FSM) restoreBegin(c *Restore) error {
	err := f.st.checkKeys(c.Settings)
	if err != nil {
		return err
	}
	next := DefaultSettings()
	const level = "feature_level" // stays as it is in the running cluster
	isLevel := func(kv KeyValue) bool { return kv.Key == level }
	all := slices.DeleteFunc(slices.Clone(c.Settings), isLevel)
	if i := slices.IndexFunc(f.st.Settings.explicit, isLevel); i >= 0 {
		all = append(all, f.st.Settings.explicit[i])
	}
	for _, kv := range all {
		if next, err = next.With(kv.Key, kv.Value); err != nil {
			return err
		}
	}
	if err := next.check(); err != nil {
		return err
	}
	if c.Peers > uint64(next.MaxPeers) {
		return fmt.Errorf("%w: %d peers, the setting max_peers allows %d", ErrRestoring, c.Peers, next.MaxPeers)
	}
	f.dropStaged()
	o := f.opts.Table
	o.Capacity = int(c.Peers)
	peers, err := table.New(o)
	if err != nil {
		f.st.Halted = fmt.Sprintf("make room for a restore: %v", err) // others may have it
		return nil
	}
	f.staged = &staged{id: c.ID, at: f.st.Time, settings: next, peers: peers}
	return nil
}

func (f *FSM) restorePart(c *Restore) error {
	s := f.staged
	word, bit := int(c.Seq/64), uint64(1)<<(c.Seq%64)
	for len(s.seen) <= word {
		s.seen = append(s.seen, 0)
	}
	if s.seen[word]&bit != 0 {
		return nil
	}
	s.seen[word] |= bit
	for i := range c.Records {
		r := &c.Records[i]
		if err := s.peers.Put(r); err != nil {
			f.noMemory(r.Address, err)
			return nil
		}
		s.sum.add(r)
	}
	s.count += uint64(len(c.Records))
	return nil
}

func (f *FSM) restoreEnd(c *Restore) error {
	s := f.staged
	if got := [16]byte(s.sum.append(nil)); s.count != c.Peers || uint64(s.peers.Len()) != c.Peers || got != c.Sum {
		f.dropStaged()
		return fmt.Errorf("%w: %d peers with sum %x have arrived, %d with sum %x were sent", ErrRestoring, s.count, got, c.Peers, c.Sum)
	}
	// The old table is not closed: whoever still reads it finds every peer.
	f.st.peers, f.st.sum, f.st.Peers, f.st.Settings = s.peers, s.sum, int(c.Peers), s.settings
	f.st.Cluster.Restored = f.st.Time
	f.staged = nil
	f.restoredAt.Store(f.at)
	return nil
}

// dropStaged gives up the restore that goes on.
func (f *FSM) dropStaged() {
	if f.staged != nil {
		_ = f.staged.peers.Close()
		f.staged = nil
	}
}

// impatience gives up a restore that rests for too long: whoever sent it is gone.
func (f *FSM) impatience() {
	if s := f.staged; s != nil && f.st.Time-s.at > restorePatience {
		f.dropStaged()
	}
}

func (c *Restore) appendPayload(b []byte) ([]byte, error) {
	if c.ID == (RestoreID{}) {
		return b, fmt.Errorf("%w: restore without an ID", ErrMalformed)
	}
	b = append(append(b, c.ID[:]...), byte(c.Step))
	switch c.Step {
	case RestoreBegin:
		if c.Peers > maxRestoreParts*MaxRestoreRecords || len(c.Settings) > 0xffff {
			return b, fmt.Errorf("%w: restore of %d peers", ErrMalformed, c.Peers)
		}
		b = binary.BigEndian.AppendUint64(b, c.Peers)
		b = binary.BigEndian.AppendUint16(b, uint16(len(c.Settings)))
		var err error
		for i, kv := range c.Settings {
			if i > 0 && kv.Key <= c.Settings[i-1].Key {
				return b, fmt.Errorf("%w: settings out of order", ErrMalformed)
			}
			if b, err = appendText(b, kv.Key, 1); err == nil {
				b, err = appendText(b, kv.Value, 1)
			}
			if err != nil {
				return b, err
			}
		}
	case RestorePart:
		if len(c.Records) == 0 || len(c.Records) > MaxRestoreRecords || c.Seq >= maxRestoreParts {
			return b, fmt.Errorf("%w: part %d of %d records", ErrMalformed, c.Seq, len(c.Records))
		}
		b = binary.BigEndian.AppendUint32(b, c.Seq)
		b = binary.BigEndian.AppendUint16(b, uint16(len(c.Records)))
		for i := range c.Records {
			b = appendRecord(b, &c.Records[i])
		}
	case RestoreEnd:
		b = append(binary.BigEndian.AppendUint64(b, c.Peers), c.Sum[:]...)
	case RestoreAbandon:
	default:
		return b, fmt.Errorf("%w: unknown step of a restore", ErrMalformed)
	}
	return b, nil
}

func readRestore(r *reader) *Restore {
	c := new(Restore)
	copy(c.ID[:], r.take(len(c.ID)))
	if c.Step = RestoreStep(r.byte()); c.ID == (RestoreID{}) {
		r.fail("restore without an ID")
	}
	switch c.Step {
	case RestoreBegin:
		if c.Peers = r.uint64(); c.Peers > maxRestoreParts*MaxRestoreRecords {
			r.fail("restore of too many peers")
		}
		for n := int(r.uint16()); n > 0 && r.bad == ""; n-- {
			kv := KeyValue{r.text(1), r.text(1)}
			if k := len(c.Settings); k > 0 && kv.Key <= c.Settings[k-1].Key {
				r.fail("settings out of order")
			}
			c.Settings = append(c.Settings, kv)
		}
	case RestorePart:
		if c.Seq = r.uint32(); c.Seq >= maxRestoreParts {
			r.fail("part out of range")
		}
		c.Records = readRecords(r, int(r.uint16()))
	case RestoreEnd:
		c.Peers = r.uint64()
		copy(c.Sum[:], r.take(len(c.Sum)))
	case RestoreAbandon:
	default:
		r.fail("unknown step of a restore")
	}
	return c
}

// readRecords reads n records in their one valid form.
func readRecords(r *reader, n int) []table.Record {
	if n == 0 || n > MaxRestoreRecords || len(r.b) != n*recordSize {
		r.fail("records do not fill the part")
		return nil
	}
	records := make([]table.Record, n)
	for i := range records {
		if why := readRecord(r.take(recordSize), &records[i]); why != "" {
			r.fail(why)
			return nil
		}
	}
	return records
}
