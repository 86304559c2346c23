//go:build !amd64

package table

import "sync/atomic"

// store writes a word that readers may look at: what was written before comes before it for every reader.
func store(p *atomic.Uint64, x uint64) { p.Store(x) }
