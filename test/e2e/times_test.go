//go:build linux

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// long tells that the full numbers are wanted (TAMADA_LONG=1, `make soak`): the
// times of the defaults, and minutes where the ordinary run has seconds.
var long = os.Getenv("TAMADA_LONG") != ""

// times are those of the dynamic configuration.
type times struct{ ttl, loopWait, retryTimeout time.Duration }

// The times of tests in which leases end: short ones, which members with a
// guardian may use, and those of the defaults in the long run.
func shortTimes() times {
	if long {
		return times{30 * time.Second, 10 * time.Second, 10 * time.Second}
	}
	return times{8 * time.Second, time.Second, time.Second}
}

// margin is what a deadline lies before the end of the lease.
func (x times) margin() time.Duration { return max(time.Second, x.ttl/10) }

// interval is how often a primary renews.
func (x times) interval() time.Duration { return min(x.loopWait, x.ttl/6) }

// latest is how long after the last contact with the store a primary may take
// writes; earliest how long it does at least.
func (x times) latest() time.Duration   { return x.ttl - x.margin() }
func (x times) earliest() time.Duration { return x.ttl - x.margin() - x.interval() - x.ttl/10 }

// use puts the times into the configuration of a cluster to be.
func (x times) use(c *cluster) {
	for key, d := range map[string]time.Duration{"ttl": x.ttl, "loop_wait": x.loopWait, "retry_timeout": x.retryTimeout} {
		c.dynamic[key] = int(d / time.Second)
	}
}

var leaseLeft = regexp.MustCompile(`(?m)^tamada_lease_deadline_seconds\{[^}]*\} ([0-9.e+-]+)$`)

// leaseLeft is how long the node's lease lasts unless it is renewed.
func (n *node) leaseLeft() time.Duration {
	_, body := n.get("/metrics")
	m := leaseLeft.FindStringSubmatch(body)
	if m == nil {
		return 0
	}
	s, _ := strconv.ParseFloat(m[1], 64)
	return time.Duration(s * float64(time.Second))
}

// waitTimes waits until a leader's lease is as short as the times say.
func (c *cluster) waitTimes(leader *node, x times) {
	c.t.Helper()
	c.eventually(patience, fmt.Sprintf("the lease of %s lasts %v", leader.name, x.latest()), func() (bool, string) {
		left := leader.leaseLeft()
		return left > 0 && left <= x.latest(), left.String()
	})
}

// bringUpWith makes three nodes with those times.
func bringUpWith(t *testing.T, x times, change ...func(*node)) (*cluster, *node) {
	t.Helper()
	c := newCluster(t)
	x.use(c)
	leader := c.bringUp(3, append(change, guarded)...)
	c.waitTimes(leader, x)
	return c, leader
}
