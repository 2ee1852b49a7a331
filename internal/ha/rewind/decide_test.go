package rewind

import (
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	history := []control.HistoryEntry{{Timeline: 1, LSN: 0x1000}, {Timeline: 2, LSN: 0x2000}, {Timeline: 4, LSN: 0x4000}}
	standby := func(tli cluster.Timeline, lsn cluster.LSN) *control.LocalPosition {
		return &control.LocalPosition{InRecovery: true, Timeline: tli, LSN: lsn}
	}
	primary := func(tli cluster.Timeline, lsn, end cluster.LSN) *control.LocalPosition {
		return &control.LocalPosition{Timeline: tli, LSN: lsn, CheckpointEnd: end}
	}
	for _, c := range []struct {
		name  string
		facts control.DivergenceFacts
		want  Verdict
	}{
		{"nothing known", control.DivergenceFacts{}, Unknown},
		{"local not known", control.DivergenceFacts{LeaderTimeline: 5, History: history, HistoryKnown: true}, Unknown},
		{"leader in recovery", control.DivergenceFacts{Local: standby(1, 1), LeaderInRecovery: true, LeaderTimeline: 1}, Unknown},
		{"leader's timeline not known", control.DivergenceFacts{Local: standby(1, 1)}, Unknown},
		{"history not known", control.DivergenceFacts{Local: standby(1, 1), LeaderTimeline: 5}, Unknown},
		{"local later", control.DivergenceFacts{Local: standby(6, 1), LeaderTimeline: 5}, Needed},
		{"same timeline", control.DivergenceFacts{Local: standby(5, 0x9000), LeaderTimeline: 5}, NotNeeded},
		{"standby before the switch", control.DivergenceFacts{Local: standby(2, 0x1fff), LeaderTimeline: 5, History: history, HistoryKnown: true}, NotNeeded},
		{"standby at the switch", control.DivergenceFacts{Local: standby(2, 0x2000), LeaderTimeline: 5, History: history, HistoryKnown: true}, NotNeeded},
		{"standby after the switch", control.DivergenceFacts{Local: standby(2, 0x2001), LeaderTimeline: 5, History: history, HistoryKnown: true}, Needed},
		{"primary whose checkpoint was taken over", control.DivergenceFacts{Local: primary(2, 0x1f88, 0x2000), LeaderTimeline: 5, History: history, HistoryKnown: true}, NotNeeded},
		{"primary whose checkpoint ends before the switch", control.DivergenceFacts{Local: primary(2, 0x1f00, 0x1f78), LeaderTimeline: 5, History: history, HistoryKnown: true}, Needed},
		{"primary whose checkpoint ends after the switch", control.DivergenceFacts{Local: primary(2, 0x1ff0, 0x2068), LeaderTimeline: 5, History: history, HistoryKnown: true}, Needed},
		{"primary whose checkpoint begins at the switch", control.DivergenceFacts{Local: primary(2, 0x2000, 0x2000), LeaderTimeline: 5, History: history, HistoryKnown: true}, Needed},
		{"primary whose checkpoint end is not known", control.DivergenceFacts{Local: primary(2, 0x1f88, 0), LeaderTimeline: 5, History: history, HistoryKnown: true}, Needed},
		{"timeline skipped by the history", control.DivergenceFacts{Local: standby(3, 1), LeaderTimeline: 5, History: history, HistoryKnown: true}, Needed},
		{"empty history", control.DivergenceFacts{Local: standby(1, 1), LeaderTimeline: 5, HistoryKnown: true}, Needed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, why := Decide(c.facts)
			if got != c.want || why == "" {
				t.Errorf("%v (%s), want %v", got, why, c.want)
			}
		})
	}
}

// What can be followed must lie on the leader's history: the naive twin builds
// the set of ancestors.
func TestFollowsOnlyWhatLiesOnTheHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		leader := cluster.Timeline(rapid.IntRange(1, 8).Draw(t, "leader"))
		var history []control.HistoryEntry
		ends := map[cluster.Timeline]cluster.LSN{}
		at := cluster.LSN(0)
		for tli := cluster.Timeline(1); tli < leader; tli++ {
			if rapid.Bool().Draw(t, "on the way") {
				at += cluster.LSN(rapid.IntRange(1, 5).Draw(t, "length"))
				history = append(history, control.HistoryEntry{Timeline: tli, LSN: at})
				ends[tli] = at
			}
		}
		local := control.LocalPosition{
			InRecovery:    rapid.Bool().Draw(t, "standby"),
			Timeline:      cluster.Timeline(rapid.IntRange(1, 9).Draw(t, "timeline")),
			LSN:           cluster.LSN(rapid.IntRange(1, 30).Draw(t, "lsn")),
			CheckpointEnd: cluster.LSN(rapid.IntRange(0, 30).Draw(t, "end")),
		}
		got, why := Decide(control.DivergenceFacts{Local: &local, LeaderTimeline: leader, History: history, HistoryKnown: true})
		end, ancestor := ends[local.Timeline]
		want := Needed
		switch {
		case local.Timeline == leader:
			want = NotNeeded
		case !ancestor:
		case local.InRecovery && local.LSN <= end:
			want = NotNeeded
		case !local.InRecovery && local.LSN < end && local.CheckpointEnd == end:
			want = NotNeeded
		}
		if got != want {
			t.Fatalf("%v (%s), want %v", got, why, want)
		}
	})
}
