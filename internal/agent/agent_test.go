package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// leading is an agent whose lease is held until the deadline that is returned.
func leading(t *testing.T) (*Agent, ha.Instant) {
	t.Helper()
	a := New(Config{Name: "n1"})
	a.now = 100 * time.Second
	a.store.view = &cluster.Cluster{Leader: &cluster.Leader{Name: "n1", Created: 9, Session: "s1"}}
	a.inst = ha.Instance{Data: ha.DataPresent, Running: true, Answers: true, Timeline: 2, Role: cluster.RolePrimary, State: cluster.StateRunning}
	a.hold = dcs.Hold{Session: "s1", Created: 9}
	a.leaseEvent(lease.Acquired{Sent: a.now, TTL: 30 * time.Second, Epoch: 1})
	a.leaseEvent(lease.Acked{Seq: 1})
	if a.lease.State() != lease.Held {
		t.Fatal("the lease is not held")
	}
	return a, a.lease.Deadline()
}

func has[E Effect](effects []Effect) bool {
	for _, e := range effects {
		if _, ok := e.(E); ok {
			return true
		}
	}
	return false
}

func TestNothingIsPublishedByALoopThatStoodStillPastItsDeadline(t *testing.T) {
	local := ha.LocalHistory{Timeline: 2, Lines: []cluster.HistoryLine{{Timeline: 1, LSN: 500}}}
	a, deadline := leading(t)
	if !has[Publish](a.Step(deadline-10*time.Second, time.Time{}, 0, HistoryRead{Local: local})) {
		t.Fatal("a leader does not publish its history")
	}
	a, deadline = leading(t)
	if has[Publish](a.Step(deadline+time.Second, time.Time{}, 0, HistoryRead{Local: local})) {
		t.Error("published the history after the lease had ended")
	}
}

func TestRenewalTakesOverTheSessionTheKeyWasMovedTo(t *testing.T) {
	a, _ := leading(t)
	e := a.Step(106*time.Second, time.Time{}, 0, Timer{})
	if !has[RenewLease](e) {
		t.Fatalf("nothing is renewed: %v", e)
	}
	moved := dcs.Hold{Session: "s2", Created: 9}
	a.Step(106*time.Second, time.Time{}, 0, Renewed{Attempt: 1, Grant: dcs.Grant{Hold: moved, TTL: 30 * time.Second, Epoch: 1}})
	if a.hold != moved {
		t.Errorf("holds %v, want %v", a.hold, moved)
	}
}

func TestRewindThatNeverBeganIsComparedAgain(t *testing.T) {
	a, _ := leading(t)
	a.task, a.taskID = &ha.Task{Kind: ha.TaskRewind}, 5
	a.div.State = ha.DivergenceFound
	a.taskEnded(TaskEnded{ID: 5, Error: "the leader does not answer", Retry: true})
	if a.div.State != ha.DivergenceCheck {
		t.Errorf("the divergence is in state %d, want a comparison to be due", a.div.State)
	}
}

func TestDataThatWasNotReplacedIsComparedAgain(t *testing.T) {
	for _, x := range []struct{ before, after ha.Divergence }{
		{ha.Divergence{State: ha.DivergenceFound}, ha.Divergence{State: ha.DivergenceCheck, TriedAt: 100 * time.Second}},
		{ha.Divergence{State: ha.RewindFailed}, ha.Divergence{State: ha.DivergenceCheck, TriedAt: 100 * time.Second}},
		// Half rewound: to be copied, whatever the next leader's history is.
		{ha.Divergence{State: ha.RewindFailed, Broken: true}, ha.Divergence{State: ha.RewindFailed, Broken: true}},
	} {
		a, _ := leading(t)
		a.now, a.div = 100*time.Second, x.before
		a.task, a.taskID = &ha.Task{Kind: ha.TaskReinitialize}, 5
		a.taskEnded(TaskEnded{ID: 5, Error: "nobody to copy from", Retry: true})
		if a.div != x.after {
			t.Errorf("%+v became %+v, want %+v", x.before, a.div, x.after)
		}
	}
}

func TestRewindThatNeverBeganLeavesAHalfRewoundFolderHalfRewound(t *testing.T) {
	a, _ := leading(t)
	a.task, a.taskID = &ha.Task{Kind: ha.TaskRewind}, 5
	a.div = ha.Divergence{State: ha.DivergenceFound, Broken: true}
	a.taskEnded(TaskEnded{ID: 5, Error: "the leader does not answer", Retry: true})
	if !a.div.Broken {
		t.Error("the folder counts as whole")
	}
}

