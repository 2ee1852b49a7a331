package rest

import (
	"fmt"
	"math"
	"strings"

	"tamada/internal/cluster"
)

// results are the intermediate values of 4.1.
type results struct {
	leader, primary, standbyLeader, replica bool
}

// A check is one row of 4.2.
type check struct {
	matches func(path string) bool
	healthy func(s *Server, st *status, r results) bool
	tags    bool // the tag filter applies
	lock    bool // one of the three leader-type results
}

func contains(words ...string) func(string) bool {
	return func(path string) bool {
		for _, w := range words {
			if strings.Contains(path, w) {
				return true
			}
		}
		return false
	}
}

func exactly(paths ...string) func(string) bool {
	return func(path string) bool {
		for _, p := range paths {
			if path == p {
				return true
			}
		}
		return false
	}
}

// checks in the order in which the first match wins.
var checks = []check{
	{matches: contains("standby_leader", "standby-leader"), lock: true,
		healthy: func(_ *Server, _ *status, r results) bool { return r.standbyLeader }},
	{matches: contains("leader"), lock: true,
		healthy: func(_ *Server, _ *status, r results) bool { return r.leader }},
	{matches: contains("master", "primary", "read-write"), lock: true,
		healthy: func(_ *Server, _ *status, r results) bool { return r.primary }},
	{matches: contains("replica"), tags: true,
		healthy: func(_ *Server, _ *status, r results) bool { return r.replica }},
	{matches: func(p string) bool {
		return strings.Contains(p, "read-only") && !strings.Contains(p, "sync") && !strings.Contains(p, "quorum")
	}, tags: true,
		healthy: func(_ *Server, _ *status, r results) bool { return r.primary || r.standbyLeader || r.replica }},
	{matches: contains("health"), tags: true,
		healthy: func(_ *Server, st *status, _ results) bool { return st.state() == cluster.StateRunning }},
	{matches: exactly("/sync", "/synchronous"), tags: true, healthy: standby(cluster.SyncOn, false)},
	{matches: exactly("/quorum"), tags: true, healthy: standby(cluster.SyncQuorum, false)},
	{matches: exactly("/async", "/asynchronous"), tags: true, healthy: standby(cluster.SyncOff, false)},
	{matches: exactly("/read-only-quorum"), tags: true, healthy: standby(cluster.SyncQuorum, true)},
	{matches: exactly("/read-only-sync", "/read-only-synchronous"), tags: true, healthy: standby(cluster.SyncOn, true)},
	{matches: func(string) bool { return true }, healthy: func(*Server, *status, results) bool { return false }},
}

// standby makes the rows for replicas of one kind, and optionally the primary.
// Only with a view of the store is it known who is of which kind.
func standby(mode cluster.SyncMode, primaryToo bool) func(*Server, *status, results) bool {
	return func(s *Server, st *status, r results) bool {
		if st.cached == nil {
			return false
		}
		return primaryToo && (r.primary || r.standbyLeader) || r.replica && st.syncMode(s.opts.Load().Name) == mode
	}
}

// health is the generic health check (section 4).
func (s *Server) health(a *answer, path string) {
	if path == "/" {
		path = "/primary"
	}
	var c *check
	for i := range checks {
		if checks[i].matches(path) {
			c = &checks[i]
			break
		}
	}
	bare := a.r.Method != "GET"
	if bare && c.lock {
		// The lock alone decides, unless one of two rare situations needs the role:
		// then a PostgreSQL that hangs cannot delay the answer.
		if st := s.look(); !st.needsRole() {
			a.statusOnly(code(c.healthy(s, &st, st.results(query{}))))
			return
		}
	}
	st := s.collect(a.ctx, false)
	q := parseQuery(a.r.URL.RawQuery)
	ok := c.healthy(s, &st, st.results(q))
	if ok && c.tags {
		ok = tagsMatch(st.snap.Tags, q)
	}
	if bare {
		a.statusOnly(code(ok))
		return
	}
	a.json(code(ok), s.body(&st))
}

func code(ok bool) int {
	if ok {
		return 200
	}
	return 503
}

// needsRole tells whether a leader-type result depends on what PostgreSQL says.
func (st *status) needsRole() bool {
	return st.cached == nil && st.snap.Settings.Pause || st.lock && st.snap.Settings.StandbyCluster != nil
}

