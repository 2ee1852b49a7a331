package ctl

import (
	"cmp"

	"tamada/internal/cluster"
)

// colour is the number of a terminal's colour.
type colour string

const (
	bold   colour = "1"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

func (c colour) paint(s string) string {
	if s == "" {
		return s
	}
	return "\033[" + string(c) + "m" + s + "\033[0m"
}

// colours tells whether to paint: only on a terminal, not against NO_COLOR
// (no-color.org), and never by the name of the reference's tool, whose tables
// have none.
func (a *app) colours() bool { return a.ours() && a.Terminal && a.env("NO_COLOR") == "" }

// Cells of a row of the member table that are painted.
const (
	cellRole           = 3
	cellState          = 4
	cellReceiveLag     = 7
	cellReplayLag      = 9
	cellPendingRestart = 10
)

// paint colours a row: who leads, what does not run as it should, who is too
// far behind to take over.
func (v *membersView) paint(m *cluster.Member, row []any) {
	set := func(i int, c colour) { row[i] = c.paint(cluster.Text(row[i])) }
	if m.Name == v.LeaderName() {
		set(cellRole, bold)
	}
	set(cellState, stateColour(m))
	for i, at := range map[int]cluster.LSN{cellReceiveLag: m.ReceiveLSN, cellReplayLag: m.ReplayLSN} {
		if at > 0 && v.Status.LSN > at && int64(v.Status.LSN-at) > v.settings.MaximumLagOnFailover {
			set(i, yellow)
		}
	}
	set(cellPendingRestart, yellow)
}

func stateColour(m *cluster.Member) colour {
	switch state := cmp.Or(cluster.State(m.ReplicationState), m.State); state {
	case cluster.StateRunning, "streaming":
		return green
	case "in archive recovery", cluster.StateStarting, cluster.StateStartingAfterBootstrap, cluster.StateRestarting, cluster.StateStopping,
		cluster.StateCreatingReplica, cluster.StateInitializing, cluster.StateCustomBootstrap:
		return yellow
	}
	return red
}
