package ctl

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/memory"
)

// differing are recordings of runs in which we differ from the reference on
// purpose (its README, "Corrections"); the value names the test that says how.
var differing = map[string]string{
	"reload-member-unreachable":    "TestUnreachableMembersDoNotKeepOthersFromTheirTurn",
	"restart-no-agents":            "TestUnreachableMembersDoNotKeepOthersFromTheirTurn",
	"pause-no-agents":              "TestPauseNeedsOneMemberThatAnswers",
	"version-member-unreachable":   "TestVersionOfAMemberThatIsDown",
	"reinit-no-members":            "TestReinitAsksForAMember",
	"promote-cluster-force":        "TestPromoteClusterTellsHowFarItIs", // the same, with a clock that runs
	"edit-config-unparsable-value": "TestEditConfigRefusesWhatIsNotYAML",
	"query-json-numeric":           "TestQuery/others",
	"query-json-timestamp":         "TestQuery/others",
}

func TestEveryRecordingIsReplayed(t *testing.T) {
	t.Parallel()
	replayed := slices.Collect(maps.Keys(acting))
	replayed = append(replayed, querying...)
	for _, runs := range recorded {
		replayed = append(replayed, runs...)
	}
	for _, runs := range recordedAt {
		replayed = append(replayed, runs...)
	}
	for _, runs := range editChains {
		replayed = append(replayed, runs...)
	}
	replayed = append(replayed, "version")
	files, err := filepath.Glob("testdata/cli/*.txt")
	if err != nil || len(files) < 199 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		if !slices.Contains(replayed, name) && differing[name] == "" {
			t.Errorf("%s is in no test", name)
		}
	}
}

// The reference stops with a stack trace at the first member that cannot be
// reached; here the others have their turn.
func TestUnreachableMembersDoNotKeepOthersFromTheirTurn(t *testing.T) {
	t.Parallel()
	c := readCapture(t, "reload-member-unreachable")
	f := fake(t, "261", nil, []string{"pg-a"}, exchange{"POST pg-b /reload", 202, "", ""}, exchange{"POST pg-c /reload", 401, "no auth", ""})
	r := f.replay(t, c)
	want := c.stdout + "Failed: reload for member pg-a, it cannot be reached: "
	tail := "\nReload request received for member pg-b and will be processed within 3 seconds\nFailed: reload for member pg-c, status code=401, (no auth)\n"
	if r.code != c.code || !strings.HasPrefix(r.stdout, want) || !strings.HasSuffix(r.stdout, tail) ||
		r.stderr != "Error: reload: no answer from pg-a (is the agent running there, and is its api_url right?)\n" {
		t.Errorf("got %+v", r)
	}
	c = readCapture(t, "restart-no-agents")
	r = fake(t, "all-agents-stopped", nil, []string{"pg-a", "pg-b", "pg-c"}).replay(t, c)
	if r.code != c.code || !strings.HasPrefix(r.stdout, c.stdout) || strings.Count(r.stdout, "Failed: restart for member pg-") != 3 ||
		!strings.HasPrefix(r.stderr, "Error: restart: no answer from pg-a, pg-b, pg-c ") {
		t.Errorf("got %+v", r)
	}
}

// The reference logs each attempt; we log the last error of each member. What
// tells the reason, and the end, are the same.
func TestPauseNeedsOneMemberThatAnswers(t *testing.T) {
	t.Parallel()
	c := readCapture(t, "pause-no-agents")
	r := fake(t, "all-agents-stopped", nil, []string{"pg-a", "pg-b", "pg-c"}).replay(t, c)
	var lines []string
	for line := range strings.SplitSeq(c.stderr, "\n") {
		if !strings.Contains(line, "Retrying") && !strings.Contains(line, "Max retries") {
			if _, text, ok := strings.Cut(line, " - WARNING - "); ok {
				line = text
			}
			lines = append(lines, line)
		}
	}
	for _, want := range lines {
		if !strings.Contains(r.stderr, want+"\n") && want != "" {
			t.Errorf("%q is missing in\n%s", want, r.stderr)
		}
	}
	if r.code != c.code || r.stdout != "" || !strings.HasSuffix(r.stderr, "\nError: Can not find accessible cluster member\n") {
		t.Errorf("got %+v", r)
	}
	// One that is down is passed over; the first answer counts, whatever it is.
	r = fake(t, "healthy", nil, []string{"pg-a"}, exchange{`PATCH pg-b /config {"pause": true}`, 409, "conflict", ""}).bench().run(t, "pause")
	if r.code != 0 || r.stdout != "Failed: pause cluster management status code=409, (conflict)\n" || !strings.Contains(r.stderr, "WARNING - Member pg-a is not accessible\n") {
		t.Errorf("got %+v", r)
	}
}

