package rest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"tamada/internal/cluster"
)

const (
	// sqlMaxAge is how old an answer of PostgreSQL may be that is used for another
	// request: long enough that load balancers cost one query and not one each,
	// short against every interval that anybody decides by.
	sqlMaxAge = 100 * time.Millisecond
	// sqlTimeout is the connect timeout and the statement timeout of 5.1 together.
	sqlTimeout = 5 * time.Second
)

// status is everything that one request looks at.
type status struct {
	now      time.Duration
	snap     *Snapshot
	cached   *cluster.Cluster // nil: no view that may be believed
	lock     bool
	failsafe bool
	sql      *SQLStatus // nil: not asked, or no answer
}

// look takes the picture without SQL.
func (s *Server) look() status {
	now, snap := s.source.Now(), s.source.Snapshot()
	return status{now: now, snap: snap, cached: snap.cached(now), lock: snap.hasLock(now), failsafe: snap.failsafe(now)}
}

// collect takes the picture with SQL. Health checks give up at the first
// failure, the others try once more after a while if there was no connection
// (5.1 item 4).
func (s *Server) collect(ctx context.Context, retry bool) status {
	sql, err := s.askSQL(ctx)
	if retry && errors.Is(err, ErrConnection) && s.patience.enter() {
		pause := time.NewTimer(time.Second + rand.N(800*time.Millisecond))
		select {
		case <-pause.C:
			sql, err = s.askSQL(ctx)
		case <-ctx.Done():
		}
		pause.Stop()
		s.patience.leave()
	}
	if err != nil {
		s.log.DebugContext(ctx, "no status from PostgreSQL", "error", err)
	}
	// Lock, pause and state are looked at after the query: it may have taken
	// longer than the lease had left.
	st := s.look()
	if st.snap.canAsk() {
		st.sql = sql
	}
	return st
}

// askSQL returns the last answer if it is young enough, else a new one; nil
// without an error when PostgreSQL does not run.
func (s *Server) askSQL(ctx context.Context) (*SQLStatus, error) {
	if !s.source.Snapshot().canAsk() {
		return nil, nil
	}
	arrived := s.source.Now()
	good := func(f *flight[*SQLStatus]) bool {
		// Age counts from the beginning of the query, the moment it speaks of. A
		// query that ended after we came is good in any case: when PostgreSQL
		// hangs, nobody should wait for it twice.
		return f.generation == s.source.Snapshot().Generation && (f.started > arrived-sqlMaxAge || f.ended >= arrived)
	}
	return s.sql.get(ctx, good, s.launchSQL)
}

func (s *Server) launchSQL() *flight[*SQLStatus] {
	f := &flight[*SQLStatus]{generation: s.source.Snapshot().Generation, started: s.source.Now(), done: make(chan struct{})}
	go func() {
		ctx, cancel := context.WithTimeout(s.life, sqlTimeout)
		defer cancel()
		sql, err := s.source.SQLStatus(ctx)
		f.land(sql, err, s.source.Now())
	}()
	return f
}

// state is the reported state: what the agent believes, unless PostgreSQL
// should have answered and did not.
func (st *status) state() cluster.State {
	if st.snap.State == cluster.StateRunning && st.sql == nil {
		return "unknown"
	}
	return st.snap.State
}

// role is the reported role: what PostgreSQL says, where it can know.
func (st *status) role() cluster.Role {
	switch {
	case st.sql == nil:
		return st.snap.Role
	case !st.sql.InRecovery:
		return cluster.RolePrimary
	case st.snap.Settings.StandbyCluster != nil:
		return st.snap.Role
	}
	return cluster.RoleReplica
}

// syncMode is the kind of synchronous standby that this node is, "" for none.
func (st *status) syncMode(name string) cluster.SyncMode {
	if st.sql == nil || st.role() != cluster.RoleReplica || st.cached == nil || st.cached.Sync == nil ||
		!st.cached.Sync.Matches(name, false) {
		return cluster.SyncOff
	}
	return st.snap.Settings.SynchronousMode
}

// unlocked tells whether nobody is known to hold the leader key.
func (st *status) unlocked() bool { return st.cached.LeaderName() == "" }

// rendered is a status document in bytes and what it was made of.
type rendered struct {
	opts             *settled
	snap             *Snapshot
	sql              *SQLStatus
	cached, failsafe bool
	body             []byte
}

