//go:build !amd64 || purego

package steer

import "github.com/rootd/rootd/geo"

func (l *list) least(from *geo.Unit) uint64 { return l.leastGeneric(from) }
