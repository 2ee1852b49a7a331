package ha

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// requested is a pending request to move the leader.
func requested(leader, candidate, at string) func(*View) {
	return func(v *View) {
		v.DCS.Cluster.Failover = &cluster.Failover{Leader: leader, Candidate: candidate, ScheduledAt: at, Version: 50}
		v.RequestSince = v.Now
	}
}

// answered makes the answers count that were given just now.
func answered(v *View) { v.RaceSince = v.Now }

func nobody(name string) func(*View) {
	return func(v *View) {
		answer(name, 0)(v)
		r := v.Peers.Results[name]
		r.Answer.Reachable = false
		v.Peers.Results[name] = r
	}
}

func notesOf(o Outcome) string {
	var b strings.Builder
	for _, n := range o.Notes {
		b.WriteString(n.Text + "\n")
	}
	return b.String()
}

// TestRequestsToMoveTheLeader follows reference ha.md 10.2 to 10.4.
func TestRequestsToMoveTheLeader(t *testing.T) {
	wall := time.Date(2031, 2, 3, 4, 5, 0, 0, time.UTC)
	clock := func(v *View) { v.Wall = wall }
	at := func(d time.Duration) string { return wall.Add(d).Format(time.RFC3339) }
	demote := func(action string) Decision {
		return Demote{Mode: DemoteGraceful, Action: action, Checkpoint: true}
	}
	leads := func(change ...func(*View)) *View {
		return view(append([]func(*View){primary, holding, answered, clock}, change...)...)
	}
	free := func(change ...func(*View)) *View {
		return view(append([]func(*View){unlocked, answered, clock}, change...)...)
	}
	for _, x := range []struct {
		name string
		view *View
		want Decision
		text string // part of the line or a note
	}{
		// 10.2
		{"nothing asked", leads(), Wait{}, "no action"},
		{"switchover to a candidate", leads(requested("n1", "n2", ""), answer("n2", 5000)), demote("switchover"), "switchover: demoting myself"},
		{"switchover to the best one", leads(requested("n1", "", ""), answer("n2", 5000), answer("n3", 4000)), demote("switchover"), "switchover: demoting myself"},
		{"candidates are asked first", leads(requested("n1", "n2", "")), PollPeers{[]cluster.Member{*view().DCS.Cluster.Member("n2")}}, ""},
		{"what it answered before the request does not count", leads(requested("n1", "n2", ""), nobody("n2"), func(v *View) { v.Now += time.Millisecond; v.RequestSince = v.Now }),
			PollPeers{[]cluster.Member{*view().DCS.Cluster.Member("n2")}}, ""},
		{"manual failover", leads(requested("", "n2", ""), answer("n2", 5000)), demote("manual failover"), "manual failover: demoting myself"},
		{"another leader", leads(requested("n3", "n2", ""), answer("n2", 5000)), ClearFailover{}, "switchover: leader name does not match: n3 != n1"},
		{"to itself", leads(requested("n1", "n1", "")), ClearFailover{}, "switchover: I am already the leader, no need to switchover"},
		{"manual failover to itself", leads(requested("", "n1", "")), ClearFailover{}, "manual failover: I am already the leader, no need to failover"},
		{"nobody healthy", leads(requested("n1", "n2", ""), nobody("n2")), ClearFailover{}, "switchover: no healthy members found, switchover is not possible"},
		{"candidate that lags too much", leads(requested("n1", "n2", ""), answer("n2", 1), func(v *View) { v.DCS.Cluster.Status.LSN = 2 << 20 }), ClearFailover{}, "Member n2 exceeds maximum replication lag"},
		{"in pause without a candidate", leads(paused, requested("n1", "", ""), answer("n2", 5000)), ClearFailover{}, "Switchover is possible only to a specific candidate in a paused state"},
		{"in pause to a candidate", leads(paused, requested("n1", "n2", ""), answer("n2", 5000)), demote("switchover"), ""},
		// A planned switchover waits for who is about to connect.
		{"candidate that is still behind", leads(requested("n1", "n2", ""), answer("n2", 4000)), Wait{}, "waiting for a candidate to catch up"},
		{"one of two is there", leads(requested("n1", "", ""), answer("n2", 4000), answer("n3", 5000)), demote("switchover"), ""},
		{"not for ever", leads(requested("n1", "n2", ""), answer("n2", 4000), func(v *View) { v.RequestSince = v.Now - catchUpLimit }), demote("switchover"), ""},
		{"manual failover does not wait", leads(requested("", "n2", ""), answer("n2", 4000)), demote("manual failover"), ""},
		// 17.2
		{"scheduled for later", leads(requested("n1", "n2", at(time.Hour))), Wait{}, "Awaiting switchover at 2031-02-03T05:05:00Z (in 3600 seconds)"},
		{"scheduled for now", leads(requested("n1", "n2", at(0)), answer("n2", 5000)), demote("switchover"), "Manual scheduled switchover at 2031-02-03T04:05:00Z"},
		{"a little late", leads(requested("n1", "n2", at(-10*time.Second)), answer("n2", 5000)), demote("switchover"), "Manual scheduled switchover"},
		{"stale", leads(requested("n1", "n2", at(-16*time.Second)), answer("n2", 5000)), ClearFailover{}, "Found a stale switchover value, cleaning up: 2031-02-03T04:04:44Z"},
		{"no time at all", leads(requested("n1", "n2", "soon")), ClearFailover{}, "Incorrect value of scheduled_at: soon"},
		{"frozen in pause", leads(paused, requested("n1", "n2", at(-time.Hour))), Wait{}, "no action"},
		// 10.4
		{"candidate takes over whatever it lags", free(requested("n2", "n1", ""), func(v *View) { v.DCS.Cluster.Status.LSN = 1 << 40 }), AcquireLeader{}, ""},
		{"others leave it to a healthy candidate", free(requested("n2", "n3", ""), answer("n3", 1)), Wait{}, "switchover: to n3, i am n1"},
		{"a sick candidate is as if none was named", free(requested("n2", "n3", ""), nobody("n3"), answer("n2", 1)), AcquireLeader{}, "switchover: member n3 is not reachable"},
		{"best one without a candidate", free(requested("n2", "", ""), answer("n3", 4000)), AcquireLeader{}, ""},
		{"not the best one", free(requested("n2", "", ""), answer("n3", 6000)), Wait{}, "Wal position of n3 is ahead of my wal position"},
		{"former leader leaves it to others", free(requested("n1", "", ""), answer("n2", 5000), answer("n3", 5000)), Wait{}, "following a different leader"},
		{"former leader takes it back when nobody can", free(requested("n1", "", ""), nobody("n2"), nobody("n3")), AcquireLeader{}, ""},
		{"in pause nobody but the candidate", free(paused, requested("n2", "n3", ""), answer("n3", 1)), Wait{}, ""},
		{"in pause the candidate", free(paused, requested("n2", "n1", "")), AcquireLeader{}, ""},
		{"in pause a candidate that is not there", free(paused, primary, requested("n2", "n9", "")), ClearFailover{}, "switchover: removing failover key because failover candidate is not running"},
		{"lagging candidate of a manual failover", free(requested("", "n1", ""), func(v *View) { v.DCS.Cluster.Status.LSN = 1 << 40 }), AcquireLeader{}, ""},
	} {
		o := Decide(x.view)
		if !reflect.DeepEqual(o.Do, x.want) {
			t.Errorf("%s: decided %T%+v, want %T%+v (line %q, notes %v)", x.name, o.Do, o.Do, x.want, x.want, o.Line, o.Notes)
		}
		if !strings.Contains(o.Line+"\n"+notesOf(o), x.text) {
			t.Errorf("%s: %q is not in %q, %q", x.name, x.text, o.Line, notesOf(o))
		}
	}
}

