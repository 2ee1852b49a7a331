//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gaveWay waits for another primary and returns how long that took from the
// beginning of the trouble to the first row of the new one.
func (c *cluster) gaveWay(old *node, w *writer, begin time.Time, x times) (leader *node, took time.Duration) {
	c.t.Helper()
	leader = c.waitNewLeader(x.ttl+patience, old)
	c.eventually(patience, leader.name+" takes rows", func() (bool, string) {
		return !w.firstAfter(leader, begin).IsZero(), "none"
	})
	return leader, w.firstAfter(leader, begin).Sub(begin)
}

// The sessions that exist write on while no new one can be opened: what looks
// well from inside is of no use.
func TestStoppedPostmasterGivesWayToAReplica(t *testing.T) {
	t.Parallel()
	x := shortTimes()
	c, old := bringUpWith(t, x)
	w := c.startWriter(old)
	postmaster := old.postmasterPID()
	from := old.logSize()
	old.kill(postmaster, syscall.SIGSTOP, "postmaster")
	stopped := time.Now()
	leader, took := c.gaveWay(old, w, stopped, x)
	t.Logf("the postmaster was stopped: the next primary took rows after %v, the lease being %v", took.Round(time.Millisecond), x.ttl)
	if took > x.ttl {
		t.Errorf("the next primary took rows after %v only, the lease being %v", took, x.ttl)
	}
	old.says(from, "Primary hangs. Failing over: it takes no new connection")
	if alive(postmaster) {
		t.Errorf("the stopped postmaster of %s still exists", old.name)
	}
	if last, first := w.lastOn(old), w.firstAfter(leader, stopped); last.After(first) {
		t.Errorf("two primaries: %s took a row %v after %s", old.name, last.Sub(first), leader.name)
	}
	c.waitHealthy(patience, leader)
	for _, a := range w.lost(leader) {
		if w.lastOn(old).Sub(a.at) > time.Second {
			t.Errorf("row %d is lost, acknowledged %v before the last one of %s", a.id, w.lastOn(old).Sub(a.at), old.name)
			break
		}
	}
}

func TestStoppedPostmasterStaysWhereNobodyCouldTakeOver(t *testing.T) {
	t.Parallel()
	x := shortTimes()
	c := newCluster(t)
	x.use(c)
	leader := c.bringUp(1, guarded)
	other := c.add("n2", here(t), guarded)
	other.set("tags.nofailover", true)
	other.start()
	c.waitHealthy(patience, leader)
	c.waitTimes(leader, x)
	w := c.startWriter(leader)
	postmaster, from := leader.postmasterPID(), leader.logSize()
	leader.kill(postmaster, syscall.SIGSTOP, "postmaster")
	begin := time.Now()
	c.eventually(x.ttl+patience, "it says that it stays", func() (bool, string) {
		log := leader.logSince(from)
		return strings.Contains(log, "but nobody could take over: staying"), log
	})
	c.quietFor(max(x.ttl+time.Second-time.Since(begin), time.Second), "the sessions that exist go on", func() (bool, string) {
		return time.Since(w.last().at) < time.Second && c.leaderKey() == leader.name && alive(postmaster), w.last().at.String()
	})
	leader.kill(postmaster, syscall.SIGCONT, "postmaster")
	c.eventually(patience, "it says that all is well again", func() (bool, string) {
		log := leader.logSince(from)
		return strings.Contains(log, "PostgreSQL takes new connections and its disk takes writes again"), log
	})
	if gap := w.gap(begin); gap > 2*time.Second {
		t.Errorf("no writes for %v", gap)
	}
	if now := leader.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
	w.assertNothingLost(t, leader)
}

// onSmallDisk puts the node's data folder on a file system of its own.
func onSmallDisk(n *node, megabytes int) {
	t := n.c.t
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	// pg_ctl, initdb and we put new files beside the folder too: only the folder is small.
	if err := os.MkdirAll(n.dataDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	a := owner(t)
	options := fmt.Sprintf("size=%dm,mode=0700,uid=%d,gid=%d", megabytes, a.uid, a.gid)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tamada-e2e", n.dataDir()).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		n.killAll()
		if err := syscall.Unmount(n.dataDir(), syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", n.dataDir(), err)
		}
	})
}

