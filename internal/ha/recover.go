package ha

import (
	"fmt"

	"tamada/internal/cluster"
)

// recoverInstance decides what to do with a server that does not run
// (reference ha.md 5).
func recoverInstance(v *View) Outcome {
	i := &v.Instance
	switch {
	case v.paused() && !v.hasLock() && v.Last != nil && v.Last.Kind == TaskClone && v.Last.OK:
		// The second half of a reinitialization that an operator asked for. It starts
		// in standby mode, whoever leads.
		return startSecondary(v)
	case v.paused() && v.hasLock():
		return do(ReleaseLeader{Why: "postgres is not running"}, "removed leader lock because postgres is not running")
	case v.paused():
		return wait("postgres is not running")
	case startFailed(v):
		return afterFailedStart(v)
	case i.Control == nil:
		return Outcome{Do: Observe{}, Again: v.Now + compareAgain}
	case v.hasLock() && !v.Lease.Holds():
		// Before anything is started the lease has to be ours again.
		return leader(v)
	}
	if v.Last != nil && v.Last.Kind == TaskClone && v.Last.OK {
		return startSecondary(v)
	}
	tooOften := v.Settings.CrashLimit > 0 && v.Crashes >= v.Settings.CrashLimit
	if v.leads() && (v.Settings.PrimaryStartTimeout == 0 || tooOften) && i.State == cluster.StateCrashed {
		note := "Primary crashed. Failing over."
		if tooOften {
			note = fmt.Sprintf("Primary crashed %d times within ten minutes. Failing over.", v.Crashes+1)
		}
		o, done := failoverIfPossible(v, "stopped PostgreSQL to fail over after a crash", note)
		if done {
			return o
		}
	}
	return recoverByControlData(v)
}

// startFailed tells whether the last thing we did was a start that failed.
func startFailed(v *View) bool {
	return v.failed(TaskRestart) || v.failed(TaskStartPrimary) || v.failed(TaskRestartFailure) || v.failed(TaskFollowRestart) || v.failed(TaskResume)
}

// afterFailedStart gives others a chance before the next attempt (reference
// ha.md 5.4): it is made one cycle later, not in a tight loop.
func afterFailedStart(v *View) Outcome {
	if v.hasLock() {
		return do(ReleaseLeader{Why: "failed to start postgres"}, "removed leader key after trying and failing to start postgres")
	}
	if v.Now < v.Last.Ended+v.Settings.LoopWait {
		return Outcome{Do: Wait{}, Line: "failed to start postgres", Again: v.Last.Ended + v.Settings.LoopWait}
	}
	w := *v
	w.Last = nil
	return recoverInstance(&w)
}

// recoverByControlData follows the table of reference ha.md 5.2.
func recoverByControlData(v *View) Outcome {
	i := &v.Instance
	primaryCrashed := i.State == cluster.StateCrashed && i.Role == cluster.RolePrimary && !i.StandbyFile &&
		(i.Control.crashed() || i.Control.State == "shut down")
	switch {
	case v.Divergence.Broken:
		if o, done := healDivergence(v); done {
			return o
		}
		return wait("the data directory is half rewound and must not be started")
	case v.leads() && primaryCrashed:
		// Redoing its own WAL is faster than a promotion and keeps the timeline.
		return do(StartPrimary{}, "%s", TaskStartPrimary)
	case i.Control.crashed() && i.BackupLabel && i.Major >= 15:
		// A folder with a backup label recovers from the label's checkpoint by
		// itself; single-user mode would take the wrong one.
	case i.Control.crashed() && !i.RecoveryDone && (v.DCS.Unlocked() || rewindPossible(v)) && !i.BackupLabel:
		// A directory that was not stopped cleanly can neither start safely as a
		// standby of another history nor be rewound.
		return do(CrashRecover{}, "%s", TaskCrashRecovery)
	}
	if v.leads() {
		return do(StartReplica{}, "starting as readonly because i had the session lock")
	}
	o, done := healDivergence(v)
	if done {
		return o
	}
	s := startSecondary(v)
	s.Notes = append(o.Notes, s.Notes...)
	return s
}

func startSecondary(v *View) Outcome {
	return do(StartReplica{Source: FollowSource(v)}, "starting as a secondary")
}

// starting decides while the server was started and does not accept connections
// yet (reference ha.md 6). It reports false when the ordinary rules go on.
func starting(v *View) (Outcome, bool) {
	switch {
	case v.paused():
		return Outcome{}, false
	case !v.hasLock() && !v.Lease.Holds():
		o := Outcome{}
		if v.Instance.Role == cluster.RolePrimary {
			// It will accept writes as soon as it is ready.
			return do(Demote{Mode: DemoteImmediateNoLock}, "stopped PostgreSQL while starting up because leader key was lost"), true
		}
		o.note(Info, "Still starting up as a standby.")
		return o, false
	case !v.Lease.Holds():
		return leader(v), true
	}
	limit := v.Settings.PrimaryStartTimeout
	if v.Instance.StartTimeout > 0 {
		limit = v.Instance.StartTimeout
	}
	left := limit - (v.Now - v.Instance.StartedAt)
	if left > 0 {
		return wait("PostgreSQL is still starting up, %d seconds until timeout", int(left.Seconds())), true
	}
	if o, done := failoverIfPossible(v, "stopped PostgreSQL because of startup timeout", ""); done {
		return o, true
	}
	return wait("primary start has timed out, but continuing to wait because failover is not possible"), true
}
