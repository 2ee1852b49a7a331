package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
)

// fakeNow is the time at which every fake agent stands still unless a test
// moves it.
const fakeNow = 1000 * time.Second

// fakeAgent is a Source whose facts a test sets.
type fakeAgent struct {
	snap  atomic.Pointer[Snapshot]
	now   atomic.Int64
	wakes atomic.Int32
	loads atomic.Int32
	asked atomic.Int32 // calls of SQLStatus

	mu      sync.Mutex // guards the rest
	sql     func(context.Context) (*SQLStatus, error)
	store   *cluster.Cluster
	loadErr error
	putErr  error
	puts    []*cluster.Object
	conds   []dcs.Condition
	reloads int

	// The request to move the leader: what was written, and what the cluster makes
	// of it (nil: nothing happens).
	failovers []string
	carryOut  func(*fakeAgent, cluster.Failover)
	late      bool // the view does not show what was written before carryOut does
	// polled are the members that were asked; silent those that do not answer.
	polled []string
	silent map[string]bool
	// changed is closed with the next change of the snapshot.
	changed chan struct{}
	// Requests for PostgreSQL: busy is the name of the running action.
	busy      string
	scheduled *ha.RestartRequest
	restarts  []ha.RestartRequest
	ended     error // the agent does not answer any more
	// What was promised in failsafe mode.
	promised      string
	promisedSlots []cluster.Slot
	reinits       []string
}

func newFakeAgent(snap *Snapshot, sql *SQLStatus) *fakeAgent {
	f := &fakeAgent{store: snap.Cluster, carryOut: obey, changed: make(chan struct{})}
	f.now.Store(int64(fakeNow))
	f.snap.Store(snap)
	f.sql = func(context.Context) (*SQLStatus, error) {
		if sql == nil {
			return nil, errors.New("no answer")
		}
		return sql, nil
	}
	return f
}

func (f *fakeAgent) Now() time.Duration  { return time.Duration(f.now.Load()) }
func (f *fakeAgent) Snapshot() *Snapshot { return f.snap.Load() }
func (f *fakeAgent) Wake()               { f.wakes.Add(1) }

// advance moves the clock.
func (f *fakeAgent) advance(d time.Duration) { f.now.Add(int64(d)) }

// change replaces the snapshot by an altered copy.
func (f *fakeAgent) change(alter func(*Snapshot)) {
	s := *f.snap.Load()
	alter(&s)
	f.snap.Store(&s)
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAgent) Changed(seen *Snapshot) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.snap.Load() != seen {
		c := make(chan struct{})
		close(c)
		return c
	}
	return f.changed
}

func (f *fakeAgent) Reload() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reloads++
}

func (f *fakeAgent) SQLStatus(ctx context.Context) (*SQLStatus, error) {
	f.asked.Add(1)
	f.mu.Lock()
	sql := f.sql
	f.mu.Unlock()
	return sql(ctx)
}

func (f *fakeAgent) LoadCluster(context.Context) (*cluster.Cluster, error) {
	f.loads.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store, f.loadErr
}

// PutConfig is a store that changes at once, without the cached view noticing.
func (f *fakeAgent) PutConfig(_ context.Context, doc *cluster.Object, cond dcs.Condition) (cluster.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.putErr != nil {
		return 0, f.putErr
	}
	f.puts, f.conds = append(f.puts, doc), append(f.conds, cond)
	next := *f.store
	version := cluster.Version(1)
	if next.Config != nil {
		version = next.Config.Version + 1
	}
	next.Config = &cluster.DynamicConfig{Doc: doc, Version: version}
	f.store = &next
	return version, nil
}

// PutFailover writes the key, shows it in the view, and lets the cluster carry
// it out.
func (f *fakeAgent) PutFailover(_ context.Context, value []byte, cond dcs.Condition) (cluster.Version, error) {
	f.mu.Lock()
	err := f.putErr
	if _, _, version := cond.Want(); err == nil && version != 0 && version != f.store.Failover.Version {
		err = dcs.ErrConflict
	}
	if err == nil {
		f.failovers = append(f.failovers, string(value))
	}
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	key := cluster.ParseFailover(value)
	version := cluster.Version(1000)
	if !f.late {
		version = f.showKey(key)
	}
	if key.Pending() && key.ScheduledAt == "" && f.carryOut != nil {
		go f.carryOut(f, key)
	}
	return version, nil
}

// showKey puts a failover key into the store and the view.
func (f *fakeAgent) showKey(key cluster.Failover) cluster.Version {
	f.see(func(c *cluster.Cluster) {
		key.Version = 1000
		if c.Failover != nil {
			key.Version = c.Failover.Version + 1
		}
		c.Failover = &key
	})
	return key.Version
}

