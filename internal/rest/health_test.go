package rest

import (
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// codes asks for several paths.
func codes(t *testing.T, addr string, paths ...string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, p := range paths {
		got[p] = codeOf(t, addr, get(p))
	}
	return got
}

func wantCodes(t *testing.T, got, want map[string]int) {
	t.Helper()
	for p, c := range want {
		if got[p] != c {
			t.Errorf("%s: %d, want %d", p, got[p], c)
		}
	}
}

func TestPrimaryEndsWithTheLease(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	_, addr := start(t, agent, captureOptions("pg-a"))
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		req := strings.Replace(get("/primary"), "GET", method, 1)
		if code := codeOf(t, addr, req); code != 200 {
			t.Errorf("%s with the lock: %d", method, code)
		}
	}
	// The loop is stuck: nothing but the clock moves.
	agent.now.Store(int64(agent.snap.Load().LockUntil))
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		req := strings.Replace(get("/primary"), "GET", method, 1)
		if code := codeOf(t, addr, req); code != 503 {
			t.Errorf("%s at the lease's deadline: %d", method, code)
		}
	}
}

func TestLockThatEndsDuringTheQueryIsNotShown(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	answer, _ := agent.sql(t.Context())
	agent.sql = func(ctx ctxT) (*SQLStatus, error) {
		agent.change(func(s *Snapshot) { s.LockUntil = 0 }) // a demotion begins while PostgreSQL thinks
		return answer, nil
	}
	_, addr := start(t, agent, captureOptions("pg-a"))
	if code := codeOf(t, addr, get("/primary")); code != 503 {
		t.Errorf("/primary answered %d from before the query", code)
	}
}

func TestNewLeaderIsPrimaryBeforePromotionEnds(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	agent.change(func(s *Snapshot) { s.LockUntil = fakeNow + time.Second })
	_, addr := start(t, agent, captureOptions("pg-b"))
	wantCodes(t, codes(t, addr, "/primary", "/leader", "/replica", "/standby-leader"),
		map[string]int{"/primary": 200, "/leader": 200, "/replica": 200, "/standby-leader": 503})
}

func TestPrimaryWithoutLockIsNotHealthy(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	agent.change(func(s *Snapshot) { s.LockUntil = 0 })
	_, addr := start(t, agent, captureOptions("pg-a"))
	wantCodes(t, codes(t, addr, "/primary", "/", "/leader", "/read-write", "/read-only", "/replica", "/health"),
		map[string]int{"/primary": 503, "/": 503, "/leader": 503, "/read-write": 503, "/read-only": 503, "/replica": 503, "/health": 200})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	gone := func(s *Snapshot) { s.Cluster = nil; s.LockUntil = 0 }
	t.Run("in pause the role decides", func(t *testing.T) {
		t.Parallel()
		agent := healthyPrimary(t)
		agent.change(gone)
		agent.change(func(s *Snapshot) { s.Settings.Pause = true })
		_, addr := start(t, agent, captureOptions("pg-a"))
		wantCodes(t, codes(t, addr, "/primary", "/leader", "/standby-leader"),
			map[string]int{"/primary": 200, "/leader": 200, "/standby-leader": 503})
		if code := codeOf(t, addr, strings.Replace(get("/"), "GET", "OPTIONS", 1)); code != 200 {
			t.Errorf("OPTIONS /: %d", code)
		}
	})
	t.Run("a replica goes on, except where its kind matters", func(t *testing.T) {
		t.Parallel()
		agent := healthyReplica(t)
		agent.change(gone)
		_, addr := start(t, agent, captureOptions("pg-b"))
		wantCodes(t, codes(t, addr, "/replica", "/read-only", "/health", "/async", "/sync", "/read-only-sync", "/read-only-quorum"),
			map[string]int{"/replica": 200, "/read-only": 200, "/health": 200, "/async": 503, "/sync": 503,
				"/read-only-sync": 503, "/read-only-quorum": 503})
		if body := bodyOf(t, addr, get("/patroni")); !strings.Contains(body, `"cluster_unlocked": true`) {
			t.Errorf("not shown as unlocked: %s", body)
		}
	})
	t.Run("a view older than ttl counts as none", func(t *testing.T) {
		t.Parallel()
		agent := healthyReplica(t)
		_, addr := start(t, agent, captureOptions("pg-b"))
		if code := codeOf(t, addr, get("/async")); code != 200 {
			t.Fatalf("/async with a view: %d", code)
		}
		agent.advance(30 * time.Second)
		if code := codeOf(t, addr, get("/async")); code != 503 {
			t.Errorf("/async with an old view: %d", code)
		}
	})
}

