package ha

import (
	"time"

	"tamada/internal/cluster"
)

// taskRuns decides while a long action is in progress (reference ha.md 7).
func taskRuns(v *View) Outcome {
	if v.Task.Stops() {
		return handover(v)
	}
	if v.leads() {
		if o, done := crashRecoveryTooLong(v); done {
			return o
		}
		return wait("updated leader lock during %s", v.Task.Name())
	}
	if !v.Bootstrap.Mine && !v.paused() && !v.Lease.Holds() {
		if o, done := stopUnleased(v); done {
			return o
		}
	}
	o := wait("%s in progress", v.Task.Name())
	if v.DCS.Unlocked() {
		o.note(Info, "not healthy enough for leader race")
	}
	return o
}

// stopUnleased ends a task that would leave a primary without a lease. A
// promotion that has not been signalled yet is only cancelled: the replica is
// still a replica.
func stopUnleased(v *View) (Outcome, bool) {
	if v.Task.Kind == TaskPromote && v.Task.Phase < PhaseCommitted {
		return do(CancelTask{}, "lost leader before promote"), true
	}
	if v.Task.Stops() {
		return Outcome{}, false // it is being stopped already
	}
	if v.Instance.Primary() || v.Instance.Role == cluster.RolePrimary || v.Task.makesPrimary() {
		o := do(Demote{Mode: DemoteImmediateNoLock}, "lost leader lock during %s", v.Task.Name())
		o.note(Info, "Demoting primary during %s", v.Task.Name())
		return o, true
	}
	return Outcome{}, false
}

// Stops tells whether the task stops PostgreSQL for good.
func (t *Task) Stops() bool {
	switch t.Kind {
	case TaskDemote, TaskStop, TaskSwitchover, TaskManualFailover:
		return true
	}
	return false
}

// makesPrimary tells whether the task ends, or may end, with a server that
// accepts writes. A restart ends with what there was before, which the role of
// the instance tells.
func (t *Task) makesPrimary() bool {
	switch t.Kind {
	case TaskPromote, TaskStartPrimary, TaskResume:
		return true
	}
	return false
}

// crashRecoveryTooLong gives way when redoing the WAL takes longer than
// primary_start_timeout and somebody else could take over.
func crashRecoveryTooLong(v *View) (Outcome, bool) {
	if v.Task.Kind != TaskCrashRecovery || v.Now-v.Task.Started < v.Settings.PrimaryStartTimeout {
		return Outcome{}, false
	}
	return failoverIfPossible(v, "terminated crash recovery because of startup timeout", "")
}

// requestedCandidate is the member that a pending request names: it must have
// the checkpoint itself (trap 9).
func requestedCandidate(v *View) string {
	if f := v.DCS.Cluster.Failover; f.Pending() {
		return f.Candidate
	}
	return ""
}

// arrivalLimit is how long a stopped primary waits for its shutdown checkpoint to
// reach somebody. A standby that streams has it before the server is gone; one
// that reads the archive looks there every 5 s (wal_retrieve_retry_interval).
const arrivalLimit = 6 * time.Second

// releaseDemoted gives the key away after a demotion has stopped PostgreSQL.
//
// A switchover is planned: nobody expects it to lose anything. A candidate that
// was not connected in the last moment (it, or the primary, had only just been
// restarted) does not have the end of the history, and with the server down it
// will not get it any more. Giving it the key would silently drop commits that
// were acknowledged. So the key goes to who has everything, or stays: then the
// server starts again, and the request has failed.
func releaseDemoted(v *View) Outcome {
	s := v.Stopped
	if s.Checkpoint == 0 {
		s.Checkpoint, s.End = v.Instance.stoppedAt(), v.Instance.stoppedAt()
	}
	r := do(ReleaseLeader{LSN: s.End, Why: "demoted"}, "")
	if !s.Planned || s.Checkpoint == 0 {
		return r
	}
	p := possible(v, s.Since, s.Checkpoint, requestedCandidate(v))
	switch {
	case p.good:
		return r
	case v.Now < s.At+arrivalLimit:
		o := Outcome{Do: Wait{}, Line: "waiting for the shutdown checkpoint to reach a candidate", Again: v.Now + handoverPause}
		if len(p.ask) > 0 {
			o.Do = PollPeers{p.ask}
		}
		return o
	case v.paused():
		return r // nothing is started in maintenance mode: who asked for this is there
	}
	o := do(TakeBack{}, "switchover: going on as the leader, because no candidate has received everything")
	o.Notes = p.notes
	o.note(Warning, "switchover: the shutdown checkpoint has not reached a candidate, handing over would lose data")
	o.note(Info, "Cleaning up failover key")
	return o
}

// handover gives the key away as soon as the shutdown checkpoint has reached
// somebody who can take over, while the postmaster may still live: a slow
// archive_command can keep it for long (reference postgresql.md 14). The
// reference sleeps a second before it looks; what the pause protects, that the
// checkpoint gets through, is asked for here.
func handover(v *View) Outcome {
	line := v.Task.Name() + " in progress"
	if !v.hasLock() || v.Task.Phase != PhaseCheckpointed || v.paused() {
		return wait("%s", line)
	}
	o := possible(v, v.Task.PhaseAt, v.Task.Checkpoint, requestedCandidate(v))
	if o.good {
		r := do(ReleaseLeader{LSN: v.Task.End, Why: "another member has everything"}, "%s, released the leader key", line)
		r.Notes = o.notes
		return r
	}
	// Whether a refusal or an answer that is still on its way: ask again soon.
	r := Outcome{Do: Wait{}, Line: line, Again: v.Now + handoverPause}
	if len(o.ask) > 0 {
		r.Do = PollPeers{o.ask}
	}
	return r
}