// Who asks for a copy is told when the source has answered, or why nothing is done.
func TestReinitializationIsAnsweredWhenItsSourceHasAnswered(t *testing.T) {
	answers := func(effects []Effect) (list []Answer) {
		for _, e := range effects {
			if x, ok := e.(Answer); ok {
				list = append(list, x)
			}
		}
		return list
	}
	for _, x := range []struct {
		name string
		then func(a *Agent) Event
		want Answer
	}{
		{"it begins", func(a *Agent) Event { return TaskProgress{ID: a.taskID, Phase: ha.PhaseCommitted} }, Answer{7, 200, "reinitialize started"}},
		{"nobody to copy from", func(a *Agent) Event { return TaskEnded{ID: a.taskID, Error: "n2 does not answer", Retry: true} },
			Answer{7, 503, "reinitialize failed: n2 does not answer"}},
	} {
		a := following()
		v := *a.store.view
		v.Members = []cluster.Member{{Name: "n2", State: cluster.StateRunning, ConnURL: "postgres://n2/postgres"}}
		a.store.view = &v
		e := a.Step(a.now, time.Time{}, 0, ReinitRequested{ID: 7})
		if got := answers(e); len(got) > 0 || !has[StartTask](e) {
			t.Fatalf("%s: answered %v before it was known; %v", x.name, got, e)
		}
		if got := answers(a.Step(a.now, time.Time{}, 0, x.then(a))); len(got) != 1 || got[0] != x.want {
			t.Errorf("%s: answered %v, want %v", x.name, got, x.want)
		}
		if x.want.Code == 200 {
			if got := answers(a.Step(a.now, time.Time{}, 0, TaskEnded{ID: a.taskID, Error: "the base backup was interrupted"})); len(got) > 0 {
				t.Errorf("%s: answered a second time: %v", x.name, got)
			}
		}
	}
}

// A view that the store does not confirm any more names no leader to copy from:
// nothing is removed, not even with force.
func TestNothingIsReinitializedWhileTheStoreDoesNotAnswer(t *testing.T) {
	for what, ev := range map[string]Event{"the watch failed": StoreFailed{Err: "timeout"}, "the member key was not written": Touched{Err: errors.New("timeout")}} {
		for _, ask := range []ReinitRequested{{ID: 7}, {ID: 7, Force: true}, {ID: 7, FromLeader: true}} {
			a := following()
			v := *a.store.view
			v.Members = []cluster.Member{{Name: "n2", State: cluster.StateRunning, ConnURL: "postgres://n2/postgres"}}
			a.store.view = &v
			a.Step(a.now, time.Time{}, 0, ev)
			e := a.Step(a.now, time.Time{}, 0, ask)
			if has[StartTask](e) || !slices.Contains(e, Effect(Answer{7, 503, "Cluster has no leader, can not reinitialize"})) {
				t.Errorf("%s, %+v: %v", what, ask, e)
			}
		}
	}
}

// following is a replica of n2 that streams.
func following() *Agent {
	a := New(Config{Name: "n1"})
	a.now = 100 * time.Second
	a.loopAt = a.now + time.Hour
	a.store.view = &cluster.Cluster{Leader: &cluster.Leader{Name: "n2", Created: 9, Session: "s2"}}
	a.inst = ha.Instance{Data: ha.DataPresent, Running: true, Answers: true, InRecovery: true, Timeline: 2,
		Role: cluster.RoleReplica, State: cluster.StateRunning, ReplicationState: "streaming"}
	return a
}

func TestBrokenStreamIsRetriedSoonAndRarer(t *testing.T) {
	a := following()
	a.Step(a.now, time.Time{}, 0, ReceiverEnded{})
	broke := a.now
	a.inst.ReplicationState = ""
	var tries []ha.Instant
	for a.streamWake() > 0 {
		if a.streamWake() <= a.now {
			t.Fatalf("it wants to be woken at %s, and it is %s", a.streamWake(), a.now)
		}
		if has[RetryStream](a.Step(a.streamWake(), time.Time{}, 0, Timer{})) {
			tries = append(tries, a.now-broke)
		}
	}
	if len(tries) < 5 || len(tries) > 10 || tries[0] > 100*time.Millisecond || tries[len(tries)-1] > hurryAfterEnd {
		t.Errorf("tries at %v", tries)
	}
}

func TestStreamThatCameBackIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*Agent){
		"streams":   func(*Agent) {},
		"promoted":  func(a *Agent) { a.inst.Role, a.inst.InRecovery = cluster.RolePrimary, false },
		"in a task": func(a *Agent) { a.inst.ReplicationState, a.task = "", &ha.Task{Kind: ha.TaskReload} },
		"is down": func(a *Agent) {
			a.inst.ReplicationState, a.inst.Running, a.inst.State = "", false, cluster.StateStopped
		},
		"is to move": func(a *Agent) { a.inst.ReplicationState, a.inst.FollowNeeds.Change = "", ha.NeedsRestart },
	} {
		a := following()
		a.Step(a.now, time.Time{}, 0, ReceiverEnded{})
		change(a)
		for a.streamWake() > 0 {
			if has[RetryStream](a.Step(a.streamWake(), time.Time{}, 0, Timer{})) {
				t.Fatalf("%s: retried", name)
			}
		}
	}
}

func TestAcquisitionForgetsTheErrorOfAnEarlierLease(t *testing.T) {
	a, _ := leading(t)
	a.leaseEvent(lease.Released{})
	a.store.renewErr = "no answer"
	a.op, a.opRuns = Acquire{}, 8
	a.operationEnded(OperationEnded{ID: 8, Sent: a.now, Grant: dcs.Grant{Hold: a.hold, TTL: 30 * time.Second}})
	if v := a.view(); !v.DCS.Reachable {
		t.Errorf("the new leader thinks the store unreachable: %s", v.DCS.Error)
	}
}

func TestLoopDoesNotSpinWhileTheMemberKeyIsWritten(t *testing.T) {
	a, _ := leading(t)
	a.duties.touching = true
	a.duties.touchNow()
	a.loopAt = a.now + time.Second
	if at := a.WakeAt(); at <= a.now {
		t.Errorf("WakeAt is %s at %s", at, a.now)
	}
}

func TestHolderThatWasNeverPromotedDisarmsTheGuardianWhenTheLeaseEnds(t *testing.T) {
	a, deadline := leading(t)
	a.inst.Role, a.inst.InRecovery = cluster.RoleReplica, true
	var look Observe
	for _, e := range a.Step(deadline, time.Time{}, 0, Timer{}) {
		if o, ok := e.(Observe); ok {
			look = o
		}
	}
	if look.ID == 0 {
		t.Fatal("nobody looks at the instance when the lease ends")
	}
	facts := Facts{Data: ha.DataPresent, Running: true, Answers: true, InRecovery: true}
	if !has[DisarmGuardian](a.Step(deadline+time.Millisecond, time.Time{}, 0, Observed{ID: look.ID, Facts: facts})) {
		t.Error("the guardian is not disarmed: it kills a replica")
	}
}

// TestViewFromBeforeOurOwnStepIsNotBelieved: it was on its way while we took the
// key, or gave it up.
func TestViewFromBeforeOurOwnStepIsNotBelieved(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	a.clusterSeen(&cluster.Cluster{Newest: 8})
	if l := a.store.view.LeaderName(); l != "n1" {
		t.Errorf("an old view took the key from us: %q leads", l)
	}
	a.clusterSeen(&cluster.Cluster{Newest: 10})
	if l := a.store.view.LeaderName(); l != "" {
		t.Errorf("a new view is not believed: %q leads", l)
	}
	a, _ = leading(t)
	a.op, a.opRuns = Release{Hold: a.hold}, 8
	a.operationEnded(OperationEnded{ID: 8})
	old := cluster.Cluster{Newest: 12, Leader: &cluster.Leader{Name: "n1", Created: 9}}
	a.clusterSeen(&old)
	if l := a.store.view.LeaderName(); l != "" {
		t.Errorf("the key that we gave up is back: %q leads", l)
	}
	again := cluster.Cluster{Newest: 13, Leader: &cluster.Leader{Name: "n1", Created: 13}}
	a.clusterSeen(&again)
	if l := a.store.view.LeaderName(); l != "n1" {
		t.Errorf("a later key of ours is not seen: %q leads", l)
	}
}

