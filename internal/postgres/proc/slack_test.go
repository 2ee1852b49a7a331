//go:build linux

package proc

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestWhatALazyProcessStartsIsPunctual(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/timerslack_ns"); err != nil {
		t.Skip("this kernel does not show the slack of timers: ", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := slack()
	if before == 0 || before >= lazySlack {
		t.Skip("the timers of this process were changed: slack ", before)
	}
	inherited := func(start func(func() error) error) string {
		// The slack that a process has; only root may read that of another one.
		cmd := exec.Command("cat", "/proc/self/timerslack_ns")
		var out strings.Builder
		cmd.Stdout = &out
		if err := start(cmd.Start); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out.String())
	}
	if got := inherited(Lazily); got != "1000000" {
		t.Errorf("a process started lazily has a slack of %s ns", got)
	}
	if got := slack(); got != before {
		t.Errorf("the thread that started it has a slack of %s afterwards, %s before", got, before)
	}
	// What a lazy process is: its threads are.
	if err := setSlack(lazySlack); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = setSlack(before) }()
	if got := inherited(Punctual); got != "50000" {
		t.Errorf("what a lazy process starts punctually has a slack of %s ns", got)
	}
	if got := slack(); got != lazySlack {
		t.Errorf("the lazy thread has a slack of %s afterwards", got)
	}
	// Timers that somebody else has changed.
	if err := setSlack(5 * lazySlack); err != nil {
		t.Fatal(err)
	}
	if a, b := inherited(Lazily), inherited(Punctual); a != "5000000" || b != "5000000" {
		t.Errorf("an operator's slack of 5 ms became %s and %s ns", a, b)
	}
}
