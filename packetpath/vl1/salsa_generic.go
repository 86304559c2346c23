//go:build !amd64 || purego

package vl1

func (s *salsa12) four(*[salsaFourLen]byte, uint64) bool { return false }

func (s *keyStream) wide() bool { return false }
