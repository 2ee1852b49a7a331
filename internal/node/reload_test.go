//go:build linux

package node

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/config"
)

func TestRejectedParametersAreSaidOncePerChange(t *testing.T) {
	t.Parallel()
	n, _ := bootstrapper(t)
	log := &linesLog{}
	n.log = slog.New(slog.NewTextHandler(log, nil))
	n.cfg.Store(&config.Config{Doc: &cluster.Object{}})
	apply := func(document string) string {
		t.Helper()
		doc, err := cluster.ParseObject([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		log.reset()
		n.applyConfig(agent.ApplyConfig{Doc: doc, Settings: cluster.Settings{TTL: 30 * time.Second, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second}})
		return log.String()
	}
	const bad = `{"postgresql":{"parameters":{"max_wal_senders":2,"wal_level":"minimal","hot_standby":false,"max_connections":"abc"}}}`
	said := apply(bad)
	for _, want := range []string{"max_wal_senders=2 failed validation, defaulting to 10", "wal_level=minimal failed validation, defaulting to hot_standby",
		"hot_standby=False failed validation, defaulting to on", "max_connections=abc failed validation, defaulting to 100"} {
		if strings.Count(said, `level=WARN msg="postgresql parameter `+want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, said)
		}
	}
	if said := apply(bad); strings.Contains(said, "failed validation") {
		t.Errorf("again: %s", said)
	}
	if said := apply(`{}`) + apply(bad); strings.Count(said, "failed validation") != 4 {
		t.Errorf("after it was right: %s", said)
	}
}

// linesLog takes log lines from several goroutines.
type linesLog struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *linesLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *linesLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *linesLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// The agent hands on the document with the times that are in force.
func TestDocumentIsKeptBesideTheDataAsItIsInForce(t *testing.T) {
	t.Parallel()
	n, _ := bootstrapper(t)
	dir := n.pg.Settings().DataDir
	cfg := &config.Config{Doc: cluster.NewObject("postgresql", cluster.NewObject("data_dir", dir))}
	n.cfg.Store(cfg)
	a := agent.New(agent.Config{Name: "n1"})
	view := &cluster.Cluster{Config: &cluster.DynamicConfig{Version: 3, Doc: cluster.NewObject("loop_wait", 2, "ttl", 25, "retry_timeout", 12, "x", "y")}}
	for _, e := range a.Step(1, time.Time{}, 0, agent.ClusterSeen{Cluster: view}) {
		if e, ok := e.(agent.ApplyConfig); ok {
			n.applyConfig(e)
		}
	}
	const want = `{"loop_wait": 1, "ttl": 25, "retry_timeout": 12, "x": "y"}`
	var text []byte
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if text, _ = os.ReadFile(filepath.Join(dir, config.CacheFile)); len(text) > 0 {
			break
		}
	}
	if string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
}
