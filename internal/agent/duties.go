package agent

import (
	"errors"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
	"tamada/internal/ha/slots"
)

// touchRetry is how soon a failed write of the member key is repeated: this is
// also how a node finds out that the store is back.
const touchRetry = ha.Instant(1e9)

// duties are what a cycle does besides deciding.
type duties struct {
	due bool // a cycle has looked at the instance

	touching  bool
	touchAt   ha.Instant // when to touch again although no cycle has come
	touched   string     // the last value written
	important string     // the part of it whose change is published at once
	facts     memberFacts

	publishing map[string]bool // keys being written
	status     string          // the last status written

	readingHistory bool

	existing  []slots.Slot
	haveSlots bool
	members   bool // members may have come or gone
	arranging bool
	retention slots.Retention
}

// touchNow publishes the member key as soon as the present one is written.
func (d *duties) touchNow() { d.touchAt = 1 }

// touchWake is when the member key is to be written although no cycle has come.
// It is zero while that cannot be done anyway: while a write is under way, and
// before the store was seen for the first time. A moment in the past would make
// the loop spin.
func (a *Agent) touchWake() ha.Instant {
	if a.duties.touching || a.store.view == nil || a.inst.Data == ha.DataUnknown {
		return 0
	}
	return a.duties.touchAt
}

// doDuties publishes what has changed and tends the slots.
func (a *Agent) doDuties() {
	if a.ended || a.inst.Data == ha.DataUnknown {
		return
	}
	v := a.view()
	if v.DCS.Cluster == nil {
		return
	}
	cycle := a.duties.due
	a.duties.due = false
	a.touchMember(v, cycle)
	a.arrangeSlots(v, cycle)
	if cycle && v.DCS.Reachable {
		a.publishStatus(v)
		a.publishFailsafe(v)
		a.refreshHistory(v)
	}
}

// touchMember writes the member key: in every cycle, because that also extends
// the session, and at once when something changed that others act on.
func (a *Agent) touchMember(v *ha.View, cycle bool) {
	d := &a.duties
	id := a.identity()
	m := ha.MemberKey(v, id)
	due := cycle || d.touchAt > 0 && a.now >= d.touchAt
	// Most events change nothing here: look at the facts before they are put in words.
	facts := memberFacts{m, id.Agent}
	facts.XLogLocation, facts.ReceiveLSN, facts.ReplayLSN, facts.Member.Agent = 0, 0, 0, nil
	if d.touching || !due && facts == d.facts {
		return
	}
	important := importantPart(m)
	if !due && important == d.important {
		d.facts = facts
		return
	}
	d.facts = facts
	d.touching, d.touchAt, d.important = true, 0, important
	d.touched = string(m.JSON())
	a.emit(Touch{Value: []byte(d.touched)})
}

// memberFacts are what a member key is made of, without its positions. What it
// points to is replaced when it changes, never changed in place.
type memberFacts struct {
	cluster.Member
	agent cluster.AgentInfo
}

// identity is what the member says of itself, with what is wrong with its
// configuration.
func (a *Agent) identity() ha.Identity {
	id := a.cfg.Identity
	if p := a.dynamicProblem; p != "" {
		if id.Agent.ConfigError != "" {
			p = "; " + p
		}
		id.Agent.ConfigError += p
	}
	return id
}

// importantPart is the member key without its positions.
func importantPart(m cluster.Member) string {
	m.XLogLocation, m.ReceiveLSN, m.ReplayLSN = 0, 0, 0
	return string(m.JSON())
}

func (a *Agent) touched(err error) {
	d := &a.duties
	d.touching = false
	if err == nil {
		if a.store.touchErr != "" {
			a.loopAt = a.now // decide with the store back at once
			a.happened(ha.RecordStore, "answers again", "")
		}
		a.storeAnswered(&a.store.touchErr)
		return
	}
	if a.store.touchErr == "" {
		a.log(ha.Error, "Error communicating with DCS: member key: "+err.Error())
		a.happened(ha.RecordStore, "failed", "member key: "+err.Error())
	}
	a.store.touchErr = err.Error()
	d.touchAt = a.now + touchRetry
}