func TestLagLimits(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	agent.change(func(s *Snapshot) {
		c := *s.Cluster
		c.Status.LSN = 67108864 + 1048576 // 1 MB ahead of what the replica replayed
		s.Cluster = &c
	})
	_, addr := start(t, agent, captureOptions("pg-b"))
	wantCodes(t, codes(t, addr, "/replica", "/replica?lag=1MB", "/replica?lag=1048575", "/replica?lag=0", "/replica?lag=1024kB",
		"/replica?lag=0.5MB", "/replica?lag=0x100000", "/replica?lag=1+MB", "/replica?lag=1mb", "/replica?lag=", "/replica?lag=0&lag=1GB",
		"/read-only?lag=0", "/health?lag=0", "/async?lag=0", "/readiness", "/readiness?lag=0", "/readiness?lag=1mb"),
		map[string]int{"/replica": 200, "/replica?lag=1MB": 200, "/replica?lag=1048575": 503, "/replica?lag=0": 503, "/replica?lag=1024kB": 200,
			"/replica?lag=0.5MB": 503, "/replica?lag=0x100000": 200, "/replica?lag=1+MB": 200, "/replica?lag=1mb": 200, "/replica?lag=": 200,
			"/replica?lag=0&lag=1GB": 503, "/read-only?lag=0": 503, "/health?lag=0": 200, "/async?lag=0": 503,
			"/readiness": 200, "/readiness?lag=0": 503, "/readiness?lag=1mb": 200})
}

func TestLagAgainstTheWALReceiver(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	known, _ := agent.sql(t.Context())
	ahead := *known
	ahead.LatestEnd = known.Replayed + 100
	agent.sql = func(ctxT) (*SQLStatus, error) { return &ahead, nil }
	agent.change(func(s *Snapshot) { s.Cluster = nil })
	_, addr := start(t, agent, captureOptions("pg-b"))
	wantCodes(t, codes(t, addr, "/replica?lag=99", "/replica?lag=100", "/readiness?lag=99", "/readiness?lag=100",
		"/readiness?lag=99&mode=write"),
		map[string]int{"/replica?lag=99": 503, "/replica?lag=100": 200, "/readiness?lag=99": 503, "/readiness?lag=100": 200,
			"/readiness?lag=99&mode=write": 503})
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	known := func(a *fakeAgent) SQLStatus { s, _ := a.sql(t.Context()); return *s }
	for name, test := range map[string]struct {
		alter func(*fakeAgent)
		code  int
	}{
		"streaming": {func(*fakeAgent) {}, 200},
		"from the archive": {func(a *fakeAgent) {
			s := known(a)
			s.ReplicationState = "in archive recovery"
			a.sql = func(ctxT) (*SQLStatus, error) { return &s, nil }
		}, 503},
		"starting with the lock": {func(a *fakeAgent) {
			a.change(func(s *Snapshot) { s.State, s.LockUntil = cluster.StateStarting, fakeNow+1 })
		}, 200},
		"starting": {func(a *fakeAgent) { a.change(func(s *Snapshot) { s.State = cluster.StateStarting }) }, 503},
		"no store": {func(a *fakeAgent) { a.change(func(s *Snapshot) { s.Cluster = nil }) }, 503},
		"no store, failsafe": {func(a *fakeAgent) {
			a.change(func(s *Snapshot) { s.Cluster, s.FailsafeUntil = nil, fakeNow+1 })
		}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := healthyReplica(t)
			test.alter(agent)
			_, addr := start(t, agent, captureOptions("pg-b"))
			if code := codeOf(t, addr, get("/readiness")); code != test.code {
				t.Errorf("%d, want %d", code, test.code)
			}
		})
	}
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		alter func(*Snapshot)
		late  time.Duration
		code  int
	}{
		"primary on time":                {func(s *Snapshot) { s.PostmasterAlive = true }, 29 * time.Second, 200},
		"primary late":                   {func(s *Snapshot) { s.PostmasterAlive = true }, 30 * time.Second, 503},
		"primary without postmaster":     {func(s *Snapshot) { s.PostmasterAlive = false }, 59 * time.Second, 200},
		"replica":                        {func(s *Snapshot) { s.PostmasterAlive, s.Role = true, cluster.RoleReplica }, 59 * time.Second, 200},
		"replica late":                   {func(s *Snapshot) { s.PostmasterAlive, s.Role = true, cluster.RoleReplica }, time.Minute, 503},
		"primary in pause is never late": {func(s *Snapshot) { s.PostmasterAlive, s.Settings.Pause = true, true }, time.Hour, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := healthyPrimary(t)
			agent.change(test.alter)
			_, addr := start(t, agent, captureOptions("pg-a"))
			agent.advance(test.late)
			if code := codeOf(t, addr, get("/liveness")); code != test.code {
				t.Errorf("%d, want %d", code, test.code)
			}
			if agent.asked.Load() != 0 || agent.loads.Load() != 0 {
				t.Error("liveness asked PostgreSQL or the store")
			}
		})
	}
}