// see changes the store and the view alike.
func (f *fakeAgent) see(alter func(*cluster.Cluster)) {
	f.change(func(s *Snapshot) {
		c := *s.Cluster
		alter(&c)
		s.Cluster, s.ClusterReadAt = &c, f.Now()
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store = f.snap.Load().Cluster
}

// obey carries a request out as a cluster does: the holder of the lock refuses
// what makes no sense, otherwise the candidate leads.
func obey(f *fakeAgent, key cluster.Failover) {
	leader := f.snap.Load().Cluster.LeaderName()
	if (key.Leader == "" || key.Leader == leader) && key.Candidate != leader {
		f.see(func(c *cluster.Cluster) { c.Leader = nil })
		f.see(func(c *cluster.Cluster) { c.Leader = &cluster.Leader{Name: cmp.Or(key.Candidate, "pg-b")} })
	}
	f.showKey(cluster.Failover{})
}

func (f *fakeAgent) Poll(_ context.Context, members []cluster.Member) (answers []candidate.Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range members {
		f.polled = append(f.polled, m.Name)
		answers = append(answers, candidate.Answer{Name: m.Name, Reachable: !f.silent[m.Name], Tags: m.Tags})
	}
	return answers
}

// future is a restart at a time.
var future = ha.RestartRequest{At: time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC)}

// Restart answers as the agent does, by the rules of the decision core.
func (f *fakeAgent) Restart(_ context.Context, r ha.RestartRequest, drop bool) (int, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	had := f.scheduled
	switch {
	case f.ended != nil:
		return 0, "", f.ended
	case drop && had == nil:
		return 404, "no restarts are scheduled", nil
	case drop:
		f.scheduled = nil
		return 200, "scheduled restart deleted", nil
	case !r.At.IsZero() && had != nil:
		return 409, "Another restart is already scheduled", nil
	case !r.At.IsZero():
		f.scheduled = &r
		return 202, "Restart scheduled", nil
	case f.busy != "":
		return 503, f.busy + " already in progress", nil
	}
	snap := f.snap.Load()
	v := &ha.View{Instance: ha.Instance{Role: snap.Role, ServerVersion: 150018, PendingRestart: snap.PendingRestartReason}}
	if ha.RestartRefused(v, &r) != "" {
		return 503, "restart conditions are not satisfied", nil
	}
	f.restarts = append(f.restarts, r)
	return 200, "restarted successfully", nil
}

func (f *fakeAgent) Failsafe(_ context.Context, name, _, _ string, slots []cluster.Slot) (int, string, cluster.LSN, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	snap := f.snap.Load()
	switch {
	case f.ended != nil:
		return 0, "", 0, f.ended
	case !snap.Settings.FailsafeMode:
		return 502, "", 0, nil
	case snap.Role == cluster.RolePrimary:
		return 500, "Running as a leader", 0, nil
	}
	f.promised, f.promisedSlots = name, slots
	return 200, "Accepted", 83886408, nil
}

func (f *fakeAgent) Reinitialize(_ context.Context, force, fromLeader bool) (int, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.snap.Load().LockUntil > 0:
		return 503, "I am the leader, can not reinitialize", nil
	case f.busy != "" && !force:
		return 503, f.busy + " already in progress", nil
	}
	f.reinits = append(f.reinits, fmt.Sprintf("force=%v from_leader=%v", force, fromLeader))
	return 200, "reinitialize started", nil
}

type ctxT = context.Context

// quiet is a logger for tests that do not look at the log.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// captureOptions are those of the recorded cluster.
func captureOptions(name string) Options {
	return Options{Name: name, Scope: "batman", Version: "4.1.4", Username: "patroni", Password: "rest-secret"}
}

// start serves an agent on a free port until the test ends.
func start(t *testing.T, f Source, o Options) (*Server, string) {
	t.Helper()
	return startWith(t, f, o, usualLimits)
}

func startWith(t *testing.T, f Source, o Options, limits limits) (*Server, string) {
	t.Helper()
	s, err := newServer(f, o, quiet(), limits)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // a test may leave requests hanging on purpose
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

// raw sends bytes and returns all that comes back until the server closes.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read the answer to %.200q: %v", request, err)
	}
	return string(b)
}

// storeFile reads a recorded content of the store.
func storeFile(t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "etcd3", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Keys []struct {
			Key, Value string
			Create     int64 `json:"create_revision"`
			Mod        int64 `json:"mod_revision"`
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var b cluster.Builder
	for _, k := range doc.Keys {
		_, key, _ := strings.Cut(strings.TrimPrefix(k.Key, "/service/"), "/")
		b.Add(key, []byte(k.Value), cluster.Version(k.Mod), cluster.Version(k.Create), "1")
	}
	return b.Cluster()
}

// settingsOf are the settings in force with a view.
func settingsOf(t *testing.T, c *cluster.Cluster) cluster.Settings {
	t.Helper()
	var doc *cluster.Object
	if c != nil && c.Config != nil {
		doc = c.Config.Doc
	}
	s, _, err := cluster.ParseSettings(doc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
