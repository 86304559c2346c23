package fsm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

var (
	// ErrBootstrapped refuses a second [Bootstrap].
	ErrBootstrapped = errors.New("the cluster is bootstrapped already")
	// ErrNotBootstrapped refuses every command before [Bootstrap].
	ErrNotBootstrapped = errors.New("the cluster is not bootstrapped yet")
	// ErrPlanet is wrapped by refusals of a [PublishPlanet].
	ErrPlanet = errors.New("planet refused")
	// ErrHalted is wrapped by the answer to every entry once the state machine has halted; see [State.Halted].
	ErrHalted = errors.New("this member has stopped applying the log")
)

// apply applies one entry to f.st.
func (f *FSM) apply(data []byte) Response {
	e, err := f.dec.decode(data)
	switch {
	case errors.Is(err, ErrMalformed):
		f.st.Counters.Refused++
		return Response{Err: err}
	case err != nil:
		f.st.Halted = err.Error()
		return Response{Err: err}
	}
	f.st.Time = max(f.st.Time, e.Time)
	resp := f.command(e.Command)
	switch {
	case f.st.Halted != "":
		return Response{Err: fmt.Errorf("%w: %s", ErrHalted, f.st.Halted)}
	case resp.Err != nil:
		f.st.Counters.Refused++
	}
	return resp
}

func (f *FSM) command(c Command) Response {
	if b, ok := c.(*Bootstrap); ok {
		return Response{Err: f.bootstrap(b)}
	}
	if !f.st.Cluster.Bootstrapped() {
		return Response{Err: ErrNotBootstrapped}
	}
	switch c := c.(type) {
	case *MemberUp:
		epoch, err := f.memberUp(c)
		return Response{Epoch: epoch, Err: err}
	case *MemberJoin:
		id, err := f.memberJoin(c)
		return Response{Member: id, Err: err}
	case *MemberRemove:
		return Response{Err: f.memberRemove(c)}
	case *MemberDown:
		return Response{Err: f.memberDown(c)}
	case *Health:
		f.health(c)
	case *TokenCreate:
		return Response{Err: f.tokenCreate(c)}
	case *TokenRevoke:
		return Response{Err: f.tokenRevoke(c)}
	case *RoundTrips:
		return Response{Err: f.roundTrips(c)}
	case *NewEpoch:
		return Response{Err: f.newEpoch(c)}
	case *Backup:
		f.backup(c)
	case *SetOperator:
		return Response{Err: f.setOperator(c)}
	case *Restore:
		return Response{Err: f.restoreStep(c)}
	case *Operate:
		return Response{Err: f.operate(c)}
	case *MemberSet:
		return Response{Err: f.memberSet(c)}
	case Changes:
		f.changes(c)
	case Handoffs:
		f.handoffs(c)
	case *KeepAlive:
		f.keepAlive(c)
	case *Expire:
		f.expire(c)
	case *PublishPlanet:
		return Response{Err: f.planet(c.World)}
	case *Set:
		return Response{Err: f.set([]KeyValue{{c.Key, c.Value}})}
	case *SetMany:
		return Response{Err: f.setMany(c)}
	}
	return Response{}
}

func (f *FSM) bootstrap(c *Bootstrap) error {
	if f.st.Cluster.Bootstrapped() {
		return ErrBootstrapped
	}
	f.st.Cluster = ClusterInfo{ID: c.ID, Name: c.Name, Root: c.Root, Created: c.Created}
	return nil
}

func (f *FSM) planet(raw []byte) error {
	w, n, err := vl1.DecodeWorld(raw)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrPlanet, err)
	case n != len(raw):
		return fmt.Errorf("%w: %d bytes after its end", ErrPlanet, len(raw)-n)
	case w.Type != vl1.WorldPlanet:
		return fmt.Errorf("%w: it is not of type planet", ErrPlanet)
	}
	if held := f.st.Planet; held != nil {
		if err := held.World.ReplacedBy(w); err != nil {
			return fmt.Errorf("%w: %w", ErrPlanet, err)
		}
	}
	before := f.st.Planet
	f.st.Planet = &Planet{World: w, Raw: raw, Fingerprint: sha256.Sum256(raw)}
	members := slices.Clone(f.st.Members)
	for i := range members {
		m := &members[i]
		v4, _ := f.st.publishedIn(before, m, false)
		v6, _ := f.st.publishedIn(before, m, true)
		f.st.published(m, v4, v6)
	}
	f.st.Members = members
	return nil
}

// seen is the current time of the log as records have it.
func (f *FSM) seen() uint32 { return secondsSinceEpoch(f.st.Time) }

