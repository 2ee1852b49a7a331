//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bringUpApart makes three nodes and a store, each in a network namespace of its
// own. The test's own eyes are in the hub and see everybody at all times.
func bringUpApart(t *testing.T, x times, failsafe bool) (c *cluster, leader *node) {
	t.Helper()
	network := newNetwork(t)
	store, _ := network.place()
	c = newClusterAt(t, store, store.address)
	x.use(c)
	c.dynamic["failsafe_mode"] = failsafe
	for i := range 3 {
		p, _ := network.place()
		c.add(fmt.Sprintf("n%d", i+1), p, guarded)
	}
	c.startAll()
	leader = c.nodes[0]
	c.waitTimes(leader, x)
	if failsafe {
		c.waitTopology()
	}
	return c, leader
}

// A gap in the network, and what must come of it.
var netCuts = []struct {
	name     string
	failsafe bool
	sever    func(t *testing.T, store, primary *place, replicas []*place)
	mend     func(t *testing.T, store, primary *place, replicas []*place)
	stays    bool          // the primary stays, and writes without a gap
	extra    bool          // only in the long run
	grace    time.Duration // acknowledged rows of the last moments that may be lost
}{
	{"primary from store", false,
		func(t *testing.T, s, p *place, _ []*place) { cut(t, p, s) },
		func(t *testing.T, s, p *place, _ []*place) { mend(t, p, s) }, false, false, time.Second},
	{"primary from store, failsafe", true,
		func(t *testing.T, s, p *place, _ []*place) { cut(t, p, s) },
		func(t *testing.T, s, p *place, _ []*place) { mend(t, p, s) }, true, true, 0},
	{"requests of primary to store lost, failsafe", true,
		func(t *testing.T, s, p *place, _ []*place) { p.lose(t, s.address) },
		func(t *testing.T, s, p *place, _ []*place) { p.find(t, s.address) }, true, false, 0},
	{"answers of store to primary lost", false,
		func(t *testing.T, s, p *place, _ []*place) { s.lose(t, p.address) },
		func(t *testing.T, s, p *place, _ []*place) { s.find(t, p.address) }, false, false, time.Second},
	{"primary from replicas", true,
		func(t *testing.T, _, p *place, rs []*place) { cut(t, p, rs[0]); cut(t, p, rs[1]) },
		func(t *testing.T, _, p *place, rs []*place) { mend(t, p, rs[0]); mend(t, p, rs[1]) }, true, false, 0},
	// Who loses the store and one replica cannot know what that replica does.
	{"primary from store and one replica, failsafe", true,
		func(t *testing.T, s, p *place, rs []*place) { cut(t, p, s); cut(t, p, rs[0]) },
		func(t *testing.T, s, p *place, rs []*place) { mend(t, p, s); mend(t, p, rs[0]) }, false, false, never},
	{"one replica hears the primary no more, failsafe", true,
		func(t *testing.T, s, p *place, rs []*place) { cut(t, p, s); p.lose(t, rs[0].address) },
		func(t *testing.T, s, p *place, rs []*place) { mend(t, p, s); p.find(t, rs[0].address) }, false, false, never},
	{"everybody from everybody, failsafe", true,
		func(t *testing.T, s, p *place, rs []*place) {
			for _, r := range rs {
				cut(t, p, r)
				cut(t, r, s)
			}
			cut(t, p, s)
		},
		func(t *testing.T, s, p *place, rs []*place) {
			for _, r := range rs {
				mend(t, p, r)
				mend(t, r, s)
			}
			mend(t, p, s)
		}, false, true, never},
}

// never is longer than a test: what the isolated side wrote may all be lost.
const never = time.Hour

