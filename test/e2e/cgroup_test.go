//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// delegate makes a control group as systemd does with Delegate=yes; the test is
// skipped where that cannot be done.
func delegate(t *testing.T) (dir string) {
	t.Helper()
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err != nil {
			continue
		}
		dir, err := os.MkdirTemp(mount, "tamada-e2e-")
		if err != nil {
			break
		}
		t.Cleanup(func() {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && os.Remove(dir) != nil; time.Sleep(20 * time.Millisecond) {
				below, _ := filepath.Glob(dir + "/tamada-postgres-*")
				for _, d := range below {
					_ = os.Remove(d)
				}
			}
		})
		a := owner(t)
		for _, path := range []string{dir, dir + "/cgroup.procs", dir + "/cgroup.subtree_control", dir + "/cgroup.threads"} {
			if err := os.Chown(path, a.uid, a.gid); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	t.Skip("control groups cannot be made here (it takes root and version 2)")
	return ""
}

// A server that obeys no signal but SIGKILL, in a control group of its own: all
// of it is gone within the kill grace, what it has started included.
func TestServerIsKilledAsAWholeByItsControlGroup(t *testing.T) {
	t.Parallel()
	if owner(t).uid == 0 {
		t.Skip("root is given no control groups")
	}
	dir := delegate(t)
	c := newCluster(t)
	n := c.add("n1", here(t))
	n.set("bootstrap.dcs", object{"ttl": 20, "loop_wait": 5, "retry_timeout": 5, "postgresql": object{"parameters": object{
		"archive_mode": "on", "archive_command": "sleep 100"}}})
	n.writeConfig()
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := n.at.command(t, n.command...)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	n.main = startProgram(t, n.name, n.log, cmd)
	c.waitLeader(patience, n)

	own, _ := filepath.Glob(dir + "/tamada-postgres-*")
	if len(own) != 1 {
		t.Fatalf("control groups: %v", own)
	}
	members := func() string {
		b, err := os.ReadFile(own[0] + "/cgroup.procs")
		return strings.Join(strings.Fields(string(b)), " ") + errorText(err)
	}
	in := func(pid int) bool {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		return strings.HasSuffix(strings.TrimSpace(string(b)), filepath.Base(own[0]))
	}
	if !in(n.postmasterPID()) || in(n.agentPID()) || in(n.main.pid()) {
		t.Errorf("the group has %s; postmaster %d, agent %d, guardian %d", members(), n.postmasterPID(), n.agentPID(), n.main.pid())
	}
	n.must("SELECT pg_switch_wal()")
	archiver := 0
	c.eventually(patience, "archive_command runs", func() (bool, string) {
		for _, p := range readProcesses() {
			if p.comm == "sleep" && in(p.pid) {
				archiver = p.pid
			}
		}
		return archiver != 0, members()
	})
	main, agent := n.main.pid(), n.agentPID()
	n.kill(main, syscall.SIGSTOP, "guardian")
	n.kill(agent, syscall.SIGSTOP, "agent")
	for _, p := range n.processes() {
		if p.comm == "postgres" {
			n.kill(p.pid, syscall.SIGSTOP, "a server process")
		}
	}
	begin := time.Now()
	if out, err := n.at.command(t, n.at.tamada, "fence", n.configFile()).CombinedOutput(); err != nil {
		t.Fatalf("fence: %v\n%s", err, out)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("fencing took %v", took)
	}
	c.eventually(2*time.Second, "nothing is left in the group", func() (bool, string) { return members() == "" && !alive(archiver), members() })
}