// publishStatus writes the leader's positions after a cycle under the lease.
func (a *Agent) publishStatus(v *ha.View) {
	d := &a.duties
	if a.lease.State() != lease.Held || d.publishing[cluster.KeyStatus] {
		return
	}
	retain, expired := d.retention.Update(a.now, a.settings.MemberSlotsTTL, v.DCS.Cluster)
	for _, name := range expired {
		a.log(ha.Info, "Replication slot '"+name+"' for absent cluster member is expired after "+a.settings.MemberSlotsTTL.String())
	}
	var positions []cluster.Slot
	for _, s := range d.existing {
		if s.RestartLSN > 0 {
			positions = append(positions, cluster.Slot{Name: s.Name, LSN: s.RestartLSN})
		}
	}
	me := a.cfg.Identity.Agent
	me.ConfigError, me.Crashes = "", 0 // of the member, not of the cluster
	s, changed := ha.StatusKey(v, positions, retain, &me)
	if !changed || string(s.JSON()) == d.status {
		return
	}
	d.status = string(s.JSON())
	a.publish(cluster.KeyStatus, []byte(d.status))
}

func (a *Agent) publish(key string, value []byte) { a.publishOver(key, value, dcs.Any()) }

// publishOver writes a key if cond holds.
func (a *Agent) publishOver(key string, value []byte, cond dcs.Condition) {
	if a.duties.publishing == nil {
		a.duties.publishing = map[string]bool{}
	}
	a.duties.publishing[key] = true
	a.emit(Publish{Key: key, Value: value, Condition: cond})
}

func (a *Agent) published(ev Published) {
	a.duties.publishing[ev.Key] = false
	switch {
	case errors.Is(ev.Err, dcs.ErrConflict): // the view that tells what is there now is on its way
		a.log(ha.Debug, "The key "+ev.Key+" is not the one that was to be replaced any more; looking at it again in the next cycle")
	case ev.Err != nil:
		a.duties.status = ""
		a.log(ha.Warning, "Could not write the key "+ev.Key+": "+ev.Err.Error()+"; trying again in the next cycle")
	}
}

// refreshHistory brings the key `history` up to date after a promotion.
func (a *Agent) refreshHistory(v *ha.View) {
	d := &a.duties
	if a.lease.State() != lease.Held || !a.inst.Primary() || !a.inst.Answers || d.readingHistory ||
		d.publishing[cluster.KeyHistory] || !ha.HistoryDue(v, a.inst.Timeline) {
		return
	}
	d.readingHistory = true
	a.emit(ReadHistory{a.inst.Timeline})
}

func (a *Agent) historyRead(ev HistoryRead) {
	a.duties.readingHistory = false
	if ev.Err != "" {
		a.log(ha.Warning, "Could not read the history of timeline: "+ev.Err)
		return
	}
	v := a.view()
	if !v.DCS.Reachable || !v.Lease.Holds() {
		return
	}
	if h, changed := ha.HistoryKey(v, ev.Local); changed {
		a.publish(cluster.KeyHistory, h.JSON())
	}
}

// arrangeSlots creates the slots of members that appeared, before they ask for
// them, and drops those of members that are gone for good.
func (a *Agent) arrangeSlots(v *ha.View, cycle bool) {
	d := &a.duties
	if !cycle && !d.members || d.arranging || !d.haveSlots || a.task != nil || a.stale || !a.inst.Running || !a.inst.Answers ||
		!v.DCS.Reachable {
		return
	}
	d.members = false
	primary := a.inst.Primary()
	if primary && !(v.Lease.Holds() && v.DCS.Cluster.LeaderName() == a.cfg.Name) {
		return // not ours to tend before the lease is
	}
	plan := slots.Decide(slots.View{Me: a.cfg.Name, Cluster: v.DCS.Cluster, Tags: a.cfg.Local.Tags, Primary: primary,
		UseSlots: a.settings.UseSlots, TTL: a.settings.MemberSlotsTTL, Paused: a.settings.Pause, Existing: d.existing})
	if plan.Empty() {
		return
	}
	d.arranging = true
	a.emit(ArrangeSlots{plan})
}

func (a *Agent) slotsDone(ev SlotsDone) {
	a.duties.arranging = false
	if ev.Err != "" {
		a.log(ha.Error, "Replication slots: "+ev.Err)
		return
	}
	a.duties.haveSlots = false // until the next look
	a.observe(false)
}
