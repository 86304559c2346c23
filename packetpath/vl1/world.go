package vl1

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Limits of a world, in clients too.
const (
	MaxRoots     = 4
	MaxEndpoints = 32 // of one root
	MaxWorldLen  = 178 + MaxRoots*(IdentityLen+1+MaxEndpoints*maxEndpointLen) + 2 + 0xffff
)

// World IDs in public use, which an own planet must not have.
const (
	WorldIDEarth uint64 = 149604618
	WorldIDMars  uint64 = 227883110
)

// ErrWorld is wrapped by every error about a malformed or unacceptable world.
var ErrWorld = errors.New("bad world definition")

// WorldType tells planets from moons.
type WorldType uint8

// The types of worlds.
const (
	WorldNull   WorldType = 0
	WorldPlanet WorldType = 1
	WorldMoon   WorldType = 127
)

// String returns "planet", "moon", or the number.
func (t WorldType) String() string {
	switch t {
	case WorldPlanet:
		return "planet"
	case WorldMoon:
		return "moon"
	}
	return fmt.Sprintf("world type %d", uint8(t))
}

// Root is one root identity of a world and where it can be reached.
type Root struct {
	Identity  Identity
	Endpoints []netip.AddrPort // at most MaxEndpoints; order matters, see [Interleave]
}

// World is a planet or moon: the roots clients use, signed. A planet or moon file and the worlds
// inside an OK to a HELLO are exactly this:
//
//	  0   1  type
//	  1   8  ID
//	  9   8  timestamp
//	 17  64  key that must sign the next update
//	 81  96  signature
//	177   1  number of roots, at most 4
//	178   …  each: identity (71), number of endpoints (1), endpoints (7 or 19)
//	  +   2  moons only: length of the dictionary
//	  +   …  dictionary
type World struct {
	Type       WorldType
	ID         uint64
	Timestamp  uint64    // milliseconds since 1970; the version
	UpdateKey  PublicKey // must sign the next update
	Signature  Signature
	Roots      []Root
	Dictionary []byte // moons only, usually empty
}

const (
	offWorldSignature = 81
	offWorldRoots     = offWorldSignature + SignatureLen
)

// DecodeWorld reads the world at the start of b and returns the number of bytes read. The result
// does not alias b. The signature is not verified.
func DecodeWorld(b []byte) (*World, int, error) {
	w, n, err := decodeWorld(b)
	if err != nil {
		return nil, 0, fmt.Errorf("world definition of %d bytes: %w: %w", len(b), err, ErrWorld)
	}
	return w, n, nil
}

