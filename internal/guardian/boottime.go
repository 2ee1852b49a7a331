//go:build linux

package guardian

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now is CLOCK_BOOTTIME: it never jumps, and it goes on while the machine is
// suspended, which Go's own monotonic clock does not.
func Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // cannot fail on Linux
	}
	return Instant(ts.Nano())
}

// Alarm wakes at a moment on CLOCK_BOOTTIME, also when that has passed during a
// suspend. It costs one descriptor and one goroutine.
type Alarm struct {
	fd   *os.File
	raw  int
	C    chan struct{} // receives when the moment has come
	last Instant
}

// NewAlarm makes an alarm that is not set.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &Alarm{fd: os.NewFile(uintptr(fd), "timerfd"), raw: fd, C: make(chan struct{}, 1)}
	go a.wait()
	return a, nil
}

func (a *Alarm) wait() {
	var buf [8]byte
	for {
		if _, err := a.fd.Read(buf[:]); err != nil {
			return
		}
		select {
		case a.C <- struct{}{}:
		default:
		}
	}
}

// Set wakes at the moment, at once when it has passed; zero unsets the alarm.
func (a *Alarm) Set(at Instant) {
	if at == a.last {
		return
	}
	a.last = at
	spec := unix.ItimerSpec{}
	if at > 0 {
		spec.Value = unix.NsecToTimespec(int64(at))
	}
	// The only errors are a bad descriptor and a bad time.
	_ = unix.TimerfdSettime(a.raw, unix.TFD_TIMER_ABSTIME, &spec, nil)
}

// Fired forgets the moment that has come, so that the same one can be set anew.
func (a *Alarm) Fired() { a.last = 0 }

// Close ends the alarm.
func (a *Alarm) Close() { a.fd.Close() }

// Until is how long it is to a moment, never negative.
func Until(at Instant) time.Duration { return max(at-Now(), 0) }
