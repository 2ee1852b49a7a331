// Package sim runs clusters that do not exist: the real agent, lease and
// guardian state machines (packages agent, ha, guardian) on modelled machines, so
// that a million hours of faults fit into a night. It is a discrete-event
// simulation: one queue of events, one clock, one source of randomness. A seed is
// a whole history, and the same seed gives the same history to the last byte.
//
//   - [Options] say what kind of cluster, how long, and which faults; [FromSeed]
//     draws them from the seed.
//   - [Run] makes the history and returns a [Report]: what was broken, what was
//     seen, and the last lines of the trace.
//   - [Mutants] are cores and executors that are broken on purpose. Each must be
//     caught, or the invariants are worth nothing.
//
// Modelled are machines (crash, reboot, suspend, clocks that drift by 1 %, a
// watchdog device), the processes on them (agent, guardian, postmaster; each can
// crash or stand still, also both of a pair), PostgreSQL (WAL as positions on branches
// of history, streaming, crash recovery, promotion, rewind, base backup, slots),
// the store (versions, leases, terms, watches that lag, answers that get lost)
// and the network between them, over which a primary asks for promises in
// failsafe mode. Not modelled: SQL, the contents of files, the
// archive, synchronous replication.
//
// The invariants (check.go) are those of the design: "What must always hold".
package sim
