package why

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ledger"
)

const sysid = "7000000000000000001"

// world is a cluster of n1, which leads at 0/5000000 on timeline 3, and two
// replicas that have everything. alter changes it.
func world(alter func(w *World)) *World {
	settings, _, _ := cluster.ParseSettings(nil)
	w := &World{Settings: settings, Statuses: map[string]*Status{}, Cluster: &cluster.Cluster{
		Initialize: &cluster.Initialize{Value: sysid, Version: 1}, Leader: &cluster.Leader{Name: "n1", Created: 5, Version: 5},
		Config: &cluster.DynamicConfig{Doc: cluster.NewObject("ttl", json.Number("30")), Version: 1}, Status: cluster.Status{LSN: 0x5000000, Version: 1},
		History: &cluster.History{Lines: []cluster.HistoryLine{{Timeline: 1, LSN: 0x3000000, Reason: "no"}, {Timeline: 2, LSN: 0x4000000, Reason: "no"}}}}}
	for i := range 3 {
		name := fmt.Sprint("n", i+1)
		w.Cluster.Members = append(w.Cluster.Members, cluster.Member{Name: name, APIURL: "http://x/" + name, ConnURL: "postgres://h:5432/", State: cluster.StateRunning,
			Role: cluster.RoleReplica, Timeline: 3, Agent: &cluster.AgentInfo{Version: "1"}})
		w.Statuses[name] = &Status{Answer: candidate.Answer{Name: name, Reachable: true, LSN: 0x5000000, Timeline: 3}, State: cluster.StateRunning,
			Role: cluster.RoleReplica, Sysid: sysid, Answers: true, InRecovery: true, LSN: 0x5000000, Received: 0x5000000, Replayed: 0x5000000, Timeline: 3, Replication: "streaming"}
	}
	w.Cluster.Members[0].Role = cluster.RolePrimary
	l := w.Statuses["n1"]
	l.Role, l.InRecovery, l.Replication, l.Received, l.Replayed = cluster.RolePrimary, false, "", 0, 0
	l.Answer.Primary, l.Answer.LSN = true, 0
	if alter != nil {
		alter(w)
	}
	return w
}

// at puts a replica at a position.
func (w *World) at(name string, lsn cluster.LSN) {
	s := w.Statuses[name]
	s.LSN, s.Received, s.Replayed, s.Answer.LSN = lsn, lsn, lsn, lsn
}

func (w *World) tag(name string, pairs ...any) {
	tags := cluster.NewObject(pairs...)
	w.Cluster.Member(name).Tags, w.Statuses[name].Answer.Tags = tags, tags
}

func (w *World) silent(name string) {
	w.Statuses[name] = &Status{Err: "connection refused", Answer: candidate.Answer{Name: name}}
}

