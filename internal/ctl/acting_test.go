package ctl

import (
	"context"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// action is a recorded run of a command that changes something: the situation
// it was made in, and what the members were asked and answered.
type action struct {
	at     string
	extra  map[string]string
	script []exchange
}

// member is a member key of the recorded clusters.
func member(port, state, role, more string) string {
	return `{"conn_url":"postgres://127.0.0.1:` + port + `/postgres","api_url":"x","state":"` + state + `","role":"` + role + `","version":"4.1.4"` + more + `}`
}

func at3(lsn string) string {
	return `,"xlog_location":` + lsn + `,"replay_lsn":` + lsn + `,"receive_lsn":` + lsn
}

const (
	tagsOfC   = `,"tags":{"nofailover":true,"clonefrom":true,"zone":"eu-1"}`
	streaming = `,"replication_state":"streaming","timeline":`
	pendingDE = `,"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"60","new_value":"40"}}`
)

// Situations between those that were written down, by the tables of the runs.
var (
	afterQuorumSwitchover = map[string]string{"leader": "pg-a", "sync": `{"leader":"pg-a","quorum":0,"sync_standby":null}`,
		"status":       `{"optime":134219016}`,
		"members/pg-a": member("22431", "running", "replica", at3("134219312")+`,"timeline":10`),
		"members/pg-b": member("22432", "stopped", "replica", ""),
		"members/pg-c": member("22433", "running", "replica", tagsOfC+at3("134219312")+`,"timeline":10`)}
	beforeSyncSwitchover = map[string]string{"leader": "pg-a", "sync": `{"leader":"pg-a","quorum":0,"sync_standby":"pg-b"}`,
		"status":       `{"optime":134219688}`,
		"members/pg-a": member("22431", "running", "primary", `,"xlog_location":134219688,"timeline":11`),
		"members/pg-b": member("22432", "running", "replica", at3("134219688")+streaming+"11"),
		"members/pg-c": member("22433", "running", "replica", tagsOfC+at3("134219688")+streaming+"11")}
	afterSyncSwitchover = map[string]string{"leader": "pg-b", "sync": `{"leader":"pg-b","quorum":0,"sync_standby":null}`,
		"status":       `{"optime":134219688}`,
		"members/pg-a": member("22431", "stopped", "replica", ""),
		"members/pg-b": member("22432", "running", "replica", at3("134220040")+`,"timeline":11`),
		"members/pg-c": member("22433", "running", "replica", tagsOfC+at3("134220040")+`,"timeline":11`)}
	afterStandbySwitchover = map[string]string{"leader": "pg-e",
		"members/pg-d": member("22451", "stopped", "replica", pendingDE),
		"members/pg-e": member("22452", "running", "replica", pendingDE+at3("134217824")+streaming+"7")}
	standbyStopped = map[string]string{"leader": "",
		"members/pg-d": member("22451", "stopped", "replica", pendingDE),
		"members/pg-e": member("22452", "stopped", "replica", pendingDE)}
)

// between are situations by name that the scripts go on to.
var between = map[string]struct {
	base  string
	extra map[string]string
}{
	"after quorum switchover":  {"quorum-mode-direct", afterQuorumSwitchover},
	"after sync switchover":    {"synchronous-mode-after-switchover", afterSyncSwitchover},
	"after standby switchover": {"standby-cluster", afterStandbySwitchover},
}

// acting are the recorded runs of commands that change something and that have
// to come out byte by byte as the reference's.
var acting = map[string]action{
	"switchover-candidate-is-leader":      {at: "77"},
	"switchover-declined":                 {at: "77"},
	"switchover-force":                    {at: "181", script: []exchange{{`POST pg-a /switchover {"candidate": "pg-b", "leader": "pg-a"}`, 200, `Successfully switched over to "pg-b"`, "193"}}},
	"switchover-no-agents":                {at: "all-agents-stopped"},
	"switchover-no-candidates-nofailover": {at: "73"},
	"switchover-no-leader":                {at: "paused-primary-stopped"},
	"switchover-paused-no-candidate":      {at: "paused", script: []exchange{{`POST pg-a /switchover {"candidate": null, "leader": "pg-a"}`, 400, "Switchover is possible only to a specific candidate in a paused state", ""}}},
	"switchover-quorum-force":             {at: "quorum-mode-direct", script: []exchange{{`POST pg-b /switchover {"candidate": null, "leader": "pg-b"}`, 200, `Successfully switched over to "pg-a"`, "after quorum switchover"}}},
	"switchover-scheduled-paused":         {at: "paused"},
	"switchover-scheduled":                {at: "152", script: []exchange{{`POST pg-a /switchover {"candidate": "pg-b", "leader": "pg-a", "scheduled_at": "2031-02-03T04:05:00+00:00"}`, 202, "Switchover scheduled", "153"}}},
	"switchover-standby-declined":         {at: "standby-cluster"},
	"switchover-standby-force":            {at: "standby-cluster", script: []exchange{{`POST pg-d /switchover {"candidate": null, "leader": "pg-d"}`, 200, `Successfully switched over to "pg-e"`, "after standby switchover"}}},
	"switchover-sync-force":               {at: "synchronous-mode-after-switchover", extra: beforeSyncSwitchover, script: []exchange{{`POST pg-a /switchover {"candidate": null, "leader": "pg-a"}`, 200, `Successfully switched over to "pg-b"`, "after sync switchover"}}},
	"switchover-to-member-being-created":  {at: "replica-being-created", script: []exchange{{`POST pg-a /switchover {"candidate": "pg-b", "leader": "pg-a"}`, 412, "switchover is not possible: no good candidates have been found", ""}}},
	"switchover-unknown-candidate":        {at: "73"},
	"switchover-unknown-cluster":          {at: "73"},
	"switchover-wrong-leader":             {at: "73"},
	"failover-candidate-is-leader":        {at: "77"},
	"failover-declined":                   {at: "77"},
	"failover-force":                      {at: "241", script: []exchange{{`POST pg-b /failover {"candidate": "pg-a"}`, 200, `Successfully failed over to "pg-a"`, "251"}}},
	"failover-no-candidate-force":         {at: "77"},
	"failover-nofailover-candidate":       {at: "77"},
	"failover-prompt-empty":               {at: "77"},
	"failover-sync-declined":              {at: "synchronous-mode"},
	"flush-restart":                       {at: "scheduled-restart", script: []exchange{{"DELETE pg-b /restart", 200, "scheduled restart deleted", ""}}},
	"flush-restart-all":                   {at: "80", script: []exchange{{"DELETE pg-b /restart", 200, "scheduled restart deleted", ""}}},
	"flush-restart-none":                  {at: "33", script: []exchange{{"DELETE pg-b /restart", 404, "no restarts are scheduled", ""}}},
	"flush-switchover":                    {at: "scheduled-switchover", script: []exchange{{"DELETE pg-a /switchover", 200, "scheduled switchover deleted", ""}}},
	"flush-switchover-none":               {at: "healthy"},
	"pause-already":                       {at: "paused"},
	"pause-wait":                          {at: "healthy", script: []exchange{{`PATCH pg-a /config {"pause": true}`, 200, "{}", "paused"}}},
	"resume-not-paused":                   {at: "healthy"},
	"resume-wait":                         {at: "paused", script: []exchange{{"GET pg-a /patroni", 200, "{}", ""}, {`PATCH pg-a /config {"pause": null}`, 200, "{}", "healthy"}}},
	"reinit-already-in-progress-declined": {at: "replica-being-created", script: []exchange{{`POST pg-b /reinitialize {"force": false, "from_leader": false}`, 503, "reinitialize already in progress", ""}}},
	"reinit-already-in-progress-force":    {at: "replica-being-created", script: []exchange{{"GET pg-b /patroni", 503, statusDoc("creating replica", ""), ""}, {`POST pg-b /reinitialize {"force": true, "from_leader": false}`, 200, "reinitialize started", ""}, {"GET pg-b /patroni", 503, statusDoc("creating replica", ""), ""}, {"GET pg-b /patroni", 200, statusDoc("running", "later"), ""}}},
	"reinit-declined":                     {at: "52"},
	"reinit-leader":                       {at: "52"},
	"reinit-replica-wait":                 {at: "52", script: []exchange{{"GET pg-c /patroni", 200, statusDoc("running", "before"), ""}, {`POST pg-c /reinitialize {"force": true, "from_leader": false}`, 200, "reinitialize started", ""}, {"GET pg-c /patroni", 200, statusDoc("running", "before"), ""}, {"GET pg-c /patroni", 503, statusDoc("creating replica", ""), ""}, {"GET pg-c /patroni", 503, statusDoc("starting", ""), ""}, {"GET pg-c /patroni", 200, statusDoc("running", "later"), ""}}},
	"reload-force":                        {at: "52", script: []exchange{{"POST pg-a /reload", 202, "reload scheduled", ""}, {"POST pg-b /reload", 202, "reload scheduled", ""}, {"POST pg-c /reload", 202, "reload scheduled", ""}}},
	"reload-member-declined":              {at: "52"},
	"reload-missing-argument":             {at: "52"},
	"reload-unknown-member":               {at: "52"},
	"remove-confirmed":                    {at: "335"},
	"remove-eof":                          {at: "77"},
	"remove-no-leader":                    {at: "standby-cluster-promoted", extra: standbyStopped},
	"remove-wrong-leader":                 {at: "77"},
	"remove-wrong-name":                   {at: "77"},
	"remove-wrong-phrase":                 {at: "77"},
	"restart-bad-schedule":                {at: "52"},
	"restart-bad-version":                 {at: "52"},
	"restart-declined":                    {at: "52"},
	"restart-pending-force":               {at: "pending-restart", script: []exchange{{`POST pg-a /restart {"restart_pending": true}`, 200, "restarted successfully", ""}, {`POST pg-b /restart {"restart_pending": true}`, 200, "restarted successfully", ""}, {`POST pg-c /restart {"restart_pending": true}`, 200, "restarted successfully", ""}}},
	"restart-pending-none":                {at: "52"},
	"restart-prompts":                     {at: "52", script: []exchange{{"POST pg-b /restart {}", 200, "restarted successfully", ""}}},
	"restart-replica-force":               {at: "52", script: []exchange{{"POST pg-b /restart {}", 200, "restarted successfully", ""}}},
	"restart-role-replica":                {at: "52", script: []exchange{{"POST pg-b /restart {}", 200, "restarted successfully", ""}, {"POST pg-c /restart {}", 200, "restarted successfully", ""}}},
	"restart-scheduled":                   {at: "79", script: []exchange{{`POST pg-b /restart {"schedule": "2031-02-03T04:05:00+00:00"}`, 202, "Restart scheduled", ""}}},
	"restart-scheduled-again-not-force":   {at: "80", script: []exchange{{`POST pg-b /restart {"schedule": "2031-02-03T04:05:00+02:00"}`, 409, "Another restart is already scheduled", ""}}},
	"restart-scheduled-paused":            {at: "paused"},
	"restart-unknown-member":              {at: "52"},
	"restart-version-filter":              {at: "52", script: []exchange{{`POST pg-b /restart {"postgres_version": "15.1"}`, 503, "restart conditions are not satisfied", ""}}},
	"restart-while-reinit":                {at: "replica-being-created", script: []exchange{{"POST pg-b /restart {}", 503, "reinitialize already in progress", ""}}},
	"demote-cluster-no-options":           {at: "healthy"},
	"promote-cluster-not-standby":         {at: "healthy"},
	"promote-cluster-again":               {at: "standby-cluster-promoted"},
	"dsn":                                 {at: "healthy"},
	"dsn-member":                          {at: "healthy"},
	"dsn-member-unknown":                  {at: "healthy"},
	"dsn-no-leader":                       {at: "paused-primary-stopped"},
	"dsn-primary-in-standby-cluster":      {at: "standby-cluster"},
	"dsn-role-and-member":                 {at: "healthy"},
	"dsn-role-replica":                    {at: "healthy"},
	"dsn-standby-leader":                  {at: "standby-cluster"},
	"query-file-and-command":              {at: "healthy"},
	"query-no-command":                    {at: "healthy"},
	"query-no-leader":                     {at: "paused-primary-stopped"},
	"query-no-such-member":                {at: "healthy"},
	"version-cluster":                     {at: "healthy", script: []exchange{{"GET pg-a /patroni", 200, versionDoc, ""}, {"GET pg-b /patroni", 200, versionDoc, ""}, {"GET pg-c /patroni", 200, versionDoc, ""}}},
	"version-member":                      {at: "healthy", script: []exchange{{"GET pg-b /patroni", 200, versionDoc, ""}}},
	"version-replica-stopped":             {at: "healthy", script: []exchange{{"GET pg-a /patroni", 200, versionDoc, ""}, {"GET pg-b /patroni", 503, `{"patroni":{"version":"4.1.4"}}`, ""}, {"GET pg-c /patroni", 200, versionDoc, ""}}},
}

const versionDoc = `{"server_version":150018,"patroni":{"version":"4.1.4"}}`

// statusDoc is a status document as far as reinit looks at it.
func statusDoc(state, started string) string {
	if started == "" {
		return `{"state":"` + state + `"}`
	}
	return `{"state":"` + state + `","postmaster_start_time":"` + started + `"}`
}

func TestActingCommandsDoWhatTheReferenceDoes(t *testing.T) {
	t.Parallel()
	for name, a := range acting {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := readCapture(t, name)
			f := fake(t, a.at, a.extra, nil, a.script...)
			before := f.store.Revision()
			same(t, f.replay(t, c), c)
			if name == "remove-confirmed" || name == "remove-no-leader" {
				if !stored(t, f.store).Empty() {
					t.Error("something is left")
				}
			} else if len(a.script) == 0 && f.store.Revision() != before {
				t.Error("the store was changed")
			}
		})
	}
}

