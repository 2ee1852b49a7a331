package agent

// What the store tells the agent: views of the cluster, the configuration in
// them, and answers about the lease.

import (
	"errors"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// clusterSeen takes over a view of the store.
func (a *Agent) clusterSeen(c *cluster.Cluster) {
	if c = a.upToDate(c); c == nil {
		return
	}
	s := &a.store
	if s.watchErr != "" && s.view != nil {
		a.log(ha.Info, "The DCS is accessible again")
		a.happened(ha.RecordStore, "answers again", "")
	}
	old := s.view.LeaderName()
	first := s.view == nil
	if s.view.Member(a.cfg.Name) != nil && c.Member(a.cfg.Name) == nil {
		a.duties.touchNow() // somebody removed it (reference dcs-layout.md, "Per HA loop")
	}
	s.view, s.watchErr = c, ""
	if !first || s.lastSeen.IsZero() {
		s.lastSeen = a.wall
	}
	leader := c.LeaderName()
	if leader != "" {
		a.promiseKept(c.Leader)
		s.healthy = c
		if leader != a.cfg.Name || !a.acquiring() { // else the answer is on its way, and wants to know since when
			s.unlocked = 0
		}
		if leader != a.cfg.Name {
			a.gaveUpAt, a.releaseDue = 0, false
		}
	} else if s.unlocked == 0 {
		s.unlocked, a.raceSince = a.now, a.now
	}
	if i := c.Initialize; i == nil || i.Value != "" {
		s.empty, s.emptyV = 0, 0
	} else if i.Version != s.emptyV {
		s.empty, s.emptyV = a.now, i.Version
	}
	if f := c.Failover; f != nil && f.Version != a.requestSeen {
		a.requestSeen, a.requestSince = f.Version, a.now
	}
	a.recordLeader(old, leader, first)
	a.checkTenure(c)
	a.configSeen(c)
	if leader != old || first {
		a.line = "" // what follows is news
		if leader != "" && leader != a.cfg.Name {
			a.hurry(hurryAfterChange)
		}
		a.observe(false)
	}
	a.duties.members = true
	if _, ours := a.op.(PublishCluster); !ours {
		a.otherCluster()
	}
}

// upToDate mends a view that was on its way while we took the leader key or gave
// it up, and is older than that. It would have us take the key a second time, be
// refused, and say so, or give it up again. The view that shows what we did is
// right behind, so nothing else is lost by dropping one.
func (a *Agent) upToDate(c *cluster.Cluster) *cluster.Cluster {
	switch l := c.Leader; {
	case a.lease.State() != lease.None && c.Newest > 0 && c.Newest < a.hold.Created:
		return nil
	case l != nil && l.Name == a.cfg.Name && a.freed > 0 && l.Created == a.freed:
		mended := *c
		mended.Leader = nil
		return &mended
	}
	return c
}

// checkTenure compares the leader key with the lease that we hold. A view may
// be older than our own acquisition: only one that shows a newer key says
// anything. A newer one of our own name is no other's: the watch may tell of our
// acquisition before its answer comes, or the answer may never come.
func (a *Agent) checkTenure(c *cluster.Cluster) {
	if a.lease.State() == lease.None || c.Leader == nil {
		return
	}
	if c.Leader.Created > a.hold.Created && c.Leader.Name != a.cfg.Name {
		a.leaseEvent(lease.Taken{})
	}
}

// newerKey tells whether the leader key is one that we made and never heard of.
func (a *Agent) newerKey() bool {
	c := a.store.view
	return a.lease.State() != lease.None && c != nil && c.Leader != nil && c.Leader.Name == a.cfg.Name &&
		c.Leader.Created > a.hold.Created && (c.Leader.Session != a.hold.Session || a.lease.KeyGone())
}

// configSeen puts a new dynamic configuration in force. One that cannot be read,
// or that asks for what this version cannot do, is not applied, but for maintenance
// mode: the last good one stays.
func (a *Agent) configSeen(c *cluster.Cluster) {
	if c.Config == nil || c.Config.Doc.Len() == 0 {
		return
	}
	if floors := cluster.FloorsFor(c); c.Config.Version != a.dynamicV || floors != a.floors {
		a.useConfig(c.Config, floors)
	}
	a.sayAdjusted(c)
}

func (a *Agent) useConfig(config *cluster.DynamicConfig, floors cluster.Floors) {
	a.dynamicV, a.dynamicProblem, a.floors = config.Version, "", floors
	a.adjusted = adjusted{}
	settings, warnings, err := cluster.ParseSettingsFor(config.Doc, floors)
	if err != nil {
		a.dynamicProblem = "dynamic configuration: " + err.Error()
		a.log(ha.Error, "Exception when setting dynamic_configuration: "+err.Error()+"; the previous one stays in force")
		return
	}
	if a.cfg.Unsupported != nil {
		if problems := a.cfg.Unsupported(config.Doc); len(problems) > 0 {
			a.dynamicProblem = "dynamic configuration: " + strings.Join(problems, "; ")
			for _, p := range problems {
				a.log(ha.Error, "The dynamic configuration is not applied: "+p)
			}
			a.pauseOnly(settings.Pause)
			return
		}
	}
	a.adjusted = adjusted{unsaid: true, warnings: warnings, short: a.settings.TTL < time.Duration(cluster.CommonFloors.TTL)*time.Second}
	if floors != cluster.GuardedFloors {
		_, guarded, _ := cluster.ParseSettingsFor(config.Doc, cluster.GuardedFloors)
		a.adjusted.raised = !slices.Equal(warnings, guarded)
	}
	a.dynamic = config.Doc
	a.useSettings(settings)
	a.emit(ApplyConfig{Doc: cluster.WithTimes(config.Doc, floors), Settings: settings})
}

// ownConfig is the document for a store that has none. Its times are adjusted only
// as far as that holds whoever the members are: that one of them has no guardian
// today must not make them longer for ever.
func (a *Agent) ownConfig() *cluster.Object {
	floors := cluster.CommonFloors
	if a.cfg.Guarded {
		floors = cluster.GuardedFloors
	}
	if a.dynamic.Len() == 0 { // an empty document counts as none, and would be written for ever
		seconds := func(d time.Duration) int { return int(d / time.Second) }
		return cluster.NewObject("ttl", seconds(a.settings.TTL), "loop_wait", seconds(a.settings.LoopWait), "retry_timeout", seconds(a.settings.RetryTimeout))
	}
	return cluster.WithTimes(a.dynamic, floors)
}

// pauseOnly takes maintenance mode from a document that is not in force otherwise.
// Who switched it on is about to work on the servers, and relies on every agent
// keeping its hands off, whatever else the document asks for.
func (a *Agent) pauseOnly(pause bool) {
	s := a.settings
	s.Pause = pause
	a.useSettings(s)
}

// adjusted is what was made of the times of the dynamic configuration in force.
type adjusted struct {
	unsaid   bool
	warnings []string
	raised   bool // with a guardian beside every agent they would be shorter
	short    bool // times that short were in force before
}

// sayAdjusted says, once for each configuration in force, which times are not
// what the document asks for, and why. As long as no member is known the longer
// times are in force; whether they stay is told by the first key, our own if need
// be.
func (a *Agent) sayAdjusted(c *cluster.Cluster) {
	if !a.adjusted.unsaid || len(c.Members) == 0 {
		return
	}
	a.adjusted.unsaid = false
	if a.adjusted.raised {
		what := "has no guardian"
		if a.adjusted.short {
			what = "without a guardian has joined"
		}
		a.log(ha.Warning, "a member "+what+" ("+unguarded(c)+"): ttl below 20 s is safe only where every agent has one; the times are raised")
	}
	for _, w := range a.adjusted.warnings {
		a.log(ha.Warning, w)
	}
}

func (a *Agent) useSettings(s cluster.Settings) {
	a.settings = s
	a.pauseChanged(s.Pause)
	a.lease.Terms = lease.Terms{TTL: s.TTL, LoopWait: s.LoopWait}
	a.loopAt = min(a.loopAt, a.now+s.LoopWait)
}

// leaseEvent feeds the lease and executes what it wants.
func (a *Agent) leaseEvent(ev lease.Event) {
	for _, e := range a.lease.Handle(a.now, ev) {
		switch e := e.(type) {
		case lease.Renew:
			a.emit(RenewLease{Attempt: e.Attempt, Hold: a.hold, Timeout: e.Timeout})
		case lease.Arm:
			if a.settings.Pause {
				// In maintenance mode nothing is fenced: the deadline is counted, so that the
				// health checks and a resume know it, and nobody enforces it.
				a.leaseEvent(lease.Acked{Seq: e.Seq})
				continue
			}
			a.armed = true
			a.guard.asked(a.now)
			a.emit(ArmGuardian{Seq: e.Seq, Deadline: e.Deadline, Hold: a.hold, TTL: e.TTL})
		case lease.Lost:
			a.lost = e.Reason
			a.log(ha.Warning, "The lease has ended: "+string(e.Reason))
			// A holder that was never promoted has nothing to stop: a look at it disarms
			// the guardian, which would kill a harmless replica at the deadline.
			a.observe(false)
			a.happened(ha.RecordLease, "lost", string(e.Reason))
		}
	}
}

func (a *Agent) renewed(ev Renewed) {
	switch {
	case ev.Err == nil:
		a.storeAnswered(&a.store.renewErr)
		if ev.Grant.Session != "" && ev.Grant.Created == a.hold.Created {
			a.hold = ev.Grant.Hold // the key was moved to another session of ours
		}
		a.leaseEvent(lease.Renewed{Attempt: ev.Attempt, TTL: ev.Grant.TTL, Epoch: ev.Grant.Epoch})
	case dcs.Refused(ev.Err):
		a.storeAnswered(&a.store.renewErr)
		a.log(ha.Error, "failed to update leader lock: "+ev.Err.Error())
		a.happened(ha.RecordStore, "refused", "renewal of the lease: "+ev.Err.Error())
		// A key of our own that we do not know is taken over as soon as the view shows
		// it ([Agent.newerKey]): nobody else can have led, and our deadline still holds.
		other := !isAbsent(ev.Err) && !errors.Is(ev.Err, dcs.ErrOtherTenure)
		a.leaseEvent(lease.Refused{Attempt: ev.Attempt, ByOther: other})
	default:
		if a.store.renewErr == "" {
			a.log(ha.Error, "Error communicating with DCS: renewal of the lease: "+ev.Err.Error())
			a.happened(ha.RecordStore, "failed", "renewal of the lease: "+ev.Err.Error())
		}
		a.store.renewErr = ev.Err.Error()
		a.leaseEvent(lease.Failed{Attempt: ev.Attempt})
	}
}

// storeAnswered notes that the store processed a request of ours.
func (a *Agent) storeAnswered(problem *string) {
	*problem = ""
	a.store.lastSeen = a.wall
}
