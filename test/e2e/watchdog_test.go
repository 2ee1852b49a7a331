//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe plays the watchdog device of a node: what is written to it is what the
// kernel would be told.
type pipe struct {
	c    *cluster
	name string

	mu   sync.Mutex // guards text
	text string
}

// watchdogPipe gives a node a device, and the mode.
func watchdogPipe(n *node, mode string) *pipe {
	t := n.c.t
	t.Helper()
	path := filepath.Join(n.dir, "watchdog")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	n.at.give(t, path)
	// Open for both directions: the pipe does not end when its writer does.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	p := &pipe{c: n.c, name: n.name}
	go func() {
		b := make([]byte, 4096)
		for {
			m, err := f.Read(b)
			if err != nil {
				return
			}
			n.c.note("watchdog of %s: %q", n.name, b[:m])
			p.mu.Lock()
			p.text += string(b[:m])
			p.mu.Unlock()
		}
	}()
	n.set("watchdog", object{"mode": mode, "device": n.at.inside(path), "driver": "testing"})
	return p
}

func (p *pipe) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text
}

// since is what came after the last opening.
func (p *pipe) since() string {
	_, after, _ := cutLast(p.all(), "C")
	return after
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (p *pipe) closed() bool { return strings.HasSuffix(p.all(), "V") }

func (p *pipe) wait(what string, holds func(text string) bool) {
	p.c.t.Helper()
	p.c.eventually(patience, "watchdog of "+p.name+": "+what, func() (bool, string) { return holds(p.all()), p.all() })
}

func TestWatchdogIsFedByTheLeaderAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	pipes := map[string]*pipe{}
	leader := c.bringUp(2, guarded, func(n *node) { pipes[n.name] = watchdogPipe(n, "required") })
	replica := c.nodes[1]
	of := func(n *node) *pipe { return pipes[n.name] }

	of(leader).wait("opened, set and fed", func(text string) bool { return strings.HasPrefix(text, "Ctimeout=15\n111") })
	if text := of(replica).all(); text != "" {
		t.Errorf("the replica's was opened: %q", text)
	}
	c.pause(true)
	of(leader).wait("disabled in maintenance mode", func(string) bool { return of(leader).closed() })
	c.pause(false)
	of(leader).wait("opened again", func(string) bool { return strings.HasPrefix(of(leader).since(), "timeout=15\n1") })
	leader.patch(`{"ttl": 30}`)
	of(leader).wait("set to the new time to live", func(string) bool { return strings.HasPrefix(of(leader).since(), "timeout=25\n1") })

	agent := leader.agentPID()
	leader.kill(agent, syscall.SIGKILL, "agent")
	c.eventually(patience, "a new agent leads", func() (bool, string) {
		status, body := leader.get("/primary")
		return leader.agentPID() != agent && status == 200, body
	})
	fed := len(of(leader).all())
	of(leader).wait("fed on, not opened anew, after the agent was replaced", func(text string) bool {
		return len(text) > fed+2 && strings.Trim(text[fed:], "1") == ""
	})

	leader.want(200, `Successfully switched over to "`+replica.name+`"`, "POST", "/switchover", `{"leader": "`+leader.name+`", "candidate": "`+replica.name+`"}`)
	of(leader).wait("disabled by the demotion", func(string) bool { return of(leader).closed() })
	of(replica).wait("opened by the new leader", func(text string) bool { return strings.HasPrefix(text, "Ctimeout=25\n1") })
	c.waitHealthy(patience, replica)

	replica.stop()
	c.eventually(patience, "the node has ended", func() (bool, string) { return replica.main.ended(), "it runs" })
	if !of(replica).closed() {
		t.Errorf("a node that was stopped left its device armed: %q", of(replica).all())
	}
}

// Whoever kills or freezes guardian and agent at once leaves the device armed,
// and nobody feeds it.
func TestWatchdogStaysArmedWhenEverythingOfOursIsGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var p *pipe
	leader := c.bringUp(1, func(n *node) { p = watchdogPipe(n, "automatic") })
	p.wait("opened and fed", func(text string) bool { return strings.HasPrefix(text, "Ctimeout=15\n11") })
	main, agent := leader.main.pid(), leader.agentPID()
	for _, pid := range []int{main, agent} {
		leader.kill(pid, syscall.SIGSTOP, "guardian and agent")
	}
	frozen := len(p.all())
	c.quietFor(8*time.Second, "a frozen tree feeds nothing", func() (bool, string) { return len(p.all()) <= frozen+1, p.all() })
	// Killed before they can go on.
	for _, pid := range []int{main, agent} {
		leader.kill(pid, syscall.SIGKILL, "guardian and agent")
	}
	<-leader.main.done
	c.eventually(patience, "both are gone", func() (bool, string) { return !alive(agent), "" })
	if p.closed() || len(p.all()) > frozen+1 {
		t.Errorf("the device was disabled or fed by processes that were killed: %q", p.all())
	}
	// The service manager starts it again: the device is fed again.
	leader.startAgain()
	p.wait("opened again", func(text string) bool {
		return strings.HasPrefix(text[frozen:], "Ctimeout=") || strings.HasPrefix(text[frozen:], "1Ctimeout=")
	})
	c.waitLeader(patience, leader)
}

