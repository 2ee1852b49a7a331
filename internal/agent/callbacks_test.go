package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// called are the callbacks among effects, as "action role".
func called(effects []Effect) string {
	var list []string
	for _, e := range effects {
		if c, ok := e.(Callback); ok {
			list = append(list, c.Action+" "+string(c.Role))
		}
	}
	return strings.Join(list, ", ")
}

// ending is what the end of a task calls. The agent has told of its role before
// unless first is set.
func ending(kind ha.TaskKind, d ha.Decision, role cluster.Role, first bool, end TaskEnded) string {
	a := following()
	a.inst.Role, a.everStarted = role, !first
	a.start(kind, "", d)
	a.out = nil
	if kind == ha.TaskPromote {
		a.taskProgress(TaskProgress{ID: a.taskID, Phase: ha.PhaseCommitted})
	}
	before := called(a.out)
	a.out = nil
	end.ID = a.taskID
	a.taskEnded(end)
	if before != "" {
		return before + " before the end; " + called(a.out)
	}
	return called(a.out)
}

func TestCallbacksAtTheEndOfTasks(t *testing.T) {
	t.Parallel()
	ok, bad := TaskEnded{}, TaskEnded{Error: "no"}
	for _, x := range []struct {
		name  string
		kind  ha.TaskKind
		do    ha.Decision
		role  cluster.Role
		first bool
		end   TaskEnded
		want  string
	}{
		{"promotion, after it", ha.TaskPromote, ha.Promote{}, cluster.RoleReplica, false, ok, "on_role_change primary"},
		{"failed promotion", ha.TaskPromote, ha.Promote{}, cluster.RoleReplica, false, bad, ""},
		{"switchover", ha.TaskSwitchover, ha.Demote{}, cluster.RolePrimary, false, ok, "on_stop demoted"},
		{"demotion for another reason", ha.TaskDemote, ha.Demote{}, cluster.RolePrimary, false, ok, "on_stop primary"},
		{"end of the agent, of a replica", ha.TaskStop, ha.StopPostgres{}, cluster.RoleReplica, false, ok, "on_stop replica"},
		{"end of the agent, of a primary", ha.TaskStop, ha.StopPostgres{}, cluster.RolePrimary, false, ok, "on_stop primary"},
		{"stop that failed", ha.TaskStop, ha.StopPostgres{}, cluster.RolePrimary, false, bad, ""},
		{"former primary becomes a replica", ha.TaskRestartFailure, ha.StartReplica{}, cluster.RoleDemoted, false, ok, "on_role_change replica"},
		{"former primary of an agent that has just begun", ha.TaskRestartFailure, ha.StartReplica{}, cluster.RoleDemoted, true, ok, "on_start replica"},
		{"replica that was down", ha.TaskRestartFailure, ha.StartReplica{}, cluster.RoleReplica, false, ok, "on_start replica"},
		{"new replica", ha.TaskRestartFailure, ha.StartReplica{}, cluster.RoleUninitialized, true, ok, "on_start replica"},
		{"crashed primary started again", ha.TaskStartPrimary, ha.StartPrimary{}, cluster.RolePrimary, false, ok, "on_start primary"},
		{"crashed primary that does not start", ha.TaskStartPrimary, ha.StartPrimary{}, cluster.RolePrimary, false, bad, "on_role_change demoted"},
		{"the next try", ha.TaskStartPrimary, ha.StartPrimary{}, cluster.RoleDemoted, false, bad, ""},
		{"restart", ha.TaskRestart, ha.Restart{Primary: true}, cluster.RolePrimary, false, ok, "on_restart primary"},
		{"restart of a replica", ha.TaskRestart, ha.Restart{}, cluster.RoleReplica, false, ok, "on_restart replica"},
		{"restart that failed", ha.TaskRestart, ha.Restart{Primary: true}, cluster.RolePrimary, false, bad, "on_role_change demoted"},
		{"restart that takes long", ha.TaskRestart, ha.Restart{Primary: true}, cluster.RolePrimary, false, TaskEnded{Error: "no", StillStarting: true}, ""},
		{"new source, by a restart", ha.TaskFollowRestart, ha.Follow{Restart: true}, cluster.RoleReplica, false, ok, "on_restart replica"},
		{"new source, by a reload", ha.TaskReload, ha.Follow{}, cluster.RoleReplica, false, ok, "on_reload replica"},
		{"clone", ha.TaskClone, ha.Clone{}, cluster.RoleUninitialized, true, ok, ""},
		{"bootstrap", ha.TaskBootstrap, ha.BootstrapCluster{}, cluster.RoleUninitialized, true, ok, ""},
	} {
		if got := ending(x.kind, x.do, x.role, x.first, x.end); got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
}

// TestNewClusterStartsItsCallbacksWhenItIsWhole: none while it is made.
func TestNewClusterStartsItsCallbacksWhenItIsWhole(t *testing.T) {
	t.Parallel()
	a := following()
	a.store.view, a.boot = &cluster.Cluster{}, ha.Bootstrap{Mine: true}
	a.inst.InRecovery = false
	a.start(ha.TaskBootstrap, "", ha.BootstrapCluster{})
	a.taskEnded(TaskEnded{ID: a.taskID})
	a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Answers: true})
	if got := called(a.out); got != "" {
		t.Errorf("before the cluster is published: %s", got)
	}
	a.out, a.op = nil, PublishCluster{}
	a.clusterSeen(&cluster.Cluster{Initialize: &cluster.Initialize{Value: "7400112233445566778"}}) // the watch outruns the answer
	a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Answers: true})
	if got := called(a.out); got != "" {
		t.Errorf("while the cluster is published: %s", got)
	}
	a.out, a.op = nil, nil
	a.clusterPublished(OperationEnded{Grant: dcs.Grant{TTL: 30 * time.Second}})
	a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Answers: true})
	if got := called(a.out); got != "on_start primary" {
		t.Errorf("of a new cluster: %q", got)
	}
}

