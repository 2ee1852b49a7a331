//go:build linux

package postgres

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tamada/internal/postgres/proc"
)

// watchingJournal looks, while it notes a child, whether that has begun already.
type watchingJournal struct {
	ran   func() bool
	early bool
	pid   int
	start uint64
	err   error // what it answers
}

func (j *watchingJournal) ChildStarted(_ string, pid int, start uint64) error {
	j.pid, j.start = pid, start
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end) && !j.early; time.Sleep(5 * time.Millisecond) {
		j.early = j.ran()
	}
	return j.err
}

func (j *watchingJournal) ChildEnded(string) {}

// program is a script that leaves a file with its process number, its start time
// and its arguments.
func program(t *testing.T) (path, trace string) {
	t.Helper()
	dir := t.TempDir()
	path, trace = filepath.Join(dir, "program"), filepath.Join(dir, "trace")
	script := "#!/bin/sh\necho \"$$ $(cut -d' ' -f22 /proc/$$/stat) $*\" > " + trace + ".new && mv " + trace + ".new " + trace + "\n[ ! -e /proc/self/fd/3 ]\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, trace
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func TestProgressOfARewindIsAskedForOnce(t *testing.T) {
	t.Parallel()
	s := Settings{RewindOptions: []any{"progress", "debug", "dry-run"}}
	if options, refused := s.rewindOptions(); !slices.Equal(options, []string{"--debug"}) || len(refused) != 1 {
		t.Errorf("%v, refused %v", options, refused)
	}
}

// A script is found from where we were started, although it runs elsewhere.
func TestScriptWithARelativePathIsRun(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	p := New(Settings{}, Deps{Log: slog.New(slog.DiscardHandler)})
	if err := p.runScript(t.Context(), "testdata/touch.sh "+trace, command{what: "script"}); err != nil || !exists(trace) {
		t.Error(err)
	}
}

func TestProgramBeginsOnlyWhenItIsOnRecord(t *testing.T) {
	t.Parallel()
	path, trace := program(t)
	j := &watchingJournal{ran: func() bool { return exists(trace) }}
	p := New(Settings{}, Deps{Journal: j})
	c := command{what: "program", path: path, args: []string{"-D", "a b"}, changes: true}
	if _, err := p.run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if j.early {
		t.Error("the program began before it was on record")
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b))
	if want := []string{strconv.Itoa(j.pid), strconv.Itoa(int(j.start))}; len(f) != 5 || f[0] != want[0] || f[1] != want[1] || strings.Join(f[2:], " ") != "-D a b" {
		t.Errorf("the program was %q, on record %v", strings.TrimSpace(string(b)), want)
	}

	_ = os.Remove(trace)
	j.err = errors.New("disk full")
	if _, err := p.run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "program: write the task journal: disk full") {
		t.Errorf("%v", err)
	}
	if _, err := proc.ReadStat(j.pid); err == nil || exists(trace) {
		t.Errorf("a program that is not on record was run: %v", err)
	}
}

// The end of the agent closes its end of the pipe.
func TestGateThatIsNeverOpenedStartsNothing(t *testing.T) {
	t.Parallel()
	path, trace := program(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	open, err := gated(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || ctx.Err() != nil || exists(trace) {
		t.Errorf("it ran, or did not end: %v", err)
	}
}

func TestProgramThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	p := New(Settings{}, Deps{Journal: &watchingJournal{ran: func() bool { return true }}})
	path := filepath.Join(t.TempDir(), "pg_rewind")
	if _, err := p.run(t.Context(), command{what: "pg_rewind", path: path, changes: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
