//go:build linux

package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning: no postmaster of the data folder runs.
var ErrNotRunning = errors.New("no postmaster runs")

// startTolerance is how far the start time in postmaster.pid may be from the
// process's own; a wall clock that was set meanwhile moves it.
const startTolerance = 3 * time.Second

// programs are the names that a PostgreSQL server's executable may have.
var programs = []string{"postgres", "postmaster"}

// PidFile is the content of postmaster.pid.
type PidFile struct {
	PID        int // of the postmaster, or of a single-user process
	SingleUser bool
	DataDir    string
	Start      time.Time // whole seconds
	Port       int
	SocketDir  string
	Listen     string
	// Status is the postmaster's own word on its state: "starting", "stopping",
	// "ready" (accepts connections), "standby" (up, but hot_standby is off); empty
	// while it is not written yet.
	Status string
}

// ReadPidFile reads postmaster.pid; [os.ErrNotExist] when there is none.
func ReadPidFile(dataDir string) (PidFile, error) {
	data, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return PidFile{}, err
	}
	f, err := parsePidFile(string(data))
	if err != nil {
		return f, fmt.Errorf("read %s: %w", filepath.Join(dataDir, "postmaster.pid"), err)
	}
	return f, nil
}

// parsePidFile reads as much as is there: the postmaster appends line by line
// while it starts.
func parsePidFile(text string) (PidFile, error) {
	lines := strings.Split(text, "\n")
	var f PidFile
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid == 0 {
		return f, errors.New("the first line is not a process id")
	}
	f.SingleUser = pid < 0
	f.PID = max(pid, -pid)
	line := func(n int) string {
		if n < len(lines) {
			return strings.TrimSpace(lines[n])
		}
		return ""
	}
	f.DataDir = line(1)
	if sec, err := strconv.ParseInt(line(2), 10, 64); err == nil {
		f.Start = time.Unix(sec, 0)
	}
	f.Port, _ = strconv.Atoi(line(3))
	f.SocketDir, f.Listen, f.Status = line(4), line(5), line(7)
	return f, nil
}

// Find returns the running postmaster (or single-user process) of a data
// folder, [ErrNotRunning] when there is none. names are further names that the
// executable may have (`bin_name.postgres`). Reference postgresql.md 4.1.
func Find(dataDir string, names ...string) (*Handle, PidFile, error) {
	f, err := ReadPidFile(dataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, f, fmt.Errorf("%w in %s: no postmaster.pid", ErrNotRunning, dataDir)
	}
	if err != nil {
		return nil, f, err
	}
	if f.PID == os.Getpid() || f.PID == os.Getppid() {
		return nil, f, fmt.Errorf("%w in %s: postmaster.pid names process %d, which is ours", ErrNotRunning, dataDir, f.PID)
	}
	h, err := Open(f.PID, 0)
	if errors.Is(err, ErrGone) {
		return nil, f, fmt.Errorf("%w in %s: process %d of postmaster.pid is gone", ErrNotRunning, dataDir, f.PID)
	}
	if err != nil {
		return nil, f, err
	}
	if !isPostmaster(h, f, dataDir, names) {
		h.Close()
		return nil, f, fmt.Errorf("%w in %s: process %d of postmaster.pid is another program", ErrNotRunning, dataDir, f.PID)
	}
	return h, f, nil
}

// isPostmaster decides whether the process is the one that wrote the file: by
// its start time or, when the clock was changed, by program and folder.
func isPostmaster(h *Handle, f PidFile, dataDir string, names []string) bool {
	if started, err := StartTime(h.Start()); err == nil && !f.Start.IsZero() {
		if d := started.Sub(f.Start); d > -startTolerance && d < startTolerance {
			return true
		}
	}
	exe, err := executable(h.PID())
	if err != nil || !isServer(exe, names) {
		return false
	}
	cwd, err := os.Readlink(procPath(h.PID(), "cwd"))
	// The right program whose folder we may not see is accepted: to start a second
	// server on a folder in use is worse than not to start one.
	return err != nil || cwd == resolved(dataDir)
}

// Processes lists every live process of the instance in dataDir: postmaster,
// its server children, leftovers of a postmaster that died, and single-user
// servers. They are recognised by program and working folder, because a server
// process changes into its data folder and children are re-parented when their
// postmaster dies. Programs that the server runs (archive_command) and an
// operator's shell in the folder do not belong. The caller closes the handles.
func Processes(dataDir string, names ...string) ([]*Handle, error) {
	list, err := pids()
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", dataDir, err)
	}
	dir := resolved(dataDir)
	self := os.Getpid()
	var found []*Handle
	for _, pid := range list {
		if pid == self || !belongs(pid, dir, names) {
			continue
		}
		h, err := Open(pid, 0)
		if err != nil {
			continue // it ended between listing and opening
		}
		// Once more with the pidfd in hand, so that a reused id is not taken for it.
		if !belongs(pid, dir, names) || !h.Alive() {
			h.Close()
			continue
		}
		found = append(found, h)
	}
	return found, nil
}

func belongs(pid int, dir string, names []string) bool {
	cwd, err := os.Readlink(procPath(pid, "cwd"))
	if err != nil || strings.TrimSuffix(cwd, " (deleted)") != dir {
		return false
	}
	exe, err := executable(pid)
	// One that is ending has no program any more while the kernel still takes its
	// memory apart, shared memory included: a server started now would refuse it as
	// "still in use". Whatever it was, it does nothing more, and is soon gone.
	return gone(err) || err == nil && isServer(exe, names)
}

// Children lists the direct children of a process, dead ones included.
func Children(parent int) ([]Stat, error) {
	list, err := pids()
	if err != nil {
		return nil, fmt.Errorf("list children of process %d: %w", parent, err)
	}
	var found []Stat
	for _, pid := range list {
		s, err := ReadStat(pid)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.Parent == parent {
			found = append(found, s)
		}
	}
	return found, nil
}

func executable(pid int) (string, error) {
	exe, err := os.Readlink(procPath(pid, "exe"))
	// A package upgrade under a running server unlinks its file.
	return strings.TrimSuffix(exe, " (deleted)"), err
}

func isServer(exe string, names []string) bool {
	base := filepath.Base(exe)
	return slices.Contains(programs, base) || slices.Contains(names, base)
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// resolved is the folder without symbolic links, as /proc shows it. A folder
// that is gone keeps its name.
func resolved(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return filepath.Clean(dir)
}

// gone tells whether an error from /proc means that the process has ended.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