func TestNodeWithoutARequiredWatchdogDoesNotLead(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	pipes := map[string]*pipe{}
	missing := func(n *node) {
		n.set("watchdog", object{"mode": "required", "device": n.file("not-there"), "driver": "testing"})
	}
	leader := c.add("n1", here(t), guarded, func(n *node) { pipes[n.name] = watchdogPipe(n, "required") })
	second := c.add("n2", here(t), guarded, missing)
	c.startAll()
	c.eventually(patience, "the replica says that it could not lead", func() (bool, string) {
		d := second.status()
		return d["watchdog_failed"] == true, second.name + ": " + second.logSince(0)
	})
	second.says(0, "watchdog.mode is required", "not-there: no such file")
	if code, text := leader.ask("POST", "/switchover", `{"leader": "n1", "candidate": "n2"}`); code == 200 {
		t.Errorf("switchover to it: %d %s", code, text)
	}
	leader.killAll()
	c.quietFor(ttl+5*time.Second, "it does not take over", func() (bool, string) { return c.leaderKey() != second.name, c.leaderKey() })
	second.says(0, "Watchdog device is not usable")
	leader.start()
	c.waitHealthy(patience, leader)

	// A leader that loses its device by a mistake in the configuration keeps the one
	// it has open.
	postmaster := leader.postmasterPID()
	from := leader.logSize()
	leader.set("watchdog.device", leader.file("not-there"))
	leader.writeConfig()
	leader.want(202, "reload scheduled", "POST", "/reload", "")
	c.eventually(patience, "it says so and goes on", func() (bool, string) {
		return strings.Contains(leader.logSince(from), "it goes on with the settings before"), leader.logSince(from)
	})
	c.quietFor(5*time.Second, "it leads on", func() (bool, string) {
		return c.leaderKey() == leader.name && leader.postmasterPID() == postmaster, c.leaderKey()
	})
}

// The dynamic configuration makes the lease too short for the devices that every
// node requires: nobody may lead, and every node says why and what helps.
func TestLeaseTooShortForARequiredWatchdogLeavesNobodyToLead(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	pipes := map[string]*pipe{}
	old := c.bringUp(2, guarded, func(n *node) { pipes[n.name] = watchdogPipe(n, "required") })
	shortage := "ERROR: watchdog.mode is required, and ttl 5 less watchdog.safety_margin 5 leaves the device less than loop_wait 1: this node must not lead"
	old.patch(`{"ttl": 5, "loop_wait": 1, "retry_timeout": 1}`)
	for _, n := range c.nodes {
		c.eventually(patience, n.name+" says so", func() (bool, string) { return strings.Contains(n.logSince(0), shortage), n.logSince(0) })
	}
	c.eventually(patience, "the leader gives way", func() (bool, string) {
		log := old.logSince(0)
		return c.leaderKey() == "" && strings.Contains(log, "Demoting self because watchdog could not be activated"), log
	})
	if p := pipes[old.name]; !p.closed() {
		p.wait("disabled by the demotion", func(string) bool { return p.closed() })
	}
	c.quietFor(10*time.Second, "nobody leads", func() (bool, string) { return c.leaderKey() == "", c.leaderKey() })
	for _, n := range c.nodes {
		if count := strings.Count(n.logSince(0), shortage); count != 1 {
			t.Errorf("%s says it %d times, want once:\n%s", n.name, count, n.logSince(0))
		}
	}

	c.nodes[1].patch(`{"ttl": 20}`)
	leader := c.waitAnyLeader()
	c.waitHealthy(patience, leader)
	pipes[leader.name].wait("in use again", func(text string) bool { return strings.Contains(text, "timeout=15\n1") && !pipes[leader.name].closed() })
}

func TestAgentAloneFeedsTheWatchdogItself(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var p *pipe
	leader := c.bringUp(1, func(n *node) {
		p = watchdogPipe(n, "required")
		n.command = append(n.command, "--no-guardian")
	})
	p.wait("opened and fed", func(text string) bool { return strings.HasPrefix(text, "Ctimeout=15\n111") })
	leader.stop()
	c.eventually(patience, "the node has ended", func() (bool, string) { return leader.main.ended(), "it runs" })
	if !p.closed() {
		t.Errorf("it left its device armed: %q", p.all())
	}
}

// Both are killed on a node with an armed device, and PostgreSQL with them: the
// service that is started again disables the device, or the machine would be
// reset for nothing.
func TestWatchdogLeftArmedIsDisabledWhenNothingIsToBeGuarded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	pipes := map[string]*pipe{}
	leader := c.bringUp(2, func(n *node) { pipes[n.name] = watchdogPipe(n, "automatic") })
	other := c.nodes[1]
	p := pipes[leader.name]
	p.wait("opened and fed", func(text string) bool { return strings.HasPrefix(text, "Ctimeout=15\n11") })
	leader.killAll()
	if p.closed() {
		t.Fatalf("the device was disabled by processes that were killed: %q", p.all())
	}
	c.waitLeader(ttl+patience, other)
	leader.start()
	p.wait("disabled by the next guardian", func(string) bool { return p.closed() })
	c.waitHealthy(patience, other)
	if text := p.all(); strings.Count(text, "C") != 1 {
		t.Errorf("a replica set the device: %q", text)
	}
}
