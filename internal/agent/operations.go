package agent

// What follows when an operation on the store has ended.

import (
	"errors"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// operationEnded takes over the result of an operation.
func (a *Agent) operationEnded(ev OperationEnded) {
	if a.op == nil || ev.ID != a.opRuns {
		return
	}
	op := a.op
	a.op = nil
	defer a.recordOperation(op, ev)
	if ev.Err == nil || dcs.Refused(ev.Err) {
		a.storeAnswered(&a.store.renewErr)
		a.storeAnswered(&a.store.touchErr)
	} else {
		a.log(ha.Error, "Error communicating with DCS: "+ev.Err.Error())
		a.store.touchErr = ev.Err.Error()
		a.duties.touchAt = a.now + touchRetry
	}
	switch op := op.(type) {
	case TakeInitialize:
		if ev.Err == nil {
			a.boot, a.initialized = ha.Bootstrap{Mine: true}, ev.Version
			a.last = nil
		} else if dcs.Refused(ev.Err) {
			a.log(ha.Info, "failed to acquire initialize lock")
		}
	case Acquire:
		a.acquired(ev, op)
	case Release:
		if ev.Err == nil {
			a.releaseDue, a.freed = false, op.Hold.Created
			a.leaderGone(op.Hold)
			a.log(ha.Info, "Leader key released")
			a.reached(partReleased)
		} else if dcs.Refused(ev.Err) {
			a.releaseDue = false
		}
	case Announce:
		if ev.Err == nil {
			// Our view need not wait for the watch to tell what we wrote ourselves.
			c := *a.store.view
			c.Status.Promotion = &op.Promotion
			a.store.view = &c
			a.reached(partAnnounced)
		}
	case PublishCluster:
		a.clusterPublished(ev)
	case DropInitialize:
		// Otherwise the next view tells whether it was deleted: the key may have got our
		// system identifier by a request whose answer was lost, and then our data is
		// the cluster's.
		if ev.Err == nil {
			a.start(ha.TaskCancelBootstrap, "", ha.CancelBootstrap{})
		}
	}
	if dcs.Refused(ev.Err) {
		a.refused, a.refusedUntil = a.opView, a.now+operationPause
	}
}

// operationPause is how long a newer view is waited for after a refusal.
const operationPause = 100 * ha.Instant(1e6)

// waitsForView: the store has refused what was decided on the view that is still
// the last one. A newer one is on its way; nothing is decided on the old one until it
// comes, or the same would be asked again and again, as fast as the store answers.
func (a *Agent) waitsForView() bool {
	return a.refused != nil && a.refused == a.store.view && a.now < a.refusedUntil
}

func (a *Agent) acquired(ev OperationEnded, op Acquire) {
	if ev.Err != nil && !dcs.Refused(ev.Err) && !errors.Is(ev.Err, dcs.ErrOtherTenure) {
		a.tookKey = true // it may have been done: what we find as ours later is ours
	}
	switch {
	case ev.Err == nil:
		a.reached(partTaken)
		a.hold = ev.Grant.Hold
		// What the renewals of an earlier lease met says nothing about this one: the
		// store has just answered.
		a.storeAnswered(&a.store.renewErr)
		a.lost, a.releaseDue, a.demotedOffline = "", false, false
		a.gaveUpAt = 0
		a.duties.retention.Reset(a.now, a.store.view.Status.RetainSlots)
		a.leaderIs(ev.Grant.Hold)
		a.leaseEvent(lease.Acquired{Sent: ev.Sent, TTL: ev.Grant.TTL, Epoch: ev.Grant.Epoch})
		if op.Reclaim == nil || a.tookKey {
			a.clearRequest()
		} // else an earlier agent of this node has had the key all the time: a request still waits for its holder
		a.tookKey = true
		switch {
		case op.Reclaim != nil:
			a.log(ha.Info, "took over the leader key of this node's previous agent")
		case a.inst.Primary():
			a.log(ha.Info, "acquired session lock as a leader")
		default:
			a.log(ha.Info, "promoted self to leader by acquiring session lock")
		}
	case errors.Is(ev.Err, dcs.ErrOtherTenure):
		a.log(ha.Info, "the leader key has the name of this member already; taking it over next")
	case dcs.Refused(ev.Err) && a.inst.Primary():
		a.log(ha.Info, "demoted self after trying and failing to obtain lock")
	case dcs.Refused(ev.Err):
		a.log(ha.Info, "following new leader after trying and failing to obtain lock")
	}
}

// clearRequest takes the request that led to our acquisition off the store. In
// maintenance mode its candidate stays, until the promotion is done: the key's
// holder waits for it.
func (a *Agent) clearRequest() {
	f := a.store.view.Failover
	switch {
	case !f.Pending():
	case a.settings.Pause && f.Leader != "" && f.Candidate != "":
		a.log(ha.Info, "Updating failover key after acquiring leader lock...")
		keep := cluster.Failover{Candidate: f.Candidate}
		a.publish(cluster.KeyFailover, keep.JSON())
	case a.settings.Pause && f.Candidate == a.cfg.Name && !a.inst.Primary():
		// cleared after the promotion
	default:
		a.log(ha.Info, "Cleaning up failover key after acquiring leader lock...")
		a.publish(cluster.KeyFailover, []byte("{}"))
	}
}

// leaderIs patches the view after our own acquisition: it is newer than what
// the watch has delivered.
func (a *Agent) leaderIs(h dcs.Hold) {
	c := *a.store.view
	c.Leader = &cluster.Leader{Name: a.cfg.Name, Created: h.Created, Version: h.Created, Session: h.Session}
	a.store.view, a.store.healthy, a.store.unlocked = &c, &c, 0
}

// leaderGone patches the view after our own release, unless the view shows a
// younger key already: the watch may be faster than the answer, and the next
// leader faster than both.
func (a *Agent) leaderGone(released dcs.Hold) {
	if l := a.store.view.Leader; l != nil && l.Created > released.Created {
		return
	}
	c := *a.store.view
	c.Leader = nil
	a.store.view, a.store.unlocked, a.raceSince = &c, a.now, a.now
}

// otherCluster ends a bootstrap when the view shows a cluster that was not
// published by us. While we publish ours, it may be ours: the watch is often faster
// than the answer.
func (a *Agent) otherCluster() {
	if c := a.store.view; a.boot.Mine && c.Initialize != nil && c.Initialize.Value != "" {
		a.boot = ha.Bootstrap{}
	}
}

// clusterPublished takes over how the publication of our new cluster ended.
//
// What if a refusal is wrong, and the key is ours after all? Who reports it has
// looked at the store after the refusal: our system identifier is not there, and
// with the version that we made gone no late request of ours can write it any more.
// So nobody has used our data, or will; it is moved aside, not deleted.
func (a *Agent) clusterPublished(ev OperationEnded) {
	switch {
	case errors.Is(ev.Err, dcs.ErrConflict) && a.task == nil:
		a.log(ha.Warning, "the initialize key is not the one that this node made any more: giving up its own bootstrap")
		a.start(ha.TaskCancelBootstrap, "", ha.CancelBootstrap{})
		return
	case ev.Err != nil:
		a.otherCluster()
		return
	}
	a.boot = ha.Bootstrap{}
	a.hold = ev.Grant.Hold
	a.storeAnswered(&a.store.renewErr)
	a.lost = ""
	a.leaderIs(ev.Grant.Hold)
	a.leaseEvent(lease.Acquired{Sent: ev.Sent, TTL: ev.Grant.TTL, Epoch: ev.Grant.Epoch})
	a.log(ha.Info, "initialized a new cluster")
	a.callback("on_start", cluster.RolePrimary) // none of those while it was made
}
