package ctl

import (
	"slices"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// restartOrder puts the leader where one restart of all members is enough. A
// standby may not have less of the parameters in [conf.StandbyLimits] than its
// primary: to grow, the standbys go first; to shrink, the leader does, and then
// they may follow. Without such a change the order stays.
func restartOrder(c *cluster.Cluster, chosen []*cluster.Member) []*cluster.Member {
	grows, shrinks := false, false
	for _, m := range chosen {
		for _, name := range conf.StandbyLimits {
			change := m.PendingRestartReason.Object(name)
			was, ok1 := cluster.ParseInt(change.Value("old_value"), "")
			will, ok2 := cluster.ParseInt(change.Value("new_value"), "")
			grows = grows || ok1 && ok2 && will > was
			shrinks = shrinks || ok1 && ok2 && will < was
		}
	}
	i := slices.IndexFunc(chosen, func(m *cluster.Member) bool { return m.Name == c.LeaderName() })
	if i < 0 || !grows && !shrinks {
		return chosen
	}
	leader := chosen[i]
	rest := slices.Delete(slices.Clone(chosen), i, i+1)
	if shrinks {
		// Standbys that have to grow as well are lifted by their agents.
		return slices.Insert(rest, 0, leader)
	}
	return append(rest, leader)
}
