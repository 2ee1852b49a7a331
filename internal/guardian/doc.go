// Package guardian is the small process that is there for when the agent is not.
// It is the main process of a node's service: it starts the agent (and the
// embedded etcd member), owns the REST API's socket, reaps what PostgreSQL
// leaves behind, and knows the moment until which PostgreSQL may accept writes.
// When that moment passes without the agent having moved it, the guardian kills
// PostgreSQL: SIGQUIT, and SIGKILL half a second later, to every process of the
// instance, until none is left.
//
//   - [Policy] decides: a pure state machine, which the simulation runs too.
//   - [Run] is the process around it (Linux).
//   - [Client] is the agent's end of the socket between the two.
//   - [Now] and [Alarm] are CLOCK_BOOTTIME, which goes on during a suspend.
//
// It also feeds the watchdog device, if there is one, for the case that nobody of
// us can act ([tamada/internal/watchdog]).
//
// It holds no opinion about the cluster, reads no store and speaks no SQL: the
// less it does, the less can keep it from doing it.
//
// The messages between agent and guardian carry a version ([Protocol]), so that
// either can be upgraded while the other runs.
package guardian