// results computes the values of 4.1.
func (st *status) results(q query) (r results) {
	role := st.role()
	settings := &st.snap.Settings
	r.replica = st.replicaOK(q)
	switch {
	case st.cached == nil && settings.Pause:
		// Nobody renews the lock for us while the store is away, and in pause nobody
		// takes it either: what PostgreSQL is decides.
		r.leader = role == cluster.RolePrimary || role == cluster.RoleStandbyLeader
		r.primary = role == cluster.RolePrimary
		r.standbyLeader = role == cluster.RoleStandbyLeader
	case st.lock && settings.StandbyCluster != nil:
		r.leader = true
		r.standbyLeader = role == cluster.RoleReplica || role == cluster.RoleStandbyLeader
		r.replica = false
	case st.lock:
		r.leader, r.primary = true, true // whatever the role: promotion may be under way
	}
	return r
}

// replicaOK is replica_ok of 4.1.
func (st *status) replicaOK(q query) bool {
	if st.sql == nil || st.state() != cluster.StateRunning || st.role() != cluster.RoleReplica ||
		cluster.NoLoadBalance(st.snap.Tags) {
		return false
	}
	if want, there := q["replication_state"]; there && want != st.sql.ReplicationState {
		return false
	}
	limit, limited := lagLimit(q)
	ref := st.reference()
	return !limited || ref == 0 || lag(ref, st.sql.Replayed) <= limit
}

// reference is lsn_ref of 4.1: the leader's position as far as anybody told us.
func (st *status) reference() cluster.LSN {
	var ref cluster.LSN
	if st.cached != nil {
		ref = st.cached.Status.LSN
	}
	if st.sql != nil {
		ref = max(ref, st.sql.LatestEnd)
	}
	return ref
}

// lag is how many bytes have is behind ref, negative when it is ahead.
func lag(ref, have cluster.LSN) int64 {
	if have > ref {
		return -int64(min(have-ref, math.MaxInt64))
	}
	return int64(min(ref-have, math.MaxInt64))
}

// lagLimit reads the parameter lag; what cannot be understood is no limit.
func lagLimit(q query) (bytes int64, ok bool) {
	v, there := q["lag"]
	if !there {
		return 0, false
	}
	return cluster.ParseInt(v, "B")
}

// tagsMatch is the filter of 4.3.
func tagsMatch(tags *cluster.Tags, q query) bool {
	for k, want := range q {
		name, isTag := strings.CutPrefix(k, "tag_")
		if !isTag {
			continue
		}
		v, there := tags.Get(name)
		if !there {
			return false
		}
		have, isString := v.(string)
		if !isString {
			have = strings.ToLower(cluster.Text(v))
		}
		if have != want {
			return false
		}
	}
	return true
}

// liveness is 4.4: does the loop still turn? A primary may be late by one ttl,
// after which it has lost the lock; others by two.
func (s *Server) liveness(a *answer) {
	st := s.look()
	limit := 2 * st.snap.Settings.TTL
	if st.snap.Role == cluster.RolePrimary && st.snap.PostmasterAlive {
		limit = st.snap.Settings.TTL
	}
	a.statusOnly(code(st.snap.Settings.Pause || st.snap.NextRun+limit > st.now))
}

// readiness is 4.5: may clients be sent here, as leader or as a replica that is
// up to date.
func (s *Server) readiness(a *answer) {
	if st := s.look(); st.lock {
		a.statusOnly(200)
		return
	} else if st.snap.State != cluster.StateRunning {
		s.notReady(a, "PostgreSQL is not running")
		return
	}
	st := s.collect(a.ctx, true)
	if why := st.unready(parseQuery(a.r.URL.RawQuery)); why != "" {
		s.notReady(a, why)
		return
	}
	a.statusOnly(200)
}

func (s *Server) notReady(a *answer, why string) {
	s.log.DebugContext(a.ctx, "not ready", "reason", why)
	a.statusOnly(503)
}

// unready is the reason why a replica is not ready, "" when it is.
func (st *status) unready(q query) string {
	if st.sql == nil || st.sql.ReplicationState != "streaming" {
		return "PostgreSQL replication state is not streaming"
	}
	if st.cached == nil && st.sql.LatestEnd == 0 {
		if st.failsafe {
			return ""
		}
		return "DCS is not accessible"
	}
	mode, location := "apply", st.sql.Replayed
	if q["mode"] == "write" {
		mode, location = "write", st.sql.Received
	}
	limit, ok := lagLimit(q)
	if !ok {
		limit = st.snap.Settings.MaximumLagOnFailover
	}
	if behind := lag(st.reference(), location); behind > limit {
		return fmt.Sprintf("Replication %s lag %d exceeds maximum allowable %d", mode, behind, limit)
	}
	return ""
}
