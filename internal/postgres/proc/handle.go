//go:build linux

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone: the process does not exist any more, or its id belongs to another.
var ErrGone = errors.New("the process is gone")

// Handle is one process that is identified beyond doubt. It may be used by
// several goroutines at the same time.
type Handle struct {
	pid   int
	start uint64
	fd    *os.File // pidfd, non-blocking: the runtime's poller waits on it

	once sync.Once
	done chan struct{} // closed when the process is dead; made by Done
}

// Open identifies the process pid as it is now. start is its expected start
// time in ticks, 0 for whatever it is. [ErrGone] when there is no such process
// or it is a zombie.
func Open(pid int, start uint64) (*Handle, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("open process %d: not a process id", pid)
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			err = ErrGone
		}
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	h := &Handle{pid: pid, fd: os.NewFile(uintptr(fd), "pidfd")}
	// The id could have been given away between two system calls: what /proc says
	// is about our process only if that one is alive afterwards.
	s, err := ReadStat(pid)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.Close()
		return nil, err
	}
	// The state is of the first thread alone. It may be a zombie while others of a process that was killed still hold
	// its sockets and files; the pidfd knows.
	if err != nil || !h.Alive() || start != 0 && s.Start != start {
		h.Close()
		return nil, fmt.Errorf("open process %d: %w", pid, ErrGone)
	}
	h.start = s.Start
	return h, nil
}

// PID is the process id.
func (h *Handle) PID() int { return h.pid }

// Start is the start time in ticks since boot, as in /proc/PID/stat.
func (h *Handle) Start() uint64 { return h.start }

// Alive tells whether the process still runs; a zombie does not.
func (h *Handle) Alive() bool {
	rc, err := h.fd.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	if rc.Control(func(fd uintptr) { alive = !exited(fd) }) != nil {
		return false
	}
	return alive
}

// exited asks the pidfd, which becomes readable when the process has ended,
// reaped or not.
func exited(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}

// Signal sends a signal to exactly this process; [ErrGone] when it has ended.
func (h *Handle) Signal(sig syscall.Signal) error {
	rc, err := h.fd.SyscallConn()
	if err != nil {
		return fmt.Errorf("signal process %d: %w", h.pid, err)
	}
	var sent error
	if err := rc.Control(func(fd uintptr) {
		if exited(fd) {
			sent = unix.ESRCH
			return
		}
		sent = unix.PidfdSendSignal(int(fd), sig, nil, 0)
	}); err != nil {
		return fmt.Errorf("signal process %d: %w", h.pid, err)
	}
	if errors.Is(sent, unix.ESRCH) {
		sent = ErrGone
	}
	if sent != nil {
		return fmt.Errorf("send %v to process %d: %w", sig, h.pid, sent)
	}
	return nil
}

// Done is closed when the process has ended. It costs one goroutine until then
// or until Close.
func (h *Handle) Done() <-chan struct{} {
	h.once.Do(func() {
		h.done = make(chan struct{})
		go func() {
			if h.waitFD() {
				close(h.done)
			}
		}()
	})
	return h.done
}

// waitFD blocks until the process has ended; false when the handle was closed.
func (h *Handle) waitFD() bool {
	rc, err := h.fd.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = rc.Read(func(fd uintptr) bool {
		ended = exited(fd)
		return ended
	})
	return err == nil && ended
}

// Wait returns nil when the process has ended, or the context's error.
func (h *Handle) Wait(ctx context.Context) error {
	if !h.Alive() {
		return nil
	}
	select {
	case <-h.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitFor waits at most d and tells whether the process has ended.
func (h *Handle) WaitFor(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return h.Wait(ctx) == nil
}

// Close gives the pidfd back. A goroutine that waits in [Handle.Wait] goes on
// until its context ends.
func (h *Handle) Close() { _ = h.fd.Close() }
