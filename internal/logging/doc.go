// Package logging writes the log of a process as the section `log` asks for it
// (reference configuration.md 2.2), on top of log/slog: the layout of lines that
// tools for Patroni's log know, or JSON; standard error, or a file with rotation.
//
//   - [Open] starts a [Log]; its Logger is an ordinary [slog.Logger].
//   - [Named] gives a part of the program a name, whose level log.loggers can set.
//   - [Log.Reload] puts a changed section in force, [Log.Close] writes what waits.
//
// A record is put into a bounded queue and written by one goroutine: a service
// manager or a disk that hangs must not stop the agent's loop, which has a lease
// to renew. What does not fit is dropped, counted, and the count is logged.
//
// Two lines of the loop are treated specially, as operators are used to it:
// "Lock owner: …" appears at INFO only when no heartbeat follows it, and a
// heartbeat that equals the one before can be left out.
package logging
