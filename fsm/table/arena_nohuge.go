//go:build darwin || freebsd

package table

func adviseHugePages([]byte) {}
