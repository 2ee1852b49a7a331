//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// newerProgram is the program with another version in it.
const newerVersion = "0.1.0-newer"

var newerProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "tamada-newer")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X tamada/internal/cluster.ProgramVersion="+newerVersion, "-o", path, "./cmd/tamada")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return path, os.Chmod(path, 0o755)
})

// script makes a program of a shell script.
func (n *node) script(name, text string) string {
	n.c.t.Helper()
	path := n.file(name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		n.c.t.Fatal(err)
	}
	n.at.give(n.c.t, path)
	return path
}

// version is the one that the member has published.
func (n *node) version() string {
	d, _ := n.status()["tamada"].(object)
	v, _ := d["version"].(string)
	return v
}

// Twenty upgrades under load, five of them to a program that is of no use: no
// statement fails, no health check says no, and the bad ones are taken back.
func TestTwentyUpgradesUnderLoad(t *testing.T) {
	t.Parallel()
	newer, err := newerProgram()
	if err != nil {
		t.Fatalf("%v: %s", err, newer)
	}
	c := newCluster(t)
	leader := c.bringUp(2)
	older := builtProgram(t)
	bad := map[int]string{
		3:  leader.script("crashes", "#!/bin/sh\nexit 3\n"),
		7:  leader.script("hangs", "#!/bin/sh\nexec sleep 1000\n"),
		11: leader.script("no-program", "this is not a program\n\x00\x01"),
		15: leader.script("crashes-later", "#!/bin/sh\nsleep 2\nkill -9 $$\n"),
		// It serves, and does not lead: the store that it knows is not there.
		18: leader.script("no-store", "#!/bin/sh\nsed 's/"+c.store+"/127.0.0.1:1/' "+leader.configFile()+" > "+leader.file("no-store.yml")+
			"\nexec "+newer+" agent "+leader.file("no-store.yml")+"\n"),
	}
	w := c.startWriter(leader)
	load := leader.probe(2, 5*time.Millisecond)
	begin, session := time.Now(), leader.must("SELECT pg_backend_pid()")
	postmaster := leader.postmasterPID()
	running := older
	var slowest time.Duration
	for i := 1; i <= 20; i++ {
		if program := bad[i]; program != "" {
			from, asked := leader.logSize(), time.Now()
			code, out := leader.cli("upgrade-agent", program)
			t.Logf("upgrade %d to %s: exit code %d after %v: %s", i, filepath.Base(program), code, time.Since(asked).Round(10*time.Millisecond), strings.TrimSpace(out))
			if code == 0 || !strings.Contains(out, "the version before it runs again") {
				t.Errorf("upgrade %d to %s: exit code %d: %s", i, program, code, out)
			}
			c.eventually(patience, "the log says so, and the version before leads", func() (bool, string) {
				code, body := leader.get("/primary")
				log := leader.logSince(from)
				return code == 200 && strings.Contains(log, "going on with the lease") && strings.Contains(log, "the agent was not upgraded"), body + log
			})
			continue
		}
		next := newer
		if running == newer {
			next = older
		}
		asked := time.Now()
		if code, out := leader.cli("upgrade-agent", next); code != 0 {
			t.Fatalf("upgrade %d: exit code %d: %s", i, code, out)
		}
		slowest = max(slowest, time.Since(asked))
		running = next
		want := "0.1.0"
		if running == newer {
			want = newerVersion
		}
		c.eventually(patience, "the member has the other version", func() (bool, string) { v := leader.version(); return v == want, v })
	}
	if now := leader.main.pid(); !alive(now) {
		t.Error("the guardian has ended")
	}
	load.end()
	if s, found := load.first(begin, func(s sample) bool { return s.code != 200 }); found {
		t.Errorf("GET /primary answered %d, state %q, at %s", s.code, s.state, s.answered.UTC().Format("15:04:05.000"))
	}
	t.Logf("%d requests; the slowest %v; the slowest good upgrade %v; longest pause between two rows %v", load.all.Load(), load.slowest(1),
		slowest.Round(time.Millisecond), w.gap(begin).Round(time.Millisecond))
	if failed := w.failures(); len(failed) > 0 {
		t.Errorf("%d statements failed, the first: %s", len(failed), failed[0])
	}
	if now := leader.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
	if now := leader.must("SELECT pg_backend_pid()"); now != session {
		t.Errorf("the client's session %s became %s", session, now)
	}
	if now := leader.timeline(); now != 1 {
		t.Errorf("timeline %d", now)
	}
	w.assertNothingLost(t, leader)
}

// What cannot be a program is refused before anything is touched.
func TestUpgradeToWhatIsNoProgramIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.bringUp(1)
	agent := n.agentPID()
	plain := n.file("plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ program, want string }{
		{n.file("not-there"), "no such file"}, {n.dir, "is not a file"}, {plain, "cannot be executed"},
	} {
		if code, out := n.cli("upgrade-agent", x.program); code == 0 || !strings.Contains(out, x.want) || !strings.Contains(out, "nothing was changed") {
			t.Errorf("%s: exit code %d: %s", x.program, code, out)
		}
	}
	if now := n.agentPID(); now != agent {
		t.Errorf("agent %d became %d", agent, now)
	}
}
