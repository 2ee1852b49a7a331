package ha

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/lease"
)

// recoveryPause is how often a server in recovery is looked at when its end is
// awaited.
const recoveryPause = 200 * time.Millisecond

// leader decides while the view names us as the leader (reference ha.md 8, 11).
func leader(v *View) Outcome {
	var o Outcome
	switch {
	case v.Lease.State == lease.None && v.backingOff():
		o = do(ReleaseLeader{Why: "the promotion failed"}, "releasing the leader key once more, because the promotion failed")
	case v.Lease.State == lease.None:
		// The key is a left-over of an earlier agent of this node, or of a lease that
		// we lost. While our server lives on as the primary it is the one to go on;
		// a replica is too, because nobody can have led since: the key is still there.
		o = do(AcquireLeader{Reclaim: v.DCS.Cluster.Leader}, "")
	case v.Lease.State == lease.Arming:
		o = wait("waiting for the guardian to acknowledge the lease")
	default:
		o = keepLeading(v)
	}
	v.lockNote(&o)
	return o
}

// backingOff: we gave the key up because a promotion failed, and others have
// their turn until one time to live has passed (reference ha.md, trap 20).
func (v *View) backingOff() bool {
	return v.ReleasedAt > 0 && v.Now < v.ReleasedAt+v.Settings.TTL
}

// keepLeading takes or keeps the primary role under a lease in force.
func keepLeading(v *View) Outcome {
	i := &v.Instance
	switch {
	case !i.Answers && i.Role != cluster.RolePrimary:
		return Outcome{Do: Observe{}}
	case i.Primary():
		return leadOn(v)
	case v.paused() && v.DCS.Cluster.Failover.Pending() && v.DCS.Cluster.Failover.Candidate == v.Me && v.Task == nil && !v.failed(TaskPromote):
		return do(Promote{}, "waiting to become primary after promote...")
	case v.paused():
		return do(ReleaseLeader{Why: "not a primary"}, "removed leader lock because postgres is not running as primary")
	case v.failed(TaskPromote) && v.Last.Ended > v.ReleasedAt:
		o := do(ReleaseLeader{Why: "the promotion failed: " + v.Last.Error}, "Promotion cancelled because it failed")
		o.note(Warning, "Releasing the leader key voluntarily because the promotion failed: %s", v.Last.Error)
		return o
	case resumable(v):
		return do(ResumePrimary{}, "going on as the leader where I stopped, because nobody led in between")
	}
	return do(Promote{}, "promoted self to leader because I had the session lock")
}

// leadOn is the ordinary cycle of a primary: requests first.
func leadOn(v *View) Outcome {
	o, done := failoverRequest(v)
	if done {
		return o
	}
	if r, done := scheduledRestart(v); done {
		return r
	} else if r.Again > 0 && (o.Again == 0 || r.Again < o.Again) {
		o.Again = r.Again
		o.Notes = append(o.Notes, r.Notes...)
	}
	o.Do, o.Line = Wait{}, "no action. I am ("+v.Me+"), the leader with the lock"
	return o
}

// resumable tells whether an instance that was demoted only because the store
// was away may go on as a primary on its old timeline, without a promotion.
//
// What would go wrong if this were wrong: two histories on one timeline, which
// nothing detects later. So every one of these must hold: the lease is ours
// (checked by the caller); the server stopped with a shutdown checkpoint, was
// started without a source and has not moved since; the cluster's history has
// no newer timeline, that is nobody was promoted; and nobody published a
// position that we do not have.
func resumable(v *View) bool {
	r := v.Instance.Resumable
	if r == nil || !v.Instance.Answers || !v.Instance.InRecovery || v.failed(TaskResume) {
		return false
	}
	moved := v.Instance.Timeline != r.Timeline || v.Instance.Replayed != r.LSN || v.Instance.Received > r.LSN
	h := v.DCS.Cluster.History
	newer := h != nil && h.Timeline() > r.Timeline
	return !moved && !newer && v.DCS.Cluster.Status.LSN <= r.LSN
}
