// Package node runs one node for real: it feeds the agent's state machine with
// what happens and executes what it wants. All goroutines, clocks, files,
// processes and connections of the agent are here; no rule is.
//
//   - [Run] is the life of an agent: checks, clean-up of what a predecessor left,
//     then the loop until a signal or the agent itself ends it.
//   - [Journal] is the record of the task that is changing the data folder, so
//     that a successor never starts a half-made one.
//
// One goroutine, the loop, owns the agent. Everything that may wait runs in a
// goroutine of its own and ends with an event to the loop.
package node
