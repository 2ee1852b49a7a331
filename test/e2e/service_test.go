//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The unit that is shipped is one that systemd understands to the last line.
func TestServiceUnitIsValid(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit, err := os.ReadFile(filepath.Join("..", "..", "packaging", "tamada.service"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(unit), "/usr/bin/tamada", builtProgram(t))
	path := filepath.Join(t.TempDir(), "tamada.service")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	// Other units of this machine may have complaints of their own.
	if m := regexp.MustCompile(`(?m)^.*tamada\.service.*$`).FindString(string(out)); m != "" {
		t.Errorf("%v\n%s", err, out)
	}
}

// What the unit runs after the service has ended.
func TestFenceAfterTheService(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.bringUp(1, guarded)
	fence := func(result string) string {
		t.Helper()
		cmd := n.at.command(t, "/usr/bin/env", "SERVICE_RESULT="+result, n.at.tamada, "fence", "--after-service", n.at.inside(n.configFile()))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("fence: %v\n%s", err, out)
		}
		c.note("fence after %s: %s", result, out)
		return string(out)
	}
	freeze := func() (main, agent int) {
		main, agent = n.main.pid(), n.agentPID()
		n.kill(main, syscall.SIGSTOP, "guardian")
		n.kill(agent, syscall.SIGSTOP, "agent")
		return main, agent
	}
	postmaster := n.postmasterPID()
	for _, result := range []string{"success", "signal", "exit-code", ""} {
		if out := fence(result); !strings.Contains(out, "left as it is") || n.postmasterPID() != postmaster {
			t.Errorf("after %q: %s", result, out)
		}
	}
	c.pause(true)
	c.eventually(patience, "maintenance mode is kept beside the data", func() (bool, string) {
		b, _ := os.ReadFile(filepath.Join(n.dataDir(), "patroni.dynamic.json"))
		return strings.Contains(string(b), `"pause":true`) || strings.Contains(string(b), `"pause": true`), string(b)
	})
	if out := fence("watchdog"); !strings.Contains(out, "maintenance mode") || n.postmasterPID() != postmaster {
		t.Errorf("in maintenance mode: %s", out)
	}
	c.pause(false)
	c.eventually(patience, "its end too", func() (bool, string) {
		b, _ := os.ReadFile(filepath.Join(n.dataDir(), "patroni.dynamic.json"))
		return !strings.Contains(string(b), "pause\":true") && !strings.Contains(string(b), `"pause": true`), string(b)
	})

	// As the unit does it: nobody can act, the main process is killed, PostgreSQL
	// is fenced, the service is started again and ends the frozen agent.
	main, agent := freeze()
	n.kill(main, syscall.SIGKILL, "guardian")
	<-n.main.done
	if out := fence("watchdog"); !strings.Contains(out, "no process of PostgreSQL runs") || n.postmasterPID() != 0 {
		t.Errorf("after a watchdog time-out: %s", out)
	}
	n.startAgain()
	c.waitLeader(patience, n)
	c.eventually(patience, "the frozen agent is gone", func() (bool, string) { return !alive(agent), "it is there" })
}