// The reason has the words of another library.
func TestVersionOfAMemberThatIsDown(t *testing.T) {
	t.Parallel()
	c := readCapture(t, "version-member-unreachable")
	r := fake(t, "261", nil, []string{"pg-a"}, exchange{"GET pg-b /patroni", 200, versionDoc, ""}, exchange{"GET pg-c /patroni", 200, versionDoc, ""}).replay(t, c)
	got, want := strings.Split(r.stdout, "\n"), strings.Split(c.stdout, "\n")
	if len(got) != len(want) || r.code != c.code {
		t.Fatalf("got %+v", r)
	}
	for i := range want {
		const failed = "pg-a: failed to get version: "
		if got[i] != want[i] && !(strings.HasPrefix(want[i], failed) && strings.HasPrefix(got[i], failed) && strings.Contains(got[i], "connection refused")) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestSwitchoverFallsBackToTheStore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, key string }{
		{"switchover --candidate pg-b --scheduled 2031-02-03T04:05+01:00 --force", `{"leader":"pg-a","member":"pg-b","scheduled_at":"2031-02-03T04:05:00+01:00"}`},
		{"switchover --force", `{"leader":"pg-a"}`},
		{"failover --candidate pg-b --force", `{"member":"pg-b"}`}, // a leader in it would make it a switchover
	} {
		f := fake(t, "healthy", nil, []string{"pg-a"})
		r := f.bench().run(t, strings.Fields(tc.args)...)
		action, _, _ := strings.Cut(tc.args, " ")
		if r.code != 0 || !strings.Contains(r.stdout, "\n2026-11-22 22:38:31.00500 Could not "+action+" using Patroni api, falling back to DCS\n+ Cluster: batman") || !strings.Contains(r.stderr, "WARNING") {
			t.Errorf("%s: %+v", tc.args, r)
		}
		if got := stored(t, f.store).Failover; got == nil || string(got.JSON()) != tc.key {
			t.Errorf("%s wrote %+v, want %s", tc.args, got, tc.key)
		}
	}
}

// The leader took the request, wrote the key and died before it answered: a
// second request must not be written over the first.
func TestSwitchoverIsNotRequestedTwice(t *testing.T) {
	t.Parallel()
	f := fake(t, "healthy", nil, []string{"pg-a"})
	b := f.bench()
	b.wrap = func(s dcs.Store) dcs.Store { return overtaken{s, f.store} }
	r := b.run(t, "switchover", "--force")
	if got := stored(t, f.store).Failover; r.code != 1 || !strings.HasPrefix(r.stderr[strings.Index(r.stderr, "Error"):], "Error: write the switchover request: ") || got.Leader != "" {
		t.Errorf("got %+v, left %+v", r, got)
	}
}

func TestSwitchoverWhoseResultIsNotKnown(t *testing.T) {
	t.Parallel()
	f := fake(t, "healthy", nil, nil, exchange{`POST pg-a /switchover {"candidate": null, "leader": "pg-a"}`, 503, "Switchover status unknown after 20 seconds; operation may still be in progress", ""})
	r := f.bench().run(t, "switchover", "--force")
	if r.code != 0 || !strings.HasSuffix(r.stdout, "\nSwitchover result unknown, details: 503, Switchover status unknown after 20 seconds; operation may still be in progress\n") {
		t.Errorf("got %+v", r)
	}
	f = fake(t, "healthy", nil, nil, exchange{`POST pg-a /switchover {"candidate": null, "leader": "pg-a"}`, 501, "Server does not support this operation", ""},
		exchange{`POST pg-a /failover {"candidate": null, "leader": "pg-a"}`, 200, "Successfully failed over", ""})
	if r := f.bench().run(t, "switchover", "--force"); r.code != 0 || !strings.Contains(r.stdout, " Successfully failed over\n+ Cluster") {
		t.Errorf("an old agent: %+v", r)
	}
}

