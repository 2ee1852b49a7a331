//go:build linux

package proc

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// KillAll ends every process of the instance in dataDir: SIGQUIT at once (the
// server's immediate shutdown: no checkpoint, no further commits), SIGKILL to
// whatever is left after grace, until none is left or ctx ends. It is safe to
// call when nothing runs. names as in [Find].
//
// A server that has a control group of its own ([Group]) is killed as a whole by
// the kernel; whatever is not in it is found by folder and program.
//
// It is the last line of fencing, so it does not trust any earlier list: each
// round looks again, because a postmaster may have forked between listing and
// signalling.
func KillAll(ctx context.Context, dataDir string, grace time.Duration, names ...string) error {
	deadline := time.Now().Add(grace)
	quit := map[int]uint64{} // processes that have got SIGQUIT: id and start time
	pause := 2 * time.Millisecond
	control := kernelControl()
	for {
		list, err := Processes(dataDir, names...)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		sig := syscall.SIGQUIT
		if !time.Now().Before(deadline) {
			sig = syscall.SIGKILL
		}
		var refused error
		for _, h := range list {
			if sig == syscall.SIGKILL {
				if group := control.ofServer(h, dataDir); group != "" {
					_ = kill(group) // each process is killed by its own handle as well
				}
			}
			if sig == syscall.SIGKILL || quit[h.PID()] != h.Start() {
				quit[h.PID()] = h.Start()
				if err := h.Signal(sig); err != nil && !errors.Is(err, ErrGone) {
					refused = err
				}
			}
			h.Close()
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("end all processes of %s: %d left: %w", dataDir, len(list), errors.Join(ctx.Err(), refused))
		case <-t.C:
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// Rehearse goes the way of [KillAll] and hurts nobody: it looks for the processes
// and sends each the null signal. What of the program that takes is in memory
// afterwards.
func Rehearse(dataDir string, names ...string) error {
	control := kernelControl()
	list, err := Processes(dataDir, names...)
	for _, h := range list {
		_ = control.ofServer(h, dataDir)
		if e := h.Signal(0); e != nil && !errors.Is(e, ErrGone) {
			err = errors.Join(err, e)
		}
		h.Close()
	}
	return err
}
