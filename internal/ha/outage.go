package ha

import (
	"tamada/internal/cluster"
	"tamada/internal/ha/lease"
)

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

// failsafe lets a primary with a lease in force go on without the store: every
// member of the topology is asked for its promise not to race, and each round in
// which all agree moves the deadline as a renewal would.
//
// Why all and not a majority: the store's majority may sit in a partition with a
// minority of the members. Only "everybody still follows me" excludes a rival.
// And why only with a lease in force: a primary whose lease has ended cannot know
// that nobody was promoted before it asked.
func failsafe(v *View) Outcome {
	f := &v.Failsafe
	if !v.Settings.FailsafeMode || !listed(f.Members, v.Me) || v.Lease.State != lease.Held {
		return wait("continue to run as a leader until the lease ends, because DCS is not accessible")
	}
	next := f.Asked + v.failsafeEvery()
	if !f.Pending && (f.Asked == 0 || v.Now >= next) {
		return do(AskFailsafe{f.Members}, "")
	}
	o := wait("continue to run as a leader until the lease ends, because DCS is not accessible and not all members agree")
	if f.Confirmed > 0 && v.Now < f.Confirmed+v.Settings.TTL {
		o = wait("continue to run as a leader because failsafe mode is enabled and all members are accessible")
	}
	if !f.Pending { // otherwise the answers wake us
		o.Again = next
	}
	return o
}

// failsafeEvery is how often the members are asked: as often as a lease is
// renewed.
func (v *View) failsafeEvery() Instant {
	return lease.Terms{TTL: v.Settings.TTL, LoopWait: v.Settings.LoopWait}.Interval()
}

func listed(members *cluster.Object, name string) bool {
	_, ok := members.Get(name)
	return ok
}

// FailsafeKey is the topology that the leader publishes, and whether it differs
// from what the store has: every member with an API, and itself.
func FailsafeKey(v *View, own string) (*cluster.Object, bool) {
	if !v.Settings.FailsafeMode || !v.leads() {
		return nil, false
	}
	o := &cluster.Object{}
	for i := range v.DCS.Cluster.Members {
		if m := &v.DCS.Cluster.Members[i]; m.APIURL != "" {
			o.Set(m.Name, m.APIURL)
		}
	}
	o.Set(v.Me, own)
	return o, !cluster.Equal(o, v.DCS.Cluster.Failsafe)
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
