//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shortest are the shortest times that there are.
var shortest = times{4 * time.Second, time.Second, time.Second}

// five is the lease of which figures are promised.
var five = times{5 * time.Second, time.Second, time.Second}

func TestShortestLeaseLastsUntilAMemberWithoutAGuardianJoins(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	shortest.use(c)
	leader := c.bringUp(2, guarded)
	c.waitTimes(leader, shortest)
	w := c.startWriter(leader)
	begin := time.Now()
	c.quietFor(2*shortest.ttl, "the shortest lease is kept", func() (bool, string) {
		return c.leaderKey() == leader.name && leader.leaseLeft() <= shortest.latest(), leader.leaseLeft().String()
	})
	if gap := w.gap(begin); gap > time.Second {
		t.Errorf("no writes for %v", gap)
	}

	from := leader.logSize()
	alone := c.add("n3", here(t), guarded)
	alone.command = []string{alone.at.tamada, "run", "--no-guardian", alone.at.inside(alone.configFile())}
	alone.start()
	c.eventually(patience, "a member without a guardian is there", func() (bool, string) {
		key := c.key("members/n3")
		return key != "", key
	})
	joined := time.Now()
	c.eventually(patience, "the lease is that of the reference", func() (bool, string) {
		left := leader.leaseLeft()
		return left > shortest.latest(), left.String()
	})
	// It shows when the next renewal comes; what the short lease allows is the most.
	if took := time.Since(joined); took > shortest.latest() {
		t.Errorf("the times were raised after %v only, want the same cycle", took)
	} else {
		t.Logf("the times were raised %v after the member without a guardian was seen", took.Round(time.Millisecond))
	}
	leader.says(from, "WARNING: a member without a guardian has joined (n3): ttl below 20 s is safe only where every agent has one")
	c.waitHealthy(patience, leader)
	w.assertNothingLost(t, leader)
}

// promised is a bound that counts in the long run; beside other tests it is wider.
func promised(d time.Duration) time.Duration {
	if long {
		return d
	}
	return d * 3 / 2
}

// A node that dies is replaced within the lease and one second.
func TestLeaseOfFiveSecondsReplacesALostNodeInSix(t *testing.T) {
	t.Parallel()
	c, old := bringUpWith(t, five)
	w := c.startWriter(old)
	c.note("power failure of %s", old.name)
	died := time.Now()
	old.killAll()
	leader, took := c.gaveWay(old, w, died, five)
	t.Logf("the next primary took rows %v after the death, the lease being %v", took.Round(time.Millisecond), five.ttl)
	if took > promised(6*time.Second) {
		t.Errorf("the lost node was replaced after %v only", took)
	}
	c.waitHealthy(patience, leader)
}

// newClusterOfThree is a cluster with three members of etcd, which are returned with
// where they answer.
func newClusterOfThree(t *testing.T) (c *cluster, members []*program, clients []string) {
	t.Helper()
	c = newCluster(t) // for its folder and its clean-up
	c.etcd.kill()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed (scripts/setup installs it)")
	}
	var peers, all []string
	for i := range 3 {
		clients = append(clients, fmt.Sprintf("127.0.0.1:%d", freePort(t)))
		peers = append(peers, fmt.Sprintf("http://127.0.0.1:%d", freePort(t)))
		all = append(all, fmt.Sprintf("e%d=%s", i, peers[i]))
	}
	for i := range 3 {
		name := fmt.Sprintf("e%d", i)
		data := filepath.Join(c.dir, name)
		c.makeFolder(data, c.where)
		m := startProgram(t, name, filepath.Join(c.dir, "etcd.log"), c.where.command(t, program, "--name="+name, "--data-dir="+data,
			"--listen-client-urls=http://"+clients[i], "--advertise-client-urls=http://"+clients[i], "--listen-peer-urls="+peers[i],
			"--initial-advertise-peer-urls="+peers[i], "--initial-cluster="+strings.Join(all, ","), "--logger=zap", "--log-level=warn"))
		t.Cleanup(m.kill)
		members = append(members, m)
	}
	c.etcd = nil
	c.store = clients[0]
	c.eventually(patience, "etcd serves", func() (bool, string) {
		_, err := c.keys()
		return err == nil, fmt.Sprint(err)
	})
	return c, members, clients
}

// etcdLeader is the index of the member that leads.
func (c *cluster) etcdLeader(clients []string) (leader int) {
	c.t.Helper()
	c.eventually(patience, "etcd has a leader", func() (bool, string) {
		out, err := c.etcdctl("--endpoints="+strings.Join(clients, ","), "endpoint", "status")
		leader = -1
		for line := range strings.Lines(string(out)) {
			f := strings.Split(line, ", ")
			if len(f) > 4 && f[4] == "true" {
				for i, address := range clients {
					if f[0] == address {
						leader = i
					}
				}
			}
		}
		return leader >= 0, string(out) + errorText(err)
	})
	return leader
}

func TestLeaseOfFiveSecondsReplacesALostNodeAndEtcdsLeaderInNine(t *testing.T) {
	t.Parallel()
	c, members, clients := newClusterOfThree(t)
	five.use(c)
	old := c.bringUp(3, guarded, func(n *node) { n.set("etcd3.hosts", clients) })
	c.waitTimes(old, five)
	w := c.startWriter(old)
	lead := c.etcdLeader(clients)
	c.store = clients[(lead+1)%3]
	c.note("power failure of %s and of etcd's leader e%d", old.name, lead)
	died := time.Now()
	_ = members[lead].cmd.Process.Signal(syscall.SIGKILL)
	old.killAll()
	leader, took := c.gaveWay(old, w, died, five)
	t.Logf("the next primary took rows %v after the deaths, the lease being %v", took.Round(time.Millisecond), five.ttl)
	if took > promised(9*time.Second) {
		t.Errorf("the lost node was replaced after %v only", took)
	}
	c.waitHealthy(patience, leader)
}