// TestRestartIsNotTakenForAHang: a probe that was refused in that moment says
// nothing about the server that runs afterwards.
func TestRestartIsNotTakenForAHang(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	a.start(ha.TaskRestart, "", ha.Restart{Primary: true})
	a.Step(a.now, time.Time{}, 0, HealthSeen{Since: 1, Why: "connection refused"})
	if a.health.FailingSince != 0 {
		t.Error("counts as hanging during the restart")
	}
	a.health.FailingSince = 1
	a.Step(a.now, time.Time{}, 0, TaskEnded{ID: a.taskID})
	if a.health.FailingSince != 0 {
		t.Error("counts as hanging after the restart")
	}
	a.Step(a.now, time.Time{}, 0, HealthSeen{Since: a.now, Why: "connection refused"})
	if a.health.FailingSince != a.now {
		t.Error("does not count as hanging later")
	}
}

// The watch may tell of an acquisition before its answer comes.
func TestOwnNewerKeyIsNoRivals(t *testing.T) {
	a, deadline := leading(t)
	a.Step(106*time.Second, time.Time{}, 0, Timer{})
	a.Step(106*time.Second, time.Time{}, 0, Renewed{Attempt: 1, Err: dcs.ErrAbsent})
	mine := &cluster.Cluster{Leader: &cluster.Leader{Name: "n1", Created: 12, Session: "s2"}}
	a.Step(107*time.Second, time.Time{}, 0, ClusterSeen{Cluster: mine})
	if a.lease.State() != lease.Held || a.lease.Deadline() != deadline {
		t.Fatalf("a key of our own ended the lease: %v", a.lost)
	}
	if v := a.view(); !v.Lease.Newer {
		t.Error("the view does not say that the key is a newer one")
	}
	other := &cluster.Cluster{Leader: &cluster.Leader{Name: "n2", Created: 13, Session: "s3"}}
	a.Step(108*time.Second, time.Time{}, 0, ClusterSeen{Cluster: other})
	if a.lease.State() != lease.None || a.lost != lease.TakenByOther {
		t.Error("another's key did not end the lease")
	}
}

// The store has a key of our name that the lease we inherited knows nothing of: an
// earlier agent asked for it and ended before it heard the answer.
func TestOwnKeyOfAnotherTenureDoesNotEndAnInheritedLease(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	a.leaseEvent(lease.Released{})
	const sysid = "7000000000000000001"
	view := func(l cluster.Leader) *cluster.Cluster {
		return &cluster.Cluster{Initialize: &cluster.Initialize{Value: sysid}, Config: &cluster.DynamicConfig{Doc: cluster.NewObject("ttl", 30)}, Leader: &l}
	}
	a.store.view, a.inst.Sysid = view(*a.store.view.Leader), sysid
	deadline := a.now + 20*time.Second
	// step feeds an event, and what a look at the instance finds if one is wanted.
	step := func(at ha.Instant, ev Event) []Effect {
		effects := a.Step(at, time.Time{}, 0, ev)
		if a.observing != 0 {
			facts := Facts{Data: ha.DataPresent, Running: true, Answers: true, Timeline: 2, Sysid: sysid}
			effects = append(effects, a.Step(at, time.Time{}, 0, Observed{ID: a.observing, Facts: facts})...)
		}
		return effects
	}
	var renewal RenewLease
	for _, e := range step(a.now, Inherited{Hold: a.hold, Lease: InheritedLease(deadline, 30*time.Second)}) {
		if r, ok := e.(RenewLease); ok {
			renewal = r
		}
	}
	if a.lease.State() != lease.Held || a.lease.Deadline() != deadline {
		t.Fatalf("inherited: state %v until %s, want held until %s", a.lease.State(), a.lease.Deadline(), deadline)
	}
	if renewal.Attempt == 0 {
		t.Fatal("the inherited lease is never renewed")
	}
	effects := step(a.now, Renewed{Attempt: renewal.Attempt, Err: fmt.Errorf("renew: %w", dcs.ErrOtherTenure)})
	later := view(cluster.Leader{Name: "n1", Created: 12, Session: "s2"})
	effects = append(effects, step(a.now+time.Second, ClusterSeen{Cluster: later})...)
	if a.lease.State() != lease.Held || a.lease.Deadline() != deadline || a.lost != "" {
		t.Errorf("the lease: state %v until %s, lost %q; want held until %s", a.lease.State(), a.lease.Deadline(), a.lost, deadline)
	}
	if has[StartTask](effects) {
		t.Error("a task was started, a demotion most likely")
	}
	var reclaimed *cluster.Leader
	for _, e := range effects {
		if o, ok := e.(Operate); ok {
			if op, ok := o.Op.(Acquire); ok {
				reclaimed = op.Reclaim
			}
		}
	}
	if reclaimed == nil || reclaimed.Created != 12 {
		t.Errorf("reclaims %v, want the key made at 12", reclaimed)
	}
}