// TestKeyAfterADemotion: a switchover gives it only to who has everything.
func TestKeyAfterADemotion(t *testing.T) {
	t.Parallel()
	demoted := func(s Stopped, change ...func(*View)) *View {
		return view(append([]func(*View){stopped, holding, answered, requested("n1", "n2", ""), func(v *View) {
			v.ReleaseDue, v.Stopped = true, s
			v.Stopped.At, v.Stopped.Since = v.Now-s.At, v.RaceSince
			v.Instance.Control = &Control{State: "shut down", CheckpointLSN: 4900}
		}}, change...)...)
	}
	planned := Stopped{Planned: true, Checkpoint: 5000, End: 4990}
	late := Stopped{Planned: true, Checkpoint: 5000, End: 4990, At: arrivalLimit}
	for _, x := range []struct {
		name string
		view *View
		want Decision
	}{
		{"candidate has it", demoted(planned, answer("n2", 5000)), ReleaseLeader{LSN: 4990, Why: "demoted"}},
		{"candidate has it not yet", demoted(planned, answer("n2", 4999)), Wait{}},
		{"another one has it", demoted(planned, answer("n2", 4999), answer("n3", 5000)), Wait{}},
		{"any one will do", demoted(planned, requested("n1", "", ""), answer("n2", 4999), answer("n3", 5000)), ReleaseLeader{LSN: 4990, Why: "demoted"}},
		{"nobody has it", demoted(late, answer("n2", 4999)), TakeBack{}},
		{"nobody has it, in pause", demoted(late, paused, answer("n2", 4999)), ReleaseLeader{LSN: 4990, Why: "demoted"}},
		{"only a look can tell", demoted(Stopped{Planned: true}, answer("n2", 4900)), ReleaseLeader{LSN: 4900, Why: "demoted"}},
		{"only a look can tell, and it has it not", demoted(Stopped{Planned: true}, answer("n2", 4899)), Wait{}},
		{"what was not planned is not kept back", demoted(Stopped{Checkpoint: 5000, End: 4990}), ReleaseLeader{LSN: 4990, Why: "demoted"}},
	} {
		if o := Decide(x.view); !reflect.DeepEqual(o.Do, x.want) {
			t.Errorf("%s: decided %T%+v, want %T%+v (line %q, notes %v)", x.name, o.Do, o.Do, x.want, x.want, o.Line, o.Notes)
		}
	}
}

