//go:build race

package table

// raceDetector says that the race detector looks on: it knows of atomic stores only that they order others.
const raceDetector = true
