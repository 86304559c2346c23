// Package layout holds the rules of the house that a machine can check, as tests: which package may import which, that
// every package says what it is, how long a file may grow, that every log key is documented, that links in the
// documents lead somewhere. (Metrics are held against their document where they are defined, in cmd/rootd.)
//
// A [Tree] is the repository, parsed once; each check is a function from a Tree to a list of complaints, each one
// naming the file, the rule and what to do. The tests run every check on this repository, where it must be silent, and
// on small trees with a known fault, where it must not be.
//
// The checks read files of every platform, whatever they are built for, and change nothing. A Tree is immutable once
// loaded and may be read by any goroutine.
package layout
