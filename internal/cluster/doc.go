// Package cluster is the model that every other package speaks: what a
// PostgreSQL high-availability cluster looks like in the configuration store
// (DCS), and how each key is spelled there.
//
// The types to know:
//
//   - [Cluster] is one picture of everything the store holds for one scope:
//     leader, members, failover request, synchronous state, status, history and
//     dynamic configuration, each with the version it was read at.
//   - [LSN] and [Timeline] are PostgreSQL's positions.
//   - [Object] is a JSON object that keeps the order of its keys and the
//     spelling of its numbers, so that what is read and written back is the
//     same byte for byte.
//   - [Settings] is the dynamic configuration with defaults and limits applied.
//
// Values are compatible, byte for byte, with Patroni 4.1. Parsers are lenient
// in the way the readers of that format are: what cannot be understood is
// treated as absent and never as a default that could become a decision.
// Fields that are not known are kept.
//
// The package has no I/O, imports only the standard library, and its values
// are safe to share between goroutines as long as nobody writes to them.
package cluster
