// Package rollout is the rolling upgrade of a fleet as a plan: which clusters and members in which order, what must hold before,
// between and after, and why to stop. It is pure: the fleet's file and what was seen of its clusters flow in, steps and reasons
// flow out; package main of rootctl takes the steps. Any goroutine may call it.
//
// Invariants: one member at a time, one cluster at a time; a cluster's leader is its last member, nonvoters are the first; nothing
// begins while any cluster of the fleet is unwell.
package rollout
