//go:build linux

package e2e

import (
	"syscall"
	"testing"
	"time"
)

// In maintenance mode nobody is fenced, but an agent that is of no use is
// replaced all the same; the end of it arms the guardian again.
func TestPauseFencesNothingAndStillReplacesTheAgent(t *testing.T) {
	t.Parallel()
	x := shortTimes()
	c := newCluster(t)
	x.use(c)
	leader := c.bringUp(2, guarded)
	c.waitTimes(leader, x)
	w := c.startWriter(leader)
	postmaster := leader.postmasterPID()
	c.pause(true)
	begin := time.Now()

	for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		agent := leader.agentPID()
		leader.kill(agent, how, "agent")
		c.eventually(patience, "another agent serves", func() (bool, string) {
			pid := leader.agentPID()
			code, body := leader.get("/primary")
			return pid != 0 && pid != agent && code == 200, body
		})
	}
	c.note("etcd is frozen")
	c.etcd.signal(syscall.SIGSTOP)
	leader.kill(leader.agentPID(), syscall.SIGKILL, "agent")
	c.quietFor(x.ttl+2*time.Second, "the primary goes on without store and lease", func() (bool, string) {
		return leader.postmasterPID() == postmaster && inRecovery(leader) == "false", inRecovery(leader)
	})
	c.etcd.signal(syscall.SIGCONT)
	c.eventually(patience, "it has the leader key", func() (bool, string) { return c.leaderKey() == leader.name, c.leaderKey() })
	if gap := w.gap(begin); gap > 2*time.Second {
		t.Errorf("no writes for %v in maintenance mode", gap)
	}
	c.pause(false)
	c.waitHealthy(patience, leader)
	c.waitTimes(leader, x)
	if now := leader.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}

	c.note("etcd is frozen")
	c.etcd.signal(syscall.SIGSTOP)
	frozen := time.Now()
	c.eventually(x.ttl+patience, "writes have stopped", func() (bool, string) {
		return time.Since(w.last().at) > 1500*time.Millisecond, "last row " + time.Since(w.last().at).String() + " ago"
	})
	stopped := w.last().at.Sub(frozen)
	t.Logf("after the end of maintenance mode writes stopped %v after the store was gone", stopped.Round(time.Millisecond))
	if stopped > x.latest() || stopped < x.earliest() {
		t.Errorf("writes stopped after %v, want %v to %v: the lease is not enforced as before", stopped, x.earliest(), x.latest())
	}
	c.etcd.signal(syscall.SIGCONT)
	w.progress(patience, 20)
	w.assertNothingLost(t, c.nodeNamed(c.leaderKey()))
}
