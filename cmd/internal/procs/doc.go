// Package procs starts and kills real processes: members of a root and the tools around them. Tests use it to do what
// an operator or a failing machine does, and `make run` uses it to show a demo; nothing else does.
//
// In goes a [Command]; out comes a [Process] that is running and in its own process group, so that a Ctrl-C at the
// terminal reaches only the starter, who then stops what it started in an order of its own. A [Member] adds what makes
// a command a rootd: a data directory, ports, a health endpoint.
//
// Invariants:
//   - No process outlives its starter. On Linux the kernel kills it when the starter dies, however it dies; elsewhere
//     the starter must get the chance to call [Process.Kill].
//   - When [Process.Kill] or [Process.Stop] returns, the process is gone and its output is complete.
//   - Memory is bounded: of the output, only the end is kept.
//
// All methods of a Process may be called from any goroutine. A Member belongs to one goroutine.
package procs