func decodeWorld(b []byte) (*World, int, error) {
	if len(b) <= offWorldRoots {
		return nil, 0, ErrShort
	}
	w := &World{
		Type:      WorldType(b[0]),
		ID:        binary.BigEndian.Uint64(b[1:]),
		Timestamp: binary.BigEndian.Uint64(b[9:]),
		UpdateKey: PublicKey(b[17:offWorldSignature]),
		Signature: Signature(b[offWorldSignature:offWorldRoots]),
	}
	if w.Type != WorldPlanet && w.Type != WorldMoon {
		return nil, 0, fmt.Errorf("neither planet nor moon (type %d)", b[0])
	}
	roots := int(b[offWorldRoots])
	if roots > MaxRoots {
		return nil, 0, fmt.Errorf("%d roots, at most %d are possible", roots, MaxRoots)
	}
	at := offWorldRoots + 1
	for range roots {
		r, n, err := decodeRoot(b[at:])
		if err != nil {
			return nil, 0, err
		}
		w.Roots = append(w.Roots, r)
		at += n
	}
	if w.Type == WorldMoon {
		if len(b) < at+2 {
			return nil, 0, ErrShort
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		at += 2
		if len(b) < at+n {
			return nil, 0, ErrShort
		}
		w.Dictionary = append(w.Dictionary, b[at:at+n]...)
		at += n
	}
	return w, at, nil
}

func decodeRoot(b []byte) (Root, int, error) {
	id, at, err := DecodeIdentity(b)
	if err != nil {
		return Root{}, 0, err
	}
	if len(b) == at {
		return Root{}, 0, ErrShort
	}
	n := int(b[at])
	at++
	if n > MaxEndpoints {
		return Root{}, 0, fmt.Errorf("root %s has %d endpoints, at most %d are possible", id.Address, n, MaxEndpoints)
	}
	r := Root{Identity: id}
	for range n {
		ap, size, err := DecodeEndpoint(b[at:])
		if err == nil && !ap.IsValid() {
			err = ErrEndpoint
		}
		if err != nil {
			return Root{}, 0, fmt.Errorf("root %s: %w", id.Address, err)
		}
		r.Endpoints = append(r.Endpoints, ap)
		at += size
	}
	return r, at, nil
}

// Check reports what makes the world unlawful: its type, too many roots or endpoints, reserved
// addresses, invalid endpoints, a root listed twice. The error wraps ErrWorld.
func (w *World) Check() error {
	if w.Type != WorldPlanet && w.Type != WorldMoon {
		return fmt.Errorf("neither planet nor moon (type %d): %w", uint8(w.Type), ErrWorld)
	}
	if len(w.Roots) > MaxRoots {
		return fmt.Errorf("%d roots, at most %d are possible: %w", len(w.Roots), MaxRoots, ErrWorld)
	}
	if len(w.Dictionary) > 0 && (w.Type != WorldMoon || len(w.Dictionary) > 0xffff) {
		return fmt.Errorf("dictionary of %d bytes in a %s: %w", len(w.Dictionary), w.Type, ErrWorld)
	}
	seen := make(map[Address]bool, len(w.Roots))
	for _, r := range w.Roots {
		a := r.Identity.Address
		if a.Reserved() || seen[a] {
			return fmt.Errorf("root %s is reserved or listed twice: %w", a, ErrWorld)
		}
		seen[a] = true
		if len(r.Endpoints) > MaxEndpoints {
			return fmt.Errorf("root %s has %d endpoints, at most %d are possible: %w", a, len(r.Endpoints), MaxEndpoints, ErrWorld)
		}
		for _, ap := range r.Endpoints {
			if !ap.IsValid() {
				return fmt.Errorf("root %s has an invalid endpoint: %w", a, ErrWorld)
			}
		}
	}
	return nil
}

// AppendBinary appends the serialized world. The world must be lawful, see [World.Check].
func (w *World) AppendBinary(b []byte) []byte { return w.append(b, true) }

func (w *World) append(b []byte, withSignature bool) []byte {
	b = append(b, byte(w.Type))
	b = binary.BigEndian.AppendUint64(b, w.ID)
	b = binary.BigEndian.AppendUint64(b, w.Timestamp)
	b = append(b, w.UpdateKey[:]...)
	if withSignature {
		b = append(b, w.Signature[:]...)
	}
	b = append(b, byte(len(w.Roots)))
	for _, r := range w.Roots {
		b = r.Identity.AppendBinary(b)
		b = append(b, byte(len(r.Endpoints)))
		for _, ap := range r.Endpoints {
			b = AppendEndpoint(b, ap)
		}
	}
	if w.Type == WorldMoon {
		b = binary.BigEndian.AppendUint16(b, uint16(len(w.Dictionary)))
		b = append(b, w.Dictionary...)
	}
	return b
}

// SignedContent returns what the signature is over: the world without it, between eight bytes 0x7f
// and eight bytes 0xf7.
func (w *World) SignedContent() []byte {
	b := []byte{0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f}
	b = w.append(b, false)
	return append(b, 0xf7, 0xf7, 0xf7, 0xf7, 0xf7, 0xf7, 0xf7, 0xf7)
}

// Sign signs the world: a first one with the key it names as UpdateKey, an update with the key that
// the world before it names.
func (w *World) Sign(k *SigningKey) { w.Signature = k.Sign(w.SignedContent()) }

// Verify reports whether the world is signed by the owner of the key.
func (w *World) Verify(by *PublicKey) bool { return by.Verify(w.SignedContent(), &w.Signature) }

// ReplacedBy reports why clients that hold w would not accept next in its place, nil if they do: it
// must have the same type and ID, be newer, and be signed with the update key of w. The error wraps
// ErrWorld.
func (w *World) ReplacedBy(next *World) error {
	switch {
	case next.Type != w.Type:
		return fmt.Errorf("update is a %s, not a %s: %w", next.Type, w.Type, ErrWorld)
	case next.ID != w.ID:
		return fmt.Errorf("update has world ID %d, not %d: %w", next.ID, w.ID, ErrWorld)
	case next.Timestamp <= w.Timestamp:
		return fmt.Errorf("update has timestamp %d, not later than %d: %w", next.Timestamp, w.Timestamp, ErrWorld)
	case !next.Verify(&w.UpdateKey):
		return fmt.Errorf("update is not signed with the update key of the world it shall replace: %w", ErrWorld)
	}
	return nil
}

// Interleave returns the endpoints with both IP families spread evenly, IPv4 first, each in its
// given order. Clients start at a random place of the list and take the first endpoint of the family
// they need, so an endpoint gets the clients of all entries of the other family before it.
func Interleave(endpoints []netip.AddrPort) []netip.AddrPort {
	var v4, v6 []netip.AddrPort
	for _, ap := range endpoints {
		if ap.Addr().Is4() {
			v4 = append(v4, ap)
		} else {
			v6 = append(v6, ap)
		}
	}
	out := make([]netip.AddrPort, 0, len(endpoints))
	for n4, n6 := 0, 0; n4+n6 < len(endpoints); {
		if n6 == len(v6) || n4 < len(v4) && n4*len(v6) <= n6*len(v4) {
			out = append(out, v4[n4])
			n4++
		} else {
			out = append(out, v6[n6])
			n6++
		}
	}
	return out
}
