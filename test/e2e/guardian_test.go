//go:build linux

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// A frozen agent neither renews nor demotes. Whatever its guardian does about
// it, there are never two primaries.
func TestFrozenAgentNeverLeadsToTwoPrimaries(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old := c.bringUp(2)
	other := c.nodes[1]
	old.must("CREATE TABLE load (id bigint PRIMARY KEY, node text)")
	w := c.startWriterTo(1, old)

	agent := old.agentPID()
	old.kill(agent, syscall.SIGSTOP, "agent")
	frozen := time.Now()
	const others = 1 << 40
	c.eventually(ttl+patience, "somebody else leads, or a new agent does", func() (bool, string) {
		return c.leaderKey() == other.name || old.agentPID() != agent && time.Since(frozen) > ttl, "leader key: " + c.leaderKey()
	})
	if c.leaderKey() == other.name {
		c.waitLeader(patience, other)
		w2 := c.startWriterTo(others, other)
		w2.stop()
		if last, first := w.last().at, w2.all()[0].at; !last.Before(first) {
			t.Errorf("two primaries: %s took a row %v after %s had taken one", old.name, last.Sub(first), other.name)
		}
		t.Logf("the frozen agent's primary took writes for %v, the next one after %v", w.last().at.Sub(frozen).Round(time.Millisecond),
			w2.all()[0].at.Sub(frozen).Round(time.Millisecond))
		if held := w.last().at.Sub(frozen); held > ttl-margin {
			t.Errorf("the frozen agent's primary took writes for %v, %v after its lease had ended", held, held-(ttl-margin))
		}
	}
	w.stop()
	if alive(agent) {
		old.kill(agent, syscall.SIGCONT, "agent")
	}
	c.eventually(patience, "a leader", func() (bool, string) { return c.leaderKey() != "", "none" })
	leader := old
	if c.leaderKey() == other.name {
		leader = other
	}
	c.waitHealthy(patience, leader)
	for _, a := range w.lost(leader) {
		if w.last().at.Sub(a.at) > time.Second {
			t.Errorf("row %d is lost, acknowledged %v before the last one", a.id, w.last().at.Sub(a.at))
			break
		}
	}
}

// What a service manager starts again finds its PostgreSQL running.
func TestNodeStartedAgainKeepsItsRunningPrimary(t *testing.T) {
	t.Parallel()
	for _, victim := range victims[1:] {
		t.Run(victim.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			leader := c.bringUp(2)
			w := c.startWriter(leader)
			postmaster, timeline := leader.postmasterPID(), leader.timeline()
			victim.killThem(leader)
			killed := time.Now()
			leader.startAgain()
			c.eventually(ttl+patience, "the lease of the time before would have ended", func() (bool, string) {
				return time.Since(killed) > ttl+3*time.Second || c.leaderKey() != leader.name, "waiting"
			})
			c.waitHealthy(patience, leader)
			if now := leader.postmasterPID(); now != postmaster {
				t.Errorf("postmaster %d became %d", postmaster, now)
			}
			if now := leader.timeline(); now != timeline {
				t.Errorf("timeline %d became %d", timeline, now)
			}
			if gap := w.gap(killed); gap > 3*time.Second {
				t.Errorf("no writes for %v", gap)
			}
			w.assertNothingLost(t, leader)
		})
	}
}

// An agent that keeps crashing is started later and later, PostgreSQL does not
// notice, and everybody can see it.
func TestAgentThatKeepsCrashingIsReported(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.bringUp(2)
	postmaster, agent, from := leader.postmasterPID(), leader.agentPID(), leader.logSize()
	for range 4 {
		leader.kill(agent, syscall.SIGKILL, "agent")
		killed := agent
		c.eventually(patience, "a new agent serves", func() (bool, string) {
			agent = leader.agentPID()
			status, body := leader.get("/primary")
			return agent != 0 && agent != killed && status == 200, body
		})
	}
	c.eventually(patience, "tamada list says so", func() (bool, string) {
		_, out := leader.cli("list")
		return strings.Contains(out, "The agent of n1 keeps crashing: 4 times in a row, its log says why"), out
	})
	if d, _ := leader.status()["tamada"].(object); d["crashes"] != 4.0 {
		t.Errorf("GET /patroni: %v", d)
	}
	leader.says(from, "in_a_row=1 in=0s", "in_a_row=2 in=2", "in_a_row=3 in=", "in_a_row=4 in=")
	c.eventually(patience, "it is forgotten when the agent lives on", func() (bool, string) {
		_, out := leader.cli("list")
		return !strings.Contains(out, "keeps crashing"), out
	})
	if now := leader.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
}

