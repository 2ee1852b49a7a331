//go:build linux

package proc

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// usualSlack is what a process has whose ancestors did not change it (prctl(2)).
	usualSlack = 50 * time.Microsecond
	// lazySlack is far below any time that matters to an agent, and long enough that
	// the scheduler of the Go runtime, which looks around for as long as the process
	// works, does so a few times instead of some dozens.
	lazySlack = time.Millisecond
)

// Lazily calls start, which starts a process, in such a way that the kernel may
// wake the process a millisecond late. What an idle agent costs is its wake-ups,
// and this leaves a third of them out. It is inherited at the start because a
// thread can change its own timers only, and the one in which the Go runtime
// watches over the others exists before main. Where the kernel does not want to,
// the process has ordinary timers.
func Lazily(start func() error) error {
	return withSlack(func(now time.Duration) bool { return now < lazySlack }, lazySlack, start)
}

// Punctual calls start, which starts a process, in such a way that the process
// has ordinary timers although its parent was started by [Lazily]: PostgreSQL's
// commit_delay and vacuum_cost_delay are counted in microseconds and
// milliseconds. Timers that somebody else has changed stay as they are.
func Punctual(start func() error) error {
	return withSlack(func(now time.Duration) bool { return now == lazySlack }, usualSlack, start)
}

// withSlack calls start in a thread whose slack is d, if the present one is to be
// changed. A child has that of the thread that started it.
func withSlack(change func(now time.Duration) bool, d time.Duration, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if before := slack(); before > 0 && change(before) && setSlack(d) == nil {
		defer func() { _ = setSlack(before) }()
	}
	return start()
}

// slack is how late the kernel may wake this thread; 0 when it does not say, or
// when its scheduling policy knows no slack.
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
