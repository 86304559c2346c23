// Package geo is where things are, on the Earth and on the network: positions as unit vectors, and neighbourhoods as
// prefixes of addresses. Plain values in and out, no state: any goroutine may call anything. The zero value of each type
// always means that nothing is known.
package geo

// Unit is a place on the Earth: the unit vector from its centre, times 32767. The zero value: unknown.
type Unit [3]int16

// Known reports whether u is a place.
func (u Unit) Known() bool { return u != Unit{} }
