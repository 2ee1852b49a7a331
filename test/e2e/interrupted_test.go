//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A trap holds one of PostgreSQL's programs at a moment when the data folder is
// half-made, if the file hold is there: the program has done half of its work and
// waits until it is let go.
type trap struct {
	n    *node
	dir  string
	name string
	pid  int // of the program in it
}

// setTrap gives the node programs of which one is trapped. when is a shell
// pattern of the arguments, half a shell script that leaves a half-made folder,
// mend what has to be done before the program can do it all after all ($REAL is
// the program, $DATA the folder).
func setTrap(n *node, name, when, half, mend string) *trap {
	t := n.c.t
	t.Helper()
	tr := &trap{n: n, dir: filepath.Join(n.dir, "trap"), name: name}
	bin := filepath.Join(tr.dir, "bin")
	n.c.makeFolder(tr.dir, n.at)
	n.c.makeFolder(bin, n.at)
	programs, err := os.ReadDir(n.at.binDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if p.Name() != name {
			if err := os.Symlink(filepath.Join(n.at.binDir, p.Name()), filepath.Join(bin, p.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	fifo := filepath.Join(tr.dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	n.at.give(t, fifo)
	script := fmt.Sprintf(`#!/bin/sh
REAL=%s DATA=%s DIR=%s
case " $* " in %s)
  if [ -e "$DIR/hold" ]; then
    %s
    echo $$ > "$DIR/caught.new" && mv "$DIR/caught.new" "$DIR/caught"
    read -r go < "$DIR/fifo"
    %s
  fi ;;
esac
exec "$REAL" "$@"
`, filepath.Join(n.at.binDir, name), n.dataDir(), tr.dir, when, half, mend)
	if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	n.set("postgresql.bin_dir", bin)
	return tr
}

// halfRewind says what pg_rewind says before it changes anything, and takes files
// away that it was about to write. Only another rewind brings them.
const halfRewind = `echo "pg_rewind: need to copy 5 MB" >&2; rm -f "$DATA"/base/*/1259 "$DATA"/base/*/1249`

// arm makes the next call of the program end in the trap.
func (tr *trap) arm() {
	if err := os.WriteFile(filepath.Join(tr.dir, "hold"), nil, 0o644); err != nil {
		tr.n.c.t.Fatal(err)
	}
}

// caught waits until the program is in the trap, opens the trap for later calls,
// and returns the program's pid.
func (tr *trap) caught() (pid int) {
	t := tr.n.c.t
	t.Helper()
	tr.n.c.eventually(patience, tr.name+" of "+tr.n.name+" is half through", func() (bool, string) {
		b, err := os.ReadFile(filepath.Join(tr.dir, "caught"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil, fmt.Sprint(err)
	})
	if err := os.Remove(filepath.Join(tr.dir, "hold")); err != nil {
		t.Fatal(err)
	}
	tr.pid = pid
	return pid
}

// letGo lets a trapped program do its work, if it is still there.
func (tr *trap) letGo() {
	tr.n.c.t.Helper()
	tr.n.c.eventually(patience, tr.name+" of "+tr.n.name+" goes on", func() (bool, string) {
		// It may not have begun to read yet.
		f, err := os.OpenFile(filepath.Join(tr.dir, "fifo"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return !alive(tr.pid), fmt.Sprint(err)
		}
		defer f.Close()
		_, err = f.WriteString("go\n")
		return err == nil, fmt.Sprint(err)
	})
}

// The three ways to lose what watches over a change of the data folder.
//
// Without its agent a program must end; what it has half done is done anew. The
// death of a guardian alone interrupts nothing: its successor finds the agent.
var victims = []struct {
	name     string
	goesOn   bool // the program that runs may finish its work
	killThem func(n *node)
}{
	{"agent", false, func(n *node) { n.kill(n.agentPID(), syscall.SIGKILL, "agent") }},
	{"guardian", true, func(n *node) { n.kill(n.main.pid(), syscall.SIGKILL, "guardian"); <-n.main.done }},
	{"both", false, func(n *node) {
		agent := n.agentPID()
		n.kill(n.main.pid(), syscall.SIGKILL, "guardian")
		n.kill(agent, syscall.SIGKILL, "agent")
		<-n.main.done
	}},
}

// killAndStartAgain kills what a row of victims names while a program is in the
// trap.
func (tr *trap) killAndStartAgain(victim int) {
	v := victims[victim]
	v.killThem(tr.n)
	tr.n.startAgain()
	if v.goesOn {
		tr.letGo()
	}
}

// startAgain is what a service manager does after a death.
func (n *node) startAgain() {
	n.c.t.Helper()
	if !n.running() {
		n.start()
	}
}

// serverStarts counts how often PostgreSQL was started.
func (n *node) serverStarts() int {
	b, _ := os.ReadFile(n.serverLog())
	return strings.Count(string(b), "LOG:  starting PostgreSQL ")
}

// assertGone waits until a process that a dead agent left has ended.
func (c *cluster) assertGone(pid int, what string) {
	c.t.Helper()
	c.eventually(patience, what+" of the dead agent has ended", func() (bool, string) { return !alive(pid), "it runs" })
}

func TestKilledDuringInitdb(t *testing.T) {
	t.Parallel()
	for i, victim := range victims {
		t.Run(victim.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			n := c.add("n1", here(t))
			tr := setTrap(n, "initdb", `*" --version "*|*" --help "*) ;; *`,
				`"$REAL" "$@"; rm -f "$DATA/global/pg_control"`, `rm -rf "$DATA"/*`)
			tr.arm()
			n.start()
			pid := tr.caught()
			tr.killAndStartAgain(i)
			c.waitHealthy(patience, n)
			c.assertGone(pid, "initdb")
			if n.serverStarts() != 1 {
				t.Errorf("PostgreSQL was started %d times, want only once, with a whole folder", n.serverStarts())
			}
			if got := n.must("SELECT count(*) FROM pg_roles WHERE rolname IN ('replicator', 'rewind_user')"); got != "2" {
				t.Errorf("%s of 2 roles: the bootstrap is not complete", got)
			}
		})
	}
}

func TestKilledDuringBaseBackup(t *testing.T) {
	t.Parallel()
	for i, victim := range victims {
		t.Run(victim.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			leader := c.bringUp(1)
			leader.must("CREATE TABLE filler AS SELECT g, repeat('x', 900) FROM generate_series(1, 20000) g")
			n := c.add("n2", here(t))
			n.set("postgresql.basebackup", []any{object{"checkpoint": "fast"}, object{"max-rate": "4M"}, "no-sync"})
			n.start()
			var backup []int // pg_basebackup has a second process, for WAL
			c.eventually(patience, "a base backup is half through", func() (bool, string) {
				_, err := os.Stat(filepath.Join(n.dataDir(), "base"))
				backup = backup[:0]
				for _, p := range n.processes() {
					if p.comm == "pg_basebackup" {
						backup = append(backup, p.pid)
					}
				}
				return err == nil && len(backup) == 2, fmt.Sprint(err, " pids ", backup)
			})
			n.set("postgresql.basebackup", leader.config["postgresql"].(object)["basebackup"])
			n.writeConfig()
			victims[i].killThem(n)
			n.startAgain()
			c.waitHealthy(patience, leader)
			for _, pid := range backup {
				if alive(pid) {
					t.Errorf("pg_basebackup, pid %d, still writes into the folder of the next copy", pid)
				}
			}
			if n.serverStarts() != 1 {
				t.Errorf("PostgreSQL was started %d times, want only once, with a whole folder", n.serverStarts())
			}
			if got := n.must("SELECT count(*) FROM filler"); got != "20000" {
				t.Errorf("%s of 20000 rows", got)
			}
		})
	}
}

// What an operator asked for is finished like any other copy.
func TestKilledDuringReinitialization(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	leader.must("CREATE TABLE filler AS SELECT g, repeat('x', 900) FROM generate_series(1, 20000) g")
	c.waitHealthy(patience, leader)
	n := c.nodes[2]
	fast := n.config["postgresql"].(object)["basebackup"]
	n.set("postgresql.basebackup", []any{object{"checkpoint": "fast"}, object{"max-rate": "4M"}, "no-sync"})
	n.writeConfig()
	n.want(202, "reload scheduled", "POST", "/reload", "")
	starts := n.serverStarts()
	n.want(200, "reinitialize started", "POST", "/reinitialize", "")
	c.eventually(patience, "the copy is half through", func() (bool, string) {
		_, err := os.Stat(filepath.Join(n.dataDir(), "base", "1"))
		_, unfinished := os.Stat(filepath.Join(n.dataDir(), "global", "pg_control"))
		return err == nil && os.IsNotExist(unfinished), fmt.Sprint(err, unfinished)
	})
	n.set("postgresql.basebackup", fast)
	n.writeConfig()
	n.kill(n.agentPID(), syscall.SIGKILL, "agent")
	c.eventually(patience, n.name+" was started again", func() (bool, string) {
		now := n.serverStarts()
		return now > starts, fmt.Sprint(now)
	})
	c.waitHealthy(patience, leader)
	if now := n.serverStarts(); now != starts+1 {
		t.Errorf("PostgreSQL was started %d times, want only once, with a whole folder", now-starts)
	}
	if got := n.must("SELECT count(*) FROM filler"); got != "20000" {
		t.Errorf("%s of 20000 rows", got)
	}
}

// diverge brings two nodes up, hands over from n1 to n2, and then writes to n1's
// data behind everybody's back. crash leaves them as a crash would.
func diverge(t *testing.T, c *cluster, crash bool) (old, leader *node) {
	t.Helper()
	old = c.bringUp(2)
	old.must("CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g")
	old.stop()
	leader = c.waitNewLeader(patience, old)
	old.writeStray(crash)
	leader.must("CREATE TABLE after AS SELECT g FROM generate_series(1, 1000) g")
	return old, leader
}

// writeStray writes to the data of a node that is being stopped, as a primary
// that nobody knows of.
func (n *node) writeStray(crash bool) {
	t := n.c.t
	t.Helper()
	n.c.eventually(patience, n.name+" has ended", func() (bool, string) { return n.main.ended(), "it runs" })
	stray := &node{c: n.c, name: "stray", at: n.at, port: freePort(t)}
	defer stray.closeViews()
	server := startProgram(t, "stray server", filepath.Join(n.dir, "stray.log"), n.at.command(t, filepath.Join(n.at.binDir, "postgres"),
		"-D", n.at.inside(n.dataDir()), "-p", strconv.Itoa(stray.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "logging_collector=off"))
	defer server.kill()
	n.c.eventually(patience, "the stray server has written", func() (bool, string) {
		_, err := stray.query("CREATE TABLE stray AS SELECT g FROM generate_series(1, 1000) g")
		return err == nil, fmt.Sprint(err)
	})
	stray.must("CHECKPOINT")
	if !crash {
		server.signal(syscall.SIGINT)
		<-server.done
	}
}

// assertRewound looks whether a node has exactly what the leader has.
func assertRewound(t *testing.T, c *cluster, old, leader *node, from int64) {
	t.Helper()
	c.waitHealthy(patience, leader)
	for table, want := range map[string]string{"kept": "1000", "after": "1000"} {
		if got := old.must("SELECT count(*) FROM " + table); got != want {
			t.Errorf("table %s has %s rows, want %s", table, got, want)
		}
	}
	if got := old.must("SELECT count(*) FROM pg_class WHERE relname = 'stray'"); got != "0" {
		t.Errorf("what was written behind the leader's back is still there")
	}
	old.says(from, "running pg_rewind from "+leader.name)
}

func TestKilledDuringRewind(t *testing.T) {
	t.Parallel()
	for i, victim := range victims {
		t.Run(victim.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			old, leader := diverge(t, c, false)
			tr := setTrap(old, "pg_rewind", `*" --version "*|*" --help "*) ;; *`, halfRewind, `:`)
			tr.arm()
			from, starts := old.logSize(), old.serverStarts()
			old.start()
			pid := tr.caught()
			tr.killAndStartAgain(i)
			assertRewound(t, c, old, leader, from)
			c.assertGone(pid, "pg_rewind")
			if now := old.serverStarts(); now != starts+1 {
				t.Errorf("PostgreSQL was started %d times, want only once, with a whole folder", now-starts)
			}
		})
	}
}

// Without a leader nothing tells that a folder is half-rewound but the journal.
func TestHalfRewoundNodeIsNotStartedWithoutALeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old, leader := diverge(t, c, false)
	tr := setTrap(old, "pg_rewind", `*" --version "*|*" --help "*) ;; *`, halfRewind, `:`)
	tr.arm()
	from, starts := old.logSize(), old.serverStarts()
	old.start()
	tr.caught()
	leader.stop()
	c.eventually(patience, "the leader has ended", func() (bool, string) { return leader.main.ended(), "it runs" })
	old.killAll()
	old.start()
	c.eventually(patience, old.name+" says why it does not start", func() (bool, string) {
		return strings.Contains(old.logSince(from), "half rewound"), tail(old.log, 1000)
	})
	if now := old.serverStarts(); now != starts {
		t.Errorf("PostgreSQL was started from a half-rewound folder")
	}
	if key := c.leaderKey(); key == old.name {
		t.Errorf("%s leads with a half-rewound folder", key)
	}
	leader.start()
	assertRewound(t, c, old, leader, from)
}

func TestKilledDuringSingleUserRecovery(t *testing.T) {
	t.Parallel()
	for i, victim := range victims {
		t.Run(victim.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			old, leader := diverge(t, c, true)
			tr := setTrap(old, "postgres", `*" --single "*`, `:`, `:`)
			tr.arm()
			from := old.logSize()
			old.start()
			pid := tr.caught()
			tr.killAndStartAgain(i)
			assertRewound(t, c, old, leader, from)
			c.assertGone(pid, "the single-user server")
		})
	}
}

// The journal's promise is worth nothing if a folder is half-made without a
// record of it: a power failure in the middle of a base backup.
func TestPowerFailureDuringBaseBackup(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.bringUp(1)
	n := c.add("n2", here(t))
	n.set("postgresql.basebackup", []any{object{"checkpoint": "fast"}, object{"max-rate": "4M"}, "no-sync"})
	n.start()
	c.eventually(patience, "a base backup is half through", func() (bool, string) {
		_, err := os.Stat(filepath.Join(n.dataDir(), "base"))
		return err == nil, fmt.Sprint(err)
	})
	n.killAll()
	n.set("postgresql.basebackup", leader.config["postgresql"].(object)["basebackup"])
	begin := time.Now()
	n.start()
	c.waitHealthy(patience, leader)
	t.Logf("streams again after %v", time.Since(begin).Round(time.Millisecond))
}

// A method with keep_data works with what is in the folder, above all a restore that
// copies only what differs. Nothing of it is removed before, after a failure, or when
// the agent dies in the middle, and PostgreSQL is not started in it until the copy has
// succeeded.
func TestFailedCopyIsKeptForAMethodWithKeepData(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	n := c.nodes[2]
	script, seen := filepath.Join(n.dir, "delta"), filepath.Join(n.dir, "delta.seen")
	text := fmt.Sprintf(`#!/bin/sh
for a; do case $a in --datadir=*) dir=${a#*=};; --connstring=*) source=${a#*=};; esac; done
if test -e "$dir/marker"; then echo kept >> %[1]s; else echo emptied >> %[1]s; fi
case $(wc -l < %[1]s) in
1) rm -r "$dir/base"; exit 1;;
2) sleep 1000;;
esac
find "$dir" -mindepth 1 -delete
exec %[2]s --pgdata="$dir" --checkpoint=fast --no-sync -X stream --dbname="$source"
`, seen, filepath.Join(n.at.binDir, "pg_basebackup"))
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	n.set("postgresql.create_replica_methods", []any{"delta"})
	n.set("postgresql.delta", object{"command": script, "keep_data": true})
	n.writeConfig()
	n.want(202, "reload scheduled", "POST", "/reload", "")
	if err := touch(filepath.Join(n.dataDir(), "marker")); err != nil {
		t.Fatal(err)
	}
	starts := n.serverStarts()
	attempts := func() string { b, _ := os.ReadFile(seen); return string(b) }
	n.want(200, "reinitialize started", "POST", "/reinitialize", "")
	c.eventually(patience, "the second attempt runs", func() (bool, string) { return strings.Count(attempts(), "\n") == 2, attempts() })
	n.kill(n.agentPID(), syscall.SIGKILL, "agent")
	c.eventually(patience, n.name+" was started again", func() (bool, string) { return n.serverStarts() > starts, fmt.Sprint(n.serverStarts()) })
	c.waitHealthy(patience, leader)
	if got := attempts(); got != "kept\nkept\nkept\n" {
		t.Errorf("what the method found: %q", got)
	}
	if now := n.serverStarts(); now != starts+1 {
		t.Errorf("PostgreSQL was started %d times, want only once, with a whole folder", now-starts)
	}
}

// A cluster of which only a backup is left comes back from it, by a method that needs
// no leader; the members that have nothing either are copied from the first.
func TestClusterComesBackFromABackup(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	leader.must("CREATE TABLE kept AS SELECT 7 AS n")
	backup := filepath.Join(c.dir, "backup")
	n := c.nodes[1]
	script := filepath.Join(c.dir, "restore")
	text := fmt.Sprintf(`#!/bin/sh
for a; do case $a in --datadir=*) dir=${a#*=};; --connstring=) source=none;; --connstring=*) source=$a;; esac; done
echo "source: $source" >> %[1]s.seen
exec cp -a %[2]s "$dir"
`, script, backup)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.nodes {
		m.set("postgresql.create_replica_methods", []any{"restore", "basebackup"})
		m.set("postgresql.restore", object{"command": script, "no_leader": true})
		m.writeConfig()
	}
	for _, m := range slices.Backward(c.nodes) { // the leader last
		m.stop()
		c.eventually(patience, m.name+" has ended", func() (bool, string) { return !m.running(), "" })
	}
	if out, err := exec.Command("cp", "-a", leader.dataDir(), backup).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, m := range c.nodes {
		if err := os.RemoveAll(m.dataDir()); err != nil {
			t.Fatal(err)
		}
	}
	from := n.logSize()
	n.start()
	c.waitLeader(patience, n)
	n.says(from, "trying to bootstrap (without leader)")
	if b, err := os.ReadFile(script + ".seen"); err != nil || string(b) != "source: none\n" {
		t.Errorf("the method was called as %q, %v", b, err)
	}
	if got := n.must("SELECT n FROM kept"); got != "7" {
		t.Errorf("kept: %s", got)
	}
	leader.start()
	c.nodes[2].start()
	c.waitHealthy(patience, n)
}

// A replica whose source does not answer keeps its data, and goes on: also when the
// source is gone by the time that the replica's own server has been stopped.
func TestDataIsNotReplacedWithoutASource(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"], c.dynamic["ttl"] = 2, 60 // the frozen leader stays the leader
	leader := c.bringUp(3, guarded)
	n := c.nodes[2]
	if err := touch(filepath.Join(n.dataDir(), "marker")); err != nil {
		t.Fatal(err)
	}
	starts := n.serverStarts()
	why := "reinitialize failed: " + leader.name + ": it cannot be copied from, so the data directory stays as it is"
	refused := func() {
		t.Helper()
		if status, body := n.ask("POST", "/reinitialize", `{"from_leader": true}`); status != 503 || !strings.HasPrefix(body, why) {
			t.Errorf("answered %d: %s", status, body)
		}
	}
	kept := func() {
		t.Helper()
		if _, err := os.Stat(filepath.Join(n.dataDir(), "marker")); err != nil {
			t.Error(err)
		}
	}
	// before_stop is called when the source has answered the first time.
	n.set("postgresql.before_stop", fmt.Sprintf("kill -STOP %d %d %d", leader.main.pid(), leader.agentPID(), leader.postmasterPID()))
	n.writeConfig()
	n.want(202, "reload scheduled", "POST", "/reload", "")
	refused()
	kept()
	n.says(0, why)
	c.eventually(patience, "the server was started again", func() (bool, string) { return n.serverStarts() == starts+1, fmt.Sprint(n.serverStarts()) })
	kept()

	t.Log("the leader is frozen; now it is the first question that has no answer")
	postmaster := n.postmasterPID()
	refused()
	kept()
	if now := n.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
}
