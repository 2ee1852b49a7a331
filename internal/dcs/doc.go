// Package dcs is how Tamada speaks to a distributed configuration store: one
// small interface, [Store], that every backend implements, and the conformance
// suite that every backend must pass (package dcstest).
//
// What the rest of the program may rely on:
//
//   - Reads come from a cache that a watch feeds and may be old. Safety never
//     comes from a read: every write that matters is a compare-and-swap.
//   - There are three kinds of outcome, and no others: success; a definite
//     refusal ([ErrConflict], [ErrHeld], [ErrAbsent]), after which the store is
//     known not to have done it; and everything else, which means that the store
//     could not be reached or could not process the request, so that it may or
//     may not have done it.
//   - No backend retries behind its caller's back beyond the context's deadline.
//
// The backends are etcd3 (etcd by gRPC), embedded (the same, with the server in
// a process of our own) and memory (for tests and the simulation).
package dcs
