//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cli runs the command line on the node's configuration.
func (n *node) cli(args ...string) (code int, output string) {
	n.c.t.Helper()
	cmd := n.at.command(n.c.t, append([]string{n.at.tamada, "-c", n.at.inside(n.configFile())}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		n.c.t.Fatal(err)
	}
	n.c.note("%s: tamada %s: exit code %d: %s", n.name, strings.Join(args, " "), cmd.ProcessState.ExitCode(), clip(string(out)))
	return cmd.ProcessState.ExitCode(), string(out)
}

// editConfig sets parameters of PostgreSQL as an operator would.
func (n *node) editConfig(settings ...string) {
	n.c.t.Helper()
	args := []string{"edit-config", "--force"}
	for _, s := range settings {
		args = append(args, "-p", s)
	}
	if code, out := n.cli(args...); code != 0 {
		n.c.t.Fatalf("edit-config %v: %d %s", settings, code, out)
	}
}

// waitSetting waits until PostgreSQL runs with a value on the given nodes.
func (c *cluster) waitSetting(name, value string, nodes ...*node) {
	c.t.Helper()
	for _, n := range nodes {
		c.eventually(patience, fmt.Sprintf("%s runs with %s = %s", n.name, name, value), func() (bool, string) {
			v, err := n.query("SHOW " + name)
			return v == value, fmt.Sprint(v, " ", err)
		})
	}
}

// waitPending waits until a node publishes exactly these changes, written
// NAME:OLD->NEW, as waiting for a restart.
func (c *cluster) waitPending(n *node, changes ...string) {
	c.t.Helper()
	c.eventually(patience, fmt.Sprintf("%s waits for a restart because of %v", n.name, changes), func() (bool, string) {
		keys, err := c.keys()
		if err != nil {
			return false, err.Error()
		}
		var m struct {
			Pending bool `json:"pending_restart"`
			Reason  map[string]struct {
				Old string `json:"old_value"`
				New string `json:"new_value"`
			} `json:"pending_restart_reason"`
		}
		value := keys["members/"+n.name].Value
		if err := json.Unmarshal(value, &m); err != nil {
			return false, err.Error()
		}
		if m.Pending != (len(changes) > 0) || len(m.Reason) != len(changes) {
			return false, string(value)
		}
		for _, change := range changes {
			name, values, _ := strings.Cut(change, ":")
			if r := m.Reason[name]; r.Old+"->"+r.New != values {
				return false, string(value)
			}
		}
		return true, ""
	})
}

// restartServer restarts PostgreSQL of a node by request.
func (n *node) restartServer() {
	n.c.t.Helper()
	n.want(200, "restarted successfully", "POST", "/restart", "{}")
}

// assertParameters does what the tutorial shows with parameters, and what can go
// wrong with those that a standby may not have lower than its primary.
func assertParameters(t *testing.T, p *place) {
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	c.dynamic["postgresql"].(object)["parameters"] = object{"max_connections": 40, "shared_buffers": "16MB"}
	for _, name := range []string{"n1", "n2"} {
		c.add(name, p, guarded, func(n *node) {
			delete(n.config["postgresql"].(object)["parameters"].(object), "shared_buffers") // the local one would win
		})
	}
	c.startAll()
	n1, n2 := c.nodes[0], c.nodes[1]
	before := []int{n1.postmasterPID(), n2.postmasterPID()}

	n2.editConfig("maintenance_work_mem=100MB")
	c.waitSetting("maintenance_work_mem", "100MB", n1, n2)
	n1.editConfig("max_connections=60", "shared_buffers=32MB")
	c.waitPending(n1, "max_connections:40->60", "shared_buffers:16MB->32MB")
	c.waitPending(n2, "max_connections:40->60", "shared_buffers:16MB->32MB")
	if got := []int{n1.postmasterPID(), n2.postmasterPID()}; got[0] != before[0] || got[1] != before[1] {
		t.Fatalf("something was restarted: %v, before %v", got, before)
	}
	if _, out := n1.cli("list"); !strings.Contains(out, "max_connections: 40->60") {
		t.Errorf("list does not show the reason:\n%s", out)
	}

	c.note("--- growing, the replica first")
	n2.restartServer()
	c.waitSetting("max_connections", "60", n2)
	c.waitPending(n2)
	n1.restartServer()
	c.waitSetting("shared_buffers", "32MB", n1, n2)
	c.waitPending(n1)
	c.waitHealthy(patience, n1)
	if c.leaderKey() != "n1" || n1.timeline() != 1 {
		t.Error("the leader changed")
	}

	c.note("--- shrinking: the primary, then at once the replica, which waits for the primary's lower value")
	n1.editConfig("max_connections=50")
	c.waitPending(n1, "max_connections:60->50")
	c.waitPending(n2, "max_connections:60->50")
	n1.restartServer()
	n2.restartServer()
	c.waitSetting("max_connections", "50", n1, n2)
	c.waitPending(n1)
	c.waitPending(n2)

	c.note("--- shrinking by one restart of the cluster, and growing by another")
	for _, value := range []string{"48", "52"} {
		n1.editConfig("max_connections=" + value)
		c.waitPending(n1, "max_connections:"+n1.must("SHOW max_connections")+"->"+value)
		c.waitPending(n2, "max_connections:"+n2.must("SHOW max_connections")+"->"+value)
		if code, out := n1.cli("restart", scope, "--force"); code != 0 || strings.Count(out, "Success: restart on member") != 2 {
			t.Errorf("restart of the cluster: %d %s", code, out)
		}
		c.waitPending(n1)
		c.waitPending(n2)
		c.waitSetting("max_connections", value, n1, n2)
	}
	c.waitHealthy(patience, n1)
	n1.editConfig("max_connections=50")
	c.waitPending(n1, "max_connections:52->50")
	n1.restartServer()
	n2.restartServer()
	c.waitSetting("max_connections", "50", n1, n2)

	c.note("--- shrinking, the replica first: it keeps the primary's value and says so")
	n1.editConfig("max_connections=45")
	c.waitPending(n2, "max_connections:50->45")
	n2.restartServer()
	c.waitSetting("max_connections", "50", n2)
	c.waitPending(n2, "max_connections:50->45")
	n1.restartServer()
	n2.restartServer()
	c.waitSetting("max_connections", "45", n1, n2)
	c.waitPending(n2)

	c.note("--- growing, the primary first: the replica is not left dead")
	n1.editConfig("max_connections=70")
	c.waitPending(n1, "max_connections:45->70")
	n1.restartServer()
	c.waitSetting("max_connections", "70", n1, n2)
	c.waitHealthy(patience, n1)
	c.waitPending(n2)

	c.note("--- ALTER SYSTEM loses against the command line, wins elsewhere")
	n2.must("ALTER SYSTEM SET max_connections = 44")
	n2.must("ALTER SYSTEM SET work_mem = '9MB'")
	n2.want(202, "reload scheduled", "POST", "/reload", "")
	c.waitSetting("work_mem", "9MB", n2)
	c.waitPending(n2, "max_connections:70->44")
	n2.restartServer()
	c.waitSetting("max_connections", "70", n2)
	c.waitHealthy(patience, n1)
}

func TestParametersAreChangedAsTheTutorialShows(t *testing.T) {
	t.Parallel()
	assertParameters(t, here(t))
}

func TestParametersAreChangedOnPostgres13(t *testing.T) {
	t.Parallel()
	assertParameters(t, postgres13(t))
}

func TestParametersAreChangedOnPostgres17(t *testing.T) {
	t.Parallel()
	assertParameters(t, postgres17(t))
}

func TestParametersAreChangedOnPostgres18(t *testing.T) {
	t.Parallel()
	assertParameters(t, patroni41(t))
}

// A mistake in the node's file, in the store, or in pg_hba.conf leaves what was in
// force, and list shows it until it is mended.
func TestMistakesAreListedAndChangeNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	n := c.bringUp(1, guarded)
	pid, agent := n.postmasterPID(), n.agentPID()
	listed := func(text string) {
		t.Helper()
		c.eventually(patience, fmt.Sprintf("list shows %q", text), func() (bool, string) {
			_, out := n.cli("list")
			if text == "" {
				return !strings.Contains(out, "not in force"), out
			}
			return strings.Contains(out, " Configuration of n1 not in force: ") && strings.Contains(out, text), out
		})
	}
	good, err := os.ReadFile(n.configFile())
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(n.configFile()+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n.at.give(t, n.configFile()+".new")
		if err := os.Rename(n.configFile()+".new", n.configFile()); err != nil {
			t.Fatal(err)
		}
		n.kill(n.main.pid(), syscall.SIGHUP, "the guardian")
	}
	client := func(text string) { // what the command line reads stays good
		t.Helper()
		rewrite(text)
	}
	client(strings.Replace(string(good), "scram-sha-256", "[5]", 1))
	listed("node.yml:")
	client(strings.Replace(string(good), "host all all all scram-sha-256", "host all all all cleverness", 1))
	listed("pg_hba.conf line 4: ")
	if v := n.must("SELECT 1"); v != "1" {
		t.Error("no connection any more")
	}
	client(string(good))
	listed("")
	n.patch(`{"ttl": "20s"}`)
	listed("dynamic configuration: ttl: 20s is not an integer")
	n.patch(`{"ttl": 20, "postgresql": {"parameters": "none"}}`)
	listed("postgresql.parameters is not a dictionary")
	n.patch(`{"postgresql": {"parameters": {"max_connections": 40}}}`)
	listed("")
	// A key that needs a restart of the agent waits for it: above all this one.
	client(strings.Replace(string(good), n.dataDir(), n.dataDir()+"-elsewhere", 1))
	c.eventually(patience, "the agent says that data_dir waits", func() (bool, string) {
		return strings.Contains(n.logSince(0), "takes effect when the agent is restarted key=postgresql.data_dir"), ""
	})
	client(string(good))
	if code, out := n.cli("edit-config", "--force", "-s", "ttl=20", "-s", "loop_wait=10", "-s", "retry_timeout=10"); code != 1 || !strings.Contains(out, "10 + 2 × 10 = 30") {
		t.Errorf("edit-config: %d %s", code, out)
	}
	if n.postmasterPID() != pid || n.agentPID() != agent {
		t.Error("something was restarted")
	}
}

