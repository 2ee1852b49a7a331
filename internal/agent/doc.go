// Package agent is the loop of one node as a state machine: an event in,
// effects out. It keeps what is known of the store, of the local PostgreSQL, of
// the lease and of the other members, makes a view of it for the decision core
// (package ha) after every event, and turns the decision into effects.
//
// There is no I/O, no goroutine, no clock and no logger here; time comes with
// each event. The real node (package node) and the simulation (package sim) run
// the same machine: they execute its effects and feed the outcomes back.
//
//   - [Agent.Step] takes one [Event] and returns the [Effect]s to execute, in
//     order. Effects run at the same time unless they are of one kind.
//   - [Agent.WakeAt] is when the machine wants a [Timer] event at the latest.
//   - [Agent.Picture] is what others (REST API, dashboard) may see.
//
// Three kinds of work are told apart. An *operation* is short and goes to the
// store; one runs at a time. A *task* is long and changes the instance; one runs
// at a time, it can be cancelled, and the views say that it runs. A *duty* is
// what a cycle does besides deciding: publish the member key, status, history
// and slots.
package agent
