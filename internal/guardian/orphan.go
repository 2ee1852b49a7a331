//go:build linux

package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tamada/internal/postgres/proc"
)

// childrenName is the file in the state folder that names the children of the
// present guardian.
const childrenName = "children.json"

// orphanTimeout is how long an orphaned agent may take to be gone after SIGKILL.
const orphanTimeout = 10 * time.Second

// childID names one process beyond doubt, also after its id was given away.
type childID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks, /proc/PID/stat
}

// children are what a guardian has started, for its successor.
type children struct {
	Agent childID `json:"agent"`
	Etcd  childID `json:"etcd"`
}

// identify names a child that was just started.
func identify(pid int) childID {
	h, err := proc.Open(pid, 0)
	if err != nil {
		return childID{} // it has ended already
	}
	defer h.Close()
	return childID{PID: pid, Start: h.Start()}
}

// noteChildren writes the children down. Without the record a successor could
// not start while they live, no worse; so a failure is only a warning.
func (p *process) noteChildren() {
	b, err := json.Marshal(p.children)
	path := filepath.Join(p.StateDir, childrenName)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.Log.Warn("could not note the started processes", "error", err)
	}
}

// endOrphans ends the agent and the etcd member of a guardian that died. They
// hold what their successors need: the socket of the REST API, the data of etcd.
// PostgreSQL runs on. Nobody enforces an orphan's lease but itself, so it is
// replaced at once; the lock file proves that its guardian is gone.
func (p *process) endOrphans() error {
	b, err := os.ReadFile(filepath.Join(p.StateDir, childrenName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var old children
	if err == nil {
		err = json.Unmarshal(b, &old)
	}
	if err != nil {
		p.Log.Warn("what the previous guardian started is not known", "error", err)
		return nil
	}
	if err := endOrphan(old.Agent, syscall.SIGKILL, 0); err != nil {
		return fmt.Errorf("end the agent that the previous guardian left (process %d): %w", old.Agent.PID, err)
	}
	// etcd is asked first: it gives up its leadership and closes its files.
	if err := endOrphan(old.Etcd, syscall.SIGTERM, etcdStopTimeout); err != nil {
		return fmt.Errorf("end the etcd member that the previous guardian left (process %d): %w", old.Etcd.PID, err)
	}
	return nil
}

func endOrphan(c childID, first syscall.Signal, grace time.Duration) error {
	if c.PID == 0 {
		return nil
	}
	h, err := proc.Open(c.PID, c.Start)
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.Close()
	_ = h.Signal(first)
	if grace > 0 && h.WaitFor(grace) {
		return nil
	}
	_ = h.Signal(syscall.SIGKILL)
	if !h.WaitFor(orphanTimeout) {
		return errors.New("it does not end")
	}
	return nil
}