func TestFailoverWithoutALeaderAsksTheCandidate(t *testing.T) {
	t.Parallel()
	f := fake(t, "all-agents-stopped", nil, nil, exchange{`POST pg-b /failover {"candidate": "pg-b"}`, 200, `Successfully failed over to "pg-b"`, ""})
	b := f.bench()
	b.stdin = "y\n"
	r := b.run(t, "failover", "--candidate", "pg-b")
	if r.code != 0 || !strings.Contains(r.stdout, "\nAre you sure you want to failover cluster batman? [y/N]: ") || !strings.Contains(r.stdout, ` Successfully failed over to "pg-b"`) {
		t.Errorf("got %+v", r)
	}
}

func TestFailoverToAnAsynchronousNodeIsAskedAbout(t *testing.T) {
	t.Parallel()
	extra := map[string]string{"sync": `{"leader":"pg-a","quorum":0,"sync_standby":"pg-x"}`}
	b := fake(t, "synchronous-mode", extra, nil).bench()
	b.stdin = "n\n"
	r := b.run(t, "failover", "--candidate", "pg-b")
	if r.code != 1 || !strings.HasSuffix(r.stdout, "\nAre you sure you want to failover to the asynchronous node pg-b? [y/N]: ") || r.stderr != "Error: Aborting failover\n" {
		t.Errorf("got %+v", r)
	}
}

func TestScheduledSwitchoverIsConfirmed(t *testing.T) {
	t.Parallel()
	b := fake(t, "healthy", nil, nil).bench()
	b.stdin = "\npg-b\n2031-02-03 04:05\nno\n"
	r := b.run(t, "switchover")
	want := "Primary [pg-a]: Candidate ['pg-b'] []: When should the switchover take place (e.g. 2026-11-22T23:38 )  [now]: " +
		"Are you sure you want to schedule switchover of cluster batman at 2031-02-03T04:05:00+00:00, demoting current leader pg-a? [y/N]: "
	if r.code != 1 || !strings.HasSuffix(r.stdout, want) || r.stderr != "Error: Aborting scheduled switchover\n" {
		t.Errorf("got %+v", r)
	}
}

// An empty answer to the prompt goes as it is, trap 4.
func TestEmptyCandidateMeansAny(t *testing.T) {
	t.Parallel()
	b := fake(t, "healthy", nil, nil, exchange{`POST pg-a /switchover {"candidate": "", "leader": "pg-a"}`, 200, "ok", ""}).bench()
	b.stdin = "\n\n\ny\n"
	if r := b.run(t, "switchover"); r.code != 0 || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
}

func TestResumeWarnsWhenTheLeadersAgentIsDead(t *testing.T) {
	t.Parallel()
	f := fake(t, "paused", nil, []string{"pg-a"}, exchange{`PATCH pg-b /config {"pause": null}`, 200, "{}", ""})
	r := f.bench().run(t, "resume")
	if r.code != 0 || r.stdout != "Success: cluster management is resumed\n" || !strings.Contains(r.stderr, " - WARNING - The agent of the leader pg-a does not answer: ") ||
		!strings.Contains(r.stderr, "accepting writes that will be lost") {
		t.Errorf("got %+v", r)
	}
	f = fake(t, "paused-primary-stopped", map[string]string{"history": `[[1,100,"no recovery target specified","2031-01-01T00:00:00+00:00","pg-b"]]`}, nil,
		exchange{`PATCH pg-a /config {"pause": null}`, 200, "{}", ""})
	if r = f.bench().run(t, "resume"); r.code != 0 || !strings.Contains(r.stderr, "Nobody holds the leader key. The last leader, by the history pg-b, may have lost it") {
		t.Errorf("without a leader: %+v", r)
	}
}

func TestPauseTellsWhoHasNotRecognizedIt(t *testing.T) {
	t.Parallel()
	// pg-b publishes something new, but not the mode; pg-c is silent.
	f := fake(t, "healthy", map[string]string{"config": `{"loop_wait":1,"ttl":20,"retry_timeout":3}`}, nil, exchange{`PATCH pg-a /config {"pause": true}`, 200, "{}", "after patch"})
	r := f.bench().run(t, "pause", "--wait")
	if r.code != 0 || r.stdout != "'pause' request sent, waiting until it is recognized by all nodes\npg-b members didn't recognized pause state after 1 seconds\n" {
		t.Errorf("got %+v", r)
	}
}