// The service manager is told when the node is ready, reloads and stops.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.add("n1", here(t))
	socket := filepath.Join(n.dir, "notify")
	heard := listenNotify(t, socket)
	n.at.give(t, socket)
	n.command = append([]string{"/usr/bin/env", "NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=2000000"}, n.command...)
	n.start()
	c.waitLeader(patience, n)
	wait := func(want string) {
		t.Helper()
		c.eventually(patience, "the service manager hears "+want, func() (bool, string) {
			text := heard()
			return strings.Contains(text, want), text
		})
	}
	wait("READY=1\n")
	wait("STATUS=no action. I am (n1), the leader with the lock\n")
	begin, beats := time.Now(), strings.Count(heard(), "WATCHDOG=1\n")
	c.eventually(patience, "five keepalives more", func() (bool, string) {
		return strings.Count(heard(), "WATCHDOG=1\n") >= beats+5, heard()
	})
	if took := time.Since(begin); took < 3*time.Second || took > 10*time.Second {
		t.Errorf("five keepalives in %v, every second is asked for", took)
	}
	n.kill(n.main.pid(), syscall.SIGHUP, "the guardian")
	wait("RELOADING=1\nMONOTONIC_USEC=")
	c.eventually(patience, "READY=1 follows", func() (bool, string) {
		_, after, _ := strings.Cut(heard(), "MONOTONIC_USEC=")
		return strings.Contains(after, "READY=1\n"), heard()
	})
	n.kill(n.main.pid(), syscall.SIGTERM, "the guardian")
	wait("STOPPING=1\n")
	<-n.main.done
}
