//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An operator works with the command line under the reference's name.
type operator struct {
	c       *cluster
	program string
	config  string
}

func (c *cluster) operator(n *node) *operator {
	c.t.Helper()
	o := &operator{c: c, program: filepath.Join(c.dir, "patronictl"), config: n.configFile()}
	if err := os.Symlink(n.at.tamada, o.program); err != nil {
		c.t.Fatal(err)
	}
	return o
}

// types runs a command, with these lines typed at its prompts.
func (o *operator) types(lines string, args ...string) (code int, stdout, stderr string) {
	o.c.t.Helper()
	cmd := here(o.c.t).command(o.c.t, append([]string{o.program, "-c", o.config}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(lines), &out, &errs
	begin := time.Now()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		o.c.t.Fatal(err)
	}
	code = cmd.ProcessState.ExitCode()
	o.c.note("patronictl %s: exit code %d after %v\n%s%s", strings.Join(args, " "), code, time.Since(begin).Round(time.Millisecond), out.String(), errs.String())
	return code, out.String(), errs.String()
}

// says runs a command and wants its exit code and these texts, in this order, in
// what it prints.
func (o *operator) says(code int, args []string, texts ...string) {
	o.c.t.Helper()
	got, out, errs := o.types("", args...)
	if got != code {
		o.c.t.Errorf("%v: exit code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	rest := out + errs
	for _, text := range texts {
		at := regexp.MustCompile(text).FindStringIndex(rest)
		if at == nil {
			o.c.t.Errorf("%v: %q is not said, or not in this place:\n%s%s", args, text, out, errs)
			return
		}
		rest = rest[at[1]:]
	}
}

func do(args ...string) []string { return args }

// TestOperatorByCommandLine: each request of an operator, with the tool, on three
// nodes under load.
func TestOperatorByCommandLine(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	w := c.startWriter(leader)
	o := c.operator(c.nodes[2])
	pids := func() (list []int) {
		for _, n := range c.nodes {
			list = append(list, n.postmasterPID())
		}
		return list
	}

	t.Run("restart of the whole cluster", func(t *testing.T) {
		before := pids()
		o.says(0, do("restart", scope, "--force"), "Success: restart on member n1\n", "Success: restart on member n2\n", "Success: restart on member n3\n")
		for i, now := range pids() {
			if now == before[i] || now == 0 {
				t.Errorf("n%d: postmaster %d became %d", i+1, before[i], now)
			}
		}
		c.waitHealthy(patience, leader)
	})
	t.Run("restart by role", func(t *testing.T) {
		before := pids()
		o.says(0, do("restart", scope, "-r", "replica", "--force"), "Success: restart on member n2\n", "Success: restart on member n3\n")
		if now := leader.postmasterPID(); now != before[0] {
			t.Errorf("the leader was restarted too")
		}
		c.waitHealthy(patience, leader)
		o.says(0, do("restart", scope, "n2", "--pending", "--force"))
		o.says(0, do("restart", scope, "n2", "--pg-version", "9.6.1", "--force"), `Failed: restart for member n2, status code=503, \(restart conditions are not satisfied\)`)
		o.says(0, do("restart", scope, "n2", "--any", "--timeout", "soon", "--force"), `Failed: restart for member n2, status code=400, \(Timeout should be a positive number of seconds\)`)
	})
	t.Run("scheduled restart, flushed and replaced", func(t *testing.T) {
		before := c.nodes[1].postmasterPID()
		o.says(0, do("restart", scope, "n2", "--scheduled", "2031-02-03T04:05+00:00", "--force"), "Success: restart scheduled on member n2\n")
		at := time.Now().Add(4 * time.Second).Format(time.RFC3339)
		o.says(0, do("flush", scope, "n2", "restart", "--force"), "Success: flush scheduled restart for member n2\n")
		o.says(0, do("flush", scope, "n2", "restart", "--force"), "No scheduled restart for member n2\n")
		o.says(0, do("restart", scope, "n2", "--scheduled", "2031-02-03T04:05+00:00", "--force"), "Success: restart scheduled on member n2\n")
		c.eventually(patience, "the table shows it", func() (bool, string) {
			_, out, _ := o.types("", "list")
			return strings.Contains(out, "| Scheduled restart ") && strings.Contains(out, "2031-02-03T04:05:00+00:00"), out
		})
		o.says(0, do("restart", scope, "n2", "--scheduled", at, "--force"), "Success: restart scheduled on member n2\n")
		c.eventually(patience, "it is restarted", func() (bool, string) {
			now := c.nodes[1].postmasterPID()
			return now != 0 && now != before, fmt.Sprint(now)
		})
		c.waitHealthy(patience, leader)
	})
	t.Run("reload", func(t *testing.T) {
		o.says(0, do("reload", scope, "--force"), "Reload request received for member n1 and will be processed within 2 seconds\n",
			"member n2", "member n3")
	})
	t.Run("switchover with its questions", func(t *testing.T) {
		code, out, errs := o.types("\nn2\n\ny\n", "switchover")
		if code != 0 || !strings.Contains(out, `Successfully switched over to "n2"`) || strings.Count(out, "+ Cluster: "+scope) != 2 {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		leader = c.nodes[1]
		c.waitHealthy(patience, leader)
	})
	t.Run("scheduled switchover, flushed and carried out", func(t *testing.T) {
		o.says(0, do("switchover", "--candidate", "n3", "--scheduled", "2031-02-03T04:05+00:00", "--force"), "Switchover scheduled\n",
			" Switchover scheduled at: 2031-02-03T04:05:00\\+00:00\n                    from: n2\n                      to: n3\n")
		o.says(0, do("flush", scope, "switchover"), "Success: scheduled switchover deleted\n")
		o.says(0, do("flush", scope, "switchover"), "No pending scheduled switchover\n")
		at := time.Now().Add(3 * time.Second)
		o.says(0, do("switchover", "--scheduled", at.Format(time.RFC3339), "--candidate", "n3", "--force"), "Switchover scheduled\n")
		leader = c.nodes[2]
		c.waitHealthy(patience, leader)
		if time.Now().Before(at.Truncate(time.Second)) {
			t.Error("it came too early")
		}
	})
	t.Run("failover", func(t *testing.T) {
		o.says(1, do("failover", "--force"), "Error: Failover could be performed only to a specific candidate\n")
		o.says(1, do("failover", "--candidate", "n3", "--force"), "Error: Member n3 is already the leader of cluster batman\n")
		o.says(0, do("failover", "--candidate", "n1", "--force"), `Successfully failed over to "n1"`)
		leader = c.nodes[0]
		c.waitHealthy(patience, leader)
	})
	t.Run("reinitialize and wait", func(t *testing.T) {
		n := c.nodes[2]
		if err := touch(n.dataDir() + "/marker"); err != nil {
			t.Fatal(err)
		}
		o.says(1, do("reinit", scope, "n1", "--force"), "Error: No replica among provided members\n")
		o.says(0, do("reinit", scope, "n3", "--force", "--from-leader", "--wait"), "Success: reinitialize for member n3\n",
			"Waiting for reinitialize to complete on: n3\n", "Reinitialize is completed on: n3\n")
		if v, err := n.query("SELECT count(*) FROM pg_ls_dir('.') AS f WHERE f = 'marker'"); v != "0" {
			t.Errorf("markers: %s %v", v, err)
		}
		c.waitHealthy(patience, leader)
	})
	t.Run("configuration", func(t *testing.T) {
		o.says(0, do("edit-config", "-s", "maximum_lag_on_failover=2097152", "--force"), "\\+maximum_lag_on_failover: 2097152\n", "Configuration changed\n")
		o.says(0, do("show-config"), "maximum_lag_on_failover: 2097152\n")
	})
	t.Run("pause and resume", func(t *testing.T) {
		o.says(0, do("pause", "--wait"), "'pause' request sent, waiting until it is recognized by all nodes\n", "Success: cluster management is paused\n")
		o.says(1, do("pause"), "Error: Cluster is already paused\n")
		o.says(0, do("list"), " Maintenance mode: on\n")
		o.says(1, do("restart", scope, "--scheduled", "2031-02-03T04:05+00:00", "--force"), "Error: Can't schedule restart in the paused state\n")
		o.says(0, do("resume", "--wait"), "'resume' request sent, waiting until it is recognized by all nodes\n", "Success: cluster management is resumed\n")
		o.says(1, do("resume"), "Error: Cluster is not paused\n")
	})
	w.assertNothingLost(t, leader)
	w.stop()

	t.Run("resume warns when the leader's agent does not answer", func(t *testing.T) {
		o.says(0, do("pause", "--wait"), "Success: cluster management is paused\n")
		leader.kill(leader.main.pid(), syscall.SIGTERM, "guardian")
		c.eventually(patience, "the agent has ended", func() (bool, string) { return leader.main.ended(), "it runs" })
		if v := inRecovery(leader); v != "false" {
			t.Fatalf("the primary is not left running: %s", v)
		}
		o.says(0, do("resume"), "Success: cluster management is resumed\n", "WARNING - The agent of the leader n1 does not answer",
			"start the agent there, or stop that PostgreSQL, before another member is promoted\n")
		leader.start() // before the key expires
		c.waitHealthy(patience, leader)
	})
	t.Run("remove of a dead cluster", func(t *testing.T) {
		for _, n := range c.nodes {
			n.killAll()
		}
		c.eventually(ttl+patience, "nobody leads any more", func() (bool, string) { k := c.leaderKey(); return k == "", k })
		code, _, errs := o.types("batman\nyes\n", "remove", scope)
		if code != 1 || errs != "Error: You did not exactly type \"Yes I am aware\"\n" {
			t.Errorf("exit code %d: %s", code, errs)
		}
		if c.key("initialize") == "" {
			t.Error("removed without being sure")
		}
		if code, out, errs := o.types("batman\nYes I am aware\n", "remove", scope); code != 0 || errs != "" {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if keys, err := c.keys(); err != nil || len(keys) > 0 {
			t.Errorf("left: %v %v", keys, err)
		}
	})
}
