package rest

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tamada/internal/cluster"
)

// post sends a request of an operator without a network.
func post(s *Server, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Length", "x") // httptest sets ContentLength, a server both
	}
	r.SetBasicAuth("patroni", "rest-secret")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func wantAnswer(t *testing.T, w *httptest.ResponseRecorder, code int, text string) {
	t.Helper()
	if w.Code != code || w.Body.String() != text {
		t.Errorf("answered %d %q, want %d %q", w.Code, w.Body, code, text)
	}
}

const now2 = `{"leader": "pg-a", "candidate": "pg-b"}`

func TestAnswerComesWithTheNewLeaderKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := healthyPrimary(t)
		const takes = 1234 * time.Millisecond
		agent.carryOut = func(f *fakeAgent, key cluster.Failover) {
			time.Sleep(takes)
			obey(f, key)
		}
		s := newTestServer(t, agent, captureOptions("pg-a"))
		began := time.Now()
		wantAnswer(t, post(s, "POST", "/switchover", now2), 200, `Successfully switched over to "pg-b"`)
		if took := time.Since(began); took != takes {
			t.Errorf("answered after %v, the leader key changed after %v", took, takes)
		}
		if agent.loads.Load() != 1 || agent.wakes.Load() != 1 {
			t.Errorf("%d reads of the store, %d wakes", agent.loads.Load(), agent.wakes.Load())
		}
		if !slices.Equal(agent.failovers, []string{`{"leader":"pg-a","member":"pg-b"}`}) {
			t.Errorf("wrote %s", agent.failovers)
		}
	})
}

func TestOutcomesOfAnImmediateRequest(t *testing.T) {
	for name, test := range map[string]struct {
		path, body string
		carryOut   func(*fakeAgent, cluster.Failover)
		code       int
		text       string
		took       time.Duration
	}{
		"another one wins": {"/switchover", now2, func(f *fakeAgent, _ cluster.Failover) {
			f.see(func(c *cluster.Cluster) { c.Leader = &cluster.Leader{Name: "pg-c"} })
		}, 200, `Switched over to "pg-c" instead of "pg-b"`, 0},
		"another one wins a failover": {"/failover", `{"member": "pg-b"}`, func(f *fakeAgent, _ cluster.Failover) {
			f.see(func(c *cluster.Cluster) { c.Leader = &cluster.Leader{Name: "pg-c"} })
		}, 200, `Failed over to "pg-c" instead of "pg-b"`, 0},
		"the holder refuses": {"/switchover", now2, func(f *fakeAgent, _ cluster.Failover) { f.showKey(cluster.Failover{}) },
			503, "Switchover failed", 0},
		"the key is deleted": {"/failover", `{"candidate": "pg-b"}`, func(f *fakeAgent, _ cluster.Failover) {
			f.see(func(c *cluster.Cluster) { c.Failover = nil })
			f.advance(unseenFor + time.Second)
			f.see(func(*cluster.Cluster) {})
		}, 503, "Failover failed", 0},
		"nothing happens": {"/switchover", now2, nil,
			503, "Switchover status unknown after 20 seconds; operation may still be in progress", 20 * time.Second},
		"the view is lost and comes back": {"/switchover", now2, func(f *fakeAgent, key cluster.Failover) {
			view := f.snap.Load().Cluster
			f.change(func(s *Snapshot) { s.Cluster = nil })
			time.Sleep(3 * time.Second)
			f.change(func(s *Snapshot) { s.Cluster = view })
			obey(f, key)
		}, 200, `Successfully switched over to "pg-b"`, 3 * time.Second},
		"without a leader before": {"/failover", `{"candidate": "pg-b"}`, obey, 200, `Successfully failed over to "pg-b"`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent := healthyPrimary(t)
				if strings.HasPrefix(name, "without a leader") {
					agent.see(func(c *cluster.Cluster) { c.Leader = nil })
				}
				agent.carryOut = test.carryOut
				s := newTestServer(t, agent, captureOptions("pg-a"))
				began := time.Now()
				wantAnswer(t, post(s, "POST", test.path, test.body), test.code, test.text)
				if took := time.Since(began); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
			})
		})
	}
}

