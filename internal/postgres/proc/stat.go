//go:build linux

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ: the unit of start times in /proc/PID/stat. It is
// 100 on every Linux architecture that Go supports.
const ticksPerSecond = 100

// Stat is what /proc/PID/stat says about a process.
type Stat struct {
	PID    int
	Parent int
	State  byte   // 'R', 'S', 'Z', ...
	Start  uint64 // ticks (1/100 s) since the machine started
}

// Dead tells whether the process has ended and only waits to be reaped.
func (s Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' }

// ReadStat reads /proc/PID/stat. A process that does not exist is
// [os.ErrNotExist].
func ReadStat(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		if gone(err) {
			err = os.ErrNotExist
		}
		return Stat{}, fmt.Errorf("read state of process %d: %w", pid, err)
	}
	s, err := parseStat(data)
	if err != nil {
		return Stat{}, fmt.Errorf("read state of process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads "PID (NAME) STATE PPID ...", where NAME may hold blanks and
// parentheses: the fields begin after the last closing one. The start time is
// field 22 (proc(5)).
func parseStat(data []byte) (Stat, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Stat{}, errors.New("no process name in parentheses")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	if err != nil {
		return Stat{}, errors.New("no process id")
	}
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 20 || len(f[0]) != 1 {
		return Stat{}, errors.New("too few fields")
	}
	ppid, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil {
		return Stat{}, errors.New("malformed fields")
	}
	return Stat{PID: pid, Parent: ppid, State: f[0][0], Start: start}, nil
}

// StartTime converts a start time in ticks to the wall clock as it is now.
func StartTime(ticks uint64) (time.Time, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, fmt.Errorf("read the machine's boot time: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			boot, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				return time.Time{}, fmt.Errorf("read the machine's boot time: %w", err)
			}
			return time.Unix(boot, 0).Add(time.Duration(ticks) * time.Second / ticksPerSecond), nil
		}
	}
	return time.Time{}, errors.New("read the machine's boot time: no btime in /proc/stat")
}

// Title is the command line as the process shows it (PostgreSQL's backends
// rewrite theirs); a zombie has none.
func Title(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return "", err
	}
	return strings.TrimRight(strings.ReplaceAll(string(data), "\x00", " "), " "), nil
}

// pids lists the ids of all processes.
func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	list := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			list = append(list, pid)
		}
	}
	return list, nil
}
