//go:build linux

package node

import (
	"context"
	"fmt"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/postgres"
	"tamada/internal/rest"
)

// publishSnapshot shows the REST API what the agent is now.
func (n *node) publishSnapshot(now ha.Instant) {
	p := n.agent.Picture()
	old := n.snapshot.Load()
	if p.State != old.State || p.Role != old.Role {
		n.generation++
	}
	if p.Role != old.Role {
		n.roleChanged(old.Role, p.Role)
	}
	if p.Cluster != old.Cluster || p.Cluster != nil && p.LastSeen.Unix() != old.DCSLastSeen {
		n.clusterAt = now
	}
	s := &rest.Snapshot{Generation: n.generation, State: p.State, Role: p.Role, LockUntil: p.LockUntil, NextRun: p.NextRun,
		PostmasterAlive: p.Running, Cluster: p.Cluster, ClusterReadAt: n.clusterAt, Settings: p.Settings,
		Tags: p.Tags, EffectiveTags: p.Tags, SystemID: p.Sysid, PendingRestart: p.PendingRestart.Len() > 0,
		PendingRestartReason: p.PendingRestart, Agent: &n.agentInfo}
	if !p.LastSeen.IsZero() {
		s.DCSLastSeen = p.LastSeen.Unix()
	}
	if p.Cluster != nil {
		s.Failsafe = p.Cluster.Failsafe
	} else {
		s.Failsafe = old.Failsafe
	}
	n.snapshot.Store(s)
}

// source is the node as the REST API sees it.
type source struct{ *node }

// Now is CLOCK_BOOTTIME.
func (s source) Now() time.Duration { return guardian.Now() }

// Snapshot is the loop's latest picture.
func (s source) Snapshot() *rest.Snapshot { return s.snapshot.Load() }

// SQLStatus asks PostgreSQL over the REST API's own connection.
func (s source) SQLStatus(ctx context.Context) (*rest.SQLStatus, error) {
	o, err := s.pg.Observe(ctx, postgres.ObserveOptions{Over: postgres.RestAPI, Senders: true})
	if err != nil {
		if postgres.SQLState(err) == "" {
			err = fmt.Errorf("%w: %w", rest.ErrConnection, err) // the server did not even refuse
		}
		return nil, err
	}
	st := &rest.SQLStatus{PostmasterStart: o.PostmasterStarted, ServerVersion: o.ServerVersion, InRecovery: o.InRecovery,
		Timeline: o.Timeline, Flushed: o.FlushLSN, Received: o.Received(), Replayed: o.ReplayLSN, ReplayedAt: o.ReplayedAt,
		ReplayPaused: o.ReplayPaused, ReplicationState: o.ReplicationState()}
	if st.Received == 0 {
		st.Received = o.ReplayLSN
	}
	if o.Receiver != nil {
		st.LatestEnd = o.Receiver.LatestEndLSN
	}
	if o.InRecovery {
		var leader *cluster.Member
		if c := s.snapshot.Load().Cluster; c != nil {
			leader = c.LeaderMember()
		}
		st.Timeline = s.standbyTimeline(ctx, o, leader)
	}
	for _, w := range o.Senders {
		st.Replication = append(st.Replication, rest.WALSender{User: w.User, Application: w.ApplicationName, ClientAddr: w.ClientAddr,
			State: w.State, SyncState: w.SyncState, SyncPriority: w.SyncPriority})
	}
	return st, nil
}

// LoadCluster reads the store itself.
func (s source) LoadCluster(ctx context.Context) (*cluster.Cluster, error) { return s.store.Load(ctx) }

// PutConfig writes the dynamic configuration.
func (s source) PutConfig(ctx context.Context, doc *cluster.Object, cond dcs.Condition) (cluster.Version, error) {
	return s.store.Put(ctx, cluster.KeyConfig, cluster.Compact(doc), cond)
}

// Wake starts the loop's next turn now.
func (s source) Wake() { s.wake() }

// Reload does what SIGHUP does.
func (s source) Reload() { s.reloadSoon() }
