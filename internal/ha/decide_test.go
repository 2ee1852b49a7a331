package ha

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

const sysid = "7000000000000000001"

// view is a healthy replica n1 of a cluster that n2 leads.
func view(change ...func(*View)) *View {
	settings, _, _ := cluster.ParseSettings(nil)
	doc := cluster.NewObject("ttl", 30)
	v := &View{Now: 1000 * time.Second, Me: "n1", Settings: settings,
		Local: Local{MayBootstrap: true, UsePgRewind: true, RemoveDataOnDiverged: true},
		Instance: Instance{Data: DataPresent, Sysid: sysid, Major: 15, Running: true, Answers: true, InRecovery: true, Timeline: 3,
			LSN: 5000, Received: 5000, Replayed: 5000, State: cluster.StateRunning, Role: cluster.RoleReplica, ObservedAt: 999 * time.Second,
			RewindCan: true, Callbacks: true, ReplicationState: "streaming"},
		Divergence: Divergence{State: DivergenceNone, Leader: "n2", Timeline: 3},
		Peers:      Peers{Results: map[string]PeerResult{}, Pending: map[string]Instant{}}}
	c := &cluster.Cluster{Initialize: &cluster.Initialize{Value: sysid, Version: 1}, Config: &cluster.DynamicConfig{Doc: doc, Version: 2},
		Status: cluster.Status{LSN: 5000, Version: 4}, Leader: &cluster.Leader{Name: "n2", Created: 7, Version: 7, Session: "s2"},
		History: &cluster.History{Lines: []cluster.HistoryLine{{Timeline: 2, LSN: 400}}}}
	for _, n := range []string{"n1", "n2", "n3"} {
		c.Members = append(c.Members, cluster.Member{Name: n, ConnURL: "postgres://" + n + ":5432/postgres", APIURL: "http://" + n + ":8008/patroni",
			State: cluster.StateRunning, Timeline: 3, Agent: &cluster.AgentInfo{}})
	}
	v.DCS = DCS{Reachable: true, Cluster: c, Healthy: c}
	for _, f := range change {
		f(v)
	}
	return v
}

func primary(v *View) { v.Instance.InRecovery, v.Instance.Role = false, cluster.RolePrimary }
func holding(v *View) {
	v.DCS.Cluster.Leader = &cluster.Leader{Name: "n1", Created: 9, Version: 9, Session: "s1"}
	v.Lease = Lease{State: lease.Held, Deadline: v.Now + 20*time.Second}
}
func unlocked(v *View) {
	old := *v.DCS.Cluster
	v.DCS.Healthy = &old
	v.DCS.Cluster.Leader, v.DCS.UnlockedAt, v.RaceSince = nil, v.Now-3*time.Second, v.Now-2*time.Second
}
func stopped(v *View) {
	v.Instance.Running, v.Instance.Answers, v.Instance.State = false, false, cluster.StateStopped
	v.Instance.Control = &Control{State: "shut down in recovery"}
}
func crashedPrimary(v *View) {
	primary(v)
	stopped(v)
	v.Instance.State, v.Instance.Control = cluster.StateCrashed, &Control{State: "in production"}
}
func paused(v *View)         { v.Settings.Pause = true }
func away(v *View)           { v.DCS.Reachable = false }
func empty(v *View)          { stopped(v); v.Instance.Data, v.Instance.Sysid = DataEmpty, "" }
func diverged(v *View)       { v.Divergence.State = DivergenceFound }
func deviceFailed(v *View)   { v.Watchdog = Watchdog{Unusable: true, Failed: true} }
func deviceUnusable(v *View) { v.Watchdog = Watchdog{Unusable: true} }
func announced(v *View) {
	v.DCS.Cluster.Status.Promotion = &cluster.Promotion{Timeline: 4, Leader: "n1", Tenure: 9}
}
func answer(name string, lsn cluster.LSN) func(*View) {
	return func(v *View) {
		v.Peers.Results[name] = PeerResult{Asked: v.RaceSince, Answered: v.Now, Answer: candidate.Answer{Name: name, Reachable: true, LSN: lsn, Timeline: 3}}
	}
}
func running(k TaskKind, p Phase) func(*View) {
	return func(v *View) { v.Task = &Task{Kind: k, Phase: p, Started: v.Now - time.Second} }
}
func ended(k TaskKind, problem string) func(*View) {
	return func(v *View) { v.Last = &Result{Kind: k, OK: problem == "", Error: problem, Ended: v.Now} }
}

