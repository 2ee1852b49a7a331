//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// hooked gives a node callbacks and hooks that write what they are called with
// into one file for the whole cluster: node, action, role, cluster. pre_promote
// fails where a file says so.
func hooked(n *node) {
	script := filepath.Join(n.c.dir, "hook")
	calls := filepath.Join(n.c.dir, "calls")
	if _, err := os.Stat(script); err != nil {
		text := "#!/bin/sh\necho \"$*\" >> " + calls + "\n[ \"$2\" != pre_promote ] || [ ! -e " + calls + ".refuse.$1 ]\n"
		// Not while another test forks: a program that somebody writes cannot be run.
		syscall.ForkLock.Lock()
		err := os.WriteFile(script, []byte(text), 0o755)
		syscall.ForkLock.Unlock()
		if err != nil {
			n.c.t.Fatal(err)
		}
		if err := os.WriteFile(calls, nil, 0o666); err != nil {
			n.c.t.Fatal(err)
		}
		if err := os.Chmod(calls, 0o666); err != nil {
			n.c.t.Fatal(err)
		}
	}
	callbacks := object{}
	for _, action := range []string{"on_start", "on_stop", "on_restart", "on_reload", "on_role_change"} {
		callbacks[action] = script + " " + n.name
	}
	n.set("postgresql.callbacks", callbacks)
	n.set("postgresql.pre_promote", script+" "+n.name+" pre_promote")
	n.set("postgresql.before_stop", script+" '"+n.name+"' before_stop")
}

// called are the calls of a node since it was asked the last time, but for
// on_reload, which also comes when a replica gets another source.
func (n *node) called(seen map[string]int, reloads bool) (list []string) {
	b, err := os.ReadFile(filepath.Join(n.c.dir, "calls"))
	if err != nil {
		n.c.t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if what, ok := strings.CutPrefix(strings.TrimSpace(line), n.name+" "); ok {
			all = append(all, what)
		}
	}
	list = slices.Clone(all[seen[n.name]:])
	if !reloads {
		list = slices.DeleteFunc(list, func(s string) bool { return strings.HasPrefix(s, "on_reload") })
	}
	return list
}

func TestCallbacksAndHooksAreCalled(t *testing.T) {
	t.Parallel()
	c, first := bringUpGuarded(t, hooked)
	second, third := c.nodes[1], c.nodes[2]
	seen := map[string]int{}
	// want waits until a node was called so, in this order, and nothing else.
	want := func(t *testing.T, n *node, calls ...string) {
		t.Helper()
		for i := range calls {
			if strings.HasPrefix(calls[i], "on_") {
				calls[i] += " " + scope
			}
		}
		c.eventually(patience, n.name+" calls "+strings.Join(calls, ", "), func() (bool, string) {
			got := n.called(seen, false)
			return slices.Equal(got, calls), strings.Join(got, ", ")
		})
	}
	next := func() {
		for _, n := range c.nodes {
			seen[n.name] += len(n.called(seen, true))
		}
	}

	t.Run("when a new cluster starts", func(t *testing.T) {
		want(t, first, "on_start primary")
		want(t, second, "on_start replica")
		want(t, third, "on_start replica")
	})
	next()
	t.Run("reload", func(t *testing.T) {
		second.want(202, "reload scheduled", "POST", "/reload", "")
		c.eventually(patience, "on_reload", func() (bool, string) {
			got := second.called(seen, true)
			return slices.Equal(got, []string{"on_reload replica " + scope}), strings.Join(got, ", ")
		})
	})
	next()
	t.Run("restart", func(t *testing.T) {
		for _, n := range []*node{second, first} {
			n.want(200, "restarted successfully", "POST", "/restart", "")
		}
		want(t, second, "before_stop", "on_restart replica")
		want(t, first, "before_stop", "on_restart primary")
		c.waitHealthy(patience, first) // only who streams again can receive the end of the WAL
	})
	next()
	t.Run("switchover", func(t *testing.T) {
		from := second.logSize()
		first.want(200, `Successfully switched over to "n2"`, "POST", "/switchover", `{"leader": "n1", "candidate": "n2"}`)
		want(t, first, "before_stop", "on_stop demoted", "on_role_change replica")
		want(t, second, "pre_promote", "on_role_change primary")
		want(t, third)
		c.waitHealthy(patience, second)
		for n, line := range map[*node]string{first: "switchover: handing over took ", second: "switchover: taking over took "} {
			n.says(0, line)
			if k := strings.Count(n.logSince(0), line); k != 1 {
				t.Errorf("%s logged %q %d times", n.name, line, k)
			}
		}
		for _, once := range []string{"switchover: demoting myself\n", "Leader key released\n"} {
			first.says(0, once)
			if k := strings.Count(first.logSince(0), once); k != 1 {
				t.Errorf("n1 logged %q %d times", once, k)
			}
		}
		for _, part := range []string{"leader key taken", "guardian armed", "announced", "pre_promote", "promoted"} {
			second.says(from, part+" 0.")
		}
	})
	next()
	t.Run("refused promotion", func(t *testing.T) {
		refuse := filepath.Join(c.dir, "calls.refuse.n1")
		if err := touch(refuse); err != nil {
			t.Fatal(err)
		}
		from := first.logSize()
		second.ask("POST", "/switchover", `{"leader": "n2", "candidate": "n1"}`)
		var leader *node
		c.eventually(patience, "another one than n1 leads", func() (bool, string) {
			key := c.leaderKey()
			for _, n := range []*node{second, third} {
				if v, _ := n.query("SELECT pg_is_in_recovery()"); n.name == key && v == "false" && strings.Contains(first.logSince(from), "Promotion cancelled") {
					leader = n
				}
			}
			return leader != nil, key
		})
		c.waitHealthy(patience, leader)
		first.says(from, "WARNING: Releasing the leader key voluntarily because the pre-promote script failed\n",
			"INFO: Leader key released\n", "INFO: Promotion cancelled because the pre-promote script failed\n",
			"INFO: backoff: skip leader race after pre_promote script failure and releasing the lock voluntarily\n")
		want(t, first, "pre_promote") // once: others had their turn
		if err := os.Remove(refuse); err != nil {
			t.Fatal(err)
		}
		first, second = leader, first // the leader, and a replica
		third = nil
	})
	if t.Failed() {
		return
	}
	next()
	t.Run("crash of the primary", func(t *testing.T) {
		first.kill(first.postmasterPID(), syscall.SIGKILL, "postmaster")
		c.waitHealthy(patience, first)
		want(t, first, "on_start primary")
	})
	next()
	t.Run("end of the agent", func(t *testing.T) {
		second.stop()
		want(t, second, "before_stop", "on_stop replica")
		c.eventually(patience, "it has ended", func() (bool, string) { return second.main.ended(), "it runs" })
		first.stop()
		want(t, first, "before_stop", "on_stop primary")
	})
}
