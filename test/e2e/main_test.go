//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Variables by which the outer process tells the inner one what it prepared.
const (
	envInner = "TAMADA_E2E_INNER" // folder to work in
	envKeep  = "TAMADA_E2E_DIR"
	// envOwnMemory says that the inner process has shared memory to itself.
	envOwnMemory = "TAMADA_E2E_OWN_MEMORY"
)

// Where the inner process works, and the program under test.
var (
	workDir string
	tamada  string
)

// TestMain runs the tests in a process of its own, so that something is left to
// clean up when they panic or are killed.
func TestMain(m *testing.M) {
	workDir = os.Getenv(envInner)
	if workDir == "" {
		code, err := supervise()
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		os.Exit(code)
	}
	if err := ownSharedMemory(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// startInner starts the tests proper in namespaces of their own for shared
// memory. A killed PostgreSQL leaves its own behind, which would stay until the
// machine is restarted once the data folder is gone too: a megabyte of memory
// and one of the kernel's 4096 identifiers for every server that a test kills;
// with none left no PostgreSQL starts any more. It goes with the namespaces.
// Where they are not allowed (only root may) a run leaves some hundred of these.
func startInner(dir string) (pid int, err error) {
	env := append(os.Environ(), envInner+"="+dir)
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	attr := &syscall.ProcAttr{Env: append(env, envOwnMemory+"=1"), Files: []uintptr{0, 1, 2}, Sys: sys}
	sys.Cloneflags = unix.CLONE_NEWIPC | unix.CLONE_NEWNS
	if pid, err = syscall.ForkExec("/proc/self/exe", os.Args, attr); !errors.Is(err, unix.EPERM) {
		return pid, err
	}
	sys.Cloneflags, attr.Env = 0, env
	return syscall.ForkExec("/proc/self/exe", os.Args, attr)
}

// ownSharedMemory completes in the inner process what startInner began: the
// POSIX half of shared memory is a file system.
func ownSharedMemory() error {
	if os.Getenv(envOwnMemory) == "" {
		return nil
	}
	// What is mounted from now on is not seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts to the tests: %w", err)
	}
	if err := unix.Mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount /dev/shm for the tests: %w", err)
	}
	return nil
}

// build makes the program under test, once and only when a test needs it.
func build() error {
	tamada = filepath.Join(workDir, "tamada")
	cmd := exec.Command("go", "build", "-trimpath", "-o", tamada, "./cmd/tamada")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // so that it runs in other Debians
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.Chmod(tamada, 0o755)
}

// supervise is the outer process: it runs the tests and ends what they leave.
func supervise() (int, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 1, fmt.Errorf("become the reaper of what the tests start: %w", err)
	}
	dir, err := makeWorkDir()
	if err != nil {
		return 1, err
	}
	// The inner process must not outlive this one; the signal comes when the thread ends.
	runtime.LockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	pid, err := startInner(dir)
	if err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
	code := reapUntil(pid)
	left := endDescendants()
	if len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "e2e: the tests left processes behind:", left)
		code = 1
	}
	if os.Getenv(envKeep) == "" {
		err = os.RemoveAll(dir)
	}
	return code, err
}

func makeWorkDir() (string, error) {
	dir := os.Getenv(envKeep)
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "tamada-e2e-")
	} else if dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755) // the user postgres must get through
}

// reapUntil reaps children until the tests have ended, and returns their exit
// code.
func reapUntil(tests int) int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1
		case pid == tests && status.Exited():
			return status.ExitStatus()
		case pid == tests:
			return 128 + int(status.Signal())
		}
	}
}

// endDescendants kills everything below this process and waits until it is
// gone. What it had to kill it returns, for a complaint.
func endDescendants() (killed []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		left := descendants(readProcesses(), os.Getpid())
		if len(left) == 0 {
			return killed
		}
		for _, p := range left {
			if p.state != 'Z' {
				text := strconv.Itoa(p.pid) + " " + p.cmdline
				if !slices.Contains(killed, text) {
					killed = append(killed, text)
				}
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return killed
}
