//go:build linux

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A process is one entry of /proc.
type process struct {
	pid, ppid int
	start     string // ticks since the boot: with the pid it names one process for ever
	state     byte
	comm      string
	cmdline   string
	cwd       string // empty when it cannot be read
}

// readProcesses lists what runs on this machine.
func readProcesses() map[int]process {
	all := map[int]process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	return all
}

func readProcess(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name is in parentheses and may contain some.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return process{}, false
	}
	p := process{pid: pid, state: fields[0][0], comm: string(stat[open+1 : end])}
	p.ppid, _ = strconv.Atoi(fields[1])
	p.start = fields[19]
	if b, err := os.ReadFile(dir + "/cmdline"); err == nil {
		p.cmdline = strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	}
	p.cwd, _ = os.Readlink(dir + "/cwd")
	return p, true
}

// descendants are all processes below one.
func descendants(all map[int]process, root int) (below []process) {
	children := map[int][]int{}
	for _, p := range all {
		children[p.ppid] = append(children[p.ppid], p.pid)
	}
	queue := children[root]
	for len(queue) > 0 {
		below = append(below, all[queue[0]])
		queue = append(queue[1:], children[queue[0]]...)
	}
	return below
}

// alive tells whether a process runs; one that nobody has reaped does not.
func alive(pid int) bool {
	p, ok := readProcess(pid)
	return ok && p.state != 'Z' && p.state != 'X'
}

// A program is one process that a test started.
type program struct {
	t    testing.TB
	name string
	log  string // path of stdout and stderr
	cmd  *exec.Cmd
	done chan struct{}
}

// startProgram starts a command with its output appended to a file. Whoever
// starts it ends it; killed alone, a guardian would leave its agent.
func startProgram(t testing.TB, name, log string, cmd *exec.Cmd) *program {
	t.Helper()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p := &program{t: t, name: name, log: log, cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.done) }()
	return p
}

func (p *program) pid() int { return p.cmd.Process.Pid }

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// kill ends the process and waits for its end.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exitCode is valid after the end.
func (p *program) exitCode() int { return p.cmd.ProcessState.ExitCode() }
