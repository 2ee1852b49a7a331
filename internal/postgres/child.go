//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/postgres/conf"
	"tamada/internal/postgres/proc"
)

const (
	// cancelGrace is how long a child may take to end after SIGTERM.
	cancelGrace = 10 * time.Second
	// outputLimit is how much of a child's output is kept, its end.
	outputLimit = 256 << 10
	// shortCommand is how long a program may run that only reports something.
	shortCommand = 30 * time.Second
	// treeLimit is how many processes of a script are looked for.
	treeLimit = 1000
)

// command is one program to run to its end.
type command struct {
	what string // for errors and the journal: "initdb"
	path string
	args []string
	env  []string // added to environment
	dir  string
	// changes: it changes the data folder, so it goes through the journal.
	changes bool
	// kill: when the context ends it is killed with all that it has started, wherever
	// that has gone, instead of being asked to end.
	kill bool
	// before is called when the program has been found, right before it is started.
	before func() error
}

// ExitError is a program that ended with a code other than 0.
type ExitError struct {
	What   string
	Code   int // -1: killed by a signal
	Output string
}

// Error shows the end of the program's output.
func (e *ExitError) Error() string {
	return fmt.Sprintf("%s exited with code=%d: %s", e.What, e.Code, lastLines(e.Output, 5))
}

// result is what a child wrote.
type result struct{ stdout, stderr string }

// run runs a program in a process group of its own. When the context ends, the
// whole group gets SIGTERM and, after a grace period, SIGKILL: a script's
// children must not go on writing into the data folder.
func (p *Instance) run(ctx context.Context, c command) (result, error) {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env = environment(c.env...)
	cmd.Dir = c.dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, errs tail
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	if c.kill {
		cmd.Cancel = func() error { return killTree(cmd.Process.Pid) }
	}
	cmd.WaitDelay = cancelGrace
	if err := p.startOnRecord(c, cmd); err != nil {
		return result{}, fmt.Errorf("%s: %w", c.what, err)
	}
	pid := cmd.Process.Pid
	awaitExit(pid)
	if ctx.Err() != nil {
		// What is left of the group. Its leader is not reaped yet, so the number
		// cannot belong to anybody else.
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	err := cmd.Wait()
	if c.changes && p.journal != nil {
		p.journal.ChildEnded(c.what)
	}
	r := result{out.String(), errs.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("%s: %w", c.what, ctx.Err())
	case errors.As(err, &exit):
		return r, &ExitError{c.what, exit.ExitCode(), strings.TrimSpace(r.stderr + r.stdout)}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return r, fmt.Errorf("%s: %w", c.what, err)
	}
	return r, nil
}

// killTree kills a child and everything below it. Each process is stopped before
// its children are listed, so that none can start another behind our back; one
// that belongs to somebody else (sudo) refuses and is waited for.
func killTree(pid int) error {
	var tree []int
	for next := []int{pid}; len(next) > 0 && len(tree) < treeLimit; {
		at := next[0]
		next = next[1:]
		tree = append(tree, at)
		_ = syscall.Kill(at, syscall.SIGSTOP)
		children, err := proc.Children(at)
		if err != nil {
			continue
		}
		for _, c := range children {
			next = append(next, c.PID)
		}
	}
	var refused error
	for _, at := range tree {
		if err := syscall.Kill(at, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) && at == pid {
			refused = err
		}
	}
	return refused
}

// awaitExit waits until a child has ended and leaves it to be reaped.
func awaitExit(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// startOnRecord starts a program, and notes it in the journal if it changes the
// data folder. Such a program waits behind a gate until it is on record.
func (p *Instance) startOnRecord(c command, cmd *exec.Cmd) error {
	if !c.changes || p.journal == nil {
		return proc.Punctual(cmd.Start)
	}
	if _, err := exec.LookPath(c.path); err != nil {
		return err // the shell of the gate would say it less clearly
	}
	open, err := gated(cmd)
	if err != nil {
		return err
	}
	pid := cmd.Process.Pid
	s, err := proc.ReadStat(pid)
	if err == nil {
		err = p.journal.ChildStarted(c.what, pid, s.Start)
	}
	if err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		_ = open.Close()
		_ = cmd.Wait()
		return fmt.Errorf("write the task journal: %w", err)
	}
	_, _ = open.WriteString("go\n") // one that was killed meanwhile is reported by its end
	return open.Close()
}

// gate is a shell that becomes the program, with the same process number and
// start time, when it reads a line, and ends when it reads the end of the file.
const gate = `read -r go <&3 && exec 3<&- && exec "$@"`

// gated starts a program behind a gate: it begins when a line is written to open,
// and never does when open is closed before.
//
// What if the agent dies between starting a program and noting it? Without the
// gate its successor would not know of the program, and would clean up a folder
// that this still writes to. With the agent its end of the pipe is closed too.
func gated(cmd *exec.Cmd) (open *os.File, err error) {
	wait, open, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer wait.Close()
	cmd.Args = append([]string{"/bin/sh", "-c", gate, "gate", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{wait} // descriptor 3
	if err := proc.Punctual(cmd.Start); err != nil {
		_ = open.Close()
		return nil, err
	}
	return open, nil
}

// output runs a program that only reports, in the C locale, and returns its
// standard output.
func (p *Instance) output(ctx context.Context, c command) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, shortCommand)
	defer cancel()
	c.env = append(slices.Clone(c.env), "LANG=C", "LC_ALL=C")
	r, err := p.run(ctx, c)
	return r.stdout, err
}

// script runs a command of the configuration, split into words but not given to
// a shell.
func (p *Instance) script(ctx context.Context, what, text string, changes bool, args, env []string) error {
	return p.runScript(ctx, text, command{what: what, args: args, env: env, changes: changes})
}

// runScript is script with all its details; path and args of c are completed.
func (p *Instance) runScript(ctx context.Context, text string, c command) error {
	what := c.what
	words, err := conf.ShellSplit(text)
	if err == nil && len(words) == 0 {
		err = errors.New("the command is empty")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if c.path, err = exec.LookPath(words[0]); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if c.path, err = filepath.Abs(c.path); err != nil { // it runs in another folder than we
		return fmt.Errorf("%s: %w", what, err)
	}
	c.args = append(words[1:], c.args...)
	if c.before != nil {
		if err := c.before(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	r, err := p.run(ctx, c)
	if text := strings.TrimSpace(r.stdout + r.stderr); text != "" {
		p.log.Debug("output of a script", "script", what, "output", lastLines(text, 50))
	}
	return err
}

// tail is a writer that keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - outputLimit; over > outputLimit {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b[max(0, len(t.b)-outputLimit):]) }

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// readIfExists is os.ReadFile with an absent file as an empty one.
func readIfExists(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}