func TestRefusedAcquisitionSaysWhoseTheKeyIs(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		err     error
		primary bool
		want    string
	}{
		{dcs.ErrOtherTenure, true, "the leader key has the name of this member already; taking it over next"},
		{dcs.ErrOtherTenure, false, "the leader key has the name of this member already; taking it over next"},
		{dcs.ErrHeld, true, "demoted self after trying and failing to obtain lock"},
		{dcs.ErrHeld, false, "following new leader after trying and failing to obtain lock"},
	} {
		a, _ := leading(t)
		a.inst.InRecovery = !x.primary
		if !x.primary {
			a.inst.Role = cluster.RoleReplica
		}
		a.out = nil
		a.acquired(OperationEnded{Err: fmt.Errorf("acquire: %w", x.err)}, Acquire{})
		if len(a.out) != 1 || a.out[0] != (Log{ha.Info, x.want}) {
			t.Errorf("%v, primary %v: %v, want %q", x.err, x.primary, a.out, x.want)
		}
	}
}

// promising is an agent that follows n1, with failsafe mode on.
func promising(t *testing.T) *Agent {
	t.Helper()
	a := New(Config{Name: "n2", Initial: cluster.NewObject("failsafe_mode", true)})
	a.now = 100 * time.Second
	a.inst = ha.Instance{Data: ha.DataPresent, Running: true, Answers: true, InRecovery: true, Timeline: 2, Role: cluster.RoleReplica, State: cluster.StateRunning}
	a.Step(a.now, time.Time{}, 0, ClusterSeen{Cluster: ledBy("n1", 9)})
	return a
}

func ledBy(name string, created cluster.Version) *cluster.Cluster {
	c := &cluster.Cluster{Initialize: &cluster.Initialize{Value: "1"}}
	if name != "" {
		c.Leader = &cluster.Leader{Name: name, Created: created, Session: "s"}
	}
	return c
}

// After it was frozen, the store shows the old leader key for a moment.
func TestPromiseOutlivesAnOldLeaderKey(t *testing.T) {
	a := promising(t)
	ask := func(at time.Duration, id uint64) []Effect {
		return a.Step(at, time.Time{}, 0, FailsafeAsked{ID: id, Name: "n1", APIURL: "http://n1"})
	}
	if !has[KeepPromise](ask(101*time.Second, 1)) {
		t.Fatal("no promise is given")
	}
	a.Step(102*time.Second, time.Time{}, 0, ClusterSeen{Cluster: ledBy("n1", 9)})
	a.Step(103*time.Second, time.Time{}, 0, ClusterSeen{Cluster: ledBy("", 0)})
	if v := a.view(); v.DCS.Cluster.LeaderName() != "n1" {
		t.Error("the promise was forgotten when the store showed the old key once more")
	}
	a.Step(104*time.Second, time.Time{}, 0, ClusterSeen{Cluster: ledBy("n1", 15)})
	a.Step(105*time.Second, time.Time{}, 0, ClusterSeen{Cluster: ledBy("", 0)})
	if v := a.view(); v.DCS.Cluster.LeaderName() != "" {
		t.Error("the promise binds although there was a newer leader key since")
	}
}

func TestWhoTakesTheKeyPromisesNothing(t *testing.T) {
	a := promising(t)
	a.op, a.opRuns = Acquire{}, 7
	if has[KeepPromise](a.Step(101*time.Second, time.Time{}, 0, FailsafeAsked{ID: 1, Name: "n1"})) {
		t.Error("a member that asks for the leader key promised not to")
	}
}

