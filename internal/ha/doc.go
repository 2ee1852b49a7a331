// Package ha is the decision core: the rules by which one node of a PostgreSQL
// cluster decides what to do next. [Decide] takes one immutable [View] of the
// world and returns one [Outcome]: a [Decision], and the line that says why.
//
// There is no I/O here, no clock, no goroutine and no logger. What a rule needs
// to know is a field of the view; what it wants done is a field of the
// decision. So each rule can be read in one place and tested as a table.
//
// The rules are those of the reference ("HA cycle") and stand in files of its
// chapters:
//
//	decide.go     the order of evaluation (3.2)
//	outage.go     the store cannot be reached (3.3)
//	bootstrap.go  empty data directory, new cluster (3.4, 4)
//	identity.go   system identifier (3.5)
//	recover.go    PostgreSQL is not running, or starts (5, 6)
//	task.go       a long task runs (7)
//	leader.go     the cluster has a leader, and it is me (8, 11)
//	race.go       the cluster has no leader (9)
//	follow.go     the cluster has another leader (13)
//	shutdown.go   the agent was asked to end (19)
//	publish.go    what is written to the store (22)
//
// Sub-packages hold policies that can be judged on their own: lease, candidate,
// rewind, slots.
package ha
