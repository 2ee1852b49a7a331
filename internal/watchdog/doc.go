// Package watchdog drives the machine's watchdog device: a timer in the kernel,
// or in hardware, that resets the machine unless it is fed. It acts where no
// process of ours can: when agent and guardian are both frozen while PostgreSQL
// runs on.
//
//   - [Settings] say whether and how it is used (the section watchdog of the
//     configuration), and what they amount to for a time to live of the lease.
//   - [Feeder] is the arithmetic of keepalives, pure: one is given only as long
//     as the reset that it puts off still comes before the lease ends.
//   - [Watchdog] keeps the device in line with the deadline in force. Its one
//     owner is the guardian, or the agent where there is none.
//   - [Device] is the kernel's side. Driver "testing" writes the same events to
//     a named pipe instead.
//
// It does not decide whether there is anything to guard: an armed deadline means
// a primary that may write, no deadline means that nobody can.
//
// The rules are those of the reference, ha.md 21.
package watchdog
