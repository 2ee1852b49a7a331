package rest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

var errConflict = dcs.ErrConflict

func TestRestartFiltersAreRead(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	s := newTestServer(t, agent, captureOptions("pg-a"))
	wantAnswer(t, post(s, "POST", "/restart", `{"timeout": "2min", "role": "primary", "postgres_version": "99.4"}`), 200, "restarted successfully")
	if len(agent.restarts) != 1 {
		t.Fatal("the agent was not asked")
	}
	got := agent.restarts[0]
	if got.Timeout != 2*time.Minute || got.Role != cluster.RolePrimary || got.Below != 990004 || got.Pending || !got.At.IsZero() {
		t.Errorf("asked for %+v", got)
	}
	wantAnswer(t, post(s, "POST", "/restart", `{"restart_pending": false, "schedule": "2101-01-01 00:00+01", "timeout": 7, "postgres_version": "9.6.11"}`), 202, "Restart scheduled")
	later := agent.scheduled
	want := `{"restart_pending":true,"schedule":"2101-01-01T00:00:00+01:00","timeout":7,"postgres_version":"9.6.11"}`
	want = strings.Replace(want, "true", "false", 1) // shown as it was given, although its presence counts
	if string(cluster.Compact(later.Published)) != want || !later.Pending || later.Below != 90611 || later.Timeout != 7*time.Second ||
		later.At.UTC().Format(time.RFC3339) != "2100-12-31T23:00:00Z" {
		t.Errorf("scheduled %+v, shown as %s", later, cluster.Compact(later.Published))
	}
}

func TestRestartRequestsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	paused := healthyPrimary(t)
	paused.see(func(c *cluster.Cluster) {
		c.Config = &cluster.DynamicConfig{Doc: cluster.NewObject("pause", true), Version: 9}
	})
	for body, want := range map[string]refusal{
		`{"role": 1}`:                              {400, "PostgreSQL role should be either primary, standby_leader, or replica"},
		`{"role": null}`:                           {400, "PostgreSQL role should be either primary, standby_leader, or replica"},
		`{"timeout": 0}`:                           {400, "Timeout should be a positive number of seconds"},
		`{"timeout": "5 apples"}`:                  {400, "Timeout should be a positive number of seconds"},
		`{"timeout": 1e300}`:                       {400, "Timeout should be a positive number of seconds"},
		`{"timeout": true}`:                        {400, "Timeout should be a positive number of seconds"},
		`{"postgres_version": "16"}`:               {400, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 16"},
		`{"postgres_version": "1.2.3.4"}`:          {400, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 1.2.3.4"},
		`{"postgres_version": "-1.2"}`:             {400, "Invalid PostgreSQL version: -1.2"},
		`{"postgres_version": "<b>"}`:              {400, "Invalid PostgreSQL version: &lt;b&gt;"},
		`{"timeout": "x", "role": "x"}`:            {400, "Timeout should be a positive number of seconds"},
		`{"role": "x", "timeout": "x"}`:            {400, "PostgreSQL role should be either primary, standby_leader, or replica"},
		`{"<script>": 1}`:                          {400, "Unknown filter for the scheduled restart: &lt;script&gt;"},
		`{"schedule": null}`:                       {422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"},
		`{"schedule": "2101-01-01T00:00"}`:         {400, "Timezone information is mandatory for the scheduled restart"},
		`{"schedule": "2001-01-01T00:00Z"}`:        {422, "Cannot schedule restart in the past"},
		`{"role": "replica", "restart_pending":1}`: {503, "restart conditions are not satisfied"},
	} {
		agent := healthyPrimary(t)
		w := post(newTestServer(t, agent, captureOptions("pg-a")), "POST", "/restart", body)
		if w.Code != want.code || w.Body.String() != want.text {
			t.Errorf("%s: answered %d %q, want %d %q", body, w.Code, w.Body, want.code, want.text)
		}
		if len(agent.restarts) > 0 || agent.scheduled != nil {
			t.Errorf("%s: restarted", body)
		}
	}
	w := post(newTestServer(t, paused, captureOptions("pg-a")), "POST", "/restart", `{"schedule": "nonsense"}`)
	wantAnswer(t, w, 500, "Can't schedule restart in the paused state")
}

func TestReinitializeReadsItsOptionsLeniently(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	s := newTestServer(t, agent, captureOptions("pg-b"))
	for _, body := range []string{"", "{}", `{"force": "on", "from_leader": 1}`, `{"force": "no", "from_leader": "YES"}`, `{"force": "maybe"}`} {
		wantAnswer(t, post(s, "POST", "/reinitialize", body), 200, "reinitialize started")
	}
	want := []string{"force=false from_leader=false", "force=false from_leader=false", "force=true from_leader=true",
		"force=false from_leader=true", "force=false from_leader=false"}
	if !slices.Equal(agent.reinits, want) {
		t.Errorf("asked for %q", agent.reinits)
	}
}

// TestUnfinishedBodyChangesNothing: Patroni begins a reinitialization after it
// has answered 400 (trap 16).
func TestBrokenBodyChangesNothing(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	s := newTestServer(t, agent, captureOptions("pg-b"))
	for _, path := range []string{"/reinitialize", "/restart"} {
		for _, body := range []string{"{", "[1]", "null", strings.Repeat(" ", maxBody+1)} {
			if w := post(s, "POST", path, body); w.Code != 400 && w.Code != 413 {
				t.Errorf("%s with %.10q: %d", path, body, w.Code)
			}
		}
	}
	if len(agent.reinits) > 0 || len(agent.restarts) > 0 {
		t.Errorf("did %v %v", agent.reinits, agent.restarts)
	}
}

func TestTooManyWaitingRequestsAreTurnedAway(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, healthyReplica(t), captureOptions("pg-b"))
	for range maxPatient {
		s.patience.enter()
	}
	wantAnswer(t, post(s, "POST", "/restart", ""), 503, "too many requests wait already, try again later")
	if w := post(s, "GET", "/replica", ""); w.Code != 200 {
		t.Errorf("a health check beside them: %d", w.Code)
	}
}
