package agent

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// Picture is what others may see of the agent. What it points to is never
// changed afterwards.
type Picture struct {
	State cluster.State
	Role  cluster.Role
	// LockUntil is the deadline of the lease; zero as soon as it is lost or given
	// up, that is before a demotion begins.
	LockUntil ha.Instant
	NextRun   ha.Instant
	Running   bool // a postmaster is alive

	// FailsafeUntil is when the last promise, given or received, ends; 0 for none.
	FailsafeUntil ha.Instant

	Cluster  *cluster.Cluster // nil when the store cannot be reached
	LastSeen time.Time        // wall clock of the last proof that the store answers
	Settings cluster.Settings
	Dynamic  *cluster.Object
	Tags     *cluster.Tags

	Position       cluster.LSN // of the last observation
	Sysid          string
	PendingRestart *cluster.Object
	WatchdogFailed bool            // a watchdog device is required and cannot be used
	Scheduled      *cluster.Object // the scheduled restart as the member key shows it
	Task           string          // name of the running task, "" for none
	Line           string          // last status line
}

// Picture makes one of the present state.
func (a *Agent) Picture() Picture {
	p := Picture{State: a.inst.State, Role: a.inst.Role, NextRun: a.loopAt, Running: a.inst.Running,
		LastSeen: a.store.lastSeen, Settings: a.settings, Dynamic: a.dynamic, Tags: a.cfg.Local.Tags, Sysid: a.inst.Sysid, Position: a.inst.LSN,
		PendingRestart: a.inst.PendingRestart, Line: a.line}
	if a.lease.State() == lease.Held && !a.stopping() {
		p.LockUntil = a.lease.Deadline() - healthHeadStart
	}
	p.WatchdogFailed = a.watchdogView().Unusable
	if c := a.failsafe.confirmed; c > 0 {
		p.FailsafeUntil = c + a.settings.TTL
	}
	if x := a.failsafe.promise; x != nil {
		p.FailsafeUntil = x.Until
	}
	if a.store.watchErr == "" && a.store.touchErr == "" {
		p.Cluster = a.store.view
	}
	if r := a.requests.Restart; r != nil {
		p.Scheduled = r.Published
	}
	if a.task != nil {
		p.Task = a.task.Name()
	}
	return p
}

// healthHeadStart is how long before the deadline the health checks say no: load
// balancers ask every second or so, and must have taken clients elsewhere before
// the server refuses them.
const healthHeadStart = time.Second

// stopping tells whether the primary is being stopped: a load balancer must not
// send anybody here any more.
func (a *Agent) stopping() bool {
	return a.shutdown || a.task != nil && a.task.Stops()
}

// Farewell is the member key to leave behind.
func (a *Agent) Farewell() []byte {
	v := a.view()
	if v.DCS.Cluster == nil {
		v.DCS.Cluster = &cluster.Cluster{}
	}
	m := ha.MemberKey(v, a.identity())
	return m.JSON()
}

// InheritedLease is the lease that the guardian vouches for.
func InheritedLease(deadline ha.Instant, ttl time.Duration) lease.Inherited {
	return lease.Inherited{Deadline: deadline, TTL: ttl}
}
