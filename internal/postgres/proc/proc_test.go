//go:build linux

package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestZombieCountsAsDead(t *testing.T) {
	t.Parallel()
	cmd := sleeper(t)
	h, err := Open(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Alive() || h.WaitFor(time.Millisecond) {
		t.Fatal("a living process is dead")
	}
	if err := h.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.Wait(ctx); err != nil { // nobody has reaped it
		t.Fatal(err)
	}
	if h.Alive() {
		t.Error("a zombie lives")
	}
	if err := h.Signal(syscall.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("signal to a zombie: %v", err)
	}
	if _, err := Open(cmd.Process.Pid, 0); !errors.Is(err, ErrGone) {
		t.Errorf("a zombie was opened: %v", err)
	}
}

func TestAnotherStartTimeIsAnotherProcess(t *testing.T) {
	t.Parallel()
	cmd := sleeper(t)
	h, err := Open(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := Open(cmd.Process.Pid, h.Start()+1); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	same, err := Open(cmd.Process.Pid, h.Start())
	if err != nil {
		t.Fatal(err)
	}
	same.Close()
	if _, err := Open(-1, 0); err == nil {
		t.Error("-1 was opened: a signal to it would reach everybody")
	}
}

func TestOnlyServersInTheFolderBelongToAnInstance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(t.TempDir(), "postgres")
	data, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open: "text file busy"
	err = os.WriteFile(fake, data, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	start := func(program, cwd string) int {
		cmd := exec.Command(program, "100")
		cmd.Dir = cwd
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd.Process.Pid
	}
	server, shell, elsewhere := start(fake, dir), start(sleep, dir), start(fake, t.TempDir())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	list, err := Processes(link)
	if err != nil || len(list) != 1 || list[0].PID() != server {
		t.Fatalf("%v %v", list, err)
	}
	if err := Rehearse(dir); err != nil || !list[0].Alive() {
		t.Fatalf("a rehearsal ended with %v; the server lives: %v", err, list[0].Alive())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := KillAll(ctx, dir, 0); err != nil {
		t.Fatal(err)
	}
	if list[0].Alive() {
		t.Error("the server lives")
	}
	for _, pid := range []int{shell, elsewhere} {
		if h, err := Open(pid, 0); err != nil {
			t.Errorf("process %d was hit: %v", pid, err)
		} else {
			h.Close()
		}
	}
}

// The kernel takes a moment to free what a killed server held, and the server's
// program is not to be seen any more by then.
func TestEndingServerBelongsUntilItsMemoryIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	perl, err := exec.LookPath("perl") // of one thread, as a server process is
	if err != nil {
		t.Skip("needs perl: ", err)
	}
	data, err := os.ReadFile(perl)
	if err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(t.TempDir(), "postgres")
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open: "text file busy"
	err = os.WriteFile(fake, data, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(fake, "-e", `$| = 1; $x = "x" x (1 << 29); print "ready\n"; sleep 60`)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	h, err := Open(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ending := func() bool {
		_, err := os.Readlink(procPath(pid, "exe"))
		_, cwd := os.Readlink(procPath(pid, "cwd"))
		return gone(err) && cwd == nil
	}
	if err := h.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for h.Alive() {
		before := ending()
		list, err := Processes(dir)
		if err != nil {
			t.Fatal(err)
		}
		listed := len(list) == 1 && list[0].PID() == pid
		for _, x := range list {
			x.Close()
		}
		if before && ending() {
			seen++
			if !listed {
				t.Fatal("it is not among the processes of the folder, and still has its memory")
			}
		}
	}
	t.Logf("seen %d times while it was ending", seen)
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	s, err := parseStat([]byte("42 (a) b (c)) S 1 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0"))
	if err != nil || s != (Stat{42, 1, 'S', 123456}) {
		t.Errorf("%+v %v", s, err)
	}
	own, err := ReadStat(os.Getpid())
	if err != nil || own.Parent != os.Getppid() || own.Dead() {
		t.Errorf("%+v %v", own, err)
	}
	at, err := StartTime(own.Start)
	if d := time.Since(at); err != nil || d < -2*time.Second || d > time.Hour {
		t.Errorf("started %v ago, %v", d, err)
	}
}

func TestParsePidFile(t *testing.T) {
	t.Parallel()
	f, err := parsePidFile("29020\n/tmp/d\n1795390612\n55999\n/run\nlocalhost\n  9977877        22\nready   \n")
	if err != nil || f.PID != 29020 || f.SingleUser || f.Port != 55999 || f.SocketDir != "/run" || f.Listen != "localhost" || f.Status != "ready" ||
		!f.Start.Equal(time.Unix(1795390612, 0)) {
		t.Errorf("%+v %v", f, err)
	}
	if f, err := parsePidFile("-7\n"); err != nil || !f.SingleUser || f.PID != 7 {
		t.Errorf("%+v %v", f, err)
	}
	for _, bad := range []string{"", "x", "0\n"} {
		if _, err := parsePidFile(bad); err == nil {
			t.Errorf("%q", bad)
		}
	}
}

func TestOurOwnProcessIsNotAPostmaster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, pid := range []int{os.Getpid(), os.Getppid()} {
		if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(strconv.Itoa(pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Find(dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%v", err)
		}
	}
	if _, _, err := Find(t.TempDir()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("29020\n/tmp/d\n1795390612\n", []byte("42 (a) S 1"))
	f.Fuzz(func(t *testing.T, text string, stat []byte) {
		if p, err := parsePidFile(text); err == nil && p.PID <= 0 && p.PID != -p.PID {
			t.Error(p.PID)
		}
		_, _ = parseStat(stat)
	})
}