func TestIfTheLeaderDies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter   func(*World)
		winners string
		lost    string
		says    []string
	}{
		"equals": {nil, "n2 n3", "0", []string{"n2 or n3 would take over: they are equally good, and the first to take the leader key wins, 25.0 s to 30.0 s after the death of n1",
			"The cluster would go on with timeline 4.", "Nothing would be lost"}},
		"one is behind": {func(w *World) { w.at("n2", 0x4FFF000) }, "n3", "0", []string{"n3 would take over", "n2 would not: Wal position of n3 is ahead of my wal position."}},
		"both are behind": {func(w *World) { w.at("n2", 0x4FFF000); w.at("n3", 0x4FFFF00) }, "n3", "256",
			[]string{"Up to 256 bytes of WAL that only n1 has would be lost (it has written up to 0/5000000, n3 is at 0/4FFFF00)."}},
		"too far behind": {func(w *World) { w.at("n2", 0x4000000); w.at("n3", 0x4000000) }, "", "",
			[]string{"Nobody would take over from n1", "n2 would not: My wal position exceeds maximum replication lag.", "n3 would not: My wal position exceeds maximum replication lag."}},
		"priority":   {func(w *World) { w.tag("n3", "failover_priority", json.Number("5")) }, "n3", "0", []string{"n2 would not: n3 has equally tolerable WAL position and priority 5, while this node has priority 1."}},
		"nofailover": {func(w *World) { w.tag("n2", "nofailover", true) }, "n3", "0", []string{"n2 would not: this member is tagged nofailover, or has failover_priority 0."}},
		"silent":     {func(w *World) { w.silent("n2") }, "n3", "0", []string{"n2 would not: it does not answer (connection refused)."}},
		"stopped": {func(w *World) {
			s := w.Statuses["n2"]
			s.Answers, s.State, s.Answer.Reachable = false, cluster.StateStopped, false
		}, "n3", "0", []string{"n2 would not: its PostgreSQL does not answer (state stopped)."}},
		"maintenance mode": {func(w *World) { w.Settings.Pause = true }, "", "", []string{"Nobody would take over", "maintenance mode is on: nobody is promoted automatically"}},
		"another cluster's data": {func(w *World) { w.Statuses["n2"].Sysid = "7999999999999999999" }, "n3", "0",
			[]string{"n2 would not: system ID mismatch, node n2 belongs to a different cluster"}},
		"an old timeline": {func(w *World) {
			w.Settings.CheckTimeline = true
			w.Statuses["n2"].Timeline = 2
		}, "n3", "0", []string{"n2 would not: My timeline 2 is behind last known cluster timeline 3."}},
		"the leader is silent": {func(w *World) { w.silent("n1"); w.Cluster.Status.LSN = 0x5000010 }, "n2 n3", "16",
			[]string{"it does not answer; it was last known to be at 0/5000010"}},
		"Patroni leads": {func(w *World) { w.Cluster.Members[0].Agent = nil }, "n2 n3", "0", []string{"20.0 s to 30.0 s after"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := IfDies(world(c.alter), Ledgers{}, "n1")
			text := transcript(s)
			for _, part := range c.says {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in the story:\n%s", part, text)
				}
			}
			var winners []string
			for _, x := range s.Values.Value("winners").([]any) {
				winners = append(winners, x.(string))
			}
			if got := strings.Join(winners, " "); got != c.winners {
				t.Errorf("winners %q, want %q:\n%s", got, c.winners, text)
			}
			if got := cluster.Text(s.Values.Value("bytes_lost")); c.lost != "" && got != c.lost {
				t.Errorf("%s bytes lost, want %s", got, c.lost)
			}
		})
	}
}

// TestTimeOfTheTakeoverCountsTheLastPromotion takes it from the ledgers.
func TestTimeOfTheTakeoverCountsTheLastPromotion(t *testing.T) {
	t.Parallel()
	l := Ledgers{Entries: []ledger.Entry{{Node: "n1", Record: ha.Record{Kind: ha.RecordTask, What: "promote", Took: 1.5}}}}
	s := IfDies(world(nil), l, "n1")
	e := s.Values.Object("expected_seconds")
	if cluster.Text(e.Value("min")) != "26.5" || cluster.Text(e.Value("max")) != "31.5" {
		t.Error(string(cluster.Compact(e)))
	}
}

func TestIfAReplicaDies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter func(*World)
		says  []string
	}{
		"no harm":       {nil, []string{"n1 leads and would go on leading; n3 is not needed for that.", "After that n2 could still take over from n1."}},
		"the last heir": {func(w *World) { w.tag("n2", "nofailover", true) }, []string{"After that nobody could take over from n1."}},
		"a source": {func(w *World) { w.tag("n2", "replicatefrom", "n3") },
			[]string{"n2 streams from n3, and would follow n1 instead."}},
		"nobody leads": {func(w *World) { w.Cluster.Leader = nil }, []string{"Nobody leads now", "Of the others n1 could take the leader key."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := transcript(IfDies(world(c.alter), Ledgers{}, "n3"))
			for _, part := range c.says {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in the story:\n%s", part, text)
				}
			}
		})
	}
}

