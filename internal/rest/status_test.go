package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tamada/internal/cluster"
)

// call asks a server without a network.
func call(s *Server, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func newTestServer(t *testing.T, f Source, o Options) *Server {
	t.Helper()
	s, err := New(f, o, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

func TestRequestsThatComeTogetherShareOneQuery(t *testing.T) {
	agent := healthyPrimary(t)
	known, _ := agent.sql(t.Context())
	release := make(chan struct{})
	agent.sql = func(context.Context) (*SQLStatus, error) { <-release; return known, nil }
	s := newTestServer(t, agent, captureOptions("pg-a"))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if w := call(s, "GET", "/health"); w.Code != 200 {
				t.Errorf("answered %d", w.Code)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := agent.asked.Load(); n != 1 {
		t.Errorf("%d queries for 50 requests", n)
	}
}

func TestAnswerOfPostgresIsUsedFor100ms(t *testing.T) {
	agent := healthyPrimary(t)
	s := newTestServer(t, agent, captureOptions("pg-a"))
	for i, step := range []struct {
		wait time.Duration
		want int32
	}{{0, 1}, {99 * time.Millisecond, 1}, {time.Millisecond, 2}, {0, 2}, {time.Second, 3}} {
		agent.advance(step.wait)
		call(s, "GET", "/patroni")
		if n := agent.asked.Load(); n != step.want {
			t.Errorf("step %d: %d queries, want %d", i, n, step.want)
		}
	}
}

func TestChangeOfRoleDropsTheAnswer(t *testing.T) {
	agent := healthyReplica(t)
	s := newTestServer(t, agent, captureOptions("pg-b"))
	call(s, "GET", "/patroni")
	agent.change(func(s *Snapshot) { s.Generation++ })
	call(s, "GET", "/patroni")
	if n := agent.asked.Load(); n != 2 {
		t.Errorf("%d queries, want one more after the change", n)
	}
}

func TestAnswerFromBeforeAChangeOfRoleIsNotUsed(t *testing.T) {
	agent := healthyReplica(t)
	known, _ := agent.sql(t.Context())
	promoted := *known
	promoted.InRecovery = false
	first := true
	agent.sql = func(context.Context) (*SQLStatus, error) {
		if first {
			first = false
			agent.change(func(s *Snapshot) { s.Generation++; s.Role = cluster.RolePrimary })
			return known, nil
		}
		return &promoted, nil
	}
	s := newTestServer(t, agent, captureOptions("pg-b"))
	if w := call(s, "GET", "/replica"); w.Code != 503 {
		t.Errorf("/replica answered %d by a query from before the promotion", w.Code)
	}
}

func TestPostgresIsNotAskedWhileDown(t *testing.T) {
	for _, state := range []cluster.State{cluster.StateStopped, cluster.StateCreatingReplica, cluster.StateCrashed, cluster.StateStopping} {
		agent := healthyPrimary(t)
		agent.change(func(s *Snapshot) { s.State = state })
		s := newTestServer(t, agent, captureOptions("pg-a"))
		call(s, "GET", "/patroni")
		if agent.asked.Load() != 0 {
			t.Errorf("asked in state %s", state)
		}
	}
}

func TestFailedQuery(t *testing.T) {
	for _, test := range []struct {
		path string
		err  error
		want int32
	}{
		{"/patroni", fmt.Errorf("dial: %w", ErrConnection), 2},
		{"/metrics", fmt.Errorf("dial: %w", ErrConnection), 2},
		{"/health", fmt.Errorf("dial: %w", ErrConnection), 1},
		{"/patroni", errors.New("canceling statement due to statement timeout"), 1},
	} {
		t.Run(test.path+" "+test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent := healthyPrimary(t)
				begun := time.Now()
				agent.sql = func(context.Context) (*SQLStatus, error) { return nil, test.err }
				s := newTestServer(t, clocked{agent, begun}, captureOptions("pg-a"))
				w := call(s, "GET", test.path)
				if n := agent.asked.Load(); n != test.want {
					t.Errorf("asked %d times, want %d", n, test.want)
				}
				if waited := time.Since(begun); (waited >= time.Second) != (test.want == 2) || waited > 1800*time.Millisecond {
					t.Errorf("took %v", waited)
				}
				if test.path == "/patroni" && w.Body.String()[:37] != `{"state": "unknown", "role": "primary` {
					t.Errorf("shows %s", w.Body)
				}
			})
		})
	}
}

func TestHungPostgresDelaysNobodyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := healthyPrimary(t)
		begun := time.Now()
		agent.sql = func(ctx context.Context) (*SQLStatus, error) { <-ctx.Done(); return nil, ctx.Err() }
		s := newTestServer(t, clocked{agent, begun}, captureOptions("pg-a"))
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if w := call(s, "GET", "/primary"); w.Code != 200 {
					t.Errorf("/primary with the lock: %d", w.Code)
				}
			})
		}
		if w := call(s, "OPTIONS", "/primary"); w.Code != 200 || time.Since(begun) != 0 {
			t.Errorf("OPTIONS /primary: %d after %v", w.Code, time.Since(begun))
		}
		wg.Wait()
		if took := time.Since(begun); took > sqlTimeout {
			t.Errorf("ten health checks took %v", took)
		}
		if n := agent.asked.Load(); n != 1 {
			t.Errorf("%d queries under way", n)
		}
	})
}

// clocked is an agent whose clock is the test's.
type clocked struct {
	*fakeAgent
	begun time.Time
}

func (c clocked) Now() time.Duration { return fakeNow + time.Since(c.begun) }

func TestReadsOfTheStoreAreSharedAndFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := slowStore{clocked{healthyPrimary(t), time.Now()}}
		s := newTestServer(t, agent, captureOptions("pg-a"))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if i > 0 { // all of these come while the first read is under way
					time.Sleep(500 * time.Millisecond)
				}
				if w := call(s, "GET", "/cluster"); w.Code != 200 {
					t.Errorf("answered %d", w.Code)
				}
			})
		}
		wg.Wait()
		if n := agent.loads.Load(); n != 2 {
			t.Errorf("%d reads, want the first and one for all who came during it", n)
		}
	})
}

// slowStore needs a second for a read.
type slowStore struct{ clocked }

func (s slowStore) LoadCluster(ctx context.Context) (*cluster.Cluster, error) {
	time.Sleep(time.Second)
	return s.clocked.LoadCluster(ctx)
}

func TestHungStoreHoldsOnlyAFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := hungStore{clocked{healthyPrimary(t), time.Now()}}
		s := newTestServer(t, agent, captureOptions("pg-a"))
		var wg sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for range maxPatient + 10 {
			wg.Go(func() {
				begun := time.Now()
				if w := call(s, "GET", "/cluster"); w.Code != 503 {
					t.Errorf("answered %d", w.Code)
				}
				if time.Since(begun) == 0 {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if refused != 10 {
			t.Errorf("%d of the requests were refused at once, want 10", refused)
		}
	})
}

// hungStore never answers.
type hungStore struct{ clocked }

func (hungStore) LoadCluster(ctx context.Context) (*cluster.Cluster, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestPanicClosesTheConnectionOnly(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	agent.store = &cluster.Cluster{Members: nil, History: nil, Config: &cluster.DynamicConfig{Doc: nil}}
	s := newTestServer(t, panicking{agent}, captureOptions("pg-a"))
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
	}()
	call(s, "GET", "/primary")
}

type panicking struct{ *fakeAgent }

func (panicking) Snapshot() *Snapshot { panic("mistake") }
