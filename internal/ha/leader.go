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
	case v.Lease.State == lease.None && v.Lease.Lost == lease.TakenByOther && v.Instance.Primary() && !v.paused():
		// The store has refused a renewal because another holds the key: this view is
		// older than that. Waiting for a newer one would mean writing beside it.
		o = do(Demote{Mode: DemoteImmediateNoLock}, "demoting self because I do not have the lock and I was a leader")
	case v.Lease.State == lease.None:
		// The key is a left-over of an earlier agent of this node, or of a lease that
		// we lost. While our server lives on as the primary it is the one to go on;
		// a replica is too, because nobody can have led since: the key is still there.
		o = do(AcquireLeader{Reclaim: v.DCS.Cluster.Leader}, "")
	case v.Lease.Newer:
		// The key is ours, but not by the lease that we know: nobody can have led in
		// between, and the deadline that we have still runs.
		o = do(AcquireLeader{Reclaim: v.DCS.Cluster.Leader}, "")
	case v.Lease.State == lease.Arming:
		o = wait("waiting for the guardian to acknowledge the lease")
	case v.Watchdog.Failed && !v.paused() && v.Instance.Primary():
		o = do(Demote{Mode: DemoteImmediate}, "Demoting self because watchdog could not be activated")
	case v.Watchdog.Failed && !v.paused():
		o = do(ReleaseLeader{Why: "the watchdog could not be activated"}, "Not promoting self because watchdog could not be activated")
	default:
		o = keepLeading(v)
	}
	v.lockNote(&o)
	return o
}

// backingOff: we gave the key up because a promotion failed, and others have
// their turn until one time to live has passed (reference ha.md, trap 20).
func (v *View) backingOff() bool {
	return v.GaveUpAt > 0 && v.Now < v.GaveUpAt+v.Settings.TTL
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
		o := promote(v)
		o.Line = "waiting to become primary after promote..."
		return o
	case v.paused():
		return do(ReleaseLeader{Why: "not a primary"}, "removed leader lock because postgres is not running as primary")
	case v.failed(TaskPromote) && v.Last.Ended > v.GaveUpAt && v.Last.Phase < PhaseCommitted:
		o := do(ReleaseLeader{Why: "the pre-promote script failed: " + v.Last.Error, PrePromote: true}, "Promotion cancelled because the pre-promote script failed")
		o.note(Warning, "Releasing the leader key voluntarily because the pre-promote script failed")
		return o
	case v.failed(TaskPromote) && v.Last.Ended > v.GaveUpAt:
		o := do(ReleaseLeader{Why: "the promotion failed: " + v.Last.Error}, "Promotion cancelled because it failed")
		o.note(Warning, "Releasing the leader key voluntarily because the promotion failed: %s", v.Last.Error)
		return o
	case resumable(v):
		return do(ResumePrimary{}, "going on as the leader where I stopped, because nobody led in between")
	}
	return promote(v)
}

// promote begins a promotion, after writing down that it does.
//
// What if nobody did? A leader that is promoted, takes writes and vanishes before
// its history reaches the store leaves no trace. The member that led before would
// go on with the old timeline as if nobody had led, or another would be promoted
// to a timeline of the same number; of two histories under one number no member
// can tell later which is its own. So each promotion takes a number above every
// one that was ever announced.
func promote(v *View) Outcome {
	s := &v.DCS.Cluster.Status
	// One that we have reached already was for an earlier promotion under the same
	// key: a new agent may have reclaimed it.
	if p := s.Promotion; p != nil && p.Leader == v.Me && p.Tenure == v.DCS.Cluster.Leader.Created && p.Timeline > v.Instance.Timeline {
		return do(Promote{p.Timeline}, "promoted self to leader because I had the session lock")
	}
	p := cluster.Promotion{Timeline: max(v.Instance.Timeline, v.DCS.Cluster.History.Timeline()) + 1, Leader: v.Me,
		Tenure: v.DCS.Cluster.Leader.Created}
	if s.Promotion != nil {
		p.Timeline = max(p.Timeline, s.Promotion.Timeline+1)
	}
	return do(AnnouncePromotion{p}, "")
}

// announcedSince tells whether a promotion was announced since the one to the
// timeline that we are on. It may be our own: then it was announced on top of
// another's, or because going on was found to be impossible.
func announcedSince(v *View, mine cluster.Timeline) bool {
	p := v.DCS.Cluster.Status.Promotion
	return p != nil && p.Timeline > mine
}

// allAnnounce tells whether every member that could have led announces its
// promotions. Others than ours do not.
func allAnnounce(v *View) bool {
	for _, c := range []*cluster.Cluster{v.DCS.Healthy, v.DCS.Cluster} {
		if c == nil {
			continue
		}
		for i := range c.Members {
			if c.Members[i].Agent == nil {
				return false
			}
		}
	}
	return true
}

// leadOn is the ordinary cycle of a primary: requests first.
func leadOn(v *View) Outcome {
	if o, done := hung(v); done {
		return o
	}
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

// hung gives way when the server looks alive and is of no use: it takes no new
// connection, or its disk takes no write. Only somebody who can take over makes
// that better; stepping down into nothing would end what still works.
func hung(v *View) (Outcome, bool) {
	h := &v.Health
	limit := v.Settings.HangTimeout
	if h.FailingSince == 0 || limit == 0 || v.paused() {
		return Outcome{}, false
	}
	if left := h.FailingSince + limit - v.Now; left > 0 {
		return Outcome{}, false
	}
	o, done := failoverIfPossible(v, "stopped PostgreSQL to fail over, because it hangs", "Primary hangs. Failing over: "+h.Why)
	if !done {
		w := wait("no action. I am (%s), the leader with the lock", v.Me)
		w.note(Warning, "PostgreSQL hangs (%s), but nobody could take over: staying", h.Why)
		return w, true
	}
	if d, demotes := o.Do.(Demote); demotes {
		d.Hung = true
		o.Do = d
	}
	return o, true
}

// resumable tells whether an instance that was demoted only because the store
// was away may go on as a primary on its old timeline, without a promotion.
//
// What would go wrong if this were wrong: two histories on one timeline, which
// nothing detects later. So every one of these must hold: the lease is ours
// (checked by the caller); the server stopped with a shutdown checkpoint, was
// started without a source and has not moved since; the cluster's history has
// no newer timeline and nobody announced a promotion, that is nobody was promoted;
// and nobody published a position that we do not have.
func resumable(v *View) bool {
	r := v.Instance.Resumable
	if r == nil || !v.Instance.Answers || !v.Instance.InRecovery || v.failed(TaskResume) {
		return false
	}
	moved := v.Instance.Timeline != r.Timeline || v.Instance.Replayed != r.LSN || v.Instance.Received > r.LSN
	h := v.DCS.Cluster.History
	newer := h != nil && h.Timeline() > r.Timeline
	return !moved && !newer && !announcedSince(v, r.Timeline) && allAnnounce(v) && v.DCS.Cluster.Status.LSN <= r.LSN
}