func TestWhatKeepsTheClusterFromSwitchingOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		candidate string
		alter     func(*World)
		possible  bool
		says      string
	}{
		"nothing":               {"", nil, true, "n1 would stop, and n2 or n3 would take over."},
		"to one":                {"n3", nil, true, "n1 would stop, and n3 would take over."},
		"one is behind":         {"", func(w *World) { w.at("n2", 0x4FFF000) }, true, "n1 would stop, and n3 would take over."},
		"to the leader":         {"n1", nil, false, "I am already the leader, no need to switchover"},
		"to nobody":             {"nx", nil, false, "There is no member nx."},
		"nofailover":            {"n2", func(w *World) { w.tag("n2", "nofailover", true) }, false, "Member n2 is not allowed to promote"},
		"too far":               {"", func(w *World) { w.at("n2", 0x4000000); w.at("n3", 0x4000000) }, false, "Member n2 exceeds maximum replication lag."},
		"silent":                {"n2", func(w *World) { w.silent("n2") }, false, "Member n2 is not reachable."},
		"no leader":             {"", func(w *World) { w.Cluster.Leader = nil }, false, "Nobody leads"},
		"the leader is silent":  {"", func(w *World) { w.silent("n1") }, false, "The agent of the leader n1 does not answer (connection refused)"},
		"paused without a name": {"", func(w *World) { w.Settings.Pause = true }, false, "only to a specific candidate in a paused state"},
		"paused with a name":    {"n2", func(w *World) { w.Settings.Pause = true }, true, "n2 would take over"},
		"alone":                 {"", func(w *World) { w.Cluster.Members = w.Cluster.Members[:1] }, false, "There is no other member than the leader."},
		"another request": {"", func(w *World) {
			w.Cluster.Failover = &cluster.Failover{Leader: "n1", ScheduledAt: "2031-01-01T00:00:00Z", Version: 3}
		}, true, "A request is in the store already, from n1, at 2031-01-01T00:00:00Z; another one would replace it."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Switchover(world(c.alter), c.candidate)
			text := transcript(s)
			if s.Values.Value("possible") != c.possible || !strings.Contains(text, c.says) {
				t.Errorf("possible %v, want %v and %q:\n%s", s.Values.Value("possible"), c.possible, c.says, text)
			}
		})
	}
}

func TestWhatKeepsAMemberFromStreamingAndFromLeading(t *testing.T) {
	t.Parallel()
	broken := func(entries ...ha.Record) Ledgers {
		s := led()
		for i, r := range entries {
			s.add(float64(10+i), "n2", r)
		}
		return Ledgers{Entries: s.entries}
	}
	notStreaming := func(w *World) {
		w.Statuses["n2"].Replication = ""
		w.at("n2", 0x4000000)
	}
	for name, c := range map[string]struct {
		alter func(*World)
		l     Ledgers
		says  []string
	}{
		"all is well": {nil, Ledgers{}, []string{"n2 streams from n1, on timeline 3, 0 bytes behind.", "If n1 died now, n2 would go for the leader key."}},
		"diverged": {notStreaming, broken(ha.Record{Kind: ha.RecordHistory, What: "diverged", Member: "n1", Why: "replayed up to 0/5000000, timeline 2 ended at 0/4000000"}),
			[]string{"n2 does not stream.", "its history: diverged (n1): replayed up to 0/5000000", "If n1 died now, n2 would not be promoted: My wal position exceeds maximum replication lag."}},
		"its clone failed": {func(w *World) {
			s := w.Statuses["n2"]
			s.Answers, s.State = false, cluster.StateStopped
			s.Replication = ""
		}, broken(ha.Record{Kind: ha.RecordTask, What: "bootstrap from leader 'n1'", Error: "pg_basebackup: no space left on device"}),
			[]string{`Its PostgreSQL does not answer; its state is "stopped".`, "has failed: bootstrap from leader 'n1' (0 ms): pg_basebackup: no space left on device."}},
		"nostream":     {func(w *World) { notStreaming(w); w.tag("n2", "nostream", true) }, Ledgers{}, []string{"It is tagged nostream"}},
		"archive":      {func(w *World) { w.Statuses["n2"].Replication = "in archive recovery" }, Ledgers{}, []string{`It is "in archive recovery"`}},
		"dead":         {func(w *World) { w.silent("n2") }, Ledgers{Missing: map[string]string{"n2": "connection refused"}}, []string{"The ledger of n2 could not be read (connection refused).", "Its agent does not answer: connection refused."}},
		"nobody leads": {func(w *World) { notStreaming(w); w.Cluster.Leader = nil }, Ledgers{}, []string{"There is nobody whom it could follow (nobody leads)."}},
		"source dead":  {func(w *World) { notStreaming(w); w.silent("n1") }, Ledgers{}, []string{"n1, whom it should follow, does not answer: connection refused."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := transcript(Member(world(c.alter), c.l, "n2"))
			for _, part := range c.says {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in the story:\n%s", part, text)
				}
			}
		})
	}
	sc := led()
	sc.add(99.8, "n3", ha.Record{Kind: ha.RecordRefusal, What: "Wait", Notes: []string{"Wal position of n2 is ahead of my wal position"}})
	w, taken := world(func(w *World) { w.Cluster.Leader.Name = "n2" }), sc.taken(100)
	text := transcript(Member(w, taken, "n3"))
	if !strings.Contains(text, "n3 did not because: Wal position of n2 is ahead of my wal position.") {
		t.Error(text)
	}
	if text = transcript(Member(w, taken, "n1")); !strings.Contains(text, "It led until n2 took over at 2031-05-06 00:01:40.000") {
		t.Error(text)
	}
	if text = transcript(Member(w, Ledgers{}, "n2")); !strings.Contains(text, "n2 leads.") {
		t.Error(text)
	}
}

