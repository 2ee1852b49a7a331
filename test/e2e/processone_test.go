//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// In a container the guardian is process 1: nobody else reaps, and signals
// without a handler do nothing.
func TestGuardianAsProcessOne(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a namespace")
	}
	for _, program := range []string{"unshare", "setpriv"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	c := newCluster(t)
	n := c.add("n1", here(t))
	n.writeConfig()
	cmd := exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc",
		"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"}, n.command...)...)
	n.main = startProgram(t, n.name, n.log, cmd)
	c.waitLeader(patience, n)
	// As this machine sees them.
	inside := func() (all []process) { return descendants(readProcesses(), n.main.pid()) }
	guardian := 0
	for _, p := range inside() {
		if p.ppid == n.main.pid() {
			guardian = p.pid
		}
	}
	if b, _ := os.ReadFile("/proc/" + strconv.Itoa(guardian) + "/status"); !strings.Contains(string(b), "\t1\n") {
		t.Fatalf("process %d is not process 1:\n%s", guardian, b)
	}
	agent := n.agentPID()
	n.kill(agent, syscall.SIGKILL, "agent")
	c.eventually(patience, "a new agent serves", func() (bool, string) {
		status, body := n.get("/primary")
		return n.agentPID() != agent && n.agentPID() != 0 && status == 200, body
	})
	// Sessions, and what they start, end all the time.
	for range 5 {
		n.closeViews()
		n.must("SELECT 1")
	}
	c.eventually(patience, "nothing dead is left", func() (bool, string) {
		for _, p := range inside() {
			if p.state == 'Z' {
				return false, p.comm
			}
		}
		return true, ""
	})
	n.down = true
	n.kill(guardian, syscall.SIGTERM, "process 1")
	c.eventually(patience, "it has ended", func() (bool, string) { return n.main.ended(), "it runs" })
	if code := n.main.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if key := c.leaderKey(); key != "" {
		t.Errorf("the leader key is left: %s", key)
	}
}
