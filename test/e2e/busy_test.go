//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// keepBusy takes the processors, two busy loops for each, and the disk under a
// folder, where it fsyncs without a pause, until the test ends. It returns the
// number of syncs so far.
func keepBusy(t *testing.T, dir string) *atomic.Int64 {
	t.Helper()
	for range 2 * runtime.NumCPU() {
		p := startProgram(t, "busy loop", os.DevNull, exec.Command("sh", "-c", "while :; do :; done"))
		t.Cleanup(p.kill)
	}
	f, err := os.Create(filepath.Join(dir, "syncs"))
	if err != nil {
		t.Fatal(err)
	}
	var syncs atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		block := make([]byte, 4096)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.WriteAt(block, syncs.Load()%1024*4096); err != nil || f.Sync() != nil {
				return
			}
			syncs.Add(1)
		}
	}()
	t.Cleanup(func() { close(stop); <-done; f.Close() })
	return &syncs
}

// Alone, because the load is for this cluster only.
func TestBusyMachineCausesNoFalseFailoverWithALeaseOfFiveSeconds(t *testing.T) {
	c, leader := bringUpWith(t, five)
	w := c.startWriter(leader)
	timeline, postmaster := leader.timeline(), leader.postmasterPID()
	from := leader.logSize()
	last := 15 * time.Second
	if long {
		last = 10 * time.Minute
	}
	syncs := keepBusy(t, filepath.Join(c.dir, "etcd"))
	begin := time.Now()
	shortest := five.ttl
	c.quietFor(last, "the leader leads", func() (bool, string) {
		if left := leader.leaseLeft(); left > 0 {
			shortest = min(shortest, left)
		}
		key := c.leaderKey()
		return (key == leader.name || key == "") && leader.postmasterPID() == postmaster, key
	})
	t.Logf("%v under load: %d fsyncs, the least that was left of the lease %v of %v, the longest gap between two rows %v", last, syncs.Load(),
		shortest.Round(time.Millisecond), five.latest(), w.gap(begin).Round(time.Millisecond))
	if key := c.leaderKey(); key != leader.name || leader.timeline() != timeline {
		t.Errorf("%q leads on timeline %d, want %s on %d", key, leader.timeline(), leader.name, timeline)
	}
	if log := leader.logSince(from); strings.Contains(log, "The lease has ended") {
		t.Errorf("the lease was lost for a moment:\n%s", log)
	}
	if syncs.Load() == 0 {
		t.Error("nothing was synced: there was no load")
	}
	w.assertNothingLost(t, leader)
}
