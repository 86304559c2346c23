// Package sim runs clients in virtual time: a network of endpoints with latencies, NATs and naive roots, driven by one
// queue of events. An hour of thousands of clients takes as long as their packets cost; nothing sleeps.
//
// It is a single-threaded simulation: all of it belongs to one goroutine, and the same seed gives the same run.
//
// The roots here ([Root], [Member]) do the least that makes clients work, and what tests tell them to do. They are no
// model of rootd: they exist so that the reaction of clients can be measured, to good roots and to bad ones.
package sim
