//go:build linux

package proc

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// usualSlack is what a process has whose ancestors did not change it (prctl(2)).
	usualSlack = 50 * time.Microsecond
	// lazySlack is far below any time that matters here, and long enough that the
	// scheduler of the Go runtime, which looks around for as long as the process
	// works, does so a few times instead of some dozens.
	lazySlack = time.Millisecond
)

// BeLazy starts the program anew, as the same process, with timers that may be a
// millisecond late, unless it is that already. A thread can change its own timers
// only, and the one in which the Go runtime watches over the others exists before
// main; so it takes a new start. What an idle node costs is its wake-ups, and this
// leaves a third of them out. Where it does not work all goes on as it is.
func BeLazy() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if slack() >= lazySlack {
		return
	}
	before := slack()
	if setSlack(lazySlack) != nil {
		return
	}
	_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	_ = setSlack(before)
}

// Punctual calls start, which starts a process, in such a way that the process
// has the usual timers: PostgreSQL's commit_delay and vacuum_cost_delay are
// counted in microseconds and milliseconds.
func Punctual(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if before := slack(); before > usualSlack && setSlack(usualSlack) == nil {
		defer func() { _ = setSlack(before) }()
	}
	return start()
}

// slack is how late the kernel may wake this thread; 0 when it does not say.
func slack() time.Duration {
	v, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0
	}
	return time.Duration(v)
}

func setSlack(d time.Duration) error {
	return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0)
}
