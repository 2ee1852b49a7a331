//go:build linux

package guardian

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// manager plays the service manager; the function returns what it heard since
// the last call.
func manager(t *testing.T, usec, pid string) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", pid)
	return func() (heard string) {
		// What was sent is in the socket's queue already.
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		for b := make([]byte, 256); ; {
			n, err := l.Read(b)
			if err != nil {
				return heard
			}
			heard += string(b[:n]) + ";"
		}
	}
}

func TestKeepaliveTwiceWithinTheLimit(t *testing.T) {
	heard := manager(t, "10000000", strconv.Itoa(os.Getpid()))
	k := newKeeper(slog.New(slog.DiscardHandler))
	at := func(seconds float64, well bool, armed *Armed) string {
		t.Helper()
		now := Instant(seconds * float64(time.Second))
		k.tend(now, well, armed)
		if k.wakeAt() <= now {
			t.Errorf("at %v s it wants to be woken at %s: it would spin", seconds, k.wakeAt())
		}
		return heard()
	}
	for _, x := range []struct {
		at    float64
		well  bool
		armed *Armed
		want  string
	}{
		{100, true, nil, "WATCHDOG=1;"},
		{104.9, true, nil, ""},
		{105, true, nil, "WATCHDOG=1;"},
		{110, false, nil, ""}, // PostgreSQL cannot be killed
		{111, true, &Armed{TTL: 30 * time.Second}, ""},
		{115, true, &Armed{TTL: 30 * time.Second}, "WATCHDOG=1;"},
		{116, true, &Armed{TTL: 5 * time.Second}, "WATCHDOG_USEC=2500000\nWATCHDOG=1;"},
		{117.25, true, &Armed{TTL: 5 * time.Second}, "WATCHDOG=1;"},
		{117.5, true, nil, "WATCHDOG_USEC=10000000\nWATCHDOG=1;"},
	} {
		if got := at(x.at, x.well, x.armed); got != x.want {
			t.Errorf("at %v s: %q, want %q", x.at, got, x.want)
		}
	}
}

func TestNoKeepaliveForWhomItIsNotMeant(t *testing.T) {
	for _, x := range []struct{ name, usec, pid string }{
		{"no WatchdogSec", "", ""}, {"another process", "10000000", "1"}, {"nonsense", "soon", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			heard := manager(t, x.usec, x.pid)
			k := newKeeper(slog.New(slog.DiscardHandler))
			k.tend(time.Second, true, nil)
			if got := heard(); got != "" || k.wakeAt() != 0 {
				t.Errorf("%q, wake at %s", got, k.wakeAt())
			}
		})
	}
}

func TestServiceManagerThatDoesNotReadKeepsNobodyWaiting(t *testing.T) {
	_ = manager(t, "10000000", "")
	k := newKeeper(slog.New(slog.DiscardHandler))
	for i := range 2000 { // more than the socket's queue takes
		begin := time.Now()
		k.Tell("STATUS=" + strconv.Itoa(i))
		if took := time.Since(begin); took > 5*notifyTimeout {
			t.Fatalf("message %d took %v", i, took)
		} else if took >= notifyTimeout {
			return // it was full, and did not wait
		}
	}
	t.Skip("the queue of the socket never was full")
}
