//go:build linux

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tamada/internal/postgres/proc"
)

// kind is what a process of a node is for: the verb it was started with.
type kind string

const (
	guardianProcess kind = "run"
	agentProcess    kind = "agent"
	etcdProcess     kind = "etcd-member"
)

// process is one of our own processes of a node.
type process struct {
	*proc.Handle
	kind kind
}

// processes finds the guardian, agent and etcd member of a node by their command
// line, which names its configuration file. What another demo left behind is
// found as well. The caller closes the handles.
func (n node) processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for the processes of %s: %w", n.name(), err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || n.kindOf(pid) == "" {
			continue
		}
		h, err := proc.Open(pid, 0)
		if err != nil {
			continue // it ended meanwhile
		}
		// Once more with the pidfd in hand: the id may be another's by now.
		if k := n.kindOf(pid); k != "" && h.Alive() {
			found = append(found, process{h, k})
		} else {
			h.Close()
		}
	}
	return found, nil
}

// kindOf tells what a process is to the node, "" when nothing.
func (n node) kindOf(pid int) kind {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	args := strings.Split(string(bytes.TrimRight(data, "\x00")), "\x00")
	if len(args) != 3 || args[2] != n.config() || !strings.HasPrefix(filepath.Base(args[0]), "tamada") {
		return ""
	}
	switch k := kind(args[1]); k {
	case guardianProcess, agentProcess, etcdProcess:
		return k
	}
	return ""
}

// signal sends a signal to the node's processes of some kinds, in the order of
// kinds, and returns how many there were.
func (n node) signal(sig syscall.Signal, kinds ...kind) (count int, err error) {
	list, err := n.processes()
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		defer p.Close()
	}
	for _, k := range kinds {
		for _, p := range list {
			if p.kind != k {
				continue
			}
			if err := p.Signal(sig); err == nil {
				count++
			} else if !errors.Is(err, proc.ErrGone) {
				return count, fmt.Errorf("%s of %s: %w", k, n.name(), err)
			}
		}
	}
	return count, nil
}

// guarded tells whether a guardian of the node runs.
func (n node) guarded() bool {
	list, err := n.processes()
	if err != nil {
		return false
	}
	found := false
	for _, p := range list {
		found = found || p.kind == guardianProcess
		p.Close()
	}
	return found
}

// stopped tells whether the guardian or the agent is stopped by a signal.
func (n node) stopped() bool {
	list, err := n.processes()
	if err != nil {
		return true // not known: as it was
	}
	found := false
	for _, p := range list {
		if st, err := proc.ReadStat(p.PID()); err == nil && st.State == 'T' && p.kind != etcdProcess {
			found = true
		}
		p.Close()
	}
	return found
}

// kill ends everything of the node, PostgreSQL with SIGQUIT until grace is over;
// without grace it is at once, as a machine's failure does. The
// guardian goes first, or it would start the others again.
func (n node) kill(ctx context.Context, grace time.Duration) error {
	for {
		count, err := n.signal(syscall.SIGKILL, guardianProcess, agentProcess, etcdProcess)
		if err != nil {
			return err
		}
		if count == 0 {
			break
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("kill the processes of %s: %w", n.name(), err)
		}
	}
	return proc.KillAll(ctx, n.data(), grace)
}

// end stops what is left of the node in an orderly way if it listens, and
// otherwise kills it after grace. Afterwards nothing of it runs.
func (n node) end(ctx context.Context, grace time.Duration) error {
	kinds := []kind{guardianProcess, agentProcess, etcdProcess}
	if _, err := n.signal(syscall.SIGCONT, kinds...); err != nil {
		return err
	}
	count, err := n.signal(syscall.SIGTERM, guardianProcess)
	if err != nil {
		return err
	}
	if count == 0 { // nobody who would pass it on
		if count, err = n.signal(syscall.SIGTERM, kinds...); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(grace); count > 0 && time.Now().Before(deadline); {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			break
		}
		list, err := n.processes()
		if err != nil {
			return err
		}
		for _, p := range list {
			p.Close()
		}
		count = len(list)
	}
	kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return n.kill(kctx, 2*time.Second)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
