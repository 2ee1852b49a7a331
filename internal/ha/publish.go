package ha

import (
	"slices"
	"time"

	"tamada/internal/cluster"
)

// Identity is what a member publishes about itself that does not change from
// cycle to cycle.
type Identity struct {
	ConnURL, APIURL, ProxyURL string
	Version                   string // level of compatibility
	Agent                     cluster.AgentInfo
}

// MemberKey is what this node publishes about itself (reference ha.md 22).
func MemberKey(v *View, id Identity) cluster.Member {
	i := &v.Instance
	m := cluster.Member{Name: v.Me, ConnURL: id.ConnURL, APIURL: id.APIURL, ProxyURL: id.ProxyURL,
		State: i.State, Role: i.Role, Version: id.Version, Agent: &id.Agent,
		CheckpointPending: i.CheckpointPending, Pause: v.paused(),
		PendingRestart: i.PendingRestart.Len() > 0}
	if v.Local.Tags.Len() > 0 {
		m.Tags = v.Local.Tags
	}
	if m.PendingRestart {
		m.PendingRestartReason = i.PendingRestart
	}
	if r := v.Requests.Restart; r != nil {
		m.ScheduledRestart = r.Published
	}
	if !publishesPositions(v) {
		return m
	}
	m.Timeline, m.XLogLocation = i.Timeline, i.LSN
	if i.InRecovery {
		m.ReceiveLSN, m.ReplayLSN, m.ReplicationState = i.Received, i.Replayed, i.ReplicationState
	}
	return m
}

// publishesPositions: only of a server that answers, and not while a task may
// be changing what it is. A bogus high position would disqualify others, a low
// one hide lag (trap 7).
func publishesPositions(v *View) bool {
	if !v.Instance.Answers || v.Task != nil && v.Task.Kind != TaskPromote {
		return false
	}
	return v.Instance.State == cluster.StateRunning || v.Instance.State == cluster.StateRestarting || v.Instance.State.Starting()
}

// StatusKey is the status document that the leader publishes, and whether there
// is anything to publish. slots are the positions of the slots on this server,
// without its own name; retain are the names that replicas keep.
func StatusKey(v *View, slots []cluster.Slot, retain []string, agent *cluster.AgentInfo) (cluster.Status, bool) {
	if !v.leads() || !v.Instance.Primary() || v.Instance.LSN == 0 {
		return cluster.Status{}, false
	}
	old := v.DCS.Cluster.Status
	s := cluster.Status{LSN: v.Instance.LSN, Agent: agent, Promotion: old.Promotion, Extra: old.Extra}
	if v.Settings.MemberSlotsTTL > 0 && v.Settings.UseSlots {
		own := cluster.SlotName(v.Me)
		s.Slots = append(slices.Clone(slots), cluster.Slot{Name: own, LSN: v.Instance.LSN})
		s.RetainSlots = slices.Sorted(slices.Values(retain))
	}
	return s, string(s.JSON()) != string(old.JSON())
}

// FinalStatus is the status that goes with a release of the key: the position
// alone is new, everything else is kept (reference dcs-layout.md 4).
func FinalStatus(old cluster.Status, lsn cluster.LSN) cluster.Status {
	s := old
	s.LSN = lsn
	return s
}

// LocalHistory is what a primary knows about its own history: the lines of its
// history file, and when the last of them was written.
type LocalHistory struct {
	Timeline cluster.Timeline // of the server now
	Lines    []cluster.HistoryLine
	Written  time.Time
}

// HistoryKey is the history that the leader should publish, and whether it
// differs from what the store has (reference dcs-layout.md 3). Lines of other
// agents are kept as they are when timeline and position match.
func HistoryKey(v *View, local LocalHistory) (cluster.History, bool) {
	stored := v.DCS.Cluster.History
	if local.Timeline == 1 {
		return cluster.History{}, stored != nil && len(stored.Lines) > 0
	}
	if local.Timeline == 0 || !HistoryDue(v, local.Timeline) {
		return cluster.History{}, false
	}
	var h cluster.History
	for _, l := range local.Lines {
		h.Lines = append(h.Lines, completed(l, stored, local, v.Me))
	}
	if n := v.Settings.MaxTimelinesHistory; n > 0 && len(h.Lines) > n {
		h.Lines = h.Lines[len(h.Lines)-n:]
	}
	// PostgreSQL skips numbers that are taken: then the line before ours is never
	// that of tli-1, and what is due by that rule is written once all the same.
	same := stored != nil && string(stored.JSON()) == string(h.JSON())
	return h, len(h.Lines) > 0 && !same
}

// HistoryDue tells whether the stored history lacks the end of the timeline
// before tli, so that the history file has to be read.
func HistoryDue(v *View, tli cluster.Timeline) bool {
	stored := v.DCS.Cluster.History
	if tli == 1 {
		return stored != nil && len(stored.Lines) > 0
	}
	if stored == nil || len(stored.Lines) == 0 {
		return true
	}
	last := stored.Lines[len(stored.Lines)-1]
	return last.Timeline+1 != tli || !last.Complete()
}

// completed adds time and leader to a line: from the stored history where it
// has the same line, from the history file for the latest one.
func completed(l cluster.HistoryLine, stored *cluster.History, local LocalHistory, me string) cluster.HistoryLine {
	if stored != nil {
		for _, s := range stored.Lines {
			if s.Timeline == l.Timeline && s.LSN == l.LSN && s.Time != "" {
				return s
			}
		}
	}
	if l.Timeline+1 == local.Timeline {
		l.Time, l.Leader = isoTime(local.Written), me
	}
	return l
}

// isoTime is the spelling of times in the history: ISO 8601 in the local zone,
// microseconds only when there are any.
func isoTime(t time.Time) string {
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02T15:04:05-07:00")
	}
	return t.Format("2006-01-02T15:04:05.000000-07:00")
}
