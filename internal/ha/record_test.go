package ha

import (
	"encoding/json"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// TestFactsAreWhatAReaderWantsToKnow compares the whole line: ledgers are read by
// people, and by later versions.
func TestFactsAreWhatAReaderWantsToKnow(t *testing.T) {
	t.Parallel()
	const now = Instant(time.Hour)
	settings, _, _ := cluster.ParseSettings(nil)
	c := &cluster.Cluster{Leader: &cluster.Leader{Name: "n1"}, Status: cluster.Status{LSN: 0x3000100},
		History: &cluster.History{Lines: []cluster.HistoryLine{{Timeline: 1}}}, Failover: &cluster.Failover{Leader: "n1", Candidate: "n2"}}
	healthy := *c
	gone := *c
	gone.Leader = nil
	replica := Instance{State: cluster.StateRunning, Role: cluster.RoleReplica, Running: true, Answers: true, InRecovery: true, Timeline: 2,
		LSN: 0x3000060, Received: 0x3000060, Replayed: 0x3000000, ReplicationState: "streaming"}
	for want, v := range map[string]*View{
		`{"last_leader":"n1","unlocked":1.5,"state":"running","role":"replica","timeline":2,"lsn":"0/3000060","received":"0/3000060","replayed":"0/3000000","streaming":"streaming",` +
			`"tags":{"nofailover":true},"cluster_lsn":"0/3000100","lag":160,"cluster_timeline":2,"failover":{"leader":"n1","candidate":"n2"},"ttl":30,"loop_wait":10,"maximum_lag":1048576,` +
			`"peers":[{"name":"n1","limitation":"not reachable","age":1},{"name":"n3","lsn":"0/3000000","timeline":2,"age":1}],"asking":["n4"]}`: {Now: now, Me: "n2", Settings: settings,
			Instance: replica, Local: Local{Tags: cluster.NewObject("nofailover", true)}, DCS: DCS{Reachable: true, Cluster: &gone, Healthy: &healthy, UnlockedAt: now - 1500*time.Millisecond},
			Peers: Peers{Pending: map[string]Instant{"n4": now}, Results: map[string]PeerResult{
				"n3":  {Asked: now - time.Second, Answered: now, Answer: candidate.Answer{Name: "n3", Reachable: true, LSN: 0x3000000, Timeline: 2}},
				"n1":  {Asked: now - time.Second, Answered: now, Answer: candidate.Answer{Name: "n1"}},
				"old": {Asked: now - time.Minute, Answered: now - time.Minute, Answer: candidate.Answer{Name: "old", Reachable: true}}}}},
		`{"leader":"n1","store":"no answer","lease":"held","lease_left":2.5,"state":"running","role":"primary","timeline":2,"lsn":"0/3000060","divergence":"half rewound",` +
			`"task":"rewind x","cluster_lsn":"0/3000100","cluster_timeline":2,"failover":{"leader":"n1","candidate":"n2"},"ttl":30,"loop_wait":10,"maximum_lag":1048576,"paused":true}`: {
			Now: now, Me: "n1", Settings: func() cluster.Settings { s := settings; s.Pause = true; return s }(), Task: &Task{Kind: "rewind", Detail: "x"}, Divergence: Divergence{Broken: true},
			Instance: Instance{State: cluster.StateRunning, Role: cluster.RolePrimary, Running: true, Answers: true, Timeline: 2, LSN: 0x3000060, Received: 5},
			Lease:    Lease{State: lease.Held, Deadline: now + 2500*time.Millisecond}, DCS: DCS{Error: "no answer", Cluster: c, Healthy: &healthy}},
	} {
		b, err := json.Marshal(FactsOf(v))
		if err != nil || string(b) != want {
			t.Errorf("%v\n got %s\nwant %s", err, b, want)
		}
	}
	FactsOf(&View{}) // before anything is known
}

func TestWhichOutcomesAreRecorded(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		o    Outcome
		task bool
		kind RecordKind // "" for not at all
		what string
	}{
		{Outcome{Do: Observe{}}, false, "", ""},
		{Outcome{Do: PollPeers{}}, false, "", ""},
		{Outcome{Do: CompareTimelines{}}, false, "", ""},
		{Outcome{Do: Wait{}}, false, "", ""},
		{Outcome{Do: Wait{}, Line: "no action", Notes: []Note{{Text: "Lock owner: n1; I am n2"}}}, false, RecordWait, "Wait"},
		{Outcome{Do: Wait{}, Line: "in progress"}, true, "", ""},
		{Outcome{Do: Wait{}, Line: "in progress", Notes: []Note{{Text: "not healthy enough for leader race"}}}, true, RecordRefusal, "Wait"},
		{Outcome{Do: Wait{}, Line: "following", RaceLost: true}, false, RecordRefusal, "Wait"},
		{Outcome{Do: ClearFailover{}}, false, RecordRefusal, "ClearFailover"},
		{Outcome{Do: DropRestart{}}, false, RecordRefusal, "DropRestart"},
		{Outcome{Do: Promote{5}}, false, RecordDecision, "Promote"},
		{Outcome{Do: Demote{Mode: DemoteOffline}}, true, RecordDecision, "Demote"},
	} {
		v := &View{}
		if c.task {
			v.Task = &Task{}
		}
		r, ok := RecordOf(v, &c.o)
		if ok != (c.kind != "") || ok && (r.Kind != c.kind || r.What != c.what) {
			t.Errorf("%T %q: %v %v %s", c.o.Do, c.o.Line, ok, r.Kind, r.What)
		}
	}
	r, _ := RecordOf(&View{}, &Outcome{Do: Demote{Mode: DemoteGraceful, Action: "switchover"}})
	if r.Action != "switchover" {
		t.Errorf("%+v", r)
	}
	r, _ = RecordOf(&View{}, &Outcome{Do: ReleaseLeader{Why: "the agent ends"}, Line: "released"})
	if r.Why != "the agent ends" {
		t.Errorf("%+v", r)
	}
}
