package ha

import "tamada/internal/cluster"

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
