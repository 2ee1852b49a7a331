//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a node is asked to do and must refuse: with one line that says what to
// do about it, an exit code, and without changing a file.
func TestNodeRefusesToStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	running := c.bringUp(1)
	spoil := func(f func(*node)) func(*testing.T, *node) {
		return func(_ *testing.T, n *node) { f(n) }
	}
	cases := []struct {
		name  string
		spoil func(*testing.T, *node)
		want  string // what the line must say, a regular expression
		code  int    // 0: any but 0
		asks  bool   // the store has to be asked first: then there is a state folder
	}{
		{"name taken", spoil(func(n *node) { n.set("name", running.name) }), `n1.*already|already.*n1|name n1 is taken`, 1, true},
		{"REST port taken", spoil(func(n *node) {
			n.set("restapi.listen", strings.TrimPrefix(running.restURL(), "http://"))
		}), `port is in use`, 1, false},
		{"PostgreSQL's port taken", spoil(func(n *node) {
			n.set("postgresql.listen", fmt.Sprintf("127.0.0.1:%d", running.port))
		}), fmt.Sprintf(`port is in use by another process: postgresql.listen 127.0.0.1:%d`, running.port), 1, false},
		{"data folder of another user", needRoot(func(n *node) {
			makeData(n, 0o700)
			_ = os.Chown(n.dataDir(), 65534, 65534)
		}), `belongs to user nobody`, 1, false},
		{"data folder open to others", spoil(func(n *node) { makeData(n, 0o755) }), `0755.*chmod 0700`, 1, false},
		{"data folder cannot be made", needRoot(func(n *node) {
			n.set("postgresql.data_dir", "/var/lib/not-there/data")
		}), `/var/lib/not-there/data`, 1, false},
		{"as root", needRoot(func(n *node) {
			n.command = append([]string{"sudo-not-needed"}, n.command...)
		}), `as root`, 1, false},
		{"unsupported PostgreSQL", spoil(func(n *node) {
			n.set("postgresql.bin_dir", fakePrograms(n, "12.22"))
		}), `unsupported version.*12\.22`, 1, false},
		{"no PostgreSQL", spoil(func(n *node) {
			n.set("postgresql.bin_dir", n.dir)
		}), `(?s)postgres .*` + `correct postgresql.bin_dir`, 1, false},
		{"guardian required and switched off", spoil(func(n *node) {
			n.set("guardian", object{"mode": "required"})
			n.command = append(n.command, "--no-guardian")
		}), `guardian.mode is required, and --no-guardian runs without one`, 1, false},
		{"mistakes in the configuration", spoil(func(n *node) {
			n.set("restapi.listen", "127.0.0.1:port")
			n.set("postgresql.listen", "127.0.0.1:port")
			n.set("name", "")
		}), `(?s)(restapi.listen.*postgresql.listen|postgresql.listen.*restapi.listen)`, 1, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			n := newNode(c, "refused-"+strings.ReplaceAll(tc.name, " ", "-"), here(t))
			tc.spoil(t, n)
			n.writeConfig()
			before := snapshot(t, n.dir, tc.asks)
			code, output := runOnce(t, n)
			t.Logf("exit code %d:\n%s", code, output)
			if code == 0 || tc.code != 0 && code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if !regexp.MustCompile(tc.want).MatchString(output) {
				t.Errorf("the output does not say %s:\n%s", tc.want, output)
			}
			if strings.Contains(output, "goroutine ") || strings.Contains(output, superuserPassword) {
				t.Errorf("a stack trace or a secret:\n%s", output)
			}
			if after := snapshot(t, n.dir, tc.asks); after != before {
				t.Errorf("files were changed.\nbefore:\n%s\nafter:\n%s", before, after)
			}
		})
	}
	if key := c.leaderKey(); key != running.name {
		t.Errorf("the running cluster's leader is %q now", key)
	}
	c.waitHealthy(patience, running)
}

func TestNodeOfAnotherClusterIsRefusedAndItsDataKept(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.bringUp(1)
	stranger := c.add("stranger", here(t))
	initdb := stranger.at.command(t, filepath.Join(stranger.at.binDir, "initdb"), "-D", stranger.dataDir(), "--no-sync", "--auth=trust", "-U", "postgres")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	before := snapshot(t, stranger.dataDir(), false)
	code, output := stranger.runToEnd()
	if code == 0 || !strings.Contains(output, "system ID mismatch, node stranger belongs to a different cluster") {
		t.Errorf("exit code %d:\n%s", code, output)
	}
	if after := snapshot(t, stranger.dataDir(), false); after != before {
		t.Errorf("the data of the other cluster was touched:\n%s\n%s", before, after)
	}
	if key := c.leaderKey(); key != leader.name {
		t.Errorf("the leader is %q now", key)
	}
}

// runOnce starts a node in the foreground until it ends; one that runs on is
// ended and is a failure.
func runOnce(t *testing.T, n *node) (code int, output string) {
	t.Helper()
	argv, asRoot := n.command, false
	if argv[0] == "sudo-not-needed" {
		argv, asRoot = argv[1:], true
	}
	cmd := n.at.command(t, argv...)
	if asRoot {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	log := filepath.Join(n.c.dir, filepath.Base(n.dir)+".log")
	n.main = startProgram(t, n.name, log, cmd)
	defer n.killAll()
	select {
	case <-n.main.done:
	case <-time.After(patience):
		t.Fatalf("it runs:\n%s", tail(log, 4000))
	}
	return n.main.exitCode(), tail(log, 1<<20)
}

func needRoot(f func(*node)) func(*testing.T, *node) {
	return func(t *testing.T, n *node) {
		if os.Geteuid() != 0 {
			t.Skip("needs root")
		}
		f(n)
	}
}

// makeData makes a folder that looks like PostgreSQL's.
func makeData(n *node, mode os.FileMode) {
	n.c.makeFolder(n.dataDir(), n.at)
	path := filepath.Join(n.dataDir(), "PG_VERSION")
	if err := os.WriteFile(path, []byte("15\n"), 0o600); err != nil {
		n.c.t.Fatal(err)
	}
	n.at.give(n.c.t, path)
	if err := os.Chmod(n.dataDir(), mode); err != nil {
		n.c.t.Fatal(err)
	}
}

// fakePrograms makes programs of a PostgreSQL of some version.
func fakePrograms(n *node, version string) string {
	dir := filepath.Join(n.dir, "bin")
	n.c.makeFolder(dir, n.at)
	for _, name := range []string{"postgres", "initdb", "pg_controldata", "pg_basebackup", "pg_rewind", "pg_ctl", "pg_isready"} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, version)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			n.c.t.Fatal(err)
		}
	}
	return dir
}

// snapshot describes every file below a folder: name, owner, permissions, size
// and time; those of the state folder only if that counts too.
func snapshot(t *testing.T, dir string, butState bool) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if butState && strings.HasPrefix(rel, "data.tamada") || rel == "." {
			return nil
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		st := i.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d %d", rel, i.Mode(), st.Uid, st.Gid)
		if !i.IsDir() {
			fmt.Fprintf(&b, " %d %d", i.Size(), i.ModTime().UnixNano())
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
