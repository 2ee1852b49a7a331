package rest

import (
	"context"
	"errors"
	"time"

	"tamada/internal/cluster"
)

// errCrowded means that too many requests wait for the store already.
var errCrowded = errors.New("too many requests wait for the store")

// load reads the store itself. Requests that come while a read is under way
// share the next one, so that each sees what was written before it came.
func (s *Server) load(ctx context.Context) (*cluster.Cluster, error) {
	if !s.patience.enter() {
		return nil, errCrowded
	}
	defer s.patience.leave()
	arrived := s.source.Now()
	c, err := s.loads.get(ctx, func(f *flight[*cluster.Cluster]) bool { return f.started >= arrived }, s.launchLoad)
	if err != nil {
		s.log.WarnContext(ctx, "cannot read the cluster from the store for a request", "error", err)
	}
	return c, err
}

func (s *Server) launchLoad() *flight[*cluster.Cluster] {
	f := &flight[*cluster.Cluster]{started: s.source.Now(), done: make(chan struct{})}
	go func() {
		ctx, cancel := s.storeContext(s.life)
		defer cancel()
		c, err := s.source.LoadCluster(ctx)
		f.land(c, err, s.source.Now())
	}()
	return f
}

// storeContext bounds one operation on the store.
func (s *Server) storeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := s.source.Snapshot().Settings.RetryTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	return context.WithTimeout(ctx, timeout)
}

// cachedOrLoaded is the cached view or, if there is none, a fresh one.
func (s *Server) cachedOrLoaded(ctx context.Context) (*cluster.Cluster, error) {
	if st := s.look(); st.cached != nil {
		return st.cached, nil
	}
	return s.load(ctx)
}

// showHistory is GET /history (6.2).
func (s *Server) showHistory(a *answer) {
	c, err := s.cachedOrLoaded(a.ctx)
	if err != nil {
		a.noStore()
		return
	}
	list := []any{}
	if c != nil && c.History != nil {
		list = c.History.List()
	}
	a.json(200, cluster.Spaced(list))
}

// showFailsafe is GET /failsafe (section 8); it works without the store.
func (s *Server) showFailsafe(a *answer) {
	topology := s.source.Snapshot().Failsafe
	if topology == nil {
		a.page(502, "")
		return
	}
	a.json(200, cluster.Spaced(topology))
}

// showCluster is GET /cluster (6.1).
func (s *Server) showCluster(a *answer) {
	c, err := s.load(a.ctx)
	if err != nil || c == nil {
		a.noStore()
		return
	}
	settings := s.settingsOf(c)
	a.json(200, cluster.Spaced(clusterDocument(c, &settings, a.o.Scope)))
}

// settingsOf are the settings that a fresh view asks for: newer than what the
// loop knows. A document that is not valid changes nothing, here as there.
func (s *Server) settingsOf(c *cluster.Cluster) cluster.Settings {
	if c.Config != nil {
		if fresh, _, err := cluster.ParseSettings(c.Config.Doc); err == nil {
			return fresh
		}
	}
	return s.source.Snapshot().Settings
}

func clusterDocument(c *cluster.Cluster, settings *cluster.Settings, scope string) *cluster.Object {
	members := make([]any, len(c.Members))
	for i := range c.Members {
		members[i] = memberDocument(c, &c.Members[i], settings)
	}
	d := cluster.NewObject("members", members)
	addTrue(d, "pause", settings.Pause)
	if f := c.Failover; f != nil && f.ScheduledAt != "" {
		at := cluster.NewObject("at", f.ScheduledAt)
		addText(at, "from", f.Leader)
		addText(at, "to", f.Candidate)
		d.Set("scheduled_switchover", at)
	}
	d.Set("scope", scope)
	return d
}

func memberDocument(c *cluster.Cluster, m *cluster.Member, settings *cluster.Settings) *cluster.Object {
	role := memberRole(c, m, settings)
	d := cluster.NewObject("name", m.Name, "role", role)
	state := string(m.State)
	if role != "leader" && m.ReplicationState != "" {
		state = m.ReplicationState
	}
	d.Set("state", state)
	d.Set("api_url", nil)
	addText(d, "api_url", m.APIURL)
	if host, port, ok := m.Address(); ok {
		d.Set("host", host)
		d.Set("port", port)
	}
	if m.Timeline > 0 {
		d.Set("timeline", m.Timeline)
	}
	addTrue(d, "pending_restart", m.PendingRestart)
	for _, part := range []struct {
		key string
		v   *cluster.Object
	}{{"pending_restart_reason", m.PendingRestartReason}, {"scheduled_restart", m.ScheduledRestart}, {"tags", m.Tags}} {
		if part.v.Len() > 0 {
			d.Set(part.key, part.v)
		}
	}
	if m.Name != c.LeaderName() {
		addLag(d, "receive_lsn", "receive_lag", m.ReceiveLSN, c.Status.LSN)
		addLag(d, "replay_lsn", "replay_lag", m.ReplayLSN, c.Status.LSN)
		addLag(d, "lsn", "lag", m.XLogLocation, c.Status.LSN)
	}
	return d
}

func memberRole(c *cluster.Cluster, m *cluster.Member, settings *cluster.Settings) string {
	switch {
	case m.Name == c.LeaderName() && settings.StandbyCluster != nil:
		return "standby_leader"
	case m.Name == c.LeaderName():
		return "leader"
	case settings.SynchronousMode == cluster.SyncOff || c.Sync == nil || !c.Sync.Matches(m.Name, false):
		return "replica"
	case settings.SynchronousMode == cluster.SyncQuorum:
		return "quorum_standby"
	}
	return "sync_standby"
}

// addLag adds a position and its distance from the leader's; the order of the
// two keys differs when they are not known, and clients may have learnt it.
func addLag(d *cluster.Object, lsnKey, lagKey string, have, leader cluster.LSN) {
	if have == 0 {
		d.Set(lsnKey, "unknown")
		d.Set(lagKey, "unknown")
		return
	}
	d.Set(lagKey, max(0, lag(leader, have)))
	d.Set(lsnKey, have.String())
}

func addText(d *cluster.Object, key, v string) {
	if v != "" {
		d.Set(key, v)
	}
}