func TestFrozenGuardianIsFoundWhileTheStoreIsAway(t *testing.T) {
	for _, pause := range []bool{false, true} {
		a, deadline := leading(t)
		a.cfg.Guarded, a.settings.Pause = true, pause
		a.Step(a.now, time.Time{}, 0, Acked{Seq: 1})
		since := a.now
		for a.now < deadline {
			at := a.WakeAt()
			if at <= a.now {
				at = a.now + time.Millisecond
			}
			if has[ReplaceGuardian](a.Step(at, time.Time{}, 0, Timer{})) {
				break
			}
		}
		if took := a.now - since; took > a.settings.LoopWait+2*guardianPatience {
			t.Errorf("pause %v: replaced after %s", pause, took)
		}
	}
}

// renewing is a leader whose renewal is under way, and whose next sign of life
// is due now.
func renewing(t *testing.T) *Agent {
	t.Helper()
	a, _ := leading(t)
	a.cfg.Guarded = true
	a.loopAt = a.now + time.Hour
	a.Step(a.now, time.Time{}, 0, Acked{Seq: 1})
	if a.guard.promised != a.workAt() {
		t.Fatalf("the next sign is promised for %s, and the agent works at %s", a.guard.promised, a.workAt())
	}
	if e := a.Step(a.WakeAt(), time.Time{}, 0, Timer{}); !has[RenewLease](e) || has[Alive](e) {
		t.Fatalf("a renewal that is due: %v", e)
	}
	a.leaseEvent(lease.Permit{})
	return a
}

func TestSignOfLifeGoesAlongWithTheDeadline(t *testing.T) {
	a := renewing(t)
	a.now += 20 * time.Millisecond
	e := a.Step(a.now, time.Time{}, 0, Renewed{Attempt: 1, Grant: dcs.Grant{Hold: a.hold, TTL: 30 * time.Second, Epoch: 1}})
	if !has[ArmGuardian](e) || !has[Alive](e) {
		t.Fatalf("a renewal that has succeeded: %v", e)
	}
	if e = a.Step(a.now+time.Millisecond, time.Time{}, 0, Acked{Seq: 2}); has[Alive](e) {
		t.Errorf("another sign of life after the acknowledgement: %v", e)
	}
	if a.guard.promised != a.workAt() {
		t.Errorf("the next sign is promised for %s, and the agent works at %s", a.guard.promised, a.workAt())
	}
}

func TestSignOfLifeWaitsForNoRenewalThatTakesLong(t *testing.T) {
	a := renewing(t)
	due := a.guard.promised
	if a.WakeAt() != due+signLate {
		t.Fatalf("wakes at %s, the sign of life was due at %s", a.WakeAt(), due)
	}
	if e := a.Step(due+signLate/2, time.Time{}, 0, Woken{}); has[Alive](e) {
		t.Errorf("too early: %v", e)
	}
	e := a.Step(due+signLate, time.Time{}, 0, Timer{})
	if !has[Alive](e) {
		t.Fatalf("no sign of life: %v", e)
	}
	if a.guard.promised <= a.now {
		t.Errorf("the next is promised for %s, now is %s", a.guard.promised, a.now)
	}
}

func leadersFacts(control cluster.Timeline) Facts {
	return Facts{Data: ha.DataPresent, Running: true, Answers: true, Timeline: 2, ControlTimeline: control}
}

// looked is a cycle's look at a leader whose control file shows that timeline.
func looked(a *Agent, control cluster.Timeline) []Effect {
	a.opID++
	a.cycle, a.observing = true, a.opID
	return a.Step(a.now, time.Time{}, 0, Observed{ID: a.opID, Facts: leadersFacts(control)})
}

func TestCheckpointThatThePromoterDidNotComeToIsMade(t *testing.T) {
	a, _ := leading(t)
	if has[Checkpoint](looked(a, 2)) || a.inst.CheckpointPending {
		t.Error("a CHECKPOINT although the control file shows the timeline")
	}
	if !has[Checkpoint](looked(a, 1)) || !a.inst.CheckpointPending {
		t.Fatal("no CHECKPOINT although the control file shows the timeline before the promotion")
	}
	if has[Checkpoint](looked(a, 1)) {
		t.Error("another CHECKPOINT beside the one under way")
	}
	a.Step(a.now, time.Time{}, 0, Checkpointed{Err: "the disk is full"})
	if !a.inst.CheckpointPending || !has[Checkpoint](looked(a, 1)) {
		t.Error("a CHECKPOINT that failed is not repeated in the next cycle")
	}
	a.opID++
	a.cycle, a.observing = true, a.opID
	a.Step(a.now, time.Time{}, 0, Checkpointed{})
	if a.inst.CheckpointPending {
		t.Error("still pending")
	}
	if has[Checkpoint](a.Step(a.now, time.Time{}, 0, Observed{ID: a.observing, Facts: leadersFacts(1)})) || a.inst.CheckpointPending {
		t.Error("what was seen before the CHECKPOINT ended is believed")
	}
}