// secondsSinceEpoch turns ms since 1970 into seconds since table.Epoch.
func secondsSinceEpoch(ms int64) uint32 { return uint32(max(0, ms/1000-epochUnix)) }

func (f *FSM) changes(cs Changes) {
	seen := f.seen()
	f.as = f.as[:0]
	for i := range cs {
		f.as = append(f.as, cs[i].Address)
	}
	var at table.Cursor
	f.st.peers.Visit(&at, f.as)
	for i := range cs {
		f.change(&at, &cs[i], seen)
	}
}

// change applies one change of a peer. The rules, in order: the identity that came first wins; an attachment
// counts only in its member's current epoch; everything else replaces what was there.
func (f *FSM) change(at *table.Cursor, c *Change, seen uint32) {
	n := &f.st.Counters
	known := at.Next()
	switch {
	case known && !at.KeyBegins(c.keyBytes()):
		n.Collisions++
		return
	case known:
	case !c.HasKey:
		n.Unknown++
		return
	case f.st.Peers >= f.st.Settings.MaxPeers:
		n.Full++
		return
	default:
		f.st.Peers++
		n.Created++
	}
	n.Changes++
	w := at.Words()
	if !c.aside() {
		w.SetLastSeen(seen) // the log's time never goes back
	}
	if c.V4.IsValid() || c.V6.IsValid() {
		f.attach(at, c, seen)
	}
	if c.Protocol != 0 {
		w.SetSoftware(c.Protocol, c.Major, c.Minor, c.Revision)
	}
	if c.Planet != 0 {
		w.SetPlanet(c.Planet)
	}
	if c.HasPosition {
		w.SetPosition(c.Position, w.Flags()&^(geo.RadiusClasses-1)|c.Radius)
	}
	if known {
		f.update(at)
	} else if err := at.Insert(&c.Key); err != nil {
		f.noMemory(at.Address(), err)
	} else {
		f.st.sum.addPeer(at.Address(), &c.Key, w)
	}
}

// keyBytes is what the change says of the key.
func (c *Change) keyBytes() []byte {
	if c.HasKey {
		return c.Key[:]
	}
	return c.Key[:2]
}

// aside reports whether the change is no sign of life: it says only where a known peer is.
func (c *Change) aside() bool {
	return c.HasPosition && !c.HasKey && !c.V4.IsValid() && !c.V6.IsValid() && c.Protocol == 0 && c.Planet == 0
}

// attach sets the attachments that c brings, unless c's member has begun another life since.
func (f *FSM) attach(at *table.Cursor, c *Change, seen uint32) {
	if m, ok := f.st.Member(c.Member); !ok || m.Epoch != c.Epoch {
		f.st.Counters.Stale++
		return
	}
	w := at.Words()
	if c.V4.IsValid() {
		before, epoch := w.Attached(false)
		w.Attach4(c.V4, c.Member, c.Epoch)
		f.arrived(at, false, before, epoch == c.Epoch, seen)
	}
	if c.V6.IsValid() {
		before, epoch := w.Attached(true)
		w.Attach6(c.V6, c.Member, c.Epoch)
		f.arrived(at, true, before, epoch == c.Epoch, seen)
	}
}

// update stores what became of the known peer at hand.
func (f *FSM) update(at *table.Cursor) {
	changed, err := at.Store()
	if err != nil {
		f.noMemory(at.Address(), err)
		return
	}
	f.st.sum.replace(at.Address(), at.Held(), at.Words(), changed)
}

// noMemory halts: this member no longer has the state that the others have, and must not go on.
func (f *FSM) noMemory(a vl1.Address, err error) {
	f.st.Halted = fmt.Sprintf("store peer %s: %v", a, err)
}

func (f *FSM) keepAlive(c *KeepAlive) {
	seen := f.seen()
	var at table.Cursor
	f.st.peers.Visit(&at, c.Addresses)
	for range c.Addresses {
		if at.Next() && at.Words().LastSeen() < seen {
			at.Words().SetLastSeen(seen)
			f.update(&at)
		}
	}
}

func (f *FSM) expire(c *Expire) {
	var at table.Cursor
	f.st.peers.Visit(&at, c.Addresses)
	for range c.Addresses {
		switch {
		case !at.Next():
		case at.Held().LastSeen() >= c.Cutoff:
			f.st.Counters.Spared++
		default:
			at.Record(&f.rec)
			f.st.sum.remove(&f.rec)
			at.Delete()
			f.st.Peers--
			f.st.Counters.Expired++
		}
	}
}
