//go:build linux

package e2e

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestKilledPostmasterIsStartedAgainOnTheSameNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.bringUp(2)
	w := c.startWriter(leader)
	before := leader.timeline()

	postmaster := leader.postmasterPID()
	killed := time.Now()
	leader.kill(postmaster, syscall.SIGKILL, "postmaster")
	c.eventually(patience, "a new postmaster takes writes", func() (bool, string) {
		return leader.postmasterPID() != postmaster && !w.firstAfter(leader, killed.Add(20*time.Millisecond)).IsZero(), "no row yet"
	})
	w.progress(patience, 100)

	if key := c.leaderKey(); key != leader.name {
		t.Errorf("the leader is %s now, a crash of PostgreSQL alone must not move the role", key)
	}
	if now := leader.timeline(); now != before {
		t.Errorf("timeline %d became %d: crash recovery must not begin a new one", before, now)
	}
	if gap := w.gap(killed); gap > 3*time.Second {
		t.Errorf("no writes for %v", gap)
	} else {
		t.Logf("no writes for %v", gap.Round(time.Millisecond))
	}
	w.assertNothingLost(t, leader)
	c.waitHealthy(patience, leader)
}

func TestDeadNodeIsReplacedAndComesBackRewound(t *testing.T) {
	t.Parallel()
	assertDeadNodeComesBack(t, here(t), 3)
}

// assertDeadNodeComesBack kills everything on the node of a primary that has
// written what nobody received.
func assertDeadNodeComesBack(t *testing.T, p *place, count int) {
	t.Helper()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	old := c.bringUpAt(p, count)
	w := c.startWriter(old)

	// Frozen WAL senders: what is committed from now on exists on the old primary only, as far as the kernel has not
	// taken it already.
	copied := w.last()
	for _, n := range c.nodes[1:] {
		c.eventually(patience, n.name+" has the rows so far", func() (bool, string) {
			v, err := n.query("SELECT max(id) FROM load")
			return atLeast(v, copied.id), v + errorText(err)
		})
	}
	for _, pid := range old.children("walsender") {
		old.kill(pid, syscall.SIGSTOP, "WAL sender")
	}
	alone := time.Now()
	w.progress(patience, 100)

	c.note("power failure of %s", old.name)
	killed := time.Now()
	old.killAll()
	oldTimeline := 1
	leader := c.waitNewLeader(ttl+15*time.Second, old)
	t.Logf("a new primary %v after the death, the lease being %v", time.Since(killed).Round(time.Millisecond), ttl)
	w.progress(patience, 50)
	if now := leader.timeline(); now != oldTimeline+1 {
		t.Errorf("timeline %d after %d", now, oldTimeline)
	}

	from := old.logSize()
	old.start()
	c.waitHealthy(patience, leader)
	if log := old.says(from, "pg_rewind"); strings.Contains(log, "basebackup") {
		t.Errorf("%s was not rewound:\n%s", old.name, log)
	}
	w.stop()
	for _, n := range []*node{leader, old} {
		c.eventually(patience, n.name+" has the last row", func() (bool, string) {
			v, err := n.query("SELECT max(id) FROM load")
			return atLeast(v, w.last().id), v + errorText(err)
		})
		there := w.rowsOn(n)
		var replicated, lonely, gone int
		for _, a := range w.all() {
			switch {
			case a.id <= copied.id || a.node != old:
				replicated++
				if !there[a.id] {
					t.Fatalf("%s: row %d, acknowledged by %s, is lost although it was not on the dead node alone", n.name, a.id, a.node.name)
				}
			case a.at.After(alone):
				lonely++
				if !there[a.id] {
					gone++
				}
			}
		}
		// A few bytes more may have been on their way when the senders were frozen.
		if lonely < 100 || gone < lonely-5 {
			t.Errorf("%s: of %d rows that existed on the dead node only, %d are gone", n.name, lonely, gone)
		}
		t.Logf("%s: %d replicated rows are there, %d of %d others are gone", n.name, replicated, gone, lonely)
	}
}

func TestStoppedLeaderHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old := c.bringUp(3)
	w := c.startWriter(old)

	stopped := time.Now()
	old.stop()
	leader := c.waitNewLeader(patience, old)
	w.progress(patience, 50)
	c.eventually(patience, "the stopped node has ended", func() (bool, string) { return old.main.ended(), "it runs" })
	if took := w.firstAfter(leader, stopped).Sub(stopped); took > ttl/2 {
		t.Errorf("%v until the next primary took writes: that is the lease running out, not a hand-over", took)
	} else {
		t.Logf("the next primary took writes after %v", took.Round(time.Millisecond))
	}
	if code := old.main.exitCode(); code != 0 {
		t.Errorf("exit code %d of the stopped node", code)
	}
	if left := old.processes(); len(left) > 0 {
		t.Errorf("the stopped node left processes: %v", left)
	}
	w.assertNothingLost(t, leader)

	from := old.logSize()
	old.start()
	c.waitHealthy(patience, leader)
	if log := old.logSince(from); strings.Contains(log, "basebackup") {
		t.Errorf("%s was copied anew although its history is a part of the leader's:\n%s", old.name, log)
	}
}

func TestKilledAgentIsReplacedWithoutPostgresNoticing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.bringUp(2)
	w := c.startWriter(leader)
	postmaster, agent, timeline := leader.postmasterPID(), leader.agentPID(), leader.timeline()
	session := leader.must("SELECT pg_backend_pid()")

	for round := range 2 { // the second of two crashes in a row is the harder one: its agent had inherited a lease
		leader.kill(agent, syscall.SIGKILL, "agent")
		killed := agent
		c.eventually(patience, "a new agent serves", func() (bool, string) {
			agent = leader.agentPID()
			status, body := leader.get("/primary")
			return agent != 0 && agent != killed && status == 200, body
		})
		t.Logf("crash %d: agent %d after %d", round+1, agent, killed)
	}
	// Longer than the lease: the new agent must have gone on renewing it.
	held := time.Now()
	c.eventually(ttl+patience, "the inherited lease was renewed", func() (bool, string) {
		return time.Since(held) > ttl+time.Second || c.leaderKey() != leader.name, "waiting"
	})

	if key := c.leaderKey(); key != leader.name {
		t.Errorf("the leader is %q now", key)
	}
	if now := leader.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
	if now := leader.must("SELECT pg_backend_pid()"); now != session {
		t.Errorf("the client's session %s became %s", session, now)
	}
	if now := leader.timeline(); now != timeline {
		t.Errorf("timeline %d became %d", timeline, now)
	}
	if gap := w.gap(held.Add(-patience)); gap > 2*time.Second {
		t.Errorf("no writes for %v", gap)
	}
	w.assertNothingLost(t, leader)
}

// atLeast compares a number in text with another.
func atLeast(text string, n int64) bool {
	v, err := strconv.ParseInt(text, 10, 64)
	return err == nil && v >= n
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return " " + err.Error()
}
