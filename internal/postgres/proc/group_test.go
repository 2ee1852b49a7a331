//go:build linux

package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeControl is what the kernel would show: processes in groups.
func fakeControl(t *testing.T, groups map[int]string) control {
	t.Helper()
	c := control{t.TempDir(), t.TempDir()}
	for pid, group := range groups {
		dir := filepath.Join(c.proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte("2:cpu:/x\n0::"+group+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestOnlyTheInstancesOwnGroupIsEverKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := sleeper(t)
	h, err := Open(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, x := range []struct {
		group string
		mine  bool
	}{
		{"/system.slice/tamada.service/" + groupName(dir), true},
		{"/system.slice/tamada.service", false},
		{"/", false},
		{"/system.slice/tamada.service/" + groupName(dir+"2"), false},
		{"/system.slice/tamada.service/" + groupName(dir) + "/archiver", false},
	} {
		c := fakeControl(t, map[int]string{h.PID(): x.group})
		if got := c.ofServer(h, dir); (got != "") != x.mine || x.mine && got != filepath.Join(c.mount, x.group) {
			t.Errorf("%s: %q", x.group, got)
		}
	}
	c := fakeControl(t, map[int]string{h.PID(): "/" + groupName(dir)})
	_ = cmd.Process.Kill()
	h.WaitFor(10 * time.Second)
	if got := c.ofServer(h, dir); got != "" {
		t.Errorf("of a process that is gone: %s", got)
	}
}

func TestGroupIsMadeOnceAndKilledByItsFile(t *testing.T) {
	t.Parallel()
	parent, dir := t.TempDir(), t.TempDir()
	for range 2 { // the second time it is there
		f, err := openGroup(parent, dir)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	group := filepath.Join(parent, groupName(dir))
	if err := kill(group); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old kernel has no file to write to: %v", err)
	}
	file := filepath.Join(group, "cgroup.kill")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := kill(group); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); string(b) != "1" {
		t.Errorf("%q", b)
	}
}

// delegated makes a real control group for a test.
func delegated(t *testing.T) (dir string) {
	t.Helper()
	c := kernelControl()
	if c.mount == "" {
		t.Skip("no control groups of version 2 are mounted")
	}
	dir, err := os.MkdirTemp(c.mount, "tamada-test-")
	if err != nil {
		t.Skip("control groups cannot be made here:", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil {
		_ = os.Remove(dir)
		t.Skip("this kernel cannot kill control groups")
	}
	return dir
}

// A process that starts others faster than they can be listed does not get away
// from the kernel.
func TestARealGroupIsKilledAsAWhole(t *testing.T) {
	t.Parallel()
	parent, dir := delegated(t), t.TempDir()
	group, err := openGroup(parent, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := exec.Command("sh", "-c", "while :; do sleep 100 & sleep 0.01; done")
	cmd.SysProcAttr = inGroup(group)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	members := func() int {
		b, err := os.ReadFile(filepath.Join(group.Name(), "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		return len(strings.Fields(string(b)))
	}
	t.Cleanup(func() {
		_ = kill(group.Name())
		_ = os.Remove(group.Name())
		_ = os.Remove(parent)
	})
	until(t, func() bool { return members() > 5 })
	h, err := Open(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	found := kernelControl().ofServer(h, dir)
	if found != group.Name() {
		t.Fatalf("its group is %q, not %q", found, group.Name())
	}
	if err := kill(found); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	until(t, func() bool { return members() == 0 })
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("not within ten seconds")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func inGroup(group *os.File) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
}
