package ha

import (
	"slices"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
)

const (
	// answersGood is how long an answer of a member may be used.
	answersGood = 2 * time.Second
	// formerLeaderWait is how long a race waits for an answer of the member that
	// led before. Its lease has ended, or there would be no race: it has stopped
	// accepting writes by itself. It is asked because it may be back as a replica
	// and know more than we do; a host that has vanished must not cost the usual
	// time-out.
	formerLeaderWait = 400 * time.Millisecond
	// resumeWait is how long a replica lets the former leader go first when that is
	// alive and knows at least as much: it can go on without a new timeline.
	resumeWait = time.Second
	// raceAgain is how soon a race is run anew after we were not the healthiest,
	// with new answers: two replicas may each have seen the other ahead.
	raceAgain = 150 * time.Millisecond
)

// race decides while nobody holds the leader key (reference ha.md 9).
func race(v *View) Outcome {
	e := eligible(v)
	switch e.verdict {
	case undecided:
		return e.outcome
	case yes:
		o := do(AcquireLeader{}, "")
		o.Notes = e.outcome.Notes
		return o
	}
	o := follow(v, outOfRace(v, "demoting self because I am not allowed to become primary", "demoting self because i am not the healthiest node"),
		outOfRace(v, "following a different leader because I am not allowed to promote", "following a different leader because i am not the healthiest node"))
	o.Notes = append(e.outcome.Notes, o.Notes...)
	if e.outcome.Again > 0 {
		o.RaceLost, o.Again = e.outcome.RaceLost, e.outcome.Again
	}
	return o
}

// outOfRace picks the text for a node that may not lead at all, or for one
// that only was not the best this time.
func outOfRace(v *View, notAllowed, notBest string) string {
	if cluster.NoFailover(v.Local.Tags) {
		return notAllowed
	}
	return notBest
}

type verdict int

const (
	no verdict = iota
	yes
	undecided // an answer is awaited
)

type eligibility struct {
	verdict verdict
	outcome Outcome // what to do while undecided; notes and Again otherwise
}

// eligible decides whether we may race (reference ha.md 9.2): the first row
// that matches decides.
func eligible(v *View) eligibility {
	i := &v.Instance
	history := v.DCS.Cluster.History.Timeline()
	switch {
	case v.backingOff():
		e := eligibility{}
		if v.GaveUpByScript {
			e.outcome.note(Info, "backoff: skip leader race after pre_promote script failure and releasing the lock voluntarily")
		} else {
			e.outcome.note(Info, "backoff: skip leader race after a failed promotion and releasing the lock voluntarily")
		}
		return e
	case v.paused() && v.DCS.Cluster.Failover.Pending() && v.DCS.Cluster.Failover.ScheduledAt == "" && !cluster.NoFailover(v.Local.Tags):
		if e := requestedElsewhere(v); e.verdict != no || !i.Primary() {
			return e
		}
		return notEligible("maintenance mode is on: only the requested candidate is promoted")
	case i.State.Starting() && !i.Answers:
		return notEligible("PostgreSQL is still starting here")
	case !i.Answers && !i.Primary():
		return eligibility{verdict: undecided, outcome: Outcome{Do: Observe{}, Again: v.Now + recoveryPause}}
	case i.Primary() && v.paused():
		init := v.DCS.Cluster.Initialize
		return eligibility{verdict: verdictOf(init == nil || init.Value == i.Sysid)}
	case i.Primary() && i.Answers && i.Timeline < history:
		// Somebody led after us while we were away or hung (trap 17).
		e := eligibility{}
		e.outcome.note(Warning, "My timeline %d is behind last known cluster timeline %d", i.Timeline, history)
		return e
	case i.Primary() && i.Answers && announcedSince(v, i.Timeline) && v.DCS.Cluster.Status.Promotion.Leader != v.Me:
		e := eligibility{}
		e.outcome.note(Warning, "My timeline %d is behind timeline %d, to which %s was promoted", i.Timeline, v.DCS.Cluster.Status.Promotion.Timeline,
			v.DCS.Cluster.Status.Promotion.Leader)
		return e
	case i.Primary():
		return eligibility{verdict: yes}
	case v.Divergence.Broken:
		return notEligible("the data directory is half rewound")
	case v.paused():
		return notEligible("maintenance mode is on: nobody is promoted automatically")
	case cluster.NoFailover(v.Local.Tags):
		return notEligible("this member is tagged nofailover, or has failover_priority 0")
	case v.DCS.Cluster.Failover.Pending():
		return requestedElsewhere(v)
	case !v.inTopology(v.Me):
		return eligibility{} // a primary without the store did not ask us
	case forbids(v) != "":
		e := eligibility{}
		e.outcome.note(Warning, "%s", forbids(v))
		return e
	case v.Health.FailingSince > 0:
		e := eligibility{}
		e.outcome.note(Warning, "not fit to lead: %s", v.Health.Why)
		return e
	case v.Watchdog.Unusable:
		e := eligibility{}
		e.outcome.note(Warning, "Watchdog device is not usable")
		return e
	}
	return healthiest(v)
}