// stuck is a replica on an old timeline, some time after the comparison found
// nothing wrong.
// failedBefore: n3 did not answer a question a second before this race, which took
// that long, and has been asked again.
func failedBefore(took time.Duration) func(*View) {
	return func(v *View) {
		v.RaceSince = v.Now - 100*time.Millisecond
		v.Instance.ObservedAt = v.Now
		asked := v.Now - time.Second
		v.Peers.Results["n3"] = PeerResult{Asked: asked, Answered: asked + took, Answer: candidate.Answer{Name: "n3"}}
		v.Peers.Pending["n3"] = v.Now
	}
}

func stuck(since time.Duration, stream string) func(*View) {
	return func(v *View) {
		v.Instance.Timeline, v.Instance.ReplicationState, v.Divergence.At = 2, stream, v.Now-since
		v.Instance.Replayed, v.Divergence.Replayed = 900, 900
	}
}

func TestDecide(t *testing.T) {
	member := func(n string) cluster.Member { return *view().DCS.Cluster.Member(n) }
	resumable := func(v *View) { v.Instance.Resumable = &Position{3, 5000} }
	asked := func(key string, value any) func(*View) {
		return func(v *View) { v.DCS.Cluster.Config.Doc = cluster.NewObject("ttl", 30, key, value) }
	}
	synchronous := func(leader string, members ...string) func(*View) {
		return func(v *View) { v.DCS.Cluster.Sync = &cluster.Sync{Leader: leader, Members: members} }
	}
	for _, x := range []struct {
		name string
		view *View
		want Decision
		line string // part of the status line
	}{
		// 3.3
		{"primary goes on during an outage while the lease holds", view(primary, holding, away), Wait{}, "continue to run as a leader until"},
		{"primary without a lease stops during an outage", view(primary, away), Demote{Mode: DemoteOffline}, "demoted self because DCS is not accessible and I was a leader"},
		{"paused primary goes on during an outage", view(primary, away, paused), Wait{}, "DCS is not accessible"},
		{"replica waits during an outage", view(away), Wait{}, "DCS is not accessible"},
		{"promotion is called off when the lease ends in an outage", view(away, running(TaskPromote, PhaseBegun)), CancelTask{}, "lost leader before promote"},
		{"demoted primary comes back read-only during an outage", view(away, stopped, func(v *View) { v.DemotedOffline, v.Instance.Role = true, cluster.RoleDemoted }), StartReplica{}, "starting as readonly"},
		// 21
		{"leader whose required watchdog does not work gives way", view(primary, holding, deviceFailed), Demote{Mode: DemoteImmediate}, "Demoting self because watchdog could not be activated"},
		{"nobody is promoted without a required watchdog", view(holding, deviceFailed), ReleaseLeader{Why: "the watchdog could not be activated"}, "Not promoting self because watchdog could not be activated"},
		{"in pause the watchdog does not matter", view(primary, holding, paused, deviceFailed), Wait{}, "no action"},
		{"replica whose required watchdog cannot be used does not race", view(unlocked, answer("n2", 10), answer("n3", 10), deviceUnusable), Wait{}, ""},
		{"new cluster is not published without a required watchdog", view(primary, unlocked, deviceUnusable, ended(TaskPostBootstrap, ""), func(v *View) {
			v.Bootstrap = Bootstrap{Mine: true, Post: PostDone}
		}), CancelBootstrap{Why: "watchdog activation failed"}, ""},
		// 3.4, 4.1
		{"leader without data releases the key", view(empty, holding), ReleaseLeader{Why: "data dir empty"}, "released leader key voluntarily as data dir empty"},
		{"empty folder is cloned from the leader", view(empty), Clone{member("n2")}, "trying to bootstrap from leader 'n2'"},
		{"clone that failed is not repeated in a tight loop", view(empty, ended(TaskClone, "no space left")), Wait{}, "waiting to bootstrap from leader 'n2' again, because the last attempt failed"},
		{"clone that failed is repeated", view(empty, ended(TaskClone, "no space left"), func(v *View) { v.Last.Ended -= 5 * time.Second }), Clone{member("n2")}, "trying to bootstrap from leader 'n2'"},
		{"empty folder stays empty in pause", view(empty, paused), Wait{}, "running with empty data directory"},
		{"first node takes the initialize key", view(empty, unlocked, func(v *View) { v.DCS.Cluster.Initialize = nil }), TakeInitialize{}, ""},
		{"nofailover node does not bootstrap", view(empty, unlocked, func(v *View) {
			v.DCS.Cluster.Initialize, v.Local.Tags = nil, cluster.NewObject("nofailover", true)
		}), Wait{}, "waiting for leader to bootstrap"},
		{"others wait for the one who bootstraps", view(empty, unlocked, func(v *View) {
			v.DCS.Cluster.Initialize, v.DCS.BootstrapSince = &cluster.Initialize{Version: 5}, v.Now-5*time.Second
		}), Wait{}, "waiting for leader to bootstrap"},
		{"method that needs no leader brings back a cluster", view(empty, unlocked, func(v *View) { v.Local.CloneWithoutLeader = true }), Clone{}, "trying to bootstrap (without leader)"},
		{"it is not repeated in a tight loop either", view(empty, unlocked, ended(TaskClone, "no backup"), func(v *View) { v.Local.CloneWithoutLeader = true }), Wait{},
			"waiting to bootstrap (without leader) again"},
		{"it waits for a bootstrap in progress", view(empty, unlocked, func(v *View) {
			v.Local.CloneWithoutLeader, v.DCS.Cluster.Initialize, v.DCS.BootstrapSince = true, &cluster.Initialize{Version: 5}, v.Now-5*time.Second
		}), Wait{}, "waiting for leader to bootstrap"},
		{"where there is a leader it is the source", view(empty, func(v *View) { v.Local.CloneWithoutLeader = true }), Clone{member("n2")}, "trying to bootstrap from leader 'n2'"},
		{"abandoned bootstrap is taken over", view(empty, unlocked, func(v *View) {
			v.DCS.Cluster.Initialize, v.DCS.BootstrapSince = &cluster.Initialize{Version: 5}, v.Now-31*time.Second
			v.DCS.Cluster.Members = nil
		}), TakeInitialize{Over: &cluster.Initialize{Version: 5}}, ""},
		{"bootstrap of a live member is not taken over", view(empty, unlocked, func(v *View) {
			v.DCS.Cluster.Initialize, v.DCS.BootstrapSince = &cluster.Initialize{Version: 5}, v.Now-31*time.Second
			v.DCS.Cluster.Members = []cluster.Member{{Name: "n2", Role: cluster.RoleUninitialized, State: cluster.StateInitializing}}
		}), Wait{}, "waiting for leader to bootstrap"},
		// 3.5
		{"server of another cluster is stopped first", view(func(v *View) { v.Instance.Sysid = "7000000000000000002" }), StopPostgres{}, "belongs to a different cluster"},
		{"node of another cluster ends", view(stopped, func(v *View) { v.Instance.Sysid = "7000000000000000002" }), Exit{Code: 1}, ""},
		{"node of another cluster goes on in pause", view(paused, func(v *View) { v.Instance.Sysid = "7000000000000000002" }), Wait{}, ""},
		{"replica does not name a cluster", view(unlocked, func(v *View) { v.DCS.Cluster.Initialize, v.Instance.Callbacks = nil, false }), Exit{Code: 1, LeavePostgres: true}, ""},
		{"primary names its cluster", view(unlocked, primary, func(v *View) { v.DCS.Cluster.Initialize, v.Instance.Callbacks = nil, false }), WriteInitialize{sysid}, ""},
		{"leader repairs initialize", view(primary, holding, func(v *View) { v.DCS.Cluster.Initialize = nil }), WriteInitialize{sysid}, ""},
		{"leader repairs config", view(primary, holding, func(v *View) { v.DCS.Cluster.Config = nil }), WriteConfig{}, ""},
		// 5
		{"crashed primary with the lease starts as primary", view(crashedPrimary, holding), StartPrimary{}, "starting primary after failure"},
		{"crashed primary without the key recovers in single-user mode", view(crashedPrimary, unlocked), CrashRecover{}, "doing crash recovery in a single user mode"},
		{"crashed primary with a backup label is left to PostgreSQL", view(crashedPrimary, unlocked, func(v *View) { v.Instance.BackupLabel = true }), StartReplica{}, "starting as a secondary"},
		{"crashed primary with a key but no lease reclaims it first", view(crashedPrimary, holding, func(v *View) { v.Lease = Lease{} }),
			AcquireLeader{Reclaim: &cluster.Leader{Name: "n1", Created: 9, Version: 9, Session: "s1"}}, ""},
		{"stopped replica starts and follows", view(stopped), StartReplica{ptr(member("n2"))}, "starting as a secondary"},
		{"stopped server stays stopped in pause", view(stopped, paused), Wait{}, "postgres is not running"},
		{"half-rewound folder is not started", view(stopped, unlocked, func(v *View) { v.Divergence.Broken = true }), Wait{}, "half rewound"},
		{"failed start gives the key away", view(stopped, holding, ended(TaskRestartFailure, "no")), ReleaseLeader{Why: "failed to start postgres"}, "removed leader key after trying and failing to start postgres"},
		{"failed start is not repeated at once", view(stopped, ended(TaskRestartFailure, "no")), Wait{}, "failed to start postgres"},
		// 6
		{"starting primary without the lock is stopped", view(primary, func(v *View) { v.Instance.State, v.Instance.Answers = cluster.StateStarting, false }),
			Demote{Mode: DemoteImmediateNoLock}, "stopped PostgreSQL while starting up because leader key was lost"},
		{"starting primary is waited for", view(primary, holding, func(v *View) {
			v.Instance.State, v.Instance.Answers, v.Instance.StartedAt = cluster.StateStarting, false, v.Now-10*time.Second
		}), Wait{}, "PostgreSQL is still starting up, 290 seconds until timeout"},
		// 7
		{"lease is kept during a task", view(holding, running(TaskPromote, PhaseBegun)), Wait{}, "updated leader lock during promote"},
		{"promotion is called off when the lock is lost", view(running(TaskPromote, PhaseBegun)), CancelTask{}, "lost leader before promote"},
		{"promotion that was signalled is undone when the lock is lost", view(running(TaskPromote, PhaseCommitted)), Demote{Mode: DemoteImmediateNoLock}, "lost leader lock during promote"},
		{"clone goes on without a lock", view(empty, running(TaskClone, PhaseBegun)), Wait{}, "bootstrap (without leader) in progress"},
		// 8, 11
		{"leader with the lock does nothing", view(primary, holding), Wait{}, "no action. I am (n1), the leader with the lock"},
		{"holder announces before it promotes", view(holding), AnnouncePromotion{cluster.Promotion{Timeline: 4, Leader: "n1", Tenure: 9}}, ""},
		{"announced promotion begins", view(holding, announced), Promote{4}, "promoted self to leader because I had the session lock"},
		{"promotion that was announced and is over does not count for the next", view(holding, announced, func(v *View) { v.Instance.Timeline = 4 }),
			AnnouncePromotion{cluster.Promotion{Timeline: 5, Leader: "n1", Tenure: 9}}, ""},
		{"number of an unseen promotion is not chosen again", view(holding, func(v *View) {
			v.DCS.Cluster.Status.Promotion = &cluster.Promotion{Timeline: 6, Leader: "n2", Tenure: 8}
		}), AnnouncePromotion{cluster.Promotion{Timeline: 7, Leader: "n1", Tenure: 9}}, ""},
		{"nothing is promoted before the guardian has acknowledged", view(holding, announced, func(v *View) { v.Lease.State = lease.Arming }), Wait{}, "waiting for the guardian"},
		{"failed promotion gives the key away", view(holding, announced, ended(TaskPromote, "no"), func(v *View) { v.Last.Phase = PhaseCommitted }),
			ReleaseLeader{Why: "the promotion failed: no"}, "Promotion cancelled because it failed"},
		{"failed pre_promote gives the key away", view(holding, announced, ended(TaskPromote, "no")),
			ReleaseLeader{Why: "the pre-promote script failed: no", PrePromote: true}, "Promotion cancelled because the pre-promote script failed"},
		{"paused holder that is no primary gives the key away", view(holding, paused), ReleaseLeader{Why: "not a primary"}, "removed leader lock because postgres is not running as primary"},
		{"primary that was refused by the store does not wait for a newer view", view(primary, holding, func(v *View) { v.Lease = Lease{Lost: lease.TakenByOther} }), Demote{Mode: DemoteImmediateNoLock}, "demoting self"},
		{"primary whose lease expired stops", view(primary, holding, func(v *View) { v.Lease = Lease{Lost: lease.Expired} }), Demote{Mode: DemoteOffline}, ""},
		{"demoted primary resumes", view(holding, resumable), ResumePrimary{}, "going on as the leader where I stopped"},
		{"it does not after a newer timeline", view(holding, announced, resumable, func(v *View) { v.DCS.Cluster.History.Lines[0].Timeline = 3 }), Promote{4}, ""},
		{"it does not after an announced promotion", view(holding, announced, resumable), Promote{4}, ""},
		{"it does not among members that announce nothing", view(holding, resumable, func(v *View) { v.DCS.Cluster.Members[2].Agent = nil }),
			AnnouncePromotion{cluster.Promotion{Timeline: 4, Leader: "n1", Tenure: 9}}, ""},
		{"it does not when somebody published more", view(holding, announced, resumable, func(v *View) { v.DCS.Cluster.Status.LSN = 6000 }), Promote{4}, ""},
		{"it does not after it moved", view(holding, announced, resumable, func(v *View) { v.Instance.Replayed = 5100 }), Promote{4}, ""},
		// 9
		{"race asks the others first", view(unlocked, func(v *View) { v.Instance.ObservedAt = v.Now }), PollPeers{[]cluster.Member{member("n2"), member("n3")}}, ""},
		{"race takes fresh positions only", view(unlocked, func(v *View) { v.Instance.ObservedAt = v.RaceSince - 1 }), Observe{}, ""},
		{"healthiest acquires", view(unlocked, answer("n2", 4000), answer("n3", 5000)), AcquireLeader{}, ""},
		{"rival ahead keeps us back", view(unlocked, answer("n2", 4000), answer("n3", 5001)), Wait{}, "following a different leader because i am not the healthiest node"},
		{"live primary keeps us back", view(unlocked, answer("n2", 0), answer("n3", 100), func(v *View) {
			r := v.Peers.Results["n2"]
			r.Answer.Primary = true
			v.Peers.Results["n2"] = r
		}), Wait{}, "not the healthiest node"},
		{"lag keeps us back", view(unlocked, answer("n2", 1), answer("n3", 1), func(v *View) { v.DCS.Cluster.Status.LSN = 5000 + 1048577 }), Wait{}, "not the healthiest node"},
		{"nofailover does not race", view(unlocked, func(v *View) { v.Local.Tags = cluster.NewObject("nofailover", true) }), Wait{}, "because I am not allowed to promote"},
		{"asynchronous member of a synchronous cluster does not race", view(unlocked, answer("n2", 1), answer("n3", 1), asked("synchronous_mode", true), synchronous("n2", "n3")),
			Wait{}, "not the healthiest node"},
		{"synchronous member races", view(unlocked, answer("n2", 1), answer("n3", 1), asked("synchronous_mode", "on"), synchronous("n2", "n1")), AcquireLeader{}, ""},
		{"former leader of a synchronous cluster races", view(unlocked, answer("n2", 1), answer("n3", 1), asked("synchronous_mode", "on"), synchronous("n1", "n3")), AcquireLeader{}, ""},
		{"member of a quorum does not race", view(unlocked, answer("n2", 1), answer("n3", 1), asked("synchronous_mode", "quorum"), synchronous("n2", "n1")), Wait{}, "not the healthiest node"},
		{"what is left of a synchronous mode keeps nobody back", view(unlocked, answer("n2", 1), answer("n3", 1), asked("synchronous_mode", false), synchronous("n2", "n3")), AcquireLeader{}, ""},
		{"synchronous mode that no leader has put in force keeps nobody back", view(unlocked, answer("n2", 1), answer("n3", 1), asked("synchronous_mode", true)), AcquireLeader{}, ""},
		{"nobody of ours leads a standby cluster", view(unlocked, answer("n2", 1), answer("n3", 1), asked("standby_cluster", cluster.NewObject("host", "h"))), Wait{}, "not the healthiest node"},
		{"member that refused just before is waited for", view(unlocked, failedBefore(2*time.Millisecond), answer("n2", 1)), Wait{}, ""},
		{"member that was silent just before is not", view(unlocked, failedBefore(formerLeaderWait), answer("n2", 1)), AcquireLeader{}, ""},
		{"paused replica does not race", view(unlocked, paused, answer("n2", 1), answer("n3", 1)), Wait{}, "no action. I am (n1)"},
		{"paused primary takes the key", view(unlocked, paused, primary), AcquireLeader{}, ""},
		{"primary takes a free key", view(unlocked, primary, func(v *View) { v.Lease.State = lease.Held }), AcquireLeader{}, ""},
		{"primary of an old timeline does not", view(unlocked, primary, func(v *View) { v.Instance.Timeline, v.Lease.State = 2, lease.Held }), Demote{Mode: DemoteImmediateNoLock}, "not the healthiest"},
		{"primary does not when another was promoted", view(unlocked, primary, func(v *View) {
			v.Lease.State, v.DCS.Cluster.Status.Promotion = lease.Held, &cluster.Promotion{Timeline: 4, Leader: "n2", Tenure: 8}
		}), Demote{Mode: DemoteImmediateNoLock}, "not the healthiest"},
		{"half-rewound node does not race", view(unlocked, answer("n2", 1), answer("n3", 1), func(v *View) { v.Divergence.Broken = true }), Wait{}, ""},
		{"node backs off after a failed promotion", view(unlocked, answer("n2", 1), answer("n3", 1), func(v *View) { v.GaveUpAt = v.Now - time.Second }), Wait{}, "not the healthiest node"},
		// 13
		{"replica follows", view(), Wait{}, "no action. I am (n1), a secondary, and following a leader (n2)"},
		{"primary without the lock stops", view(primary), Demote{Mode: DemoteImmediateNoLock}, "demoting self because I do not have the lock and I was a leader"},
		{"paused primary without the lock goes on", view(primary, paused), Wait{}, "continue to run as primary without lock"},
		{"new leader is compared with", view(func(v *View) { v.Divergence.Leader = "n3" }), CompareTimelines{member("n2")}, ""},
		{"new timeline of the same leader is compared with", view(func(v *View) { v.DCS.Cluster.Members[1].Timeline = 4 }), CompareTimelines{func() cluster.Member { m := member("n2"); m.Timeline = 4; return m }()}, ""},
		{"replica that gets nowhere is compared again", view(stuck(stuckAgain, "")), CompareTimelines{member("n2")}, ""},
		{"replica that gets nowhere is given a minute", view(stuck(stuckAgain-1, "")), Wait{}, "a secondary"},
		{"replica that has replayed more since is compared at once", view(stuck(compareAgain, ""), func(v *View) { v.Instance.Replayed++ }), CompareTimelines{member("n2")}, ""},
		{"but not in a tight loop", view(stuck(compareAgain-1, ""), func(v *View) { v.Instance.Replayed++ }), Wait{}, "a secondary"},
		{"replica that streams an old timeline is left alone", view(stuck(stuckAgain, "streaming")), Wait{}, "a secondary"},
		{"diverged replica is rewound", view(diverged), Rewind{member("n2")}, "running pg_rewind from n2"},
		{"rewind waits for the checkpoint of the leader", view(diverged, func(v *View) { v.DCS.Cluster.Members[1].CheckpointPending = true }), Wait{}, "Waiting for checkpoint on n2 before rewind"},
		{"diverged replica that cannot be rewound is made anew", view(diverged, func(v *View) { v.Instance.RewindCan = false }),
			Reinitialize{From: member("n2"), Why: "its history diverged from the leader's"}, "reinitializing due to diverged timelines"},
		{"what was not made anew is left alone for a moment", view(diverged, ended(TaskReinitialize, "n2 does not answer"), func(v *View) { v.Instance.RewindCan = false }),
			Wait{}, "waiting to copy the data of n2 again, because the last attempt failed"},
		{"what was not made anew is tried again", view(diverged, ended(TaskReinitialize, "n2 does not answer"), func(v *View) { v.Instance.RewindCan, v.Last.Ended = false, v.Last.Ended-5*time.Second }),
			Reinitialize{From: member("n2"), Why: "its history diverged from the leader's"}, "reinitializing due to diverged timelines"},
		{"nothing is made anew without a leader", view(diverged, unlocked, answer("n2", 9000), answer("n3", 9000), func(v *View) { v.Instance.RewindCan = false }), Wait{}, "not the healthiest"},
		{"nothing is made anew from a leader without an address", view(diverged, func(v *View) { v.Instance.RewindCan, v.DCS.Cluster.Members[1].ConnURL = false, "" }), Wait{}, "a secondary"},
		{"source is changed", view(func(v *View) { v.Instance.FollowNeeds = FollowNeeds{"n2", true, NeedsReload} }), Follow{Source: member("n2")}, "a secondary"},
		{"source that needs a restart", view(func(v *View) { v.Instance.FollowNeeds = FollowNeeds{"n2", true, NeedsRestart} }), Follow{Source: member("n2"), Restart: true}, "a secondary"},
		{"paused replay is resumed", view(func(v *View) { v.Instance.ReplayPaused = true }), ResumeReplay{}, "a secondary"},
		// 12, 19
		{"demotion that is done releases the key", view(stopped, holding, func(v *View) { v.ReleaseDue = true }), ReleaseLeader{Why: "demoted"}, ""},
		{"shutdown stops the server", view(primary, holding, func(v *View) { v.Shutdown = true }), StopPostgres{Leading: true}, ""},
		{"shutdown leaves the server in pause", view(primary, holding, paused, func(v *View) { v.Shutdown = true }), Exit{LeavePostgres: true}, ""},
		{"shutdown cancels what runs", view(running(TaskClone, PhaseBegun), func(v *View) { v.Shutdown = true }), CancelTask{}, ""},
		{"shutdown keeps the key when the server does not stop", view(primary, holding, ended(TaskStop, "no"), func(v *View) { v.Shutdown = true }), Exit{Code: 1, LeavePostgres: true}, ""},
		{"shutdown gives the key away at the end", view(stopped, holding, func(v *View) {
			v.Shutdown, v.Instance.Control = true, &Control{State: "shut down", CheckpointLSN: 4900}
		}), ReleaseLeader{LSN: 4900, Why: "the agent ends"}, "released leader key because the agent ends"},
		{"key is handed over when somebody has the checkpoint", view(primary, holding, func(v *View) {
			v.Task = &Task{Kind: TaskStop, Phase: PhaseCheckpointed, PhaseAt: v.Now - time.Second, Checkpoint: 5000, End: 4990}
			v.RaceSince = v.Now - time.Second
		}, answer("n3", 5000), answer("n2", 10)), ReleaseLeader{LSN: 4990, Why: "another member has everything"}, "released the leader key"},
		{"key is kept until somebody has the checkpoint", view(primary, holding, func(v *View) {
			v.Task = &Task{Kind: TaskStop, Phase: PhaseCheckpointed, PhaseAt: v.Now - time.Second, Checkpoint: 5000}
			v.RaceSince = v.Now - time.Second
		}, answer("n3", 4999), answer("n2", 10)), Wait{}, "stopping in progress"},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := Decide(x.view)
			if !reflect.DeepEqual(o.Do, x.want) {
				t.Errorf("decided %T%+v, want %T%+v (line %q, notes %v)", o.Do, o.Do, x.want, x.want, o.Line, o.Notes)
			}
			if !strings.Contains(o.Line, x.line) {
				t.Errorf("line %q, want it to contain %q", o.Line, x.line)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }
