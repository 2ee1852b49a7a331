package candidate

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
)

func replica(name string, lsn cluster.LSN) Answer {
	return Answer{Name: name, Reachable: true, LSN: lsn, Timeline: 3}
}

func TestCompare(t *testing.T) {
	me := Self{Name: "n1", LSN: 1000, Timeline: 3}
	with := func(a Answer, f func(*Answer)) Answer { f(&a); return a }
	prio := func(n string) *cluster.Tags { return cluster.NewObject("failover_priority", n) }
	for _, x := range []struct {
		name    string
		self    Self
		answers []Answer
		rules   Rules
		want    bool
		note    string
	}{
		{"alone", me, nil, Rules{}, true, ""},
		{"equal rivals both may race", me, []Answer{replica("n2", 1000)}, Rules{}, true, ""},
		{"rival ahead", me, []Answer{replica("n2", 1001)}, Rules{}, false, "Wal position of n2 is ahead of my wal position"},
		{"unreachable rival has no say", me, []Answer{{Name: "n2", LSN: 9999}}, Rules{}, true, ""},
		{"nofailover rival has no say", me, []Answer{with(replica("n2", 9999), func(a *Answer) { a.Tags = cluster.NewObject("nofailover", true) })}, Rules{}, true, ""},
		{"rival with a failed watchdog has no say", me, []Answer{with(replica("n2", 9999), func(a *Answer) { a.WatchdogFailed = true })}, Rules{}, true, ""},
		{"rival whose server is down has no say", me, []Answer{with(replica("n2", 0), func(a *Answer) { a.Tags = prio("9") })}, Rules{}, true, ""},
		{"live primary", me, []Answer{with(replica("n2", 0), func(a *Answer) { a.Primary = true })}, Rules{}, false, "Primary (n2) is still alive"},
		{"lag within the limit", me, nil, Rules{CheckLag: true, LeaderLSN: 1100, MaximumLag: 100}, true, ""},
		{"lag beyond the limit", me, nil, Rules{CheckLag: true, LeaderLSN: 1101, MaximumLag: 100}, false, "My wal position exceeds maximum replication lag"},
		{"ahead of what was published", me, nil, Rules{CheckLag: true, LeaderLSN: 10}, true, ""},
		{"timeline behind", me, nil, Rules{CheckTimeline: true, ClusterTimeline: 4}, false, "My timeline 3 is behind last known cluster timeline 4"},
		{"timeline not known", Self{Name: "n1", LSN: 1000}, nil, Rules{CheckTimeline: true}, false, "Can not figure out my timeline"},
		{"rival ahead on an old timeline that may lead", me, []Answer{with(replica("n2", 9999), func(a *Answer) { a.Timeline = 2 })}, Rules{ClusterTimeline: 3}, false,
			"Wal position of n2 is ahead of my wal position"},
		{"rival ahead on a timeline that is not known", me, []Answer{with(replica("n2", 9999), func(a *Answer) { a.Timeline = 0 })}, Rules{CheckTimeline: true, ClusterTimeline: 3}, false,
			"Wal position of n2 is ahead of my wal position"},
		{"live primary on an old timeline", me, []Answer{with(replica("n2", 0), func(a *Answer) { a.Primary, a.Timeline = true, 2 })}, Rules{CheckTimeline: true, ClusterTimeline: 3}, false,
			"Primary (n2) is still alive"},
		{"lower priority", me, []Answer{with(replica("n2", 1000), func(a *Answer) { a.Tags = prio("2") })}, Rules{}, false,
			"n2 has equally tolerable WAL position and priority 2, while this node has priority 1"},
		{"lower priority, but further", me, []Answer{with(replica("n2", 999), func(a *Answer) { a.Tags = prio("2") })}, Rules{}, true, ""},
		{"lower priority than the former leader", me, []Answer{with(replica("n2", 1000), func(a *Answer) { a.Tags = prio("2") })}, Rules{FormerLeader: "n2"}, true, ""},
		{"own answer is not a rival's", me, []Answer{replica("n1", 5000)}, Rules{}, true, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			v := Compare(x.self, x.answers, x.rules)
			if v.Healthiest != x.want {
				t.Errorf("healthiest: %v, want %v (%v)", v.Healthiest, x.want, v.Notes)
			}
			if x.note != "" && !slices.ContainsFunc(v.Notes, func(n Note) bool { return n.Text == x.note }) {
				t.Errorf("notes %v, want %q", v.Notes, x.note)
			}
		})
	}
}

// A rival on an old timeline may have received more of the present one than it has
// replayed: to pass it over is to lose that.
func TestRivalOnAnOldTimeline(t *testing.T) {
	const (
		ahead    = "Wal position of n2 is ahead of my wal position"
		ours     = "Timeline 2 of member n2 is behind the cluster timeline 3, but it may have received more than it has replayed: it counts until one ttl after the leader key was gone"
		foreign  = "Timeline 2 of member n2 is behind the cluster timeline 3, but it is no agent of ours and may have received more than it tells: nobody is promoted before it catches up or is stopped"
		noLonger = "Timeline 2 of member n2 is behind the cluster timeline 3 and was so for one ttl: its wal position does not count any more"
	)
	me := Self{Name: "n1", LSN: 1000, Timeline: 3}
	higher := cluster.NewObject("failover_priority", 2)
	for _, x := range []struct {
		name   string
		rival  Answer
		waited bool
		want   bool
		notes  []string
	}{
		{"ahead, at once", Answer{LSN: 1001, Timeline: 2}, false, false, []string{ahead, ours}},
		{"ahead, after a ttl", Answer{LSN: 1001, Timeline: 2}, true, true, []string{noLonger}},
		{"ahead, not of ours, at once", Answer{LSN: 1001, Timeline: 2, Foreign: true}, false, false, []string{ahead, foreign}},
		{"ahead, not of ours, after a ttl", Answer{LSN: 1001, Timeline: 2, Foreign: true}, true, false, []string{ahead, foreign}},
		{"level", Answer{LSN: 1000, Timeline: 2}, false, true, nil},
		{"level, with a higher priority", Answer{LSN: 1000, Timeline: 2, Tags: higher}, false, true, nil},
		{"level, not of ours", Answer{LSN: 1000, Timeline: 2, Foreign: true, Tags: higher}, false, true, nil},
		{"behind", Answer{LSN: 999, Timeline: 2}, true, true, nil},
		{"server down", Answer{Timeline: 2}, false, true, nil},
		{"may not lead", Answer{LSN: 1001, Timeline: 2, WatchdogFailed: true}, false, true, nil},
		{"ahead, tells what it received", Answer{LSN: 1001, Timeline: 3}, true, false, []string{ahead}},
		{"ahead on a timeline that is not known", Answer{LSN: 1001}, true, false, []string{ahead}},
		{"primary", Answer{Primary: true, Timeline: 2}, true, false, []string{"Primary (n2) is still alive"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.rival.Name, x.rival.Reachable = "n2", true
			v := Compare(me, []Answer{x.rival}, Rules{CheckTimeline: true, ClusterTimeline: 3, WaitedEnough: x.waited})
			var notes []string
			for _, n := range v.Notes {
				notes = append(notes, n.Text)
			}
			if v.Healthiest != x.want || !slices.Equal(notes, x.notes) {
				t.Errorf("healthiest: %v, want %v; notes %q, want %q", v.Healthiest, x.want, notes, x.notes)
			}
			if aheadOfUs := slices.Contains(x.notes, ahead); (v.AheadOfUs == "n2") != aheadOfUs {
				t.Errorf("ahead of us: %q", v.AheadOfUs)
			}
		})
	}
}

// The member that has received most races itself: by the timeline that it tells,
// the received one, neither it nor the others are mistaken.
func TestWhoHasReceivedMostRacesAlthoughItsReplayStandsStill(t *testing.T) {
	rules := Rules{CheckTimeline: true, ClusterTimeline: 3}
	received, replayed := replica("n1", 2000), replica("n2", 1000)
	if v := Compare(Self{Name: "n1", LSN: 2000, Timeline: 3}, []Answer{replayed}, rules); !v.Healthiest {
		t.Errorf("bars itself: %v", v.Notes)
	}
	rules.WaitedEnough = true
	if v := Compare(Self{Name: "n2", LSN: 1000, Timeline: 3}, []Answer{received}, rules); v.Healthiest {
		t.Error("is passed over")
	}
}

// TestOneOfAllReplicasMayAlwaysRace: when all hear all, the most advanced one with
// the highest priority finds itself healthiest, and nobody behind it does.
func TestOneOfAllReplicasMayAlwaysRace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Answer
		best := cluster.LSN(0)
		for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
			a := replica(string(rune('a'+i)), cluster.LSN(rapid.IntRange(1, 4).Draw(t, "lsn")))
			a.Tags = cluster.NewObject("failover_priority", rapid.IntRange(1, 3).Draw(t, "priority"))
			best = max(best, a.LSN)
			all = append(all, a)
		}
		winners := 0
		for _, a := range all {
			if Compare(Self{Name: a.Name, LSN: a.LSN, Timeline: 3, Tags: a.Tags}, all, Rules{}).Healthiest {
				winners++
				if a.LSN < best {
					t.Fatalf("%s is at %d and may race although another is at %d", a.Name, a.LSN, best)
				}
			}
		}
		if winners == 0 {
			t.Fatal("nobody may race")
		}
	})
}

func TestPossible(t *testing.T) {
	for _, x := range []struct {
		name    string
		answers []Answer
		rules   Handover
		want    bool
	}{
		{"nobody", nil, Handover{}, false},
		{"one that has the checkpoint", []Answer{replica("n2", 10), replica("n3", 500)}, Handover{Reference: 500}, true},
		{"none that has the checkpoint", []Answer{replica("n2", 499)}, Handover{Reference: 500, MaximumLag: 1000}, false},
		{"unreachable", []Answer{{Name: "n2", LSN: 500}}, Handover{Reference: 500}, false},
		{"within the lag", []Answer{replica("n2", 400)}, Handover{LeaderLSN: 500, MaximumLag: 100}, true},
		{"beyond the lag", []Answer{replica("n2", 399)}, Handover{LeaderLSN: 500, MaximumLag: 100}, false},
		{"old timeline", []Answer{replica("n2", 500)}, Handover{CheckTimeline: true, ClusterTimeline: 4}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			if good, notes := Possible(x.answers, x.rules); good != x.want {
				t.Errorf("got %v, want %v (%v)", good, x.want, notes)
			}
		})
	}
}

func TestRivalsAreThoseOfTheLastHealthyViewToo(t *testing.T) {
	m := func(name, api string) cluster.Member { return cluster.Member{Name: name, APIURL: api} }
	healthy := &cluster.Cluster{Members: []cluster.Member{m("n1", "a"), m("n2", "a"), m("n3", "a"), m("n5", "")}}
	present := &cluster.Cluster{Members: []cluster.Member{m("n1", "a"), m("n3", "b"), m("n4", "a")}}
	var got []string
	for _, r := range Rivals("n1", healthy, present) {
		got = append(got, r.Name+r.APIURL)
	}
	if want := []string{"n2a", "n3b", "n4a"}; !slices.Equal(got, want) {
		t.Errorf("rivals %v, want %v", got, want)
	}
}
