package ha

// shutdown decides after the agent was asked to end (reference ha.md 19).
func shutdown(v *View) Outcome {
	switch {
	case v.paused():
		o := do(Exit{LeavePostgres: true}, "")
		o.note(Info, "Leader key is not deleted and Postgresql is not stopped due paused state")
		return o
	case v.Task != nil && !v.Task.Stops():
		return do(CancelTask{}, "cancelling %s, because the agent was asked to end", v.Task.Name())
	case v.Task != nil:
		if !v.DCS.Reachable {
			return wait("%s in progress", v.Task.Name())
		}
		return handover(v)
	case v.Instance.Running && v.failed(TaskStop):
		// Nothing more can be done from here: the key is kept, so that nobody is
		// promoted beside a primary that still runs.
		o := do(Exit{Code: 1, LeavePostgres: true}, "")
		o.note(Error, "PostgreSQL shutdown failed, leader key not removed.")
		return o
	case v.Instance.Running:
		return do(StopPostgres{Leading: v.hasLock()}, "stopping PostgreSQL, because the agent was asked to end")
	case v.DCS.Reachable && v.hasLock() && !v.failed(TaskStop):
		return do(ReleaseLeader{LSN: v.Instance.stoppedAt(), Why: "the agent ends"}, "released leader key because the agent ends")
	}
	return Outcome{Do: Exit{}}
}
