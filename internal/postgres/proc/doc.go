//go:build linux

// Package proc finds, watches and signals the operating system processes of
// one PostgreSQL instance. It is the part of package postgres that the guardian
// needs too, so it imports nothing but the standard library and x/sys/unix.
//
// The types to know:
//
//   - [Handle] is one process: process id, start time and a pidfd. Signals go
//     through the pidfd only, so a process id that was given to somebody else
//     in the meantime is never hit. A zombie counts as dead.
//   - [Find] reads postmaster.pid and proves that the process named there is the
//     postmaster of that data folder.
//   - [Processes] lists every process of an instance by data folder and program,
//     also when the postmaster is gone and its children live on; [KillAll] ends
//     them all.
//   - [Group] is a control group for the server, where one may be made; the
//     kernel then kills it as a whole.
//
// What it does not do: start processes, decide when to kill them, log.
package proc