func init() {
	between["after patch"] = struct {
		base  string
		extra map[string]string
	}{"healthy", map[string]string{"members/pg-a": member("22431", "running", "primary", `,"pause":true`), "members/pg-b": member("22432", "stopped", "replica", "")}}
}

func TestRestartsOfSeveralKinds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		at, args, stdin string
		script          []exchange
		stdout, stderr  string
	}{
		{"52", "restart batman pg-b --timeout 60 --scheduled now --pg-version 16.4", "y\n", []exchange{{`POST pg-b /restart {"postgres_version": "16.4", "timeout": "60"}`, 200, "", ""}},
			"Are you sure you want to restart members pg-b? [y/N]: Success: restart on member pg-b\n", ""},
		{"52", "restart batman --pending --scheduled 2031-02-03T04:05", "n\n", nil,
			"The nodes needing a restart will be identified at the scheduled time, and might be different from the ones showing pending restart right now. Is this fine? [y/N]: ", "Error: Aborted scheduled restart\n"},
		{"52", "restart batman --pending --scheduled 2031-02-03T04:05 -r leader --force", "", []exchange{{`POST pg-a /restart {"restart_pending": true, "schedule": "2031-02-03T04:05:00+00:00"}`, 202, "", ""}},
			"Success: restart scheduled on member pg-a\n", ""},
		{"80", "restart batman pg-b --scheduled 2031-02-03T04:05 --force", "", []exchange{{"DELETE pg-b /restart", 200, "", ""}, {`POST pg-b /restart {"schedule": "2031-02-03T04:05:00+00:00"}`, 202, "", ""}},
			"Success: restart scheduled on member pg-b\n", ""},
		{"52", "restart batman pg-b --force --pg-version x.y", "", nil, "", "Error: Invalid PostgreSQL version: x.y\n"},
		{"52", "restart batman pg-b --force --pg-version 16.4.1", "", nil, "", "Error: Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 16.4.1\n"},
		{"52", "restart batman pg-x pg-c --force", "", []exchange{{"POST pg-c /restart {}", 503, "postgres is still starting", ""}},
			"Failed: restart for member pg-c, status code=503, (postgres is still starting)\n", ""},
		{"52", "restart nosuch --force", "", nil, "", "Error: nosuch cluster doesn't have any members\n"},
		{"52", "reload batman -r replica", "y\n", []exchange{{"POST pg-b /reload", 200, "", ""}, {"POST pg-c /reload", 202, "", ""}},
			"Are you sure you want to reload members pg-b, pg-c? [y/N]: No changes to apply on member pg-b\nReload request received for member pg-c and will be processed within 3 seconds\n", ""},
		{"52", "reinit batman", "pg-x\n", nil, "Which member do you want to reinitialize [pg-b, pg-c]? []: ", "Error: pg-x is not a member of cluster\n"},
		{"52", "reinit batman --force", "", nil, "", ""}, // nobody is named: nothing happens
		{"52", "reinit batman --from-leader", "pg-b\ny\ny\n", []exchange{{`POST pg-b /reinitialize {"force": false, "from_leader": true}`, 503, "restart already in progress", ""}, {`POST pg-b /reinitialize {"force": true, "from_leader": true}`, 200, "", ""}},
			"[pg-b, pg-c]? []: Are you sure you want to reinitialize members pg-b? [y/N]: Failed: reinitialize for member pg-b, status code=503, (restart already in progress)\n" +
				"Do you want to cancel it and reinitialize anyway? [y/N]: Success: reinitialize for member pg-b\n", ""},
		{"80", "flush batman restart", "n\n", nil, "Are you sure you want to flush members pg-a, pg-b, pg-c? [y/N]: ", "Error: Aborted flush\n"},
		{"scheduled-switchover", "flush batman switchover", "", []exchange{{"DELETE pg-a /switchover", 409, "page", ""}, {"DELETE pg-b /switchover", 404, "no switchover is scheduled", ""}},
			"Failed: member=pg-a, status_code=409, (page)\nFailed: no switchover is scheduled\n", ""},
		{"52", "demote-cluster --host 10.0.0.1 --port 5433", "n\n", nil, "Are you sure you want to demote batman cluster? [y/N]: ", "Error: Aborted cluster demotion\n"},
		{"52", "demote-cluster --host 10.0.0.1 --primary-slot-name s --force", "", []exchange{{`PATCH pg-a /config {"standby_cluster": {"host": "10.0.0.1", "primary_slot_name": "s"}}`, 401, "no auth header received", ""}},
			"", "Error: Failed to demote batman cluster: Failed to demote batman cluster: /config PATCH status code=401, (no auth header received)\n"},
		{"paused-primary-stopped", "promote-cluster", "", nil, "", "Error: Cluster has no leader, promotion is not possible\n"},
	} {
		b := fake(t, tc.at, nil, nil, tc.script...).bench()
		b.stdin = tc.stdin
		r := b.run(t, strings.Fields(tc.args)...)
		if !strings.HasSuffix(r.stdout, tc.stdout) || r.stderr != tc.stderr || (r.code == 0) != (tc.stderr == "") {
			t.Errorf("%s: %+v", tc.args, r)
		}
	}
}

