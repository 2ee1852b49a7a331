package rewind

import (
	"fmt"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
)

// Verdict is the answer of [Decide].
type Verdict int

// The verdicts.
const (
	Unknown   Verdict = iota // ask again later
	Needed                   // diverged
	NotNeeded                // it can follow
)

// String is for logs.
func (v Verdict) String() string { return [...]string{"unknown", "needed", "not needed"}[v] }

// Decide tells whether the local data has diverged from the leader's, and why.
func Decide(f control.DivergenceFacts) (Verdict, string) {
	switch {
	case f.Local == nil || f.Local.Timeline == 0:
		return Unknown, "where the local data ends is not known yet"
	case f.LeaderInRecovery:
		return Unknown, fmt.Sprintf("the leader %s is still in recovery", f.LeaderName)
	case f.LeaderTimeline == 0:
		return Unknown, fmt.Sprintf("the timeline of the leader %s is not known", f.LeaderName)
	case f.Local.Timeline > f.LeaderTimeline:
		return Needed, fmt.Sprintf("the local timeline %d is later than the leader's %d", f.Local.Timeline, f.LeaderTimeline)
	case f.Local.Timeline == f.LeaderTimeline:
		return NotNeeded, fmt.Sprintf("both are on timeline %d", f.LeaderTimeline)
	case !f.HistoryKnown:
		return Unknown, fmt.Sprintf("the history of timeline %d is not known", f.LeaderTimeline)
	}
	for _, h := range f.History {
		if h.Timeline == f.Local.Timeline {
			return compare(*f.Local, h.LSN)
		}
		if h.Timeline > f.Local.Timeline {
			break
		}
	}
	// Not an ancestor: missing means diverged, not equal (trap 30).
	return Needed, fmt.Sprintf("timeline %d is not in the history of the leader's timeline %d", f.Local.Timeline, f.LeaderTimeline)
}

// compare holds the local position against the point where the leader's
// history left our timeline.
func compare(l control.LocalPosition, at cluster.LSN) (Verdict, string) {
	switch {
	case l.InRecovery && l.LSN > at:
		return Needed, fmt.Sprintf("replayed up to %s, timeline %d ended at %s", l.LSN, l.Timeline, at)
	case l.InRecovery:
		return NotNeeded, fmt.Sprintf("replayed up to %s, not beyond the end of timeline %d at %s", l.LSN, l.Timeline, at)
	case l.LSN >= at:
		return Needed, fmt.Sprintf("the last checkpoint at %s is not before the end of timeline %d at %s", l.LSN, l.Timeline, at)
	case l.CheckpointEnd != at:
		// A former primary has diverged unless its shutdown checkpoint is the very
		// last record that the new timeline took over.
		return Needed, fmt.Sprintf("the last checkpoint ends at %s, timeline %d ended at %s", l.CheckpointEnd, l.Timeline, at)
	}
	return NotNeeded, fmt.Sprintf("the last checkpoint ends exactly where timeline %d ended, at %s", l.Timeline, at)
}