// TestOldViewsAreNotTakenForAnAnswer: the view may lag behind the write. One
// that shows no request, or another leader from before, says nothing.
func TestOldViewsAreNotTakenForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := healthyPrimary(t)
		old := agent.snap.Load().Cluster
		stale := *old
		stale.Leader = &cluster.Leader{Name: "pg-c"} // the loop has not seen yet that pg-a leads
		agent.carryOut = func(f *fakeAgent, key cluster.Failover) {
			f.change(func(s *Snapshot) { s.Cluster = &stale })
			time.Sleep(time.Second)
			f.change(func(s *Snapshot) { s.Cluster = old })
			time.Sleep(time.Second)
			f.showKey(key)
			obey(f, key)
		}
		agent.late = true
		s := newTestServer(t, agent, captureOptions("pg-a"))
		wantAnswer(t, post(s, "POST", "/switchover", now2), 200, `Successfully switched over to "pg-b"`)
	})
}

func TestWaitingRequestEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := healthyPrimary(t)
		s := newTestServer(t, agent, captureOptions("pg-a"))
		agent.carryOut = func(*fakeAgent, cluster.Failover) { s.leave() }
		began := time.Now()
		w := post(s, "POST", "/switchover", now2)
		if w.Code != 503 || !strings.HasPrefix(w.Body.String(), "Switchover status unknown") || time.Since(began) > 0 {
			t.Errorf("answered %d %q after %v", w.Code, w.Body, time.Since(began))
		}
	})
}

func TestSwitchoverIsRefused(t *testing.T) {
	t.Parallel()
	paused := func(a *fakeAgent) {
		a.see(func(c *cluster.Cluster) {
			doc := c.Config.Doc.Clone()
			doc.Set("pause", true)
			c.Config = &cluster.DynamicConfig{Doc: doc, Version: c.Config.Version + 1}
		})
	}
	mode := func(value any, sync ...string) func(*fakeAgent) {
		return func(a *fakeAgent) {
			a.see(func(c *cluster.Cluster) {
				doc := c.Config.Doc.Clone()
				doc.Set("synchronous_mode", value)
				c.Config = &cluster.DynamicConfig{Doc: doc, Version: c.Config.Version + 1}
				c.Sync = &cluster.Sync{Leader: "pg-a", Members: sync}
			})
		}
	}
	const future = `"2101-01-01T00:00:00Z"`
	for name, test := range map[string]struct {
		path, body string
		spoil      func(*fakeAgent)
		code       int
		text       string
	}{
		"a leader that is not a name":     {"/switchover", `{"leader": ["pg-a"]}`, nil, 400, ""},
		"a candidate that is not a name":  {"/switchover", `{"leader": "pg-a", "candidate": 7}`, nil, 400, ""},
		"scheduled with leader=candidate": {"/switchover", `{"leader": "pg-a", "candidate": "pg-a", "scheduled_at": ` + future + `}`, nil, 400, "Switchover target and source are the same"},
		"a schedule that is no text":      {"/switchover", `{"leader": "pg-a", "scheduled_at": 5}`, nil, 422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"},
		"nobody leads":                    {"/switchover", now2, func(a *fakeAgent) { a.see(func(c *cluster.Cluster) { c.Leader = nil }) }, 412, "leader name does not match"},
		"alone":                           {"/switchover", `{"leader": "pg-a"}`, func(a *fakeAgent) { a.see(func(c *cluster.Cluster) { c.Members = c.Members[:1] }) }, 412, "switchover is not possible: cluster does not have members except leader"},
		"nobody answers":                  {"/switchover", `{"leader": "pg-a"}`, func(a *fakeAgent) { a.silent = map[string]bool{"pg-b": true} }, 412, "switchover is not possible: no good candidates have been found"},
		"paused, scheduled":               {"/switchover", `{"leader": "pg-a", "scheduled_at": ` + future + `}`, paused, 400, "Can't schedule switchover in the paused state"},
		"paused, without a candidate":     {"/switchover", `{"leader": "pg-a"}`, paused, 400, "Switchover is possible only to a specific candidate in a paused state"},
		"not synchronous":                 {"/switchover", `{"leader": "pg-a", "candidate": "pg-c"}`, mode(true, "pg-b"), 412, "candidate name does not match with sync_standby"},
		"nobody synchronous":              {"/switchover", `{"leader": "pg-a"}`, mode(true), 412, "switchover is not possible: can not find sync_standby"},
		"failover ignores synchronous":    {"/failover", `{"candidate": "pg-b"}`, mode(true, "pg-c"), 200, `Successfully failed over to "pg-b"`},
		"quorum ignores synchronous":      {"/switchover", now2, mode("quorum", "pg-c"), 200, `Successfully switched over to "pg-b"`},
		"failover with a leader":          {"/failover", `{"leader": "pg-b", "candidate": "pg-a"}`, nil, 412, "leader name does not match"},
		"the write fails":                 {"/switchover", now2, func(a *fakeAgent) { a.putErr = errors.New("no quorum") }, 503, "failed to write failover key into DCS"},
		"the store is away":               {"/switchover", now2, func(a *fakeAgent) { a.loadErr = errors.New("no quorum") }, 503, "DCS is not accessible, try again later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := healthyPrimary(t)
			if test.spoil != nil {
				test.spoil(agent)
			}
			w := post(newTestServer(t, agent, captureOptions("pg-a")), "POST", test.path, test.body)
			if w.Code != test.code || test.text != "" && w.Body.String() != test.text {
				t.Errorf("answered %d %q, want %d %q", w.Code, w.Body, test.code, test.text)
			}
			if test.code != 200 && len(agent.failovers) > 0 {
				t.Errorf("wrote %s", agent.failovers)
			}
		})
	}
}