func TestPromotionThatWasThoughtToHaveFailedIsToldOf(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	a.inst.InRecovery, a.inst.Role, a.everStarted = true, cluster.RoleReplica, true
	a.start(ha.TaskPromote, "", ha.Promote{})
	a.taskProgress(TaskProgress{ID: a.taskID, Phase: ha.PhaseCommitted})
	a.taskEnded(TaskEnded{ID: a.taskID, Error: "not finished in time"})
	a.out = nil
	a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Answers: true})
	a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Answers: true})
	if got := called(a.out); got != "on_role_change primary" {
		t.Errorf("called %q", got)
	}
}

// TestRestartThatExceedsItsTimeLetsOthersTakeOver: the time of the request
// counts, not the configured one, and PostgreSQL is what it was.
func TestRestartThatExceedsItsTimeLetsOthersTakeOver(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	a.start(ha.TaskRestart, "", ha.Restart{Primary: true, Timeout: 5 * time.Second})
	a.now += 6 * time.Second
	a.taskEnded(TaskEnded{ID: a.taskID, Error: "PostgreSQL is still starting", StillStarting: true})
	a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Rejecting: true, Sysid: "7000000000000000000"})
	if i := a.inst; i.Role != cluster.RolePrimary || i.State != cluster.StateStarting {
		t.Errorf("role %s, state %s", i.Role, i.State)
	}
	v := a.view()
	v.DCS.Cluster.Initialize = &cluster.Initialize{Value: "7000000000000000000"}
	v.DCS.Cluster.Config = &cluster.DynamicConfig{Doc: cluster.NewObject("ttl", 30)}
	if o := ha.Decide(v); o.Line != "primary start has timed out, but continuing to wait because failover is not possible" {
		t.Errorf("decided %T: %s", o.Do, o.Line)
	}
}

// Who is told that a restart is done and asks at once finds a running server,
// and may schedule the next one.
func TestRestartIsAnsweredWhenTheServerWasSeen(t *testing.T) {
	t.Parallel()
	start := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	facts := Facts{Data: ha.DataPresent, Running: true, Answers: true, Timeline: 2, Postmaster: start}
	done := Effect(Answer{7, 200, "restarted successfully"})
	later := RestartRequested{ID: 8, Request: ha.RestartRequest{At: start.Add(time.Hour), Published: cluster.NewObject("schedule", "x")}}
	for _, early := range []bool{false, true} { // scheduled while nobody knows the new server yet
		a, _ := leading(t)
		a.loopAt = a.now + time.Hour
		a.inst.Postmaster = start.Add(-time.Hour)
		step := func(ev Event) []Effect { return a.Step(a.now, start, 0, ev) }
		e := step(RestartRequested{ID: 7})
		if !has[StartTask](e) {
			t.Fatalf("no restart: %v", e)
		}
		e = step(TaskEnded{ID: a.taskID})
		if !has[Observe](e) || has[Answer](e) {
			t.Fatalf("answered before it was seen: %v", e)
		}
		if early {
			step(later)
			// A look that was begun before still saw the old server.
			a.observe(false)
			old := facts
			old.Postmaster = start.Add(-time.Hour)
			if e := step(Observed{ID: a.observing, Facts: old}); !has[Observe](e) || has[Answer](e) {
				t.Fatalf("an old look was believed: %v", e)
			}
		}
		e = step(Observed{ID: a.observing, Facts: facts})
		if !slices.Contains(e, done) || a.Picture().State != cluster.StateRunning {
			t.Fatalf("in state %s: %v", a.Picture().State, e)
		}
		if !early {
			step(later)
		}
		a.observe(false)
		e = step(Observed{ID: a.observing, Facts: facts})
		if r := a.requests.Restart; r == nil || !r.Postmaster.Equal(start) || has[Answer](e) {
			t.Errorf("early %v: the scheduled restart is %+v; %v", early, r, e)
		}
		if got := a.Picture().Scheduled.Value("postmaster_start_time"); got != "2031-05-06 07:08:09.000000+00:00" {
			t.Errorf("early %v: published with %v", early, got)
		}
	}
}

