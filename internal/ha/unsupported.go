package ha

import "tamada/internal/cluster"

// forbids tells why the store's dynamic configuration keeps us from leading, ""
// when it does not. It is read from the document itself: one that asks for
// synchronous replication or for a standby cluster is not in force here, because
// we cannot do that yet, while members that can (Patroni) act on it. If we raced
// as if it were not there, commits that were acknowledged would be lost, or a
// cluster that follows another would become a second one.
func forbids(v *View) string {
	if v.DCS.Cluster.Config == nil {
		return ""
	}
	doc := v.DCS.Cluster.Config.Doc
	s, _, err := cluster.ParseSettings(cluster.NewObject("synchronous_mode", doc.Value("synchronous_mode"), "standby_cluster", doc.Value("standby_cluster")))
	sync := v.DCS.Cluster.Sync
	switch {
	case err != nil:
		return ""
	case s.StandbyCluster != nil:
		return "the store asks for a standby cluster, which this member cannot lead yet"
	case s.SynchronousMode == cluster.SyncQuorum && sync.Active() && sync.Leader != v.Me:
		return "the store asks for quorum replication, and this member cannot tell yet whether it has all commits that were acknowledged"
	case s.SynchronousMode == cluster.SyncOn && sync.Active() && !sync.Matches(v.Me, true):
		return "the store asks for synchronous replication, and this member is not synchronous: it may lack commits that were acknowledged"
	}
	return ""
}