// Which member can be reached does not depend on chance, so we name them in
// order; the reference takes them as they come out of a set.
func TestReinitAsksForAMember(t *testing.T) {
	t.Parallel()
	c := readCapture(t, "reinit-no-members")
	c.stdout = strings.Replace(c.stdout, "[pg-c, pg-b]", "[pg-b, pg-c]", 1)
	same(t, fake(t, "52", nil, nil).replay(t, c), c)
}

// ticking is a clock that is a second later each time it is looked at.
func ticking(t *testing.T, first string) func() time.Time {
	t.Helper()
	now, err := time.Parse("2006-01-02 15:04:05", first)
	if err != nil {
		t.Fatal(err)
	}
	return func() time.Time {
		now = now.Add(time.Second)
		return now.Add(-time.Second)
	}
}

// loads is a store that tells how often it was read before each read.
type loads struct {
	dcs.Store
	n      int
	before func(n int)
}

func (l *loads) Load(ctx context.Context) (*cluster.Cluster, error) {
	l.before(l.n)
	l.n++
	return l.Store.Load(ctx)
}

func TestPromoteClusterTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	c := readCapture(t, "promote-cluster-force")
	f := fake(t, "standby-cluster-after-switchover", nil, nil, exchange{`PATCH pg-e /config {"standby_cluster": null}`, 200, "{}", ""})
	b := f.bench()
	b.now = ticking(t, "2026-11-22 22:46:26")
	b.wrap = func(s dcs.Store) dcs.Store {
		return &loads{Store: s, before: func(n int) {
			if n == 3 {
				f.become("standby-cluster-promoted")
			}
		}}
	}
	same(t, b.run(t, c.args...), c)
}