// fillDisk takes all that is left in the data folder's file system.
func fillDisk(n *node) {
	n.c.t.Helper()
	n.c.note("the disk of %s fills up", n.name)
	path := filepath.Join(n.dataDir(), "ballast")
	f, err := os.Create(path)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		n.c.t.Fatal(err)
	}
}

func TestFullDiskGivesWayToAReplica(t *testing.T) {
	t.Parallel()
	x := shortTimes()
	c := newCluster(t)
	x.use(c)
	for _, name := range []string{"n1", "n2"} {
		c.add(name, here(t), guarded)
	}
	old := c.nodes[0]
	onSmallDisk(old, 200)
	c.startAll()
	c.waitTimes(old, x)
	w := c.startWriter(old)
	from := old.logSize()
	fillDisk(old)
	full := time.Now()
	leader, took := c.gaveWay(old, w, full, x)
	t.Logf("the disk was full: the next primary took rows after %v, the lease being %v", took.Round(time.Millisecond), x.ttl)
	if took > x.ttl {
		t.Errorf("the next primary took rows after %v only, the lease being %v", took, x.ttl)
	}
	c.eventually(patience, old.name+" says why it gave way", func() (bool, string) {
		log := old.logSince(from)
		return strings.Contains(log, "its disk takes no write") || strings.Contains(log, "Failing over"), log
	})
	for _, a := range w.lost(leader) {
		if w.lastOn(old).Sub(a.at) > time.Second {
			t.Errorf("row %d is lost, acknowledged %v before the last one of %s", a.id, w.lastOn(old).Sub(a.at), old.name)
			break
		}
	}
	c.note("there is room again")
	if err := os.Remove(filepath.Join(old.dataDir(), "ballast")); err != nil {
		t.Fatal(err)
	}
	c.waitHealthy(2*patience, leader)
}

// A PostgreSQL that crashes again and again is started again where it is, until
// the budget is spent.
func TestCrashLoopGivesWayWhenItsBudgetIsSpent(t *testing.T) {
	t.Parallel()
	x := shortTimes()
	c := newCluster(t)
	x.use(c)
	const budget = 2
	c.dynamic["primary_crash_limit"] = budget
	old := c.bringUp(2, guarded)
	c.waitTimes(old, x)
	w := c.startWriter(old)
	timeline := old.timeline()
	for i := 1; i <= budget; i++ {
		killed := time.Now()
		postmaster := old.postmasterPID()
		old.kill(postmaster, syscall.SIGKILL, "postmaster")
		c.eventually(patience, "it is started again where it is", func() (bool, string) {
			return !w.firstAfter(old, killed.Add(50*time.Millisecond)).IsZero() && old.postmasterPID() != postmaster, "no row yet"
		})
		if key := c.leaderKey(); key != old.name || old.timeline() != timeline {
			t.Fatalf("crash %d of %d moved the role: %s leads on timeline %d", i, budget, key, old.timeline())
		}
	}
	from := old.logSize()
	old.kill(old.postmasterPID(), syscall.SIGKILL, "postmaster")
	killed := time.Now()
	leader, took := c.gaveWay(old, w, killed, x)
	t.Logf("crash %d, the budget being %d: the next primary took rows after %v", budget+1, budget, took.Round(time.Millisecond))
	old.says(from, fmt.Sprintf("Primary crashed %d times within ten minutes. Failing over.", budget+1))
	c.waitHealthy(patience, leader)
	// What a crash kept from being sent is lost, as after any crash.
	for _, a := range w.lost(leader) {
		if a.node != old || killed.Sub(a.at) > time.Second {
			t.Errorf("row %d is lost, acknowledged by %s %v before the last crash", a.id, a.node.name, killed.Sub(a.at))
			break
		}
	}
}
