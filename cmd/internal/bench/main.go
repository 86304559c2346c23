// Command bench compares rootd with the least that a server can do: a reflector in C that sends every datagram back, many
// with one system call. What it prints are ratios of the CPU time per packet, from runs turn about on one machine: they
// say more than packets per second, which say most about the machine and what else it does.
//
// It compiles the reflector with the C compiler of the machine, starts it and bin/rootd on one core, and loads them from
// another: with the same packets, from the same addresses, at the same rate or with as many packets under way. The
// clients are synthetic and come into rootd's log through its admin API.
//
// A scenario is a kind of load. In a round each scenario is run against the one server and against the other. The ratio
// of a round is that of its two runs; the result is the median of all rounds.
//
// scripts/bench builds what it needs and runs it. Linux only.
package main