func TestAnyRestartsOneOnly(t *testing.T) {
	t.Parallel()
	r := fake(t, "52", nil, nil, exchange{request: "any", code: 200}).bench().run(t, "restart", "batman", "--any", "--force")
	if strings.Count(r.stdout, "Success: restart on member") != 1 || r.code != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestFlushClearsTheKeyWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	f := fake(t, "scheduled-switchover", nil, []string{"pg-a", "pg-b", "pg-c"})
	r := f.bench().run(t, "flush", "batman", "switchover")
	if r.code != 0 || r.stdout != "2026-11-22 22:38:31.00500 Could not find any accessible member of cluster batman\n" || stored(t, f.store).Failover.Pending() {
		t.Errorf("got %+v", r)
	}
	f = fake(t, "scheduled-switchover", nil, []string{"pg-a", "pg-b", "pg-c"})
	b := f.bench()
	b.wrap = func(s dcs.Store) dcs.Store { return overtaken{s, f.store} }
	if r := b.run(t, "flush", "batman", "switchover"); r.code != 1 || !strings.Contains(r.stderr, "Error: cancel the scheduled switchover: ") {
		t.Errorf("got %+v", r)
	}
}

// The reference would call a replica that has not begun yet complete.
func TestReinitThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	f := fake(t, "52", nil, nil, exchange{"GET pg-b /patroni", 200, statusDoc("running", "before"), ""}, exchange{`POST pg-b /reinitialize {"force": true, "from_leader": false}`, 200, "", ""},
		exchange{"GET pg-c /patroni", 200, statusDoc("running", "before"), ""}, exchange{`POST pg-c /reinitialize {"force": true, "from_leader": false}`, 200, "", ""},
		exchange{"GET pg-b /patroni", 200, statusDoc("running", "later"), ""}, exchange{"GET pg-c /patroni", 503, statusDoc("start failed", ""), ""})
	r := f.bench().run(t, "reinit", "batman", "pg-b", "pg-c", "--force", "--wait")
	want := "Waiting for reinitialize to complete on: pg-b, pg-c\nReinitialize is completed on: pg-b\nFailed: reinitialize for member pg-c ended in state start failed\n"
	if r.code != 1 || !strings.HasSuffix(r.stdout, want) || r.stderr != "Error: reinitialize failed on: pg-c (its log tells why)\n" {
		t.Errorf("got %+v", r)
	}
}

func TestDemoteClusterWaitsForTheFormerLeader(t *testing.T) {
	t.Parallel()
	f := fake(t, "52", nil, nil, exchange{`PATCH pg-a /config {"standby_cluster": {"restore_command": "cp x"}}`, 200, "{}", ""})
	b := f.bench()
	b.now = ticking(t, "2026-11-22 22:46:26")
	demoted := member("22432", "running", "standby_leader", "")
	b.wrap = func(s dcs.Store) dcs.Store {
		return &loads{Store: s, before: func(n int) {
			switch n {
			case 2:
				f.store.Set("leader", nil)
			case 3:
				f.store.Set("leader", []byte("pg-b"))
				f.store.Set("members/pg-b", []byte(demoted))
				f.store.Set("members/pg-a", []byte(member("22431", "stopped", "replica", "")))
			case 4:
				f.store.Set("members/pg-a", []byte(member("22431", "running", "replica", "")))
			}
		}}
	}
	r := b.run(t, "demote-cluster", "--restore-command", "cp x", "--force")
	want := `2026-11-22 22:46:26 cluster is unlocked: False, leader role: primary, leader state: running
2026-11-22 22:46:27 cluster is unlocked: True, leader role: None, leader state: None
2026-11-22 22:46:28 cluster is unlocked: False, leader role: standby_leader, leader state: running, previous leader state: 'stopped'
2026-11-22 22:46:29 cluster is successfully demoted
+ Cluster: batman`
	if r.code != 0 || !strings.Contains(r.stdout, want) {
		t.Errorf("got %+v", r)
	}
}

