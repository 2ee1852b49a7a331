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

	"tamada/internal/testport"
)

// bringUpEmbedded makes three nodes that carry their own etcd. etcd's leader is on
// any of them.
func bringUpEmbedded(t *testing.T) (c *cluster, leader *node) {
	t.Helper()
	c = newCluster(t) // for its folder and its clean-up
	c.etcd.kill()
	c.etcd = nil
	base := testport.Range(t, 6)
	all := object{}
	for i := range 3 {
		all[fmt.Sprintf("n%d", i+1)] = fmt.Sprintf("127.0.0.1:%d", base+2*i+1)
	}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		c.add(name, here(t), func(n *node) {
			n.set("etcd3", object{"embedded": object{"peer": all[name], "client": n.etcdClient(base, i), "initial_cluster": all}})
		})
	}
	c.store = c.nodes[0].etcdClient(base, 0)
	for _, n := range c.nodes { // two are a majority: none of them comes up alone
		n.start()
	}
	leader = c.waitAnyLeader()
	c.waitHealthy(patience, leader)
	c.waitEtcd(3)
	return c, leader
}

// etcdClient is where the member of the i-th node answers.
func (n *node) etcdClient(base, i int) string { return fmt.Sprintf("127.0.0.1:%d", base+2*i) }

// etcdPID is the node's etcd member, 0 for none.
func (n *node) etcdPID() int {
	for _, p := range readProcesses() {
		if p.state != 'Z' && strings.HasSuffix(p.cmdline, "tamada etcd-member "+n.at.inside(n.configFile())) {
			return p.pid
		}
	}
	return 0
}

// etcd runs `tamada etcd …` with the node's configuration.
func (n *node) etcd(args ...string) (output string, err error) {
	argv := append([]string{n.at.tamada, "etcd"}, args...)
	out, err := n.at.command(n.c.t, append(argv, "-c", n.at.inside(n.configFile()))...).CombinedOutput()
	return string(out), err
}

// waitEtcd waits until so many members are healthy voters, and returns which one
// leads.
func (c *cluster) waitEtcd(count int) (leads string) {
	c.t.Helper()
	c.eventually(patience, fmt.Sprintf("%d members of etcd are healthy", count), func() (bool, string) {
		healthy, out := 0, ""
		for _, n := range c.nodes {
			if n.down {
				continue
			}
			out, _ = n.etcd("members") // fails where one is missing
			break
		}
		leads = ""
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) < 6 || f[5] != "healthy" || f[4] == "learner" {
				continue
			}
			healthy++
			if f[4] == "leader" {
				leads = f[0]
			}
		}
		return healthy == count && leads != "", out
	})
	return leads
}

// moveEtcd makes the member of a node etcd's leader.
func (c *cluster) moveEtcd(to *node) {
	c.t.Helper()
	var clients []string
	for _, n := range c.nodes {
		clients = append(clients, n.config["etcd3"].(object)["embedded"].(object)["client"].(string))
	}
	all := "--endpoints=" + strings.Join(clients, ",")
	c.eventually(patience, "etcd is led by "+to.name, func() (bool, string) {
		if leads := c.waitEtcd(3); leads == to.name {
			return true, ""
		}
		list, err := c.etcdctl(all, "member", "list", "-w", "json")
		if err != nil {
			return false, err.Error()
		}
		var l struct {
			Members []struct {
				ID   uint64
				Name string
			}
		}
		if err := json.Unmarshal(list, &l); err != nil {
			return false, err.Error()
		}
		for _, m := range l.Members {
			if m.Name == to.name {
				_, err = c.etcdctl(all, "move-leader", fmt.Sprintf("%x", m.ID))
			}
		}
		return false, fmt.Sprint(err)
	})
}

