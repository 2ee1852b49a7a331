//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pgCtl is what a person does by hand with PostgreSQL's own tool.
func (n *node) pgCtl(args ...string) {
	n.c.t.Helper()
	cmd := n.at.command(n.c.t, append([]string{filepath.Join(n.at.binDir, "pg_ctl"), "-D", n.at.inside(n.dataDir()), "-w"}, args...)...)
	out, err := cmd.CombinedOutput()
	n.c.note("%s: pg_ctl %v: %v", n.name, args, err)
	if err != nil {
		n.c.t.Fatalf("%s: pg_ctl %v: %v\n%s", n.name, args, err, out)
	}
}

// pause switches maintenance mode and waits until every node that runs knows.
func (c *cluster) pause(on bool) {
	c.t.Helper()
	body := fmt.Sprintf(`{"pause": %v}`, on)
	for _, n := range c.nodes {
		if n.running() {
			n.patch(body)
			break
		}
	}
	c.eventually(patience, fmt.Sprintf("every node knows that pause is %v", on), func() (bool, string) {
		for _, n := range c.nodes {
			if d := n.status(); n.running() && (d["pause"] == true) != on {
				return false, n.name + ": " + fmt.Sprint(d)
			}
		}
		return true, ""
	})
}

// quietFor watches that a condition holds for a time.
func (c *cluster) quietFor(d time.Duration, what string, holds func() (bool, string)) {
	c.t.Helper()
	begin := time.Now()
	for time.Since(begin) < d {
		if ok, saw := holds(); !ok {
			c.note("NOT any more after %v: %s; saw: %s", time.Since(begin), what, saw)
			c.t.Fatalf("after %v not any more: %s; saw: %s", time.Since(begin).Round(time.Millisecond), what, saw)
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.note("%s, for %v", what, d)
}

// cycles is long enough for several turns of every loop.
const cycles = 7 * time.Second

func inRecovery(n *node) string {
	v, err := n.query("SELECT pg_is_in_recovery()")
	return v + errorText(err)
}

func TestPauseStoppedServers(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	replica := c.nodes[1]
	c.pause(true)

	t.Run("PostgreSQL stopped by hand stays stopped", func(t *testing.T) {
		replica.pgCtl("stop", "-m", "fast")
		c.quietFor(cycles, "the replica stays stopped", func() (bool, string) {
			return replica.postmasterPID() == 0, "it runs"
		})
		if d := replica.status(); d["state"] != "stopped" || d["pause"] != true {
			t.Errorf("status %v", d)
		}
		replica.want(200, "restarted successfully", "POST", "/restart", "{}")
		c.waitHealthy(patience, leader)
	})
	t.Run("nothing automatic happens when the primary is gone", func(t *testing.T) {
		leader.kill(leader.postmasterPID(), syscall.SIGKILL, "postmaster")
		c.eventually(patience, "it is gone", func() (bool, string) { return leader.postmasterPID() == 0, "it runs" })
		c.quietFor(cycles, "nobody else is promoted, and it is not started", func() (bool, string) {
			for _, n := range c.others(leader) {
				if v := inRecovery(n); v != "true" {
					return false, n.name + " in recovery: " + v
				}
			}
			return leader.postmasterPID() == 0, "it runs"
		})
		if key := c.leaderKey(); key != "" {
			t.Errorf("the leader key names %s, which does not run", key)
		}
		timeline := 1
		leader.want(200, "restarted successfully", "POST", "/restart", "{}")
		c.waitHealthy(patience, leader)
		if now := leader.timeline(); now != timeline {
			t.Errorf("timeline %d", now)
		}
	})
	t.Run("schedules and requests without a candidate are refused", func(t *testing.T) {
		later := time.Now().Add(time.Hour).Format(time.RFC3339)
		leader.want(400, "Can't schedule switchover in the paused state", "POST", "/switchover", `{"leader": "n1", "scheduled_at": "`+later+`"}`)
		leader.want(400, "Switchover is possible only to a specific candidate in a paused state", "POST", "/switchover", `{"leader": "n1"}`)
		leader.want(500, "Can't schedule restart in the paused state", "POST", "/restart", `{"schedule": "`+later+`"}`)
	})
	t.Run("resuming takes everything up again", func(t *testing.T) {
		replica.pgCtl("stop", "-m", "fast")
		c.pause(false)
		c.waitHealthy(patience, leader)
	})
}

func TestPauseKeepsTheLeaderAndItsKey(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	w := c.startWriter(leader)
	timeline, postmaster := leader.timeline(), leader.postmasterPID()
	c.pause(true)
	stays := func(within time.Duration, what string) {
		t.Helper()
		c.quietFor(within, what, func() (bool, string) {
			return leader.postmasterPID() == postmaster && inRecovery(leader) == "false", "postmaster or role changed"
		})
	}

	t.Run("the leader key is kept alive", func(t *testing.T) {
		c.quietFor(ttl+2*time.Second, "the leader key stays, longer than the lease", func() (bool, string) {
			key := c.leaderKey()
			return key == leader.name, key
		})
	})
	t.Run("new replicas can still be made", func(t *testing.T) {
		n4 := c.add("n4", here(t), guarded)
		n4.start()
		c.eventually(patience, "it waits to be told", func() (bool, string) {
			_, saw := n4.get("/patroni")
			return strings.Contains(n4.logSince(0), "PAUSE: running with empty data directory"), saw
		})
		n4.want(200, "reinitialize started", "POST", "/reinitialize", "{}")
		c.waitHealthy(patience, leader)
	})
	t.Run("stopping the agent leaves PostgreSQL running", func(t *testing.T) {
		for _, n := range []*node{c.nodes[1], leader} {
			pid := n.postmasterPID()
			n.kill(n.main.pid(), syscall.SIGTERM, "guardian")
			c.eventually(patience, "the agent has ended", func() (bool, string) { return n.main.ended(), "it runs" })
			if now := n.postmasterPID(); now != pid {
				t.Errorf("%s: postmaster %d became %d", n.name, pid, now)
			}
		}
		stays(ttl+2*time.Second, "the primary lives on, longer than the lease")
		for _, n := range c.others(leader) {
			if v := inRecovery(n); v != "true" {
				t.Errorf("%s in recovery: %s", n.name, v)
			}
		}
		w.progress(patience, 20)
		c.nodes[1].start()
		leader.start()
		c.waitHealthy(patience, leader)
		stays(cycles, "the started agent goes on with the same server")
	})
	t.Run("the store may be taken down", func(t *testing.T) {
		c.etcd.signal(syscall.SIGSTOP)
		frozen := time.Now()
		stays(ttl+5*time.Second, "the primary lives on without the store")
		if status, body := leader.get("/primary"); status != 200 {
			t.Errorf("GET /primary: %d %s", status, body)
		}
		if gap := w.gap(frozen); gap > 2*time.Second {
			t.Errorf("no writes for %v", gap)
		}
		c.etcd.signal(syscall.SIGCONT)
		c.waitHealthy(patience, leader)
	})
	t.Run("resuming changes nothing when all is well", func(t *testing.T) {
		c.pause(false)
		c.waitHealthy(patience, leader)
		stays(cycles, "the same primary goes on")
		if now := leader.timeline(); now != timeline {
			t.Errorf("timeline %d became %d", timeline, now)
		}
	})
	w.assertNothingLost(t, leader)
}

func TestPauseSwitchoverAndSplitBrain(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	c.pause(true)

	t.Run("manual switchover still works", func(t *testing.T) {
		to := c.nodes[1]
		leader.want(200, fmt.Sprintf(`Successfully switched over to "%s"`, to.name), "POST", "/switchover",
			fmt.Sprintf(`{"leader": "%s", "candidate": "%s"}`, leader.name, to.name))
		c.waitLeader(patience, to)
		c.eventually(patience, "the request is off the store", func() (bool, string) {
			key := c.key("failover")
			return key == "" || key == "{}", key
		})
		c.eventually(patience, "the third node streams from the new leader", func() (bool, string) {
			v, err := to.query("SELECT string_agg(application_name, ' ') FROM pg_stat_replication WHERE state = 'streaming'")
			return strings.Contains(v, "n3"), v + errorText(err)
		})
		leader = to
	})
	if t.Failed() {
		return
	}
	c.pause(false)
	c.waitHealthy(patience, leader)
	c.pause(true)
	second := c.nodes[2]

	t.Run("a second primary promoted by hand answers 503", func(t *testing.T) {
		second.must("SELECT pg_promote()")
		second.must("CREATE TABLE astray (x int)")
		leader.must("CREATE TABLE ours (x int)")
		c.quietFor(cycles, "both are left alone, and only one is the primary for clients", func() (bool, string) {
			one, _ := leader.get("/primary")
			two, body := second.get("/primary")
			return one == 200 && two == 503 && inRecovery(second) == "false" && inRecovery(leader) == "false", fmt.Sprint(one, two, body)
		})
		if key := c.leaderKey(); key != leader.name {
			t.Errorf("the leader key names %s", key)
		}
	})
	t.Run("resuming heals the split brain with rewind", func(t *testing.T) {
		from := second.logSize()
		c.pause(false)
		c.waitHealthy(patience, leader)
		if v := second.must("SELECT count(*) FROM pg_class WHERE relname IN ('astray', 'ours')"); v != "1" {
			t.Errorf("%s of its tables are there", v)
		}
		if v := second.must("SELECT count(*) FROM ours"); v != "0" {
			t.Errorf("ours: %s", v)
		}
		if log := second.says(from, "pg_rewind"); strings.Contains(log, "basebackup") {
			t.Errorf("%s was not rewound:\n%s", second.name, log)
		}
	})
}
