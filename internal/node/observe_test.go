//go:build linux

package node

import (
	"log/slog"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres"
)

// In a race there is no WAL receiver any more: what it received counts on, until
// the server is another one.
func TestReceivedTimelineIsRememberedWhileThePostmasterLives(t *testing.T) {
	t.Parallel()
	first := time.Unix(1_900_000_000, 0)
	second, earlier := first.Add(time.Minute), first.Add(-time.Hour)
	var c factCache
	for i, x := range []struct {
		postmaster time.Time
		now, want  cluster.Timeline
	}{
		{first, 0, 0}, // nothing is known yet, as after a restart of the agent
		{first, 2, 2},
		{first, 3, 3},
		{first, 0, 3}, // the receiver has ended
		{first.In(time.UTC), 2, 3},
		{second, 0, 0}, // another postmaster
		{second, 3, 3},
		{earlier, 0, 0}, // another one still, and the wall clock was set back
		{earlier, 4, 4},
		{earlier, 0, 4},
	} {
		if got := c.receivedUpTo(x.postmaster, x.now); got != x.want {
			t.Errorf("step %d: %d, want %d", i, got, x.want)
		}
	}
}

// With a receiver its timeline is reported, without one what it received before,
// also when the server cannot say what it replays (here: there is none).
func TestStandbyReportsTheHighestTimelineReceived(t *testing.T) {
	t.Parallel()
	n := &node{log: slog.New(slog.DiscardHandler), pg: postgres.New(postgres.Settings{DataDir: t.TempDir()}, postgres.Deps{})}
	o := &postgres.Observation{InRecovery: true, PostmasterStarted: time.Unix(1_900_000_000, 0), Receiver: &postgres.Receiver{PID: 7, Timeline: 3}}
	if got := n.standbyTimeline(t.Context(), o, nil); got != 3 {
		t.Errorf("%d", got)
	}
	o.Receiver = nil
	if got := n.standbyTimeline(t.Context(), o, nil); got != 3 {
		t.Errorf("%d after the receiver has ended", got)
	}
}
