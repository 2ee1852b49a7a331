//go:build linux

package proc

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestWhatALazyProcessStartsIsPunctual(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := slack()
	if err := setSlack(lazySlack); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = setSlack(before) }()
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
	if got := inherited(func(f func() error) error { return f() }); got != "1000000" {
		t.Fatalf("a process started as it comes has a slack of %s ns: this test shows nothing", got)
	}
	if got := inherited(Punctual); got != "50000" {
		t.Errorf("a process started punctually has a slack of %s ns", got)
	}
	if got := slack(); got != lazySlack {
		t.Errorf("the thread that started it has a slack of %s afterwards", got)
	}
}
