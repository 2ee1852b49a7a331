package ha

import (
	"tamada/internal/cluster"
	"tamada/internal/ha/lease"
)

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
