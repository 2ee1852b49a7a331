//go:build linux

package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/postgres"
	"tamada/internal/rest"
)

// publishSnapshot shows the REST API what the agent is now.
func (n *node) publishSnapshot(now ha.Instant) {
	p := n.agent.Picture()
	n.notifyStatus(p.Line)
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
		PendingRestartReason: p.PendingRestart, ScheduledRestart: p.Scheduled, Agent: n.agentInfo.Load(), WatchdogFailed: p.WatchdogFailed}
	if !p.LastSeen.IsZero() {
		s.DCSLastSeen = p.LastSeen.Unix()
	}
	if p.Cluster != nil {
		s.Failsafe = p.Cluster.Failsafe
	} else {
		s.Failsafe = old.Failsafe
	}
	n.meters.lock(s.LockUntil, now)
	s.FailsafeUntil = p.FailsafeUntil
	n.position.Store(uint64(p.Position))
	n.snapshot.Store(s)
}

// board shows the newest snapshot, and wakes those who wait for a newer one.
// Reading takes no lock.
type board struct {
	newest atomic.Pointer[rest.Snapshot]

	mu      sync.Mutex    // guards changed
	changed chan struct{} // nil while nobody waits
}

// Load is the newest snapshot.
func (b *board) Load() *rest.Snapshot { return b.newest.Load() }

// Store shows a newer one.
func (b *board) Store(s *rest.Snapshot) {
	b.newest.Store(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Changed is closed as soon as there is another snapshot than seen.
func (b *board) Changed(seen *rest.Snapshot) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	c := b.changed
	if b.newest.Load() != seen {
		// It came before the lock was taken; whoever stores the next one finds nobody.
		close(c)
		b.changed = nil
	}
	return c
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

// PutFailover writes the request to move the leader.
func (s source) PutFailover(ctx context.Context, value []byte, cond dcs.Condition) (cluster.Version, error) {
	return s.store.Put(ctx, cluster.KeyFailover, value, cond)
}

// Poll asks members for their status, all at the same time.
func (s source) Poll(ctx context.Context, members []cluster.Member) []candidate.Answer {
	answers := make([]candidate.Answer, len(members))
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() { answers[i] = s.poll(ctx, &members[i]) })
	}
	wg.Wait()
	return answers
}

// Changed is closed when there is another snapshot than seen.
func (s source) Changed(seen *rest.Snapshot) <-chan struct{} { return s.snapshot.Changed(seen) }

// Wake starts the loop's next turn now.
func (s source) Wake() { s.wake() }

// Reload does what SIGHUP does.
func (s source) Reload() { s.reloadSoon() }