func TestReadStatusTakesBothKindsOfDocuments(t *testing.T) {
	t.Parallel()
	read := func(text string) *Status {
		doc, err := cluster.ParseObject([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return ReadStatus(doc, candidate.Answer{Timeline: 4})
	}
	p := read(`{"state":"running","role":"primary","xlog":{"location":83886080},"timeline":4,"database_system_identifier":"` + sysid + `"}`)
	if !p.Answers || p.InRecovery || p.LSN != 0x5000000 || p.Timeline != 4 || p.Sysid != sysid || p.Role != cluster.RolePrimary {
		t.Errorf("%+v", p)
	}
	r := read(`{"state":"running","role":"replica","xlog":{"received_location":83886080,"replayed_location":67108864,"paused":true},"replication_state":"streaming"}`)
	if !r.InRecovery || r.LSN != 0x5000000 || r.Replayed != 0x4000000 || !r.Paused || r.Replication != "streaming" {
		t.Errorf("%+v", r)
	}
	if s := read(`{"state":"stopped","role":"replica"}`); s.Answers {
		t.Errorf("%+v", s)
	}
}

// TestHypotheticalViewsAreTakenAtOneMoment: after the death, with nobody changed
// who lives.
func TestHypotheticalViewsAreTakenAtOneMoment(t *testing.T) {
	t.Parallel()
	w := world(nil)
	v := w.view("n2", without(w.Cluster, "n1"), w.Cluster, "n1")
	if v.Peers.Results["n1"].Answer.Reachable || !v.Peers.Results["n3"].Answer.Reachable {
		t.Errorf("%+v", v.Peers.Results)
	}
	if v.DCS.Cluster.LeaderName() != "" || v.DCS.Cluster.Member("n1") != nil || v.DCS.Healthy.LeaderName() != "n1" || w.Cluster.LeaderName() != "n1" {
		t.Error("the death of n1 is not, or not only, in the hypothetical view")
	}
	if v.Now-v.DCS.UnlockedAt < time.Second {
		t.Error("nobody lets another go first any more by then")
	}
}

// TestTableOfADyingReplicaNamesTheLeaderAsSuch: it is not the leader who dies.
func TestTableOfADyingReplicaNamesTheLeaderAsSuch(t *testing.T) {
	t.Parallel()
	for dies, want := range map[string]string{"n3": "(leads)", "n1": "(dies)"} {
		for _, row := range IfDies(world(nil), Ledgers{}, dies).Facts.Rows {
			if row[0] == "n1" && row[7] != want {
				t.Errorf("if %s dies, the leader n1 is %s, want %s", dies, row[7], want)
			}
		}
	}
}
