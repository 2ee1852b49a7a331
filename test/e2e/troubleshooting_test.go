//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// documented are the lines of docs/troubleshooting.md for one case: those of the
// code blocks between its mark and the next one. An ellipsis stands for anything.
func documented(t *testing.T, name string) (lines []*regexp.Regexp) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "<!-- case: "+name+" -->")
	if !ok {
		t.Fatalf("docs/troubleshooting.md has no case %s", name)
	}
	text, _, _ = strings.Cut(text, "<!-- case: ")
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if said, ok := strings.CutPrefix(line, "    "); ok && !strings.HasPrefix(said, "$ ") {
			lines = append(lines, regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(said)), "…", ".*")))
		}
	}
	if len(lines) == 0 {
		t.Fatalf("docs/troubleshooting.md shows no line for %s", name)
	}
	return lines
}

// assertDocumented wants every line that the documentation shows in an output.
func assertDocumented(t *testing.T, name, output string) {
	t.Helper()
	for _, line := range documented(t, name) {
		if !line.MatchString(output) {
			t.Errorf("%s: the documentation shows a line that is not said: %s\nsaid:\n%s", name, line, output)
		}
	}
}

// What goes wrong at the end of the tutorial: each case is reproduced, and says
// what docs/troubleshooting.md shows.
func TestTroubleshootingShowsWhatIsSaid(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	leader := c.bringUp(2, guarded)
	replica := c.nodes[1]
	broken := func(name string, change func(*node)) *node {
		n := newNode(c, name, here(t))
		guarded(n)
		change(n)
		n.writeConfig()
		return n
	}
	said := func(n *node, args ...string) string {
		_, out := n.cli(args...)
		return out
	}

	t.Run("no programs", func(t *testing.T) {
		n := broken("noprograms", func(n *node) { n.set("postgresql.bin_dir", n.dir) })
		_, out := runOnce(t, n)
		_, checked := n.validate()
		assertDocumented(t, "programs", out+checked)
	})
	t.Run("the slot", func(t *testing.T) {
		if log := tail(replica.serverLog(), 1<<20); strings.Contains(log, "does not exist") {
			t.Errorf("the replica asked for its slot before it was there:\n%s", log)
		}
	})
	t.Run("data-checksums", func(t *testing.T) {
		n := broken("checksums", func(n *node) { n.set("bootstrap.initdb", []any{object{"data-checksums": true}}) })
		_, out := runOnce(t, n)
		assertDocumented(t, "data-checksums", out)
	})
	t.Run("a blank", func(t *testing.T) {
		n := broken("blank", func(*node) {})
		text, err := os.ReadFile(n.configFile())
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, change := range [][2]string{{"        - local all all", "        -local all all"}, {"    pg_hba:\n        - local all all scram-sha-256\n        - host all all all scram-sha-256\n        - host replication all all scram-sha-256\n", "    pg_hba:\n        -local all all scram-sha-256\n"},
			{"    data_dir: ", "    data_dir:"}} {
			spoiled := strings.Replace(string(text), change[0], change[1], 1)
			if spoiled == string(text) {
				t.Fatalf("%q is not in\n%s", change[0], text)
			}
			if err := os.WriteFile(n.configFile(), []byte(spoiled), 0o600); err != nil {
				t.Fatal(err)
			}
			_, out := n.validate()
			said += out
		}
		assertDocumented(t, "blank", said)
	})
	t.Run("foreign data", func(t *testing.T) {
		n := broken("stranger", func(*node) {})
		n.byHand(n.pgProgram("initdb"), "-D", n.dataDir(), "--no-sync", "--auth=trust", "-U", "postgres")
		_, out := runOnce(t, n)
		assertDocumented(t, "foreign-data", out)
	})
	t.Run("times", func(t *testing.T) {
		n := broken("times", func(n *node) {
			n.set("bootstrap.dcs", object{"ttl": 20, "loop_wait": 10, "retry_timeout": 10})
		})
		_, out := n.validate()
		assertDocumented(t, "times", out+said(leader, "edit-config", "--force", "-s", "ttl=20", "-s", "loop_wait=10", "-s", "retry_timeout=10"))
	})
	t.Run("the store is not there", func(t *testing.T) {
		n := broken("nostore", func(n *node) { n.set("etcd3.hosts", []string{"127.0.0.1:1"}) })
		n.start()
		defer n.killAll()
		c.eventually(patience, "the node says that the store cannot be reached", func() (bool, string) {
			out := n.logSince(0)
			for _, line := range documented(t, "store-at-start") {
				if !line.MatchString(out) {
					return strings.Contains(said(n, "list"), "never"), out
				}
			}
			return true, ""
		})
		_, checked := n.validate()
		assertDocumented(t, "store-validate", checked+said(n, "list"))
	})
	t.Run("the store is lost", func(t *testing.T) {
		from := leader.logSize()
		c.etcd.signal(syscall.SIGSTOP)
		c.eventually(patience, "the leader gives way, and says what is documented", func() (bool, string) {
			out := leader.logSince(from)
			for _, line := range documented(t, "store-lost") {
				if !line.MatchString(out) {
					return false, out
				}
			}
			return true, ""
		})
		c.etcd.signal(syscall.SIGCONT)
		c.waitHealthy(patience, c.waitAnyLeader())
	})
}

// waitAnyLeader waits until somebody leads.
func (c *cluster) waitAnyLeader() (leader *node) {
	c.t.Helper()
	c.eventually(patience, "somebody leads", func() (bool, string) {
		key := c.leaderKey()
		for _, n := range c.nodes {
			if n.name == key {
				leader = n
				v, err := n.query("SELECT pg_is_in_recovery()")
				return err == nil && v == "false", v
			}
		}
		return false, key
	})
	return leader
}
