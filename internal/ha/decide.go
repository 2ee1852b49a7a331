package ha

import (
	"tamada/internal/cluster"
	"tamada/internal/ha/lease"
)

// Decide is the decision core: one view in, one thing to do out. The order of
// the questions is that of the reference (ha.md 3.2).
func Decide(v *View) Outcome {
	switch {
	case v.Shutdown:
		return shutdown(v)
	case !v.DCS.Reachable:
		return outage(v)
	case v.Task != nil:
		return taskRuns(v)
	case v.Bootstrap.Mine:
		return bootstrapping(v)
	case v.ReleaseDue && v.hasLock():
		return releaseDemoted(v)
	case v.leaseEnded():
		return do(Demote{Mode: DemoteOffline}, "demoting self because the lease ended and could not be renewed")
	}
	if o, done := repairStore(v); done {
		return o
	}
	if v.Instance.Data != DataPresent {
		return noData(v)
	}
	if o, done := identity(v); done {
		return o
	}
	if v.Instance.State.Starting() && v.Instance.Running {
		if o, done := starting(v); done {
			return o
		}
	}
	if !v.Instance.Running {
		return recoverInstance(v)
	}
	if v.DCS.Unlocked() {
		return race(v)
	}
	if v.hasLock() {
		return leader(v)
	}
	return secondary(v)
}

// hasLock tells whether the view of the cluster names us as the leader. It is
// not the same as holding the lease (reference ha.md, trap 5): the key may be a
// left-over of our predecessor, and the lease may not be acknowledged.
func (v *View) hasLock() bool { return v.DCS.Cluster.LeaderName() == v.Me }

// leads tells whether we may act as the leader now: the key is ours by the view,
// and the lease is in force.
func (v *View) leads() bool { return v.hasLock() && v.Lease.Holds() }

// leaseEnded tells whether a primary still runs although its lease ended without
// anybody else having proved to lead. The guardian would kill it at the
// deadline; without a guardian this is what ends it.
func (v *View) leaseEnded() bool {
	return v.Instance.Primary() && v.Lease.State == lease.None && v.Lease.Lost == lease.Expired && !v.paused()
}

// paused tells whether the cluster is in maintenance mode.
func (v *View) paused() bool { return v.Settings.Pause }

// lockOwner is the beginning of the line about the holder of the lock.
const lockOwner = "Lock owner: "

// lockNote adds the line about the holder of the lock that tools match on.
func (v *View) lockNote(o *Outcome) {
	owner := v.DCS.Cluster.LeaderName()
	if owner == "" {
		owner = "None"
	}
	o.note(Info, lockOwner+"%s; I am %s", owner, v.Me)
}

// repairStore writes what the store should have and has lost. Only the holder
// of the lease may: a replica that makes `initialize` anew after a wipe could
// do so with the wrong system identifier (reference ha.md, trap 25).
func repairStore(v *View) (Outcome, bool) {
	if !v.leads() || !cluster.ValidSysid(v.Instance.Sysid) {
		return Outcome{}, false
	}
	c := v.DCS.Cluster
	switch {
	case c.Initialize == nil || !cluster.ValidSysid(c.Initialize.Value):
		return do(WriteInitialize{v.Instance.Sysid}, "writing the system identifier, which the store has lost"), true
	case c.Config == nil || c.Config.Doc.Len() == 0:
		return do(WriteConfig{}, "writing the dynamic configuration, which the store has lost"), true
	}
	return Outcome{}, false
}

// identity compares the system identifiers (reference ha.md 3.5).
func identity(v *View) (Outcome, bool) {
	mine, theirs := v.Instance.Sysid, ""
	if v.DCS.Cluster.Initialize != nil {
		theirs = v.DCS.Cluster.Initialize.Value
	}
	switch {
	case !cluster.ValidSysid(mine):
		return wait("data dir for the cluster is not empty, but system ID is invalid; consider doing reinitialize"), true
	case cluster.ValidSysid(theirs) && mine != theirs && v.paused():
		return identityWhilePaused(v, theirs)
	case cluster.ValidSysid(theirs) && mine != theirs && v.Instance.Running && !v.failed(TaskStop):
		// Left alone it would go on as a primary that nobody watches (trap 26).
		o := do(StopPostgres{Leading: v.hasLock()}, "stopping PostgreSQL, because it belongs to a different cluster")
		o.note(Critical, "system ID mismatch, node %s belongs to a different cluster: %s != %s", v.Me, theirs, mine)
		return o, true
	case cluster.ValidSysid(theirs) && mine != theirs:
		o := do(Exit{Code: 1}, "")
		o.note(Critical, "system ID mismatch, node %s belongs to a different cluster: %s != %s", v.Me, theirs, mine)
		return o, true
	case cluster.ValidSysid(theirs):
		return Outcome{}, false
	}
	// Nobody has said yet which cluster this is.
	if v.DCS.Unlocked() && !v.paused() && v.Instance.Running && !v.Instance.Callbacks && v.Instance.Answers && v.Instance.InRecovery {
		// A replica must not name the cluster: its primary may live elsewhere and be
		// taken over next, and then two histories would claim one name.
		o := do(Exit{Code: 1, LeavePostgres: true}, "")
		o.note(Error, "No initialize key in DCS and PostgreSQL is running as replica, aborting start")
		o.note(Error, "Please first start Patroni on the node running as primary")
		return o, true
	}
	if v.DCS.Unlocked() && !v.paused() && !v.Instance.Callbacks && theirs == "" && v.DCS.Cluster.Initialize == nil && v.adoptable() {
		return do(WriteInitialize{mine}, "taking over an existing cluster with system identifier %s", mine), true
	}
	return Outcome{}, false
}

// adoptable: a stand-alone server, stopped or running as a primary, whose
// cluster the store does not know.
func (v *View) adoptable() bool {
	return !v.Instance.Running || v.Instance.Answers && !v.Instance.InRecovery
}

func identityWhilePaused(v *View, theirs string) (Outcome, bool) {
	o := Outcome{}
	o.note(Warning, "system ID has changed while in paused mode. Patroni will exit when resuming unless system ID is reset: %s != %s", theirs, v.Instance.Sysid)
	if v.hasLock() {
		o.Do, o.Line = ReleaseLeader{Why: "system ID mismatch"}, "released leader key voluntarily due to the system ID mismatch"
		return o, true
	}
	return o, false
}

// mayWrite tells whether a primary of ours may go on: it holds the lease, or
// nothing is enforced because of maintenance mode.
func (v *View) mayWrite() bool {
	return v.Lease.State == lease.Held || v.paused()
}
