package ha

import "tamada/internal/cluster"

// outage decides while the store cannot be reached (reference ha.md 3.3). The
// reference demotes when its retries have ended; here a primary goes on until
// its lease ends, because until then nobody else can hold the key, and not a
// moment longer, because afterwards somebody may.
func outage(v *View) Outcome {
	const line = "DCS is not accessible"
	switch {
	case v.Task != nil:
		return outageDuringTask(v)
	case v.Bootstrap.Mine || v.Instance.Data != DataPresent || v.paused():
		return wait(line)
	case !v.Instance.Running:
		return outageStopped(v)
	case !v.Instance.Primary():
		return wait(line)
	case v.mayWrite():
		return failsafe(v)
	}
	o := do(Demote{Mode: DemoteOffline}, "demoted self because DCS is not accessible and I was a leader")
	o.note(Info, "demoting self because DCS is not accessible and I was a leader")
	return o
}

// outageDuringTask: a task that makes or keeps a primary must not outlive the
// lease; every other one may go on.
func outageDuringTask(v *View) Outcome {
	if v.mayWrite() || v.paused() {
		return wait("DCS is not accessible, %s in progress", v.Task.Name())
	}
	if o, done := stopUnleased(v); done {
		return o
	}
	return wait("DCS is not accessible, %s in progress", v.Task.Name())
}

// outageStopped brings a demoted primary back as a read-only server: whoever
// only reads need not suffer from the outage. It follows nobody, so it cannot
// move away from where it stopped.
func outageStopped(v *View) Outcome {
	if v.DemotedOffline && v.Instance.Role == cluster.RoleDemoted && !v.Divergence.Broken && !v.failed(TaskRestartFailure) {
		return do(StartReplica{}, "starting as readonly because DCS is not accessible")
	}
	return wait("DCS is not accessible")
}