func TestNetworkCutsNeverMakeTwoPrimaries(t *testing.T) {
	t.Parallel()
	for i := range netCuts {
		k := &netCuts[i]
		t.Run(k.name, func(t *testing.T) {
			if k.extra && !long {
				t.Skip("set TAMADA_LONG=1 for this one")
			}
			t.Parallel()
			x := shortTimes()
			c, old := bringUpApart(t, x, k.failsafe)
			r := c.startRivals(old)
			store, replicas := c.where, []*place{c.nodes[1].at, c.nodes[2].at}
			c.note("the network breaks: %s", k.name)
			k.sever(t, store, old.at, replicas)
			broken := time.Now()
			if k.stays {
				assertPrimaryStays(c, r, old, broken, x)
			} else {
				assertGivesWay(t, c, r, old, broken, x)
			}
			c.note("the network is mended")
			k.mend(t, store, old.at, replicas)
			leader := old
			c.eventually(patience, "somebody leads", func() (bool, string) {
				key := c.leaderKey()
				if key == "" {
					return false, "nobody"
				}
				leader = c.nodeNamed(key)
				return inRecovery(leader) == "false", key
			})
			c.waitHealthy(patience, leader)
			r.progress(leader, 20)
			turns := []*node{old}
			if leader != old {
				turns = append(turns, leader)
			}
			if k.stays && leader != old {
				t.Errorf("%s leads now, want %s to stay", leader.name, old.name)
			}
			r.assertTurns(t, turns...)
			r.assertKept(t, leader, k.grace)
		})
	}
}

// assertPrimaryStays: longer than a lease the primary takes writes, and a
// replica's promise outlives the agent that gave it.
func assertPrimaryStays(c *cluster, r *rivals, old *node, broken time.Time, x times) {
	c.t.Helper()
	replica := c.nodes[1]
	agent := replica.agentPID()
	c.eventually(x.ttl+patience, "the lease that the store knew has ended, or never will", func() (bool, string) {
		return time.Since(broken) > x.ttl+x.margin(), "waiting"
	})
	from := replica.logSize()
	replica.kill(agent, syscall.SIGKILL, "agent")
	c.eventually(patience, "the replica has another agent", func() (bool, string) {
		pid := replica.agentPID()
		return pid != 0 && pid != agent, "none"
	})
	c.quietFor(x.ttl, "the primary stays", func() (bool, string) {
		v := inRecovery(old)
		return v == "false", v
	})
	if gap := r.gap(old, broken); gap > 2*time.Second {
		c.t.Errorf("no writes for %v", gap)
	}
	if log := replica.logSince(from); strings.Contains(log, "promoted self") {
		c.t.Errorf("the new agent of the replica raced:\n%s", log)
	}
}

// assertGivesWay: the primary takes no write after its deadline, and tells the
// load balancers before.
func assertGivesWay(t *testing.T, c *cluster, r *rivals, old *node, broken time.Time, x times) {
	t.Helper()
	watch := old.probe(1, 10*time.Millisecond)
	c.eventually(2*x.ttl+patience, "writes have stopped", func() (bool, string) {
		gap := r.gap(old, broken)
		last := r.of(old, broken)
		return len(last) > 0 && time.Since(last[len(last)-1].at) > 1500*time.Millisecond, gap.String()
	})
	acks := r.of(old, broken)
	last := acks[len(acks)-1].at
	stopped := last.Sub(broken)
	t.Logf("writes stopped after %v, the lease being %v", stopped.Round(time.Millisecond), x.ttl)
	// A round of questions that all members answered may have been under way.
	if stopped > x.latest()+100*time.Millisecond {
		t.Errorf("writes stopped after %v only, want %v at most", stopped, x.latest())
	}
	if stopped < x.earliest() {
		t.Errorf("writes stopped after %v already: a valid lease was given up", stopped)
	}
	if off, ok := watch.first(broken, func(s sample) bool { return s.code == 503 }); !ok {
		t.Error("GET /primary never answered 503")
	} else if early := last.Sub(off.answered); early < 300*time.Millisecond {
		t.Errorf("GET /primary answered 503 %v before the last row only", early)
	} else {
		t.Logf("GET /primary answered 503 %v before the last row", early.Round(time.Millisecond))
	}
}