// Both are killed within 50 ms of each other, and the service manager starts the
// service again as late as 15 s after that: PostgreSQL is adopted.
func TestServiceStartedLateAdoptsThePrimary(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["ttl"], c.dynamic["loop_wait"], c.dynamic["retry_timeout"] = 30, 10, 10 // the defaults
	leader := c.bringUp(3)
	w := c.startWriter(leader)
	postmaster := leader.postmasterPID()
	agent := leader.agentPID()
	leader.kill(leader.main.pid(), syscall.SIGKILL, "guardian")
	leader.kill(agent, syscall.SIGKILL, "agent")
	killed := time.Now()
	<-leader.main.done
	c.eventually(patience, "the agent has ended", func() (bool, string) { return !alive(agent), "it runs" })
	c.quietFor(15*time.Second, "nothing of ours runs there", func() (bool, string) { return leader.agentPID() == 0 && c.leaderKey() == leader.name, c.leaderKey() })
	leader.startAgain()
	c.eventually(patience, "it leads again", func() (bool, string) {
		status, body := leader.get("/primary")
		return status == 200, body
	})
	t.Logf("adopted %v after the kill", time.Since(killed).Round(10*time.Millisecond))
	c.eventually(patience, "the lease of before would have ended", func() (bool, string) {
		return time.Since(killed) > 33*time.Second || c.leaderKey() != leader.name, "waiting"
	})
	c.waitHealthy(patience, leader)
	if now := leader.postmasterPID(); now != postmaster || leader.timeline() != 1 {
		t.Errorf("postmaster %d became %d, timeline %d", postmaster, now, leader.timeline())
	}
	if failed := w.failures(); len(failed) > 0 {
		t.Errorf("%d statements failed, the first: %s", len(failed), failed[0])
	}
	w.assertNothingLost(t, leader)
}

// Guardian and agent frozen past their deadline: the window that only something
// outside closes. Whoever wakes first kills PostgreSQL at once.
func TestBothFrozenAndWokenFenceAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old := c.bringUp(2)
	other := c.nodes[1]
	old.must("CREATE TABLE load (id bigint PRIMARY KEY, node text)")
	w := c.startWriterTo(1, old)
	main, agent := old.main.pid(), old.agentPID()
	old.kill(main, syscall.SIGSTOP, "guardian")
	old.kill(agent, syscall.SIGSTOP, "agent")
	frozen := time.Now()
	c.waitLeader(ttl+patience, other)
	second := c.startWriterTo(1<<40, other)
	c.quietFor(10*time.Second, "both accept writes: the window", func() (bool, string) { return old.postmasterPID() != 0, "it is gone" })
	w.stop()
	second.stop()
	begun := second.all()[0].at
	t.Logf("two primaries from %v after the freeze on, until somebody acts: %v in this test", begun.Sub(frozen).Round(100*time.Millisecond),
		w.last().at.Sub(begun).Round(100*time.Millisecond))
	conn, err := old.connect(contextFor(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	// The agent first: a guardian that is awake kills an agent that still stands
	// still, and then there is nobody to wake.
	old.kill(agent, syscall.SIGCONT, "agent")
	old.kill(main, syscall.SIGCONT, "guardian")
	woken := time.Now()
	for {
		if _, err := conn.Exec(contextFor(t, patience), "INSERT INTO load VALUES (1000000 + extract(epoch from clock_timestamp())*1000, 'late')"); err != nil {
			break
		}
	}
	took := time.Since(woken)
	t.Logf("PostgreSQL took no write any more %v after the waking", took.Round(time.Millisecond))
	if took > 500*time.Millisecond { // 100 ms on an idle machine
		t.Errorf("PostgreSQL took writes for %v after the waking", took)
	}
	c.waitHealthy(patience, other)
}
