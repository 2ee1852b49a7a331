package agent

import (
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

const (
	failsafeTimeout = 2 * time.Second  // for one member (reference ha.md 15)
	crashWindow     = 10 * time.Minute // in which crashes count together
)

// failsafe is what is known of the mode in which a primary goes on without the
// store.
type failsafe struct {
	asked, confirmed ha.Instant
	round            uint64 // id of the round under way, 0 for none
	promise          *ha.Promise
	// tenure is the newest leader key that was known when the promise was given; 0
	// for none.
	tenure cluster.Version
	// sent are the members of all topologies that were sent to replace the version
	// sentOver of the key, each with the address sent last. As long as the view shows
	// that version, the store may have any of them, or none.
	sent     *cluster.Object
	sentOver cluster.Version
}

func (a *Agent) addFailsafe(v *ha.View) {
	f := &a.failsafe
	v.Failsafe = ha.Failsafe{Asked: f.asked, Confirmed: f.confirmed, Pending: f.round != 0}
	if a.store.view != nil {
		v.Failsafe.Members = a.store.view.Failsafe
	}
	if p := f.promise; p != nil && a.now < p.Until {
		v.Failsafe.Promise = p
	}
}

// promiseKept forgets the promise when there is a newer leader key than at the
// time of the promise: whoever made it keeps others away by the store again. The
// same key says nothing. The store may have shown it for a moment only, after it
// was frozen and before it noticed that the lease had ended, while the primary
// goes on until the deadline that the promise gave it.
func (a *Agent) promiseKept(l *cluster.Leader) {
	f := &a.failsafe
	switch {
	case f.promise == nil:
	case f.tenure == 0: // given by our predecessor, or before the store was seen
		f.tenure = l.Created
	case l.Created > f.tenure:
		f.promise = nil
	}
}

// keepPromise makes the view show the primary that we gave our promise, as long
// as nobody leads by the store: so this node does not race (reference ha.md 15,
// "Replica effect").
func (a *Agent) keepPromise(v *ha.View) {
	p := v.Failsafe.Promise
	if p == nil || v.DCS.Cluster == nil || v.DCS.Cluster.LeaderName() != "" {
		return
	}
	c := *v.DCS.Cluster
	c.Leader = &cluster.Leader{Name: p.Name}
	if c.Member(p.Name) == nil {
		var b cluster.Builder
		for i := range c.Members {
			b.AddMember(c.Members[i])
		}
		b.AddMember(cluster.Member{Name: p.Name, ConnURL: p.ConnURL, APIURL: p.APIURL, State: cluster.StateRunning, Role: cluster.RolePrimary})
		c.Members = b.Cluster().Members
	}
	v.DCS.Cluster = &c
}

// askFailsafe begins a round of questions.
func (a *Agent) askFailsafe(members *cluster.Object) {
	f := &a.failsafe
	f.settle(a.store.view.FailsafeVersion)
	others := &cluster.Object{}
	// Whoever finds itself in the key races when the lease has ended. So a member
	// counts, too, if we sent the key with it and do not know whether that happened.
	// The address that was sent is the newer one: it came from the member's own key
	// after the view's had been written.
	for _, o := range []*cluster.Object{members, f.sent} {
		for name, url := range o.All() {
			if name != a.cfg.Name {
				others.Set(name, url)
			}
		}
	}
	a.opID++
	f.round, f.asked = a.opID, a.now
	id := &a.cfg.Identity
	body := cluster.NewObject("name", a.cfg.Name, "conn_url", id.ConnURL, "api_url", id.APIURL)
	if a.duties.haveSlots && a.inst.LSN > 0 {
		slots := &cluster.Object{}
		for _, s := range a.duties.existing {
			if s.RestartLSN > 0 {
				slots.Set(s.Name, s.RestartLSN)
			}
		}
		slots.Set(cluster.SlotName(a.cfg.Name), a.inst.LSN)
		body.Set("slots", slots)
	}
	a.emit(AskFailsafe{ID: f.round, Members: others, Body: body, Timeout: failsafeTimeout})
}

func (a *Agent) failsafeAnswered(ev FailsafeAnswered) {
	f := &a.failsafe
	if ev.ID != f.round {
		return
	}
	f.round = 0
	if !ev.OK {
		f.confirmed = 0
		a.log(ha.Warning, "failsafe mode: not every member gave its promise: "+ev.Why)
		return
	}
	f.confirmed = ev.Sent
	a.leaseEvent(lease.Confirmed{Sent: ev.Sent})
}

// failsafeAsked gives our promise to a primary that has lost the store, unless
// we are one ourselves. It is written down before it is given: a successor of
// this agent has to keep it.
func (a *Agent) failsafeAsked(ev FailsafeAsked) {
	switch {
	case !a.settings.FailsafeMode:
		a.answer(ev.ID, 502, "")
		return
	case a.inst.Primary(), a.lease.State() != lease.None, a.acquiring():
		// Who is about to become the primary must not promise either.
		a.answer(ev.ID, 500, "Running as a leader")
		return
	}
	p := ha.Promise{Name: ev.Name, ConnURL: ev.ConnURL, APIURL: ev.APIURL, Slots: ev.Slots, Until: a.now + a.settings.TTL}
	a.failsafe.promise, a.failsafe.tenure = &p, 0
	if c := a.store.healthy; c != nil {
		a.failsafe.tenure = c.Leader.Created
	}
	a.emit(KeepPromise{ID: ev.ID, Promise: p, LSN: max(a.inst.Received, a.inst.Replayed)})
}

// acquiring tells whether we have asked for the leader key.
func (a *Agent) acquiring() bool {
	_, yes := a.op.(Acquire)
	return yes
}

// settle forgets what was sent when the view shows another version of the key than
// the one it was to replace. Each was sent on the condition of that version: what
// has not happened by now never will, and the view tells what has.
func (f *failsafe) settle(version cluster.Version) {
	if version != f.sentOver {
		f.sent, f.sentOver = nil, version
	}
}

// publishFailsafe keeps the key `failsafe` current after a cycle under the lease.
// It writes over the version that it has seen and no other: a request that was on
// its way for long, maybe of a former leader, must not undo a newer topology.
//
// While it is open whether an earlier write has happened, the key is written even
// if the view has nothing to correct: only a new version settles that. Otherwise a
// member that is gone would count for ever, and one that does not answer costs the
// primary in the next outage.
func (a *Agent) publishFailsafe(v *ha.View) {
	f := &a.failsafe
	f.asked, f.confirmed = 0, 0 // the store works
	f.settle(a.store.view.FailsafeVersion)
	if a.duties.publishing[cluster.KeyFailsafe] {
		return
	}
	o, changed := ha.FailsafeKey(v, a.cfg.Identity.APIURL)
	if o == nil || !changed && f.sent == nil {
		return
	}
	sent := &cluster.Object{}
	for _, part := range []*cluster.Object{f.sent, o} {
		for name, url := range part.All() {
			sent.Set(name, url)
		}
	}
	f.sent = sent
	a.publishOver(cluster.KeyFailsafe, cluster.Compact(o), dcs.IfVersion(f.sentOver))
}

// healthSeen takes over what a probe found. A server that is being restarted on
// purpose refuses connections for a moment; that is no reason to give way.
func (a *Agent) healthSeen(ev HealthSeen) {
	switch {
	case !ev.OK && a.task != nil:
	case ev.OK:
		if a.health.FailingSince > 0 {
			a.log(ha.Info, "PostgreSQL takes new connections and its disk takes writes again")
		}
		a.health = ha.Health{}
	case a.health.FailingSince == 0:
		a.health = ha.Health{FailingSince: max(ev.Since, 1), Why: ev.Why}
		a.log(ha.Warning, "PostgreSQL may hang: "+ev.Why)
	default:
		a.health.Why = ev.Why
	}
}

// recentCrashes counts the crashes of this primary within the window.
func (a *Agent) recentCrashes() int {
	n := 0
	for _, at := range a.crashes {
		if a.now < at+crashWindow {
			n++
		}
	}
	if n == 0 {
		a.crashes = nil
	}
	return n
}

// unguarded names the members that have no guardian.
func unguarded(c *cluster.Cluster) string {
	var names []string
	for i := range c.Members {
		if x := c.Members[i].Agent; x == nil || !x.Guardian {
			names = append(names, c.Members[i].Name)
		}
	}
	return strings.Join(names, ", ")
}
