//go:build linux

package e2e

import (
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
