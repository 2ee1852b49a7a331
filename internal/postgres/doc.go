//go:build linux

// Package postgres operates one PostgreSQL instance, versions 13 to 18: it
// collects facts about it, starts, stops and promotes it, writes its
// configuration files, creates it (initdb, base backup, custom scripts) and
// rewinds it. It does what it is told and reports what it saw; when and why is
// decided above it.
//
// The types to know:
//
//   - [Settings] is everything the configuration says about the instance, in
//     plain values; it can be replaced while the program runs.
//   - [Instance] is the instance. Tasks (Start, Stop, Promote, Bootstrap, Clone,
//     Rewind, ...) must not run at the same time; facts and observations may be
//     asked for at any time, also during a task.
//   - [Observation] is what one monitoring query found, [control.Data] what
//     pg_control says when there is no connection.
//   - [Upstream] is whom to replicate from.
//
// Sub-packages: proc (processes, shared with the guardian), control (formats of
// offline facts, pure) and conf (contents of configuration files, pure).
//
// PostgreSQL outlives us: the postmaster runs in a session of its own and is
// found again through postmaster.pid. Every child that changes the data folder
// is announced to the [Journal] first, so that a successor knows what was
// interrupted.
package postgres
