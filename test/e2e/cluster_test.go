//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Times that most clusters run with; the lease is the shortest that may be
// configured.
const (
	ttl      = 20 * time.Second
	patience = 60 * time.Second // for what takes a second or two on an idle machine
)

type object = map[string]any

// A cluster is one etcd and the nodes that use it.
type cluster struct {
	t     *testing.T
	dir   string
	etcd  *program
	store string       // host:port of etcd
	where *place       // of etcd and the test's own eyes
	http  *http.Client // for etcd
	nodes []*node
	// dynamic is the dynamic configuration to begin with.
	dynamic object

	mu    sync.Mutex // guards notes
	notes []string
}

// scope is the name of every cluster; each has an etcd of its own.
const scope = "batman"

// newCluster starts an etcd. Nodes are added by the test.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterAt(t, here(t), "127.0.0.1")
}

// newClusterAt starts an etcd at an address of a place.
func newClusterAt(t *testing.T, where *place, address string) *cluster {
	t.Helper()
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed (scripts/setup installs it)")
	}
	// Short, because paths of sockets are limited to 107 bytes.
	dir, err := os.MkdirTemp(workDir, "c")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, where: where, dynamic: object{
		"ttl": 20, "loop_wait": 5, "retry_timeout": 5, "maximum_lag_on_failover": 1 << 20,
		"postgresql": object{"use_pg_rewind": true, "parameters": object{"max_connections": 40}},
	}}
	c.http = &http.Client{Transport: &http.Transport{DialContext: where.dial}}
	t.Cleanup(c.end)
	c.makeFolder(dir, where)
	client, peer := fmt.Sprintf("%s:%d", address, freePort(t)), fmt.Sprintf("%s:%d", address, freePort(t))
	data := filepath.Join(dir, "etcd")
	c.makeFolder(data, where)
	c.store = client
	c.etcd = startProgram(t, "etcd", filepath.Join(dir, "etcd.log"), where.command(t, etcd, "--name=e", "--data-dir="+data,
		"--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=e=http://"+peer,
		"--logger=zap", "--log-level=warn"))
	c.eventually(patience, "etcd serves", func() (bool, string) {
		_, err := c.keys()
		return err == nil, fmt.Sprint(err)
	})
	return c
}

// makeFolder makes a folder that the nodes of a place own.
func (c *cluster) makeFolder(dir string, p *place) {
	c.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	p.give(c.t, dir)
}

// note keeps what the test did and saw, with the time, for the report of a
// failure.
func (c *cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// end stops everything and, after a failure, prints the logs.
func (c *cluster) end() {
	for _, n := range c.nodes {
		n.closeViews()
		n.killAll()
	}
	c.http.CloseIdleConnections()
	if c.etcd != nil {
		c.etcd.kill()
	}
	if c.t.Failed() {
		c.t.Logf("what the test did (UTC):\n%s", strings.Join(c.notes, "\n"))
		for _, n := range c.nodes {
			c.t.Logf("log of %s, its end:\n%s", n.name, tail(n.log, 16<<10))
			c.t.Logf("log of PostgreSQL of %s, its end:\n%s", n.name, tail(n.serverLog(), 4<<10))
		}
		c.t.Logf("log of etcd, its end:\n%s", tail(filepath.Join(c.dir, "etcd.log"), 4<<10))
	}
	if os.Getenv(envKeep) == "" {
		_ = os.RemoveAll(c.dir)
		for _, n := range c.nodes {
			_ = os.RemoveAll(filepath.Dir(n.dir))
		}
	}
}

// tail is the end of a file.
func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(b) > n {
		return "…" + string(b[len(b)-n:])
	}
	return string(b)
}