// body is the status document. Between two snapshots and two answers of
// PostgreSQL it is the same one, so it is made once for all requests.
func (s *Server) body(st *status) []byte {
	o := s.opts.Load()
	if r := s.document.Load(); r != nil && r.opts == o && r.snap == st.snap && r.sql == st.sql &&
		r.cached == (st.cached != nil) && r.failsafe == st.failsafe {
		return r.body
	}
	r := &rendered{o, st.snap, st.sql, st.cached != nil, st.failsafe, cluster.Spaced(st.document(o.Name, o.Scope, o.Version))}
	s.document.Store(r)
	return r.body
}

// document is the status document of section 5, keys in its order.
func (st *status) document(name, scope, version string) *cluster.Object {
	d, snap := &cluster.Object{}, st.snap
	d.Set("state", string(st.state()))
	if st.sql != nil {
		d.Set("postmaster_start_time", timestamp(st.sql.PostmasterStart))
	}
	d.Set("role", string(st.role()))
	if st.sql != nil {
		st.addSQL(d, name)
	}
	addTrue(d, "pause", snap.Settings.Pause)
	addTrue(d, "cluster_unlocked", st.unlocked())
	addTrue(d, "failsafe_mode_is_active", st.failsafe)
	d.Set("dcs_last_seen", snap.DCSLastSeen)
	if snap.EffectiveTags.Len() > 0 {
		d.Set("tags", snap.EffectiveTags)
	}
	if snap.SystemID != "" {
		d.Set("database_system_identifier", snap.SystemID)
	}
	addTrue(d, "pending_restart", snap.PendingRestart)
	if snap.PendingRestart && snap.PendingRestartReason.Len() > 0 {
		d.Set("pending_restart_reason", snap.PendingRestartReason)
	}
	d.Set("patroni", cluster.NewObject("version", version, "scope", scope, "name", name))
	if snap.ScheduledRestart.Len() > 0 {
		restart := snap.ScheduledRestart.Clone()
		restart.Delete("postmaster_start_time") // internal
		d.Set("scheduled_restart", restart)
	}
	addTrue(d, "watchdog_failed", snap.WatchdogFailed)
	if snap.Agent != nil {
		d.Set("tamada", snap.Agent.Object())
	}
	return d
}

// addSQL adds what PostgreSQL said, from server_version to replication.
func (st *status) addSQL(d *cluster.Object, name string) {
	sql := st.sql
	d.Set("server_version", sql.ServerVersion)
	if sql.InRecovery {
		x := cluster.NewObject("received_location", sql.Received, "replayed_location", sql.Replayed)
		x.Set("replayed_timestamp", nil)
		if !sql.ReplayedAt.IsZero() {
			x.Set("replayed_timestamp", timestamp(sql.ReplayedAt))
		}
		x.Set("paused", sql.ReplayPaused)
		d.Set("xlog", x)
	} else {
		d.Set("xlog", cluster.NewObject("location", sql.Flushed))
	}
	mode := st.syncMode(name)
	addTrue(d, "sync_standby", mode == cluster.SyncOn)
	addTrue(d, "quorum_standby", mode == cluster.SyncQuorum)
	if sql.Timeline > 0 {
		d.Set("timeline", sql.Timeline)
	} else {
		d.Set("timeline", nil)
	}
	if sql.InRecovery && sql.ReplicationState != "" {
		d.Set("replication_state", sql.ReplicationState)
	}
	if len(sql.Replication) > 0 {
		rows := make([]any, len(sql.Replication))
		for i, r := range sql.Replication {
			o := cluster.NewObject("usename", r.User, "application_name", r.Application, "client_addr", nil,
				"state", r.State, "sync_state", r.SyncState, "sync_priority", r.SyncPriority)
			if r.ClientAddr != "" {
				o.Set("client_addr", r.ClientAddr)
			}
			rows[i] = o
		}
		d.Set("replication", rows)
	}
}

func addTrue(d *cluster.Object, key string, v bool) {
	if v {
		d.Set(key, true)
	}
}

// timestamp spells a time with six digits of a second, or none when it is a
// whole one.
func timestamp(t time.Time) string {
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02 15:04:05-07:00")
	}
	return t.Format("2006-01-02 15:04:05.000000-07:00")
}

// showStatus is GET /patroni.
func (s *Server) showStatus(a *answer) {
	st := s.collect(a.ctx, true)
	a.json(200, s.body(&st))
}
