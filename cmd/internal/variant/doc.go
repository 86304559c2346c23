// Package variant builds rootd from sources that differ from the present ones on purpose: as the next version, with a higher
// feature level, an entry and a setting of it; and as versions that nobody should install. Tests of upgrades run them beside the
// real build, as real processes.
//
// A [Variant] and packages flow in, binaries flow out. The tree is not touched: the tool chain reads the changed files through an
// overlay. Nothing of it is in any other build. Any goroutine may build.
//
// An edit names the text that it replaces, which must be in the file exactly once: whoever changes that text gets a failing test
// that says so, and changes the edit.
package variant