func TestScheduledSwitchoverIsWrittenInOneForm(t *testing.T) {
	t.Parallel()
	for given, stored := range map[string]string{
		"2101-02-03T04:05:06Z":             "2101-02-03T04:05:06+00:00",
		"2101-02-03 04:05 UTC":             "2101-02-03T04:05:00+00:00",
		"2101-02-03T04:05:06.5+02":         "2101-02-03T04:05:06.500000+02:00",
		"2101-02-03 04:05:06.123456-0530":  "2101-02-03T04:05:06.123456-05:30",
		"2101-02-03T04:05:06+01:00":        "2101-02-03T04:05:06+01:00",
		" 2101-02-03 04:05:06 +01:00 ":     "2101-02-03T04:05:06+01:00",
		"2101-02-03T04:05:06.1234567+0100": "2101-02-03T04:05:06.123456+01:00",
	} {
		agent := healthyPrimary(t)
		s := newTestServer(t, agent, captureOptions("pg-a"))
		wantAnswer(t, post(s, "POST", "/switchover", `{"leader": "pg-a", "scheduled_at": "`+given+`"}`), 202, "Switchover scheduled")
		if want := `{"leader":"pg-a","scheduled_at":"` + stored + `"}`; !slices.Equal(agent.failovers, []string{want}) {
			t.Errorf("%s: wrote %s, want %s", given, agent.failovers, want)
		}
		if len(agent.polled) > 0 {
			t.Error("a scheduled request asks nobody before its time")
		}
	}
	for _, bad := range []string{"", "soon", "2101-02-30T00:00:00Z", "2101-02-03", "04:05", "2101-02-03T04:05:06 CEST", "1+1"} {
		if _, _, r := parseSchedule(bad, "restart", time.Now()); r.code != 422 {
			t.Errorf("%q: %d %s", bad, r.code, r.text)
		}
	}
}

func TestTakingBackAScheduledSwitchover(t *testing.T) {
	t.Parallel()
	scheduled := func() *fakeAgent {
		agent := healthyPrimary(t)
		agent.showKey(cluster.Failover{Leader: "pg-a", ScheduledAt: "2101-01-01T00:00:00+00:00"})
		return agent
	}
	t.Run("conditionally", func(t *testing.T) {
		agent := scheduled()
		agent.see(func(*cluster.Cluster) {})
		wantAnswer(t, post(newTestServer(t, agent, captureOptions("pg-a")), "DELETE", "/switchover", ""), 200, "scheduled switchover deleted")
		if !slices.Equal(agent.failovers, []string{"{}"}) {
			t.Errorf("wrote %s", agent.failovers)
		}
	})
	t.Run("lost race", func(t *testing.T) {
		agent := scheduled()
		agent.putErr = errConflict
		if w := post(newTestServer(t, agent, captureOptions("pg-a")), "DELETE", "/switchover", ""); w.Code != 409 || !strings.Contains(w.Body.String(), "Error code: 409") {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
	t.Run("not an immediate one", func(t *testing.T) {
		agent := healthyPrimary(t)
		agent.showKey(cluster.Failover{Leader: "pg-a", Candidate: "pg-b"})
		wantAnswer(t, post(newTestServer(t, agent, captureOptions("pg-a")), "DELETE", "/switchover", ""), 404, "no switchover is scheduled")
	})
	t.Run("store away", func(t *testing.T) {
		agent := scheduled()
		agent.putErr = errors.New("no quorum")
		wantAnswer(t, post(newTestServer(t, agent, captureOptions("pg-a")), "DELETE", "/switchover", ""), 503, "DCS is not accessible, try again later")
	})
}