// TestScheduledRestart follows reference ha.md 17.
func TestScheduledRestart(t *testing.T) {
	t.Parallel()
	wall := time.Date(2031, 2, 3, 4, 5, 0, 0, time.UTC)
	started := wall.Add(-time.Hour)
	scheduled := func(r RestartRequest, change ...func(*View)) *View {
		return view(append([]func(*View){primary, holding, func(v *View) {
			v.Wall, v.Requests.Restart, v.Instance.Postmaster, v.Instance.ServerVersion = wall, &r, started, 150018
		}}, change...)...)
	}
	for _, x := range []struct {
		name string
		view *View
		want Decision
		text string
	}{
		{"for later", scheduled(RestartRequest{At: wall.Add(time.Minute)}), Wait{}, "Awaiting restart at 2031-02-03T04:06:00Z (in 60 seconds)"},
		{"now", scheduled(RestartRequest{At: wall}), Restart{Primary: true, Timeout: 5 * time.Minute}, "restart initiated"},
		{"with a time of its own", scheduled(RestartRequest{At: wall, Timeout: time.Minute}), Restart{Primary: true, Timeout: time.Minute}, ""},
		{"stale", scheduled(RestartRequest{At: wall.Add(-16 * time.Second)}), DropRestart{}, "Found a stale restart value, cleaning up"},
		{"restarted meanwhile", scheduled(RestartRequest{At: wall.Add(time.Minute), Postmaster: started.Add(-time.Minute)}), DropRestart{}, "Cancelling scheduled restart: postgres restart has already happened at"},
		{"another role by then", scheduled(RestartRequest{At: wall, Role: cluster.RoleReplica}), DropRestart{}, "not proceeding with the restart: host role mismatch"},
		{"new enough by then", scheduled(RestartRequest{At: wall, Below: 150018}), DropRestart{}, "not proceeding with the restart: postgres version mismatch"},
		{"nothing pending by then", scheduled(RestartRequest{At: wall, Pending: true}), DropRestart{}, "not proceeding with the restart: pending restart flag is not set"},
		{"frozen in pause", scheduled(RestartRequest{At: wall.Add(-time.Hour)}, paused), Wait{}, "no action"},
	} {
		o := Decide(x.view)
		if r, ok := o.Do.(Restart); ok {
			r.Source = nil
			o.Do = r
		}
		if !reflect.DeepEqual(o.Do, x.want) || !strings.Contains(o.Line+"\n"+notesOf(o), x.text) {
			t.Errorf("%s: decided %T%+v, want %T%+v with %q (line %q, notes %v)", x.name, o.Do, o.Do, x.want, x.want, x.text, o.Line, o.Notes)
		}
	}
}
