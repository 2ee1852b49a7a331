//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tamada/internal/testport"
)

// playground is a running `tamada demo`.
type playground struct {
	t    *testing.T
	p    *place
	dir  string
	port int
	main *program
}

// newPlayground chooses a folder and ports for a demo of three nodes at most.
func newPlayground(t *testing.T) *playground {
	g := &playground{t: t, p: here(t), port: freeDemoPort(t)}
	root, err := os.MkdirTemp(workDir, "demo-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	g.p.give(t, root)
	g.dir = filepath.Join(root, "a demo")
	t.Cleanup(func() {
		if g.main != nil && !g.main.ended() {
			g.main.kill()
			eventually(t, 30*time.Second, "nothing of the demo runs", func() (bool, string) { l := g.running(); return len(l) == 0, fmt.Sprint(l) })
		}
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(g.dir, "n*", "node.log"))
			for _, l := range append(logs, g.main.log) {
				t.Logf("%s:\n%s", l, tail(l, 4000))
			}
		}
	})
	return g
}

// freeDemoPort is a port from which on those of three nodes are free: three ranges,
// the last of which begins 200 above it.
func freeDemoPort(t *testing.T) int {
	t.Helper()
	return testport.Range(t, 206)
}

func eventually(t *testing.T, within time.Duration, what string, holds func() (bool, string)) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		ok, saw := holds()
		if ok {
			return
		}
		if time.Since(begin) > within {
			t.Fatalf("not within %v: %s; last seen: %s", within, what, saw)
		}
	}
}

// start starts the demo with a command that command prepared.
func (g *playground) start(cmd *exec.Cmd) {
	g.t.Helper()
	g.main = startProgram(g.t, "demo", filepath.Join(g.t.TempDir(), "demo.log"), cmd)
}

func (g *playground) command(flags ...string) *exec.Cmd {
	return g.p.command(g.t, append([]string{tamada, "demo", "--dir", g.dir}, flags...)...)
}

// do runs another command of the demo and returns what it printed.
func (g *playground) do(verb, node string) string {
	g.t.Helper()
	out, err := g.p.command(g.t, tamada, "demo", verb, node, "--dir", g.dir).CombinedOutput()
	if err != nil {
		g.t.Fatalf("demo %s %s: %v\n%s", verb, node, err, out)
	}
	g.t.Logf("demo %s %s:\n%s", verb, node, out)
	return string(out)
}

// running are the processes of the demo's nodes.
func (g *playground) running() (list []string) {
	for _, p := range readProcesses() {
		if p.state != 'Z' && strings.Contains(p.cmdline, g.dir) && (g.main == nil || p.pid != g.main.pid()) {
			list = append(list, p.cmdline)
		}
	}
	return list
}

type demoNode struct {
	name, Role, State, Stream string
	Timeline                  int
	Seen                      int64
}

// nodes asks each node for its status.
func (g *playground) nodes(count int) []demoNode {
	list := make([]demoNode, count)
	client := &http.Client{Timeout: time.Second}
	for i := range list {
		list[i].name = "n" + strconv.Itoa(i+1)
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/patroni", g.port+100+i))
		if err != nil {
			continue
		}
		var d struct {
			Role, State string
			Stream      string `json:"replication_state"`
			Timeline    int
			Seen        int64 `json:"dcs_last_seen"`
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if json.Unmarshal(body, &d) == nil {
			list[i].Role, list[i].State, list[i].Stream, list[i].Timeline, list[i].Seen = d.Role, d.State, d.Stream, d.Timeline, d.Seen
		}
	}
	return list
}

// wait waits for one primary and a number of replicas that stream on its
// timeline, and returns the primary.
func (g *playground) wait(within time.Duration, count, streaming int) (leader demoNode) {
	g.t.Helper()
	eventually(g.t, within, fmt.Sprintf("one leader, %d streaming", streaming), func() (bool, string) {
		list := g.nodes(count)
		primaries, followers := 0, 0
		for _, n := range list {
			if n.Role == "primary" && n.State == "running" {
				primaries++
				leader = n
			}
		}
		for _, n := range list {
			if n.Role == "replica" && n.Stream == "streaming" && n.Timeline == leader.Timeline {
				followers++
			}
		}
		return primaries == 1 && followers == streaming, fmt.Sprintf("%+v", list)
	})
	return leader
}

// connect connects as the demo's own text tells a user to.
func (g *playground) connect() *pgx.Conn {
	g.t.Helper()
	text, err := os.ReadFile(g.main.log)
	if err != nil {
		g.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `psql "`)
	conninfo, _, ok := strings.Cut(rest, `"`)
	if !ok {
		g.t.Fatalf("no connection string in:\n%s", text)
	}
	conn, err := pgx.Connect(contextFor(g.t, 10*time.Second), conninfo)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close(contextFor(g.t, time.Second)) })
	return conn
}

