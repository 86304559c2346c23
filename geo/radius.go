package geo

import "math/bits"

// RadiusClasses is how many classes of radius there are: they fit in four bits.
const RadiusClasses = 16

// DefaultRadiusKm is what stands for the radius of a position whose source says nothing about it.
const DefaultRadiusKm = 50

// RadiusClass returns the class of a radius of accuracy: 0 for unknown (0 km or less), else the least n, at most 15, with
// km ≤ 1<<n.
func RadiusClass(km int) uint8 {
	if km <= 0 {
		return 0
	}
	return uint8(min(max(1, bits.Len(uint(km-1))), RadiusClasses-1))
}

// RadiusKm returns the greatest radius of a class, 0 for class 0.
func RadiusKm(class uint8) int {
	if class %= RadiusClasses; class == 0 {
		return 0
	}
	return 1 << class
}

// Moved reports whether a position is worth replacing by another one with a radius: nothing was known, or the two are
// farther apart than the new one is accurate.
func Moved(from, to Unit, radiusKm int) bool {
	if from == to || !to.Known() || !from.Known() {
		return from != to
	}
	if radiusKm <= 0 {
		radiusKm = DefaultRadiusKm
	}
	return Km(from, to) > float64(radiusKm)
}
