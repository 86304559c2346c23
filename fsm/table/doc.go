// Package table is the set of all peers: tens of millions of records, read by every packet, written by one goroutine.
package table