func TestDemoFormsHealsAndClearsUp(t *testing.T) {
	t.Parallel()
	g := newPlayground(t)
	begin := time.Now()
	g.start(g.command("--port", strconv.Itoa(g.port)))
	first := g.wait(20*time.Second, 3, 2)
	t.Logf("one leader and two streaming replicas %.1f s after the start", time.Since(begin).Seconds())
	eventually(t, 15*time.Second, "the explanation", func() (bool, string) {
		s := tail(g.main.log, 8000)
		return strings.Contains(s, "Ctrl-C ends the demo"), s
	})
	if s := tail(g.main.log, 8000); strings.Count(s, "| streaming |") != 2 || strings.ContainsRune(s, '\x1b') {
		t.Errorf("want a table with two streaming replicas, and no control characters:\n%s", s)
	}
	if st, err := os.Stat(g.dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder holds passwords and is open: %v, %v", st.Mode(), err)
	}
	conn := g.connect()
	g.loseReplica(conn, first)

	out := g.do("crash", first.name)
	second := g.wait(time.Second, 3, 1) // the command waited for it
	if second.name == first.name || !strings.Contains(out, second.name+" leads now") || !strings.Contains(out, "healthy again after") {
		t.Fatalf("%s leads after %s was killed; the command said:\n%s", second.name, first.name, out)
	}
	if out := g.do("start", first.name); !strings.Contains(out, first.name+" streams from the leader") {
		t.Errorf("the command said:\n%s", out)
	}
	g.wait(time.Second, 3, 2)

	g.main.signal(syscall.SIGINT)
	eventually(t, 20*time.Second, "the demo ends", func() (bool, string) { return g.main.ended(), tail(g.main.log, 300) })
	if g.main.exitCode() != 0 {
		t.Errorf("exit code %d", g.main.exitCode())
	}
	if _, err := os.Stat(g.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if l := g.running(); len(l) > 0 {
		t.Errorf("still running: %v", l)
	}
}

// loseReplica kills a replica's node, etcd member included, and commits one row
// after the other for longer than a lease lasts: clients notice nothing.
func (g *playground) loseReplica(conn *pgx.Conn, leader demoNode) {
	g.t.Helper()
	replica := "n1"
	if leader.name == replica {
		replica = "n2"
	}
	ctx := contextFor(g.t, time.Minute)
	if _, err := conn.Exec(ctx, "CREATE TABLE seen (at timestamptz)"); err != nil {
		g.t.Fatal(err)
	}
	if out := g.do("crash", replica); !strings.Contains(out, "clients notice nothing") {
		g.t.Errorf("the command said:\n%s", out)
	}
	const ttl = 20
	until := g.wait(time.Second, 3, 1).Seen + ttl + 1
	var worst time.Duration
	eventually(g.t, 40*time.Second, "the leader's lock is renewed for longer than its lease", func() (bool, string) {
		begin := time.Now()
		wctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(wctx, "INSERT INTO seen VALUES (now())"); err != nil {
			g.t.Fatalf("a client noticed the loss of an etcd member: %v", err)
		}
		worst = max(worst, time.Since(begin))
		now := g.wait(time.Second, 3, 1)
		if now.name != leader.name || now.Timeline != leader.Timeline {
			g.t.Fatalf("%+v leads instead of %+v", now, leader)
		}
		return now.Seen >= until, fmt.Sprint(now.Seen)
	})
	g.t.Logf("slowest commit with one etcd member lost: %v", worst.Round(time.Millisecond))
	g.do("start", replica)
	g.wait(time.Second, 3, 2)
}

// As the user who runs the tests: for root that is the demo that supervises the
// processes of the user postgres.
func TestKilledDemoTakesItsNodesWithItAndGoesOnLater(t *testing.T) {
	t.Parallel()
	g := newPlayground(t)
	demo := func() *exec.Cmd {
		cmd := exec.Command(tamada, "demo", "--dir", g.dir, "--nodes", "1", "--port", strconv.Itoa(g.port), "--keep")
		cmd.Env = append(cleanEnvironment(), "PATRONI_SCOPE=other", "PGPASSWORD=wrong")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}
	g.start(demo())
	g.wait(20*time.Second, 1, 0)
	for _, p := range readProcesses() {
		if strings.Contains(p.cmdline, g.dir) && p.pid != g.main.pid() && ownerOf(p.pid) == 0 {
			t.Errorf("runs as root: %s", p.cmdline)
		}
	}
	eventually(t, 15*time.Second, "the explanation", func() (bool, string) {
		s := tail(g.main.log, 8000)
		return strings.Contains(s, "Ctrl-C ends the demo"), s
	})
	if _, err := g.connect().Exec(contextFor(t, 5*time.Second), "CREATE TABLE kept ()"); err != nil {
		t.Fatal(err)
	}
	g.main.kill()
	eventually(t, 30*time.Second, "nothing of the demo runs", func() (bool, string) { l := g.running(); return len(l) == 0, fmt.Sprint(l) })

	g.start(demo())
	g.wait(20*time.Second, 1, 0)
	eventually(t, 15*time.Second, "the explanation", func() (bool, string) {
		s := tail(g.main.log, 8000)
		return strings.Contains(s, "Ctrl-C ends the demo"), s
	})
	if _, err := g.connect().Exec(contextFor(t, 5*time.Second), "INSERT INTO kept DEFAULT VALUES"); err != nil {
		t.Errorf("the cluster of the first demo is not there any more: %v", err)
	}
	g.main.signal(syscall.SIGTERM)
	eventually(t, 30*time.Second, "the demo ends", func() (bool, string) { return g.main.ended(), tail(g.main.log, 300) })
	if _, err := os.Stat(filepath.Join(g.dir, "n1", "data", "PG_VERSION")); err != nil {
		t.Errorf("--keep has not kept the data: %v", err)
	}
}

// ownerOf is the user of a process, -1 when it is gone.
func ownerOf(pid int) int {
	st, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return -1
	}
	if os.Geteuid() != 0 {
		return -1 // then all of them are ours
	}
	return int(st.Sys().(*syscall.Stat_t).Uid)
}