func TestSchedulesAreRead(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	now := time.Date(2031, 2, 3, 1, 0, 0, 0, zone)
	for in, want := range map[string]string{
		"": "", "now": "", "2031-02-03T04:05": "2031-02-03T04:05:00+01:00", "2031-02-03 04:05:06": "2031-02-03T04:05:06+01:00",
		"2031-02-03T04:05:06.25Z": "2031-02-03T04:05:06.250000+00:00", "2031-02-03T04:05:00+05:30": "2031-02-03T04:05:00+05:30",
		"2031-02-03 04:05 UTC": "2031-02-03T04:05:00+00:00", "2031-02-03 04:05 +0200": "2031-02-03T04:05:00+02:00", "2031-02-03T04:05-03": "2031-02-03T04:05:00-03:00",
		"20310203T0405": "2031-02-03T04:05:00+01:00", "2031/02/03 4:05pm": "2031-02-03T16:05:00+01:00", "2031-02-03": "2031-02-03T00:00:00+01:00",
		"04:05": "2031-02-03T04:05:00+01:00", "23:59:59Z": "2031-02-03T23:59:59+00:00",
		"soon": "?", "4": "?", "2031-02-30T04:05": "?", "2031-02-03T25:00": "?", "1999": "?",
	} {
		at, err := parseSchedule(in, now)
		got := "?"
		if err == nil {
			got = isoTime(at)
		}
		if at.IsZero() && err == nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Members without an address are no reason to crash (trap 13).
func TestMembersThatAreHalfThereAreSkipped(t *testing.T) {
	t.Parallel()
	b := &bench{stores: map[string]*memory.Server{"batman": made("leader", "a", "members/a", `{"state":"running"}`, "members/b", `{}`, "config", "{}")}}
	for args, want := range map[string]string{
		"pause":                              "Can not find accessible cluster member",
		"dsn":                                "Member a has not published its address",
		"promote-cluster --force":            "Failed to promote batman cluster: it has no usable api_url",
		"reload batman --force":              "reload: no answer from a, b ",
		"switchover --candidate b --dry-run": "switchover is not possible: no good candidates",
	} {
		b.program = "tamada"
		if r := b.run(t, strings.Fields(args)...); r.code != 1 || !strings.Contains(r.stderr, "Error: "+want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := b.run(t, "query", "-c", "select 1"); r.code != 0 || r.stdout != "2026-11-22 22:38:31\tNo connection is available\n" {
		t.Errorf("query: %+v", r)
	}
}

func TestEachRunReadsTheStore(t *testing.T) {
	t.Parallel()
	server := situation(t, "healthy")
	b := &bench{stores: map[string]*memory.Server{"batman": server}}
	if r := b.run(t, "dsn"); r.stdout != "host=127.0.0.1 port=22431\n" {
		t.Errorf("got %+v", r)
	}
	server.Set(cluster.KeyLeader, []byte("pg-b"))
	if r := b.run(t, "dsn"); r.stdout != "host=127.0.0.1 port=22432\n" {
		t.Errorf("got %+v", r)
	}
}

// A document that agents reject must not keep anybody from ending the mode.
func TestResumeWithAConfigurationThatIsRejected(t *testing.T) {
	t.Parallel()
	f := fake(t, "paused", map[string]string{"config": `{"ttl":"soon","pause":true}`}, nil,
		exchange{"GET pg-a /patroni", 200, "{}", ""}, exchange{`PATCH pg-a /config {"pause": null}`, 200, "{}", ""})
	if r := f.bench().run(t, "resume"); r.code != 0 || r.stdout != "Success: cluster management is resumed\n" {
		t.Errorf("got %+v", r)
	}
}
