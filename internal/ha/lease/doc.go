// Package lease is the arithmetic of the leader's lease: when to renew it, until
// when a primary may accept writes, and when to give way. It is a state machine
// without clock and without I/O: events in, effects out, time is part of the
// event. The real agent and the simulation run the same code.
//
// The rules (design, "The lease, exactly"):
//
//   - A renewal counts from the moment it was *sent*, with the shorter of the
//     requested and the granted time to live, less a margin that covers clock
//     drift and the time between SIGQUIT and SIGKILL.
//   - It counts only if the store was in the same term as at the previous one.
//   - It counts only when the guardian has acknowledged the new deadline: what
//     kills at the deadline must know the deadline before anyone relies on it.
//   - It is sent only with a permit of the agent's loop, which says "I am alive,
//     and PostgreSQL is what it should be".
//   - Time-outs and errors are repeated until the deadline. Only a proof that
//     another holds the key ends the lease earlier. That nobody holds it does not:
//     the loop acquires it anew, with all checks, while the old deadline runs.
//
// [Lease] is the machine; [Lease.Deadline] is what everyone else may know of it.
package lease
