package rest

import (
	"context"
	"encoding/json"
	"errors"
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
}

func newFakeAgent(snap *Snapshot, sql *SQLStatus) *fakeAgent {
	f := &fakeAgent{store: snap.Cluster}
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