// One of three members is frozen, and one is killed: etcd's leader on the
// primary's own node, which is the worst of them, and another.
func TestLossOfAnEtcdMemberGoesUnnoticed(t *testing.T) {
	t.Parallel()
	c, leader := bringUpEmbedded(t)
	w := c.startWriter(leader)
	timeline := leader.timeline()
	begin := time.Now()

	replica := c.nodes[0]
	if replica == leader {
		replica = c.nodes[1]
	}
	c.store = leader.config["etcd3"].(object)["embedded"].(object)["client"].(string)
	for _, victim := range []*node{replica, leader} {
		c.moveEtcd(victim)
		c.note("the etcd member of %s, which leads, is frozen", victim.name)
		pid := victim.etcdPID()
		victim.kill(pid, syscall.SIGSTOP, "etcd member")
		renewed := 0
		for left := leader.leaseLeft(); renewed < 2; {
			c.eventually(ttl, "the lease is renewed", func() (bool, string) {
				now := leader.leaseLeft()
				moved := now > left+time.Second
				left = now
				return moved, now.String()
			})
			renewed++
		}
		victim.kill(pid, syscall.SIGCONT, "etcd member")
		c.waitEtcd(3)

		victim.kill(pid, syscall.SIGKILL, "etcd member")
		c.eventually(patience, "it is started again", func() (bool, string) {
			now := victim.etcdPID()
			return now != 0 && now != pid, fmt.Sprint(now)
		})
		c.waitEtcd(3)
	}

	c.moveEtcd(leader)
	c.eventually(patience, "etcd's leadership has left the primary's node", func() (bool, string) {
		leads := c.waitEtcd(3)
		return leads != leader.name && strings.Contains(leader.logSince(0), "etcd's leadership moved to another node"), leads
	})
	if gap := w.gap(begin); gap > 2*time.Second {
		t.Errorf("no writes for %v", gap)
	} else {
		t.Logf("longest time between two rows: %v", gap.Round(time.Millisecond))
	}
	if now := c.leaderKey(); now != leader.name || leader.timeline() != timeline {
		t.Errorf("%s leads on timeline %d", now, leader.timeline())
	}
	if f := w.failures(); len(f) > 0 {
		t.Errorf("clients noticed: %v", f)
	}
	w.assertNothingLost(t, leader)
}

// What an operator does with the members: list, snapshot, replace one whose disk
// is lost, and restore all from the snapshot.
func TestEtcdIsLookedAfterByItsCommands(t *testing.T) {
	t.Parallel()
	c, leader := bringUpEmbedded(t)
	leader.must("CREATE TABLE kept AS SELECT 1 AS one")
	sysid := leader.must("SELECT system_identifier::text FROM pg_control_system()")
	if out, err := leader.etcd("members"); err != nil || strings.Count(out, "healthy") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	file := filepath.Join(leader.dir, "etcd.snapshot")
	if out, err := leader.etcd("snapshot", file); err != nil || !strings.Contains(out, "wrote and checked") {
		t.Fatalf("%v\n%s", err, out)
	}

	lost := c.nodes[0]
	if lost == leader {
		lost = c.nodes[1]
	}
	c.store = leader.config["etcd3"].(object)["embedded"].(object)["client"].(string)
	data := filepath.Join(lost.stateDir(), "etcd")
	c.note("the disk with the etcd member of %s is lost", lost.name)
	lost.killAll()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if out, err := leader.etcd("members"); err == nil || !strings.Contains(out, "`tamada etcd replace NAME` first") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := leader.etcd("replace", leader.name); err == nil || !strings.Contains(out, "answers, so it is not replaced") {
		t.Errorf("%v\n%s", err, out)
	}
	from := lost.logSize()
	lost.start()
	hint := "run `tamada etcd replace " + lost.name + "` on another node"
	c.eventually(patience, lost.name+" says what to do", func() (bool, string) {
		log := lost.logSince(from)
		return strings.Contains(log, hint), log
	})
	if out, err := leader.etcd("replace", lost.name); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.waitEtcd(3)
	c.waitHealthy(patience, leader)

	c.note("all of etcd's data is lost")
	for _, n := range c.nodes {
		n.stop()
	}
	for _, n := range c.nodes {
		c.eventually(patience, n.name+" has ended", func() (bool, string) { return n.main.ended(), "it runs" })
		if err := os.RemoveAll(filepath.Join(n.stateDir(), "etcd")); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		if out, err := n.etcd("restore", file); err != nil || !strings.Contains(out, "done for "+n.name) {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if out, err := leader.etcd("restore", file); err == nil || !strings.Contains(out, "has data") {
		t.Errorf("data was overwritten: %v\n%s", err, out)
	}
	for _, n := range c.nodes {
		n.start()
	}
	leader = c.waitAnyLeader()
	c.waitHealthy(patience, leader)
	c.waitEtcd(3)
	if now := leader.must("SELECT system_identifier::text FROM pg_control_system()"); now != sysid {
		t.Errorf("another cluster: %s, was %s", now, sysid)
	}
	if got := leader.must("SELECT count(*) FROM kept"); got != "1" {
		t.Errorf("%s of 1 row", got)
	}
}