// A new agent's first look is often repeated at once. Already what follows the
// first must not take back what the promoter published.
func TestFirstMemberKeyOfASuccessorKeepsOthersFromRewinding(t *testing.T) {
	a, _ := leading(t)
	a.inst = ha.Instance{}
	a.opID++
	a.cycle, a.observing, a.observeAgain = true, a.opID, true
	var published int
	for _, e := range a.Step(a.now, time.Time{}, 0, Observed{ID: a.observing, Facts: leadersFacts(1)}) {
		if touch, ok := e.(Touch); ok {
			published++
			if !strings.Contains(string(touch.Value), `"checkpoint_after_promote":false`) {
				t.Errorf("published that it may be rewound from: %s", touch.Value)
			}
		}
	}
	if published == 0 {
		t.Error("nothing was published")
	}
}

func TestReleaseDoesNotHideTheNextLeader(t *testing.T) {
	for name, want := range map[string]string{"n1": "", "n2": "n2"} {
		a, _ := leading(t)
		created := a.hold.Created
		if name != "n1" {
			created++
		}
		a.store.view = ledBy(name, created)
		a.op, a.opRuns = Release{Hold: a.hold}, 8
		a.operationEnded(OperationEnded{ID: 8})
		if got := a.store.view.LeaderName(); got != want {
			t.Errorf("%s leads in the view: after the release %q does", name, got)
		}
	}
}

// While the facts that a decision needs are on their way, a moment at which the
// decision wanted to be asked again does not wake the agent over and over.
func TestDecisionThatWaitsForFactsDoesNotSpin(t *testing.T) {
	a, _ := leading(t)
	a.cfg.Guarded, a.loopAt = true, a.now+time.Hour
	a.Step(a.now, time.Time{}, 0, Acked{Seq: 1})
	a.stale, a.observing, a.again = true, 9, a.now+30*time.Millisecond
	for steps := 0; a.now < 104*time.Second; steps++ {
		if steps > 10 {
			t.Fatalf("woken %d times until %s, and wants to be at %s", steps, a.now, a.WakeAt())
		}
		a.Step(max(a.WakeAt(), a.now), time.Time{}, 0, Timer{})
		if a.guard.promised+time.Second < a.now {
			t.Fatalf("at %s the sign of life promised for %s has not been given", a.now, a.guard.promised)
		}
	}
}

// A request that waits is for the holder of the key: an agent that finds the key of
// its predecessor keeps it, one that took the key itself has carried it out.
func TestReclaimedKeyKeepsTheRequestOfAnother(t *testing.T) {
	t.Parallel()
	for what, x := range map[string]struct {
		before []error
		clears bool
	}{
		"nothing before":               {nil, false},
		"the name was there already":   {[]error{dcs.ErrOtherTenure}, false},
		"another had it":               {[]error{dcs.ErrHeld}, false},
		"the answer was lost":          {[]error{errors.New("timeout")}, true},
		"it had been taken before":     {[]error{nil}, true},
		"refused, then without answer": {[]error{dcs.ErrHeld, errors.New("timeout")}, true},
	} {
		a, _ := leading(t)
		waiting := func() {
			c := *a.store.view
			c.Failover = &cluster.Failover{Leader: "n1", Candidate: "n2", ScheduledAt: "2031-01-01T00:00:00+00:00"}
			a.store.view, a.out = &c, nil
		}
		for _, err := range x.before {
			waiting()
			a.acquired(OperationEnded{Err: err}, Acquire{})
		}
		waiting()
		a.acquired(OperationEnded{}, Acquire{Reclaim: &cluster.Leader{Name: "n1"}})
		cleared := slices.ContainsFunc(a.out, func(e Effect) bool { p, ok := e.(Publish); return ok && p.Key == cluster.KeyFailover })
		if cleared != x.clears {
			t.Errorf("%s: cleared %v, want %v", what, cleared, x.clears)
		}
	}
}
