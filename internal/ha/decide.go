package ha

import "tamada/internal/ha/lease"

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

// mayWrite tells whether a primary of ours may go on: it holds the lease, or
// nothing is enforced because of maintenance mode.
func (v *View) mayWrite() bool {
	return v.Lease.State == lease.Held || v.paused()
}
