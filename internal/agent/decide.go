package agent

import (
	"errors"
	"fmt"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// observePause keeps looks at an instance that does not answer apart.
const observePause = 100 * ha.Instant(1e6)

func rivals(v *ha.View) []cluster.Member {
	return candidate.Rivals(v.Me, v.DCS.Healthy, v.DCS.Cluster)
}

func isAbsent(err error) bool { return errors.Is(err, dcs.ErrAbsent) }

// decide asks the decision core and acts on its answer.
func (a *Agent) decide() {
	if a.ended || a.store.view == nil && a.store.watchErr == "" || a.waitsForFacts() {
		return
	}
	a.again = 0
	v := a.view()
	if v.DCS.Cluster == nil {
		v.DCS.Cluster = &cluster.Cluster{}
	}
	o := a.cfg.Decide(v)
	a.permit(v)
	if a.op != nil && !overrides(o.Do) {
		return // an operation is under way: what it finds comes first
	}
	if a.waitsForView() && !overrides(o.Do) {
		a.again = a.refusedUntil
		return
	}
	a.say(o)
	a.recordDecision(v, &o)
	if o.RaceLost {
		a.raceSince = o.Again
	}
	a.again = o.Again
	a.act(v, o)
}

// waitsForFacts: the facts that the next decision needs are on their way.
func (a *Agent) waitsForFacts() bool {
	return a.observing != 0 && (a.inst.Data == ha.DataUnknown || a.stale && !a.releasesNow())
}

// overrides tells whether a decision may not wait for an operation under way.
func overrides(d ha.Decision) bool {
	switch d.(type) {
	case ha.Demote, ha.CancelTask, ha.Exit:
		return true
	}
	return false
}

// permit lets the lease be renewed: the loop has just judged the world, and a
// primary of ours is, or is on its way to be, what the lease is for. A primary
// that was not looked at for long gets none: timers asks for a look.
func (a *Agent) permit(v *ha.View) {
	if a.lease.State() == lease.None {
		return
	}
	fresh := a.observedAt > 0 && a.now < a.observedAt+a.lease.Terms.PermitFor()
	if v.Task != nil || fresh && a.inst.Running {
		a.leaseEvent(lease.Permit{})
	}
}

// say logs the status line, and what explains it, when a cycle ends or when it
// is news.
func (a *Agent) say(o ha.Outcome) {
	line := o.Line
	if line != "" && a.settings.Pause {
		line = "PAUSE: " + line
	}
	var notes strings.Builder
	for _, n := range o.Notes {
		notes.WriteString(n.Text)
		notes.WriteByte('\n')
	}
	_, quiet := o.Do.(ha.Observe)
	_, waits := o.Do.(ha.Wait)
	quiet = quiet || waits && a.task != nil // that a task runs was said when it began
	news := !quiet && (line != "" && line != a.line || notes.Len() > 0 && notes.String() != a.noteText)
	if !news && !(a.cycleDone && line != "") {
		return
	}
	for _, n := range o.Notes {
		a.log(n.Level, n.Text)
	}
	a.noteText = notes.String()
	if line != "" {
		a.line, a.cycleDone = line, false
		a.log(ha.Info, line)
	}
}

// act turns a decision into effects.
func (a *Agent) act(v *ha.View, o ha.Outcome) {
	switch d := o.Do.(type) {
	case ha.Wait:
	case ha.Observe:
		a.observeSoon()
	case ha.PollPeers:
		a.ask(d.Members)
	case ha.TakeInitialize:
		cond := dcs.IfAbsent()
		if d.Over != nil {
			cond = dcs.IfVersion(d.Over.Version)
		}
		a.operate(TakeInitialize{cond})
	case ha.BootstrapCluster:
		a.start(ha.TaskBootstrap, "", d)
	case ha.RunPostBootstrap:
		a.start(ha.TaskPostBootstrap, "", d)
	case ha.FinishBootstrap:
		// What if another took the bootstrap over while ours was slow? Its key has
		// another version than the one that we made, and is not written over.
		a.operate(PublishCluster{Sysid: a.inst.Sysid, Condition: dcs.IfVersion(a.initialized), Config: a.ownConfig()})
	case ha.CancelBootstrap:
		a.cancelBootstrap(v)
	case ha.Clone:
		from := ""
		if d.From.Name != "" {
			from = fmt.Sprintf("%s '%s'", sourceWord(v, d.From.Name), d.From.Name)
		}
		a.start(ha.TaskClone, from, d)
	case ha.AcquireLeader:
		a.measurePromotion()
		a.operate(Acquire{d.Reclaim})
	case ha.ReleaseLeader:
		a.releaseKey(v, d)
	case ha.AnnouncePromotion:
		s := v.DCS.Cluster.Status
		s.Promotion = &d.Promotion
		a.operate(Announce{Promotion: d.Promotion, Status: s.JSON(), Condition: dcs.IfVersion(s.Version)})
	case ha.Promote:
		a.start(ha.TaskPromote, "", d)
	case ha.StartPrimary:
		a.crashes = append(a.crashes, a.now)
		a.start(ha.TaskStartPrimary, "", d)
	case ha.ResumePrimary:
		a.start(ha.TaskResume, "", d)
	case ha.StartReplica:
		a.start(ha.TaskRestartFailure, "", d)
	case ha.CrashRecover:
		a.start(ha.TaskCrashRecovery, "", d)
	case ha.Demote:
		a.demote(d)
	case ha.CompareTimelines:
		a.compare(d.Leader)
	case ha.Rewind:
		a.start(ha.TaskRewind, d.From.Name, d)
	case ha.Reinitialize:
		a.start(ha.TaskReinitialize, "", d)
	case ha.Follow:
		a.follow(d)
	case ha.ResumeReplay:
		a.inst.ReplayPaused = false
		a.emit(ResumeReplay{})
	case ha.WriteInitialize:
		a.operate(PutInitialize{Sysid: d.Sysid, Condition: initializeCondition(v)})
	case ha.WriteConfig:
		a.operate(PutConfig{Doc: a.ownConfig(), Condition: configCondition(v)})
	case ha.CancelTask:
		a.cancel()
	case ha.AskFailsafe:
		a.askFailsafe(d.Members)
	case ha.ClearFailover:
		a.operate(PutFailover{Value: []byte("{}"), Condition: dcs.IfVersion(v.DCS.Cluster.Failover.Version)})
	case ha.KeepCandidate:
		f := cluster.Failover{Candidate: v.DCS.Cluster.Failover.Candidate}
		a.operate(PutFailover{Value: f.JSON(), Condition: dcs.Any()})
	case ha.Restart:
		a.requests.Restart = nil
		a.start(ha.TaskRestart, "", d)
	case ha.TakeBack:
		a.releaseDue = false
		a.leaseEvent(lease.Rearm{}) // it was told that there is nothing to guard
		if f := v.DCS.Cluster.Failover; f.Pending() {
			a.operate(PutFailover{Value: []byte("{}"), Condition: dcs.IfVersion(f.Version)})
		}
	case ha.DropRestart:
		a.requests.Restart = nil
		a.duties.touchNow()
	case ha.StopPostgres:
		a.start(ha.TaskStop, "", d)
	case ha.Exit:
		a.exit(d)
	}
}

func sourceWord(v *ha.View, name string) string {
	if name == v.DCS.Cluster.LeaderName() {
		return "leader"
	}
	return "replica"
}

// cancelBootstrap gives up the key that this node made, and then what it was for.
//
// What if the view is old, or we were so slow that another took the bootstrap over,
// and published a cluster? Its key is not the one that we made, and stays: the
// store looks at the version. Our own attempt is given up in any case.
func (a *Agent) cancelBootstrap(v *ha.View) {
	c := v.DCS.Cluster
	older := c.Newest > 0 && c.Newest < a.initialized // the view, than our key
	if i := c.Initialize; older || i != nil && i.Version == a.initialized {
		a.operate(DropInitialize{dcs.IfVersion(a.initialized)})
		return
	}
	if c.Initialize == nil {
		a.log(ha.Info, "the initialize key is already gone")
	} else {
		a.log(ha.Info, "the initialize key is not the one that this node made; it stays as it is")
	}
	a.start(ha.TaskCancelBootstrap, "", ha.CancelBootstrap{})
}

func initializeCondition(v *ha.View) dcs.Condition {
	if v.DCS.Cluster.Initialize == nil {
		return dcs.IfAbsent()
	}
	return dcs.IfVersion(v.DCS.Cluster.Initialize.Version)
}

func configCondition(v *ha.View) dcs.Condition {
	if v.DCS.Cluster.ConfigVersion == 0 {
		return dcs.IfAbsent()
	}
	return dcs.IfVersion(v.DCS.Cluster.ConfigVersion)
}

func (a *Agent) exit(d ha.Exit) {
	a.ended = true
	a.emit(Exit(d))
}

// observe asks for a look at the instance; a cycle's look makes the duties due.
func (a *Agent) observe(cycle bool) {
	a.cycle = a.cycle || cycle
	if a.observing != 0 {
		a.observeAgain = true
		return
	}
	a.opID++
	a.observing = a.opID
	var source *cluster.Member
	if a.store.view != nil {
		source = ha.FollowSource(a.view())
	}
	a.emit(Observe{ID: a.observing, Source: source})
}

// observeSoon is a look that a decision asked for. When the last one has only
// just ended it is made after a pause: looking does not help a server that
// needs time.
func (a *Agent) observeSoon() {
	if at := a.observedAt + observePause; a.observedAt > 0 && a.now < at && a.observing == 0 && a.observedAt >= a.raceSince {
		if a.again == 0 || at < a.again {
			a.again = at
		}
		return
	}
	if a.observing == 0 {
		a.observe(false)
	}
}

// operate begins an operation on the store.
func (a *Agent) operate(op Operation) {
	a.opID++
	a.op, a.opRuns, a.opView = op, a.opID, a.store.view
	a.emit(Operate{ID: a.opID, Op: op})
}

// releasesNow: a demotion that saw the server's end itself is over, and the key
// is still ours. What a look would find is not needed to give it up, and the
// candidate waits for it.
func (a *Agent) releasesNow() bool {
	return a.releaseDue && a.downed.Checkpoint > 0 && a.task == nil && a.op == nil && !a.shutdown &&
		a.store.view.LeaderName() == a.cfg.Name && a.view().DCS.Reachable
}

func (a *Agent) releaseKey(v *ha.View, d ha.ReleaseLeader) {
	l := v.DCS.Cluster.Leader
	r := Release{Hold: dcs.Hold{Session: l.Session, Created: l.Created}}
	if d.LSN > 0 {
		s := ha.FinalStatus(v.DCS.Cluster.Status, d.LSN)
		r.Status = s.JSON()
	}
	if a.task == nil && a.last != nil && a.last.Kind == ha.TaskPromote && !a.last.OK {
		a.gaveUpAt, a.gaveUpByScript = a.now, d.PrePromote
	}
	if d.LSN > 0 && a.task != nil {
		a.reached(partArrived)
	}
	a.lost = lease.GivenUp
	a.leaseEvent(lease.Released{})
	a.operate(r)
}

// demote stops a primary, after ending whatever task runs.
func (a *Agent) demote(d ha.Demote) {
	if a.task != nil {
		if a.afterCancel == nil {
			a.afterCancel = d
			a.cancel()
		}
		return
	}
	a.log(ha.Info, fmt.Sprintf("Demoting self (%s)", d.Mode))
	a.div = ha.Divergence{Broken: a.div.Broken}
	a.measureStop(d)
	a.promoted = false
	a.demotedOffline = d.Mode == ha.DemoteOffline
	a.releaseDue = d.Mode == ha.DemoteImmediate || d.Mode == ha.DemoteGraceful
	kind := ha.TaskDemote
	switch d.Action {
	case "switchover":
		kind = ha.TaskSwitchover
	case "manual failover":
		kind = ha.TaskManualFailover
	}
	a.start(kind, "", d)
}

func (a *Agent) compare(leader cluster.Member) {
	if a.comparer != 0 {
		return
	}
	a.opID++
	a.comparer = a.opID
	a.emit(Compare{ID: a.comparer, Leader: leader})
}

// compared takes over the result of a comparison. Without a conclusion another
// try is due later; meanwhile a stopped server may be started as a replica,
// which changes nothing that a rewind could not mend.
func (a *Agent) compared(ev Compared) {
	if ev.ID != a.comparer {
		return
	}
	a.comparer = 0
	l := a.store.view.LeaderMember()
	if !ev.Concluded || l == nil {
		a.div.TriedAt = a.now
		if ev.Why != "" {
			a.log(ha.Info, "Comparing timelines: "+ev.Why)
			a.happened(ha.RecordHistory, "no conclusion", ev.Why)
		}
		return
	}
	a.div = ha.Divergence{State: ha.DivergenceNone, Leader: l.Name, Timeline: l.Timeline, At: a.now, Replayed: ev.Replayed, Broken: a.div.Broken}
	if ev.Diverged {
		a.div.State = ha.DivergenceFound
		a.log(ha.Warning, "The history of this node diverged from "+l.Name+": "+ev.Why)
		a.record(ha.Record{Kind: ha.RecordHistory, What: "diverged", Member: l.Name, Why: ev.Why})
		return
	}
	a.record(ha.Record{Kind: ha.RecordHistory, What: "fits", Member: l.Name, Why: ev.Why})
	a.log(ha.Info, "The history of this node fits that of "+l.Name+": "+ev.Why)
}

// follow changes the source of a running replica.
func (a *Agent) follow(d ha.Follow) {
	a.inst.FollowNeeds = ha.FollowNeeds{}
	kind := ha.TaskReload
	if d.Restart {
		kind = ha.TaskFollowRestart
	}
	a.start(kind, "", d)
}
