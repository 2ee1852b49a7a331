// Package ha is the decision core: the rules by which one node of a PostgreSQL
// cluster decides what to do next. [Decide] takes one immutable [View] of the
// world and returns one [Outcome]: a [Decision], and the line that says why.
//
// There is no I/O here, no clock, no goroutine and no logger. What a rule needs
// to know is a field of the view; what it wants done is a field of the
// decision. So each rule can be read in one place and tested as a table.
//
// "The reference" is a description of what Patroni 4.1 does, in chapters; the
// numbers in comments are its. Each chapter has a file. Who knows Patroni finds
// its rules by these names:
//
//	decide.go     3.2 order of evaluation   _run_cycle
//	outage.go     3.3 the store is away     the handler of DCSError in _run_cycle
//	failsafe.go   15  failsafe mode         check_failsafe_topology, update_failsafe
//	bootstrap.go  3.4, 4 an empty folder    bootstrap, clone, post_bootstrap, cancel_initialization
//	identity.go   3.5 system identifier     sysid_valid and what follows it in _run_cycle
//	recover.go    5   PostgreSQL is down    recover, post_recover
//	              6   … or starts           handle_starting_instance
//	task.go       7   a long task runs      handle_long_action_in_progress
//	leader.go     8   we hold the lock      process_healthy_cluster
//	              11  keep the primary role enforce_primary_role
//	race.go       9   nobody holds it       process_unhealthy_cluster, is_healthiest_node
//	              9.3 who is the best       _is_healthiest_node (package candidate)
//	requests.go   10  on the leader         process_manual_failover_from_leader
//	              10.4 on the others        manual_failover_process_no_leader
//	              17  restart, reinitialize evaluate_scheduled_restart, restart_matches, reinitialize
//	handover.go   10.3 could anybody lead   is_failover_possible
//	              12  give the key away     on_shutdown in demote and shutdown
//	follow.go     8, 13 another one leads   follow, _get_node_to_follow
//	              5.3 diverged history      _handle_rewind_or_reinitialize (package rewind)
//	shutdown.go   19  the agent ends        shutdown
//	publish.go    22  what is published     touch_member, update_lock, update_cluster_history
//
// The lease itself (acquire_lock, update_lock, is_leader) is package lease, and
// what stops PostgreSQL in a demotion (12) is package postgres. Chapters 2 and 14
// of the reference, the loop and maintenance mode, are package agent and the
// conditions v.paused() here.
//
// The other sub-packages hold policies that can be judged on their own:
// candidate, rewind, slots.
package ha