func TestPhasesOfAHandoverAreOneLine(t *testing.T) {
	t.Parallel()
	var p phases
	at := func(ms int) ha.Instant { return ha.Instant(time.Duration(ms) * time.Millisecond) }
	if line := p.reached(at(1), partReleased); line != "" {
		t.Errorf("nothing was begun: %s", line)
	}
	p.begin("switchover: handing over", at(1000), partReleased, partStopped)
	var lines []string
	for _, x := range []struct {
		ms   int
		part string
	}{{1050, partAhead}, {1062, partClients}, {1100, partCheckpoint}, {1110, partArrived}, {1115, partReleased}, {1116, partReleased}, {1200, partStopped}, {1300, partStopped}} {
		if l := p.reached(at(x.ms), x.part); l != "" {
			lines = append(lines, l)
		}
	}
	want := "switchover: handing over took 0.200 s: checkpoint ahead 0.050, clients ended 0.012, shutdown checkpoint 0.038, " +
		"reached another member 0.010, leader key released 0.005, PostgreSQL stopped 0.085"
	if fmt.Sprint(lines) != "["+want+"]" {
		t.Errorf("lines %v, want %s", lines, want)
	}
}

// switchedOver is a leader that has just been stopped for a switchover to n2.
func switchedOver(t *testing.T) (*Agent, []Effect) {
	t.Helper()
	a, _ := leading(t)
	a.store.view.Members = []cluster.Member{{Name: "n1", APIURL: "http://n1"}, {Name: "n2", APIURL: "http://n2"}}
	a.store.view.Failover = &cluster.Failover{Leader: "n1", Candidate: "n2", Version: 77}
	a.demote(ha.Demote{Mode: ha.DemoteGraceful, Action: "switchover"})
	a.Step(a.now, time.Time{}, 0, TaskProgress{ID: a.taskID, Phase: ha.PhaseCheckpointed, Checkpoint: 5000, End: 4990})
	return a, a.Step(a.now, time.Time{}, 0, TaskEnded{ID: a.taskID})
}

// answer is what n2 says about itself.
func answer(a *Agent, lsn cluster.LSN) PeerAnswered {
	return PeerAnswered{Name: "n2", Asked: a.now, Answer: candidate.Answer{Name: "n2", Reachable: true, LSN: lsn, Timeline: 2}}
}

func released(effects []Effect) string {
	for _, e := range effects {
		if o, ok := e.(Operate); ok {
			if r, ok := o.Op.(Release); ok {
				return string(r.Status)
			}
		}
	}
	return ""
}

// TestKeyIsGivenUpAsSoonAsTheCandidateHasEverything: whoever is to take over
// waits for it, so it does not wait for a look at a server whose end was seen.
func TestKeyIsGivenUpAsSoonAsTheCandidateHasEverything(t *testing.T) {
	t.Parallel()
	a, effects := switchedOver(t)
	if s := released(effects); s != "" {
		t.Errorf("released before anybody was asked: %s", s)
	}
	if s := released(a.Step(a.now, time.Time{}, 0, answer(a, 4999))); s != "" {
		t.Errorf("released to who has not everything: %s", s)
	}
	a.now += 50 * time.Millisecond
	if s := released(a.Step(a.now, time.Time{}, 0, answer(a, 5000))); !strings.Contains(s, `"optime":4990`) {
		t.Errorf("released %q", s)
	}
}

// TestSwitchoverThatWouldLoseDataIsTakenBack: the candidate was not connected
// when the server was stopped.
func TestSwitchoverThatWouldLoseDataIsTakenBack(t *testing.T) {
	t.Parallel()
	a, _ := switchedOver(t)
	var did []string
	for range 1000 {
		for _, e := range a.Step(a.now, time.Time{}, 0, answer(a, 4000)) {
			if o, ok := e.(Operate); ok {
				did = append(did, fmt.Sprintf("%T", o.Op))
				if p, ok := o.Op.(PutFailover); !ok || string(p.Value) != "{}" || p.Condition != dcs.IfVersion(77) {
					t.Errorf("does %T%+v", o.Op, o.Op)
				}
			}
		}
		if len(did) > 0 {
			break
		}
		a.now += 30 * time.Millisecond
	}
	if len(did) != 1 || a.releaseDue {
		t.Errorf("did %v, the key is still to be released: %v", did, a.releaseDue)
	}
	if a.lease.State() == lease.None {
		t.Error("the lease is gone")
	}
}