// contextFor is a context that ends after a time or with the test.
func contextFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until a condition holds; the text that it returns says what
// it saw, for the failure.
func (c *cluster) eventually(within time.Duration, what string, holds func() (bool, string)) {
	c.t.Helper()
	begin := time.Now()
	for {
		ok, saw := holds()
		if ok {
			c.note("%s (after %v)", what, time.Since(begin).Round(time.Millisecond))
			return
		}
		if time.Since(begin) > within {
			c.note("NOT within %v: %s; last seen: %s", within, what, saw)
			c.t.Fatalf("not within %v: %s; last seen: %s", within, what, saw)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// add makes a node that is not started yet; change makes its configuration
// another than the usual one.
func (c *cluster) add(name string, p *place, change ...func(*node)) *node {
	c.t.Helper()
	n := newNode(c, name, p)
	for _, f := range change {
		f(n)
	}
	c.nodes = append(c.nodes, n)
	return n
}

// bringUp makes nodes n1, n2, … on this machine, starts the first one and then
// the others, and waits until all replicas stream.
func (c *cluster) bringUp(count int, change ...func(*node)) (leader *node) {
	c.t.Helper()
	return c.bringUpAt(here(c.t), count, change...)
}

// bringUpAt is bringUp with all nodes in one place.
func (c *cluster) bringUpAt(p *place, count int, change ...func(*node)) (leader *node) {
	c.t.Helper()
	for i := range count {
		c.add(fmt.Sprintf("n%d", i+1), p, change...)
	}
	c.startAll()
	return c.nodes[0]
}

// startAll starts the first node, and the others when it leads.
func (c *cluster) startAll() {
	c.t.Helper()
	leader := c.nodes[0]
	leader.start()
	c.waitLeader(patience, leader)
	for _, n := range c.nodes[1:] {
		n.start()
	}
	c.waitHealthy(patience, leader)
}

// waitLeader waits until a node is named by the leader key and takes writes.
func (c *cluster) waitLeader(within time.Duration, n *node) {
	c.t.Helper()
	c.eventually(within, n.name+" leads", func() (bool, string) {
		if key := c.leaderKey(); key != n.name {
			return false, "leader key: " + key
		}
		v, err := n.query("SELECT pg_is_in_recovery()")
		return v == "false", fmt.Sprintf("in recovery: %s %v", v, err)
	})
}

// waitHealthy waits until a node leads and all others that were started and not
// stopped by the test stream from it, by SQL on the leader and in what they
// publish.
func (c *cluster) waitHealthy(within time.Duration, leader *node) {
	c.t.Helper()
	c.waitLeader(within, leader)
	var want []string
	for _, n := range c.nodes {
		if n == leader || n.main == nil || n.down {
			continue
		}
		if !n.running() {
			c.t.Fatalf("%s has ended, exit code %d:\n%s", n.name, n.main.exitCode(), tail(n.log, 2000))
		}
		want = append(want, n.name)
	}
	c.eventually(within, fmt.Sprintf("%v stream from %s", want, leader.name), func() (bool, string) {
		got, err := leader.query("SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_replication WHERE state = 'streaming'")
		if err != nil || got != strings.Join(want, " ") {
			return false, fmt.Sprintf("streaming: %q %v", got, err)
		}
		v, err := c.view()
		if err != nil {
			return false, err.Error()
		}
		for _, name := range want {
			if m := v.members[name]; m.State != "running" || m.ReplicationState != "streaming" {
				return false, fmt.Sprintf("member key of %s: %+v", name, m)
			}
		}
		return true, ""
	})
}

// waitNewLeader waits until another node than the old one leads.
func (c *cluster) waitNewLeader(within time.Duration, old *node) (leader *node) {
	c.t.Helper()
	c.eventually(within, "another node than "+old.name+" leads", func() (bool, string) {
		key := c.leaderKey()
		for _, n := range c.nodes {
			if n != old && n.name == key {
				v, err := n.query("SELECT pg_is_in_recovery()")
				leader = n
				return v == "false", fmt.Sprintf("%s in recovery: %s %v", key, v, err)
			}
		}
		return false, "leader key: " + key
	})
	c.note("%s leads", leader.name)
	return leader
}
