//go:build linux

package watchdog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPipeDriverWritesWhatTheKernelWouldBeTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s := Settings{Mode: Required, Device: path, Driver: DriverTesting, SafetyMargin: 5, LoopWait: time.Second}
	log := &bytes.Buffer{}
	w := New(slog.New(slog.NewTextHandler(log, nil)), Open)
	g := &Guarded{Deadline: time.Hour, TTL: ttl, Settings: s}
	now := g.Deadline + 3*time.Second - ttl
	w.Tend(now, g) // nobody reads
	if w.Status() != Failed || !strings.Contains(log.String(), path) {
		t.Errorf("status %q, log %s", w.Status(), log)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		now, g.Deadline = now+5*time.Second, g.Deadline+5*time.Second
		w.Tend(now, g)
	}
	g.TTL = 40 * time.Second
	now, g.Deadline = now+5*time.Second, g.Deadline+15*time.Second
	w.Tend(now, g)
	w.Tend(now, nil)
	b := make([]byte, 4096)
	n, err := r.Read(b)
	if want := "Ctimeout=25\n11Ctimeout=35\n1V"; err != nil || string(b[:n]) != want {
		t.Errorf("%q %v, want %q", b[:n], err, want)
	}
}

func TestAFileThatIsNoWatchdogIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Settings{Mode: Required, Device: path})
	if err == nil || !strings.Contains(err.Error(), "does not answer as a watchdog device") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "kept" {
		t.Errorf("it was written to: %q", b)
	}
}

func TestProblem(t *testing.T) {
	there := filepath.Join(t.TempDir(), "watchdog")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name string
		s    Settings
		want string
	}{
		{"off", Settings{Mode: Off, Device: "/not/there"}, ""},
		{"automatic", Settings{Mode: Automatic, Device: "/not/there"}, ""},
		{"required", Settings{Mode: Required, Device: there, SafetyMargin: 5}, ""},
		{"required and not there", Settings{Mode: Required, Device: "/not/there", SafetyMargin: 5}, "/not/there: no such file"},
		{"required without room", Settings{Mode: Required, Device: there, SafetyMargin: 30}, "Watchdog not supported"},
	} {
		if got := Problem(x.s, ttl); got == "" != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("%s: %q", x.name, got)
		}
	}
}
