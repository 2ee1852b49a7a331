//go:build linux

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/postgres/proc"
)

// Journal is the record of the one task that is changing the data folder: a
// small file in the state folder, written and synced before the task, a copy's first
// method, or any of their children begins. It is empty while the folder is whole.
type Journal struct {
	path string
	mu   sync.Mutex // guards rec and the file
	rec  *Record
}

// Record is one entry of the journal.
type Record struct {
	Task  ha.TaskKind `json:"task"`
	Child string      `json:"child,omitempty"` // what runs, for messages
	PID   int         `json:"pid,omitempty"`
	Start uint64      `json:"start,omitempty"` // ticks, /proc/PID/stat
	Boot  string      `json:"boot,omitempty"`  // which run of the machine the two before are of
	// Initialize is the version of the initialize key that this node made for a
	// bootstrap; 0 for other tasks, and in records of versions that did not note it.
	Initialize cluster.Version `json:"initialize,omitempty"`
	// Keeps: a copy by a method that works with what is in the folder (keep_data).
	Keeps bool `json:"keep_data,omitempty"`
}

// OpenJournal reads the journal of a state folder. last is what a predecessor
// left, nil when the folder is whole. A journal that cannot be read is an error:
// without it nobody knows whether the data folder may be started.
func OpenJournal(stateDir string) (j *Journal, last *Record, err error) {
	j = &Journal{path: filepath.Join(stateDir, "task.json")}
	b, err := os.ReadFile(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("task journal: %w", err)
	}
	last = &Record{}
	if err := json.Unmarshal(b, last); err != nil || last.Task == "" {
		return nil, nil, fmt.Errorf("task journal %s cannot be read, so nobody knows whether the data folder is whole: check the folder by hand, then remove the file", j.path)
	}
	j.rec = last
	return j, last, nil
}

// Begin notes that a task is about to change the data folder. initialize is the
// version of the initialize key that a bootstrap is for, 0 for other tasks.
func (j *Journal) Begin(task ha.TaskKind, initialize cluster.Version) error {
	return j.begin(Record{Task: task, Initialize: initialize})
}

// beginCopy notes that a method is about to remove what is in the data folder, or to
// work with it.
func (j *Journal) beginCopy(task ha.TaskKind, keeps bool) error {
	return j.begin(Record{Task: task, Keeps: keeps})
}

func (j *Journal) begin(r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.note(r)
}

// note replaces the record. One that cannot be written does not count: nothing may
// be changed for it, and the file must not say otherwise to a successor. The caller
// holds mu.
func (j *Journal) note(r Record) error {
	placed, err := j.write(&r)
	if err == nil || placed && !j.putBack() {
		j.rec = &r
	}
	return err
}

// putBack makes the file say again what rec does.
func (j *Journal) putBack() bool {
	if j.rec == nil {
		err := os.Remove(j.path)
		return err == nil || errors.Is(err, os.ErrNotExist)
	}
	placed, _ := j.write(j.rec)
	return placed
}

// ChildStarted notes a child of the running task. It implements
// postgres.Journal.
func (j *Journal) ChildStarted(what string, pid int, start uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rec == nil {
		return nil // a child that changes nothing that matters to a successor
	}
	r := *j.rec
	r.Child, r.PID, r.Start, r.Boot = what, pid, start, bootID()
	return j.note(r)
}

// ChildEnded forgets the child. It implements postgres.Journal.
func (j *Journal) ChildEnded(string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rec == nil {
		return
	}
	r := *j.rec
	r.Child, r.PID, r.Start, r.Boot = "", 0, 0, ""
	// A stale child in the journal is harmless: its start time tells it apart.
	_ = j.note(r)
}

// Unfinished tells whether a task changes the data folder, or was interrupted
// while it did.
func (j *Journal) Unfinished() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rec != nil
}

// halfCopied tells whether what is in the data folder is a copy that is not
// finished.
func (j *Journal) halfCopied() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rec != nil && interrupted(j.rec.Task) == halfCopied
}

// Clear notes that the data folder is whole.
func (j *Journal) Clear() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rec = nil
	if err := os.Remove(j.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("task journal: %w", err)
	}
	return syncDir(filepath.Dir(j.path))
}

// write puts the record in place in one step and waits until it is on disk. placed
// tells that it is there, also with an error.
func (j *Journal) write(r *Record) (placed bool, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return false, fmt.Errorf("task journal: %w", err)
	}
	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return false, fmt.Errorf("task journal: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, j.path)
		placed = err == nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return placed, fmt.Errorf("task journal: %w", err)
	}
	return true, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// killLeftover ends a child that a predecessor left running, with everything it
// started (pg_basebackup has a second process that writes WAL), and waits until
// all are gone.
//
// The child was made the leader of a process group. Its number cannot be given
// to another process while one of the group lives, so it is ours if the child
// is there with the start time that we know, or if nobody has the number.
func (r *Record) killLeftover() {
	if r.PID <= 0 || r.Boot != bootID() {
		return
	}
	if s, err := proc.ReadStat(r.PID); err == nil && s.Start != r.Start {
		return
	}
	for end := time.Now().Add(killTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err := syscall.Kill(-r.PID, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) {
			return
		}
	}
}

// bootID tells one run of the machine from another: process numbers and start
// times begin anew with each.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
