package steer

import "github.com/rootd/rootd/geo"

// leastGeneric returns the square of the shortest chord from a place to those of the list, times 1<<32, and the index of the one that it leads
// to, the first of several. Which one that is cannot be foretold, so it is found without a branch. There must be one, and no length may be
// over longest.
func (l *list) leastGeneric(from *geo.Unit) uint64 {
	x, y, z := int64(from[0]), int64(from[1]), int64(from[2])
	least := ^uint64(0)
	for i := range l.at {
		c := &l.at[i]
		dx, dy, dz := int64(c[0])-x, int64(c[1])-y, int64(c[2])-z
		least = min(least, uint64(dx*dx+dy*dy+dz*dz)<<32|uint64(i))
	}
	return least
}

// chords are eight of these places, for the squares of the chords to all of them at once: they are the sum of the squares of both lengths, less
// twice the dot product, modulo 1<<32.
type chords struct {
	xy, z  [lanes]uint32 // coordinates of 16 bits: two, x below, and one
	square [lanes]uint32 // of the length
}

const (
	lanes = 8
	// longest is the greatest square of a length for which squares of chords fit into 32 bits: that of 32768, and unit vectors are shorter,
	// rounded as they are. No chord is over 65536 then; and none is that long, which only 32768 along an axis would be, in both
	// directions, and 16 bits have no such number but -32768.
	longest = 1 << 30
)

// squareOf is the square of the length.
func squareOf(u *geo.Unit) uint32 {
	x, y, z := int32(u[0]), int32(u[1]), int32(u[2])
	return uint32(x*x) + uint32(y*y) + uint32(z*z)
}

// addPlace adds the i-th place. Those of the last eight that are not used are its first one, which is found before them.
func addPlace(to []chords, i int, u *geo.Unit) []chords {
	first, end := i%lanes, i%lanes+1
	if first == 0 {
		to, end = append(to, chords{}), lanes
	}
	c := &to[len(to)-1]
	for k := first; k < end; k++ {
		c.xy[k] = uint32(uint16(u[0])) | uint32(uint16(u[1]))<<16
		c.z[k] = uint32(uint16(u[2]))
		c.square[k] = squareOf(u)
	}
	return to
}