// inTopology tells whether a primary in failsafe mode would ask that member for
// its promise.
func (v *View) inTopology(name string) bool {
	topology := v.DCS.Cluster.Failsafe
	return !v.Settings.FailsafeMode || topology.Len() == 0 || listed(topology, name)
}

// notEligible is a no whose reason the status line does not tell.
func notEligible(why string) eligibility {
	var e eligibility
	e.outcome.note(Debug, "%s", why)
	return e
}

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// healthiest compares us with everybody who could be promoted instead
// (reference ha.md 9.3). All positions, ours too, must have been taken after
// the key was gone: until then they may still grow.
func healthiest(v *View) eligibility {
	if v.Now < v.RaceSince {
		return eligibility{outcome: Outcome{Again: v.RaceSince}}
	}
	if v.Instance.ObservedAt < v.RaceSince {
		return eligibility{verdict: undecided, outcome: Outcome{Do: Observe{}}}
	}
	former := v.DCS.Healthy.LeaderName()
	rivals := candidate.Rivals(v.Me, v.DCS.Healthy, v.DCS.Cluster)
	// Who may not race must not keep others from it, whatever it has: with a member
	// ahead that came after the topology was written there would be no leader ever.
	rivals = slices.DeleteFunc(rivals, func(m cluster.Member) bool { return !v.inTopology(m.Name) })
	e := compareWith(v, rivals, former, true)
	if until := v.DCS.UnlockedAt + resumeWait; e.verdict == yes && v.Now < until && v.formerLeaderResumes(former) {
		e.verdict, e.outcome = undecided, Outcome{Do: Wait{}, Again: until}
	}
	return e
}

// compareWith compares us with these rivals, asking them first.
func compareWith(v *View, rivals []cluster.Member, former string, checkLag bool) eligibility {
	answers, ask, waiting := v.answersOf(rivals, v.RaceSince, former)
	switch {
	case len(ask) > 0:
		return eligibility{verdict: undecided, outcome: Outcome{Do: PollPeers{ask}}}
	case waiting > 0:
		return eligibility{verdict: undecided, outcome: Outcome{Do: Wait{}, Again: waiting}}
	}
	for i := range answers {
		answers[i].Foreign = slices.ContainsFunc(rivals, func(m cluster.Member) bool { return m.Name == answers[i].Name && m.Agent == nil })
	}
	c := candidate.Compare(
		candidate.Self{Name: v.Me, LSN: v.Instance.LSN, Timeline: v.Instance.Timeline, Tags: v.Local.Tags}, answers,
		candidate.Rules{CheckLag: checkLag, LeaderLSN: v.DCS.Cluster.Status.LSN, MaximumLag: v.Settings.MaximumLagOnFailover,
			CheckTimeline: v.Settings.CheckTimeline, ClusterTimeline: v.DCS.Cluster.History.Timeline(), FormerLeader: former,
			WaitedEnough: v.DCS.UnlockedAt > 0 && v.Now >= v.DCS.UnlockedAt+v.Settings.TTL})
	e := eligibility{verdict: verdictOf(c.Healthiest)}
	for _, n := range c.Notes {
		level := Info
		if n.Warning {
			level = Warning
		}
		e.outcome.note(level, "%s", n.Text)
	}
	if !c.Healthiest {
		e.outcome.Again, e.outcome.RaceLost = v.Now+raceAgain, true
	}
	return e
}

// formerLeaderResumes tells whether the member that led before is alive as a
// replica that knows at least as much as we do.
func (v *View) formerLeaderResumes(former string) bool {
	r, ok := v.Peers.Results[former]
	a := &r.Answer
	return ok && r.Asked >= v.RaceSince && a.Limitation() == "" && !a.Primary && a.LSN > 0 && a.LSN >= v.Instance.LSN
}

// answersOf collects the members' answers to questions asked at or after since.
// It returns whom to ask, or until when to wait at most for an answer that is
// on its way.
//
// Three kinds of members are not waited for: one that was silent a moment before
// (it was asked again, but its silence is no news), the former leader after
// formerLeaderWait, and everybody after the time-out of a question. One that
// refused at once, or said that its PostgreSQL does not run, will answer at once
// again, and may be back: to wait for that costs nothing.
func (v *View) answersOf(members []cluster.Member, since Instant, former string) (answers []candidate.Answer, ask []cluster.Member, until Instant) {
	for _, m := range members {
		r, have := v.Peers.Results[m.Name]
		asked, pending := v.Peers.Pending[m.Name]
		fresh := have && r.Asked >= since && v.Now < r.Answered+answersGood
		switch {
		case fresh:
			answers = append(answers, r.Answer)
		case !pending || asked < since:
			ask = append(ask, m)
		case have && !r.Answer.Reachable && v.Now < r.Answered+answersGood && r.Answered-r.Asked >= formerLeaderWait:
			// silent just before
		case m.Name == former && v.Now >= asked+formerLeaderWait, v.Now >= asked+answersGood:
			// waited for long enough
		case m.Name == former:
			until = max(until, asked+formerLeaderWait)
		default:
			until = max(until, asked+answersGood)
		}
	}
	return answers, ask, until
}