func TestTagFilter(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	agent.change(func(s *Snapshot) {
		s.Tags = cluster.NewObject("nofailover", true, "weight", 7, "zone", "EU", "flag", "True")
		s.EffectiveTags = s.Tags.Clone()
		s.EffectiveTags.Set("nosync", true)
	})
	_, addr := start(t, agent, captureOptions("pg-b"))
	wantCodes(t, codes(t, addr, "/replica?tag_nofailover=true", "/replica?tag_nofailover=True", "/replica?tag_weight=7", "/replica?tag_zone=EU",
		"/replica?tag_zone=eu", "/replica?tag_flag=True", "/replica?tag_flag=true", "/replica?tag_none=1", "/replica?tag_zone=EU&tag_weight=8",
		"/replica?tag_nosync=true"),
		map[string]int{"/replica?tag_nofailover=true": 200, "/replica?tag_nofailover=True": 503, "/replica?tag_weight=7": 200,
			"/replica?tag_zone=EU": 200, "/replica?tag_zone=eu": 503, "/replica?tag_flag=True": 200, "/replica?tag_flag=true": 503,
			"/replica?tag_none=1": 503, "/replica?tag_zone=EU&tag_weight=8": 503, "/replica?tag_nosync=true": 503})
	if body := bodyOf(t, addr, get("/patroni")); !strings.Contains(body, `"nosync": true`) {
		t.Error("the temporary tag is not shown")
	}
}

func TestNoLoadBalanceClosesOnlyTheReplicaPart(t *testing.T) {
	t.Parallel()
	tag := func(s *Snapshot) { s.Tags = cluster.NewObject("noloadbalance", true) }
	replica, primary := healthyReplica(t), healthyPrimary(t)
	replica.change(tag)
	primary.change(tag)
	_, addr := start(t, replica, captureOptions("pg-b"))
	wantCodes(t, codes(t, addr, "/replica", "/read-only", "/async", "/health"),
		map[string]int{"/replica": 503, "/read-only": 503, "/async": 503, "/health": 200})
	_, addr = start(t, primary, captureOptions("pg-a"))
	wantCodes(t, codes(t, addr, "/read-only", "/read-only-sync", "/read-only-quorum"),
		map[string]int{"/read-only": 200, "/read-only-sync": 200, "/read-only-quorum": 200})
}

func TestReplicationStateParameter(t *testing.T) {
	t.Parallel()
	_, addr := start(t, healthyReplica(t), captureOptions("pg-b"))
	wantCodes(t, codes(t, addr, "/replica?replication_state=streaming", "/replica?replication_state=in+archive+recovery"),
		map[string]int{"/replica?replication_state=streaming": 200, "/replica?replication_state=in+archive+recovery": 503})
}

func TestPathMatching(t *testing.T) {
	t.Parallel()
	_, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	wantCodes(t, codes(t, addr, "/my-primary-check", "/x/master", "/sync/", "//config", "/config/x", "/PRIMARY", "/unhealthy", "/%zz"),
		map[string]int{"/my-primary-check": 200, "/x/master": 200, "/sync/": 503, "//config": 503, "/config/x": 200, "/PRIMARY": 503,
			"/unhealthy": 200, "/%zz": 400})
	if code := codeOf(t, addr, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); code != 503 {
		t.Errorf("OPTIONS *: %d", code)
	}
	if got := raw(t, addr, strings.Replace(get("/liveness"), "GET", "OPTIONS", 1)); !strings.HasPrefix(got, "HTTP/1.1 503") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("OPTIONS /liveness: %q", got)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("lag=1MB&tag_a=b&lag=2")
	f.Add("a=%zz&=x&&;")
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range parseQuery(s) {
			if v == "" {
				t.Errorf("%q has a parameter without a value", s)
			}
		}
		lagLimit(parseQuery(s))
		tagsMatch(nil, parseQuery(s))
	})
}
