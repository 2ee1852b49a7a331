//go:build linux

package e2e

import (
	"testing"
)

// A cluster is moved from Patroni node by node, so for a time both kinds of
// agent live in one.
func TestPatroniAndTamadaTakeOverFromEachOther(t *testing.T) {
	t.Parallel()
	p := patroni41(t)
	c := newCluster(t)
	ours := c.add("ours", p)
	theirs := c.add("theirs", p)
	theirs.command = []string{"/usr/bin/patroni", p.inside(theirs.configFile())}
	ours.start()
	c.waitLeader(patience, ours)
	theirs.start()
	c.waitHealthy(patience, ours)
	w := c.startWriter(ours)

	// Patroni takes over when our leader stops.
	ours.stop()
	c.waitNewLeader(patience, ours)
	w.progress(patience, 50)
	ours.writeStray(false)

	// Our node follows it, and has to rewind for that.
	from := ours.logSize()
	ours.start()
	c.waitHealthy(patience, theirs)
	ours.says(from, "running pg_rewind from theirs")
	if got := ours.must("SELECT count(*) FROM pg_class WHERE relname = 'stray'"); got != "0" {
		t.Error("what was written behind the leader's back is still there")
	}

	// And takes over again; Patroni follows.
	theirs.stop()
	c.waitNewLeader(patience, theirs)
	w.progress(patience, 50)
	c.eventually(patience, "Patroni has ended", func() (bool, string) { return theirs.main.ended(), "it runs" })
	theirs.start()
	c.waitHealthy(patience, ours)
	w.assertNothingLost(t, ours)
	if timeline := ours.timeline(); timeline != 3 {
		t.Errorf("timeline %d after two hand-overs, want 3", timeline)
	}
}
