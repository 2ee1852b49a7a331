package rest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// words are how the answers speak of one kind of request.
type words struct{ action, title, done, instead string }

var (
	switchoverWords = words{"switchover", "Switchover", "switched over", "Switched over"}
	failoverWords   = words{"failover", "Failover", "failed over", "Failed over"}
)

// unseenFor is how long our write of the key may be missing in the view before
// that is believed to be newer: the key may have been deleted at once, which
// looks like a view from before the write.
const unseenFor = 2 * time.Second

func (s *Server) switchover(a *answer) { s.moveLeader(a, switchoverWords) }
func (s *Server) failover(a *answer)   { s.moveLeader(a, failoverWords) }

// moveLeader is POST /switchover and POST /failover (section 9). Nothing is
// decided here: the request is written into the store, and the holder of the
// lock judges it again, with newer facts, when it takes it up.
func (s *Server) moveLeader(a *answer, w words) {
	f, scheduledAt, ok := readFailover(a)
	if !ok {
		return
	}
	s.log.InfoContext(a.ctx, fmt.Sprintf("received %s request with leader=%s candidate=%s scheduled_at=%s", w.action,
		orNone(f.Leader), orNone(f.Candidate), orNone(scheduledAt)), "from", a.r.RemoteAddr)
	if r := incomplete(f, scheduledAt, w); r.is() {
		s.source.RequestRefused(w.action, a.r.RemoteAddr, r.code, r.text)
		a.text(r.code, r.text)
		return
	}
	c, err := s.load(a.ctx)
	if err != nil || c == nil {
		a.noStore()
		return
	}
	settings := s.settingsOf(c)
	var r refusal
	switch {
	case scheduledAt != nil && settings.Pause:
		r = refusal{400, "Can't schedule switchover in the paused state"}
	case scheduledAt != nil:
		_, f.ScheduledAt, r = parseSchedule(scheduledAt, switchoverWords.action, time.Now())
	case settings.Pause && f.Candidate == "":
		r = refusal{400, "Switchover is possible only to a specific candidate in a paused state"}
	}
	if w == failoverWords && f.Leader != "" && !r.is() {
		s.log.WarnContext(a.ctx, "received failover request with leader specified - performing switchover instead", "from", a.r.RemoteAddr)
		w = switchoverWords
	}
	if !r.is() && f.Leader != "" && f.Leader == f.Candidate {
		r = refusal{400, "Switchover target and source are the same"}
	}
	if !r.is() && f.ScheduledAt == "" {
		if why := s.impossible(a.ctx, c, &settings, f, w.action); why != "" {
			r = refusal{412, why}
		}
	}
	if r.is() {
		s.source.RequestRefused(w.action, a.r.RemoteAddr, r.code, r.text)
		a.text(r.code, r.text)
		return
	}
	s.requestMove(a, f, c.LeaderName(), settings.LoopWait, w)
}

// readFailover reads the body. scheduledAt is nil for "now".
func readFailover(a *answer) (f cluster.Failover, scheduledAt any, ok bool) {
	body, ok := readBody(a, true)
	if !ok {
		return f, nil, false
	}
	var other string
	for key, to := range map[string]*string{"leader": &f.Leader, "candidate": &f.Candidate, "member": &other} {
		if !readName(body, key, to) {
			a.page(400, "")
			return f, nil, false
		}
	}
	if f.Candidate == "" {
		f.Candidate = other
	}
	if v := body.Value("scheduled_at"); cluster.Truthy(v) {
		scheduledAt = v
	}
	return f, scheduledAt, true
}

// orNone is a value of a request as the log shows it.
func orNone(v any) string {
	if !cluster.Truthy(v) {
		return "None"
	}
	text := fmt.Sprint(v)
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return strings.Map(func(r rune) rune { // one line stays one line
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// readName reads a name; null and an empty one are as if absent.
func readName(body *cluster.Object, key string, to *string) bool {
	v := body.Value(key)
	if v == nil {
		return true
	}
	text, ok := v.(string)
	*to = text
	return ok
}

// incomplete judges a request without looking at the cluster.
func incomplete(f cluster.Failover, scheduledAt any, w words) refusal {
	switch {
	case w == failoverWords && f.Candidate == "":
		return refusal{400, "Failover could be performed only to a specific candidate"}
	case w == switchoverWords && f.Leader == "":
		return refusal{400, "Switchover could be performed only from a specific leader"}
	case w == failoverWords && scheduledAt != nil:
		return refusal{400, "Failover can't be scheduled"}
	}
	return refusal{}
}

// impossible is the feasibility check (9.2): why the request cannot be carried
// out now, "" when it may be. Lag is not looked at; the holder of the lock does
// that.
func (s *Server) impossible(ctx context.Context, c *cluster.Cluster, settings *cluster.Settings, f cluster.Failover, action string) string {
	// In quorum mode every member may be asked for: the holder of the lock knows
	// who is in the quorum at that moment.
	synchronous := settings.SynchronousMode == cluster.SyncOn && c.Sync.Active()
	var pool []cluster.Member
	switch {
	case f.Leader != "" && f.Leader != c.LeaderName():
		return "leader name does not match"
	case f.Candidate != "" && action == switchoverWords.action && synchronous && !c.Sync.Matches(f.Candidate, false):
		return "candidate name does not match with sync_standby"
	case f.Candidate != "":
		m := c.Member(f.Candidate)
		if m == nil {
			return "candidate does not exists"
		}
		pool = []cluster.Member{*m}
	default:
		for _, m := range c.Members {
			if m.Name != c.LeaderName() && m.APIURL != "" && (!synchronous || c.Sync.Matches(m.Name, false)) {
				pool = append(pool, m)
			}
		}
		if len(pool) == 0 && synchronous {
			return action + " is not possible: can not find sync_standby"
		}
		if len(pool) == 0 {
			return action + " is not possible: cluster does not have members except leader"
		}
	}
	for _, peer := range s.source.Poll(ctx, pool) {
		if peer.Limitation() == "" {
			return ""
		}
	}
	return action + " is not possible: no good candidates have been found"
}

// requestMove writes the request and, unless it is for later, waits for what
// comes of it (9.3).
func (s *Server) requestMove(a *answer, f cluster.Failover, leader string, loopWait time.Duration, w words) {
	if !s.patience.enter() {
		a.text(503, "too many requests wait already, try again later")
		return
	}
	defer s.patience.leave()
	ctx, cancel := s.storeContext(s.life)
	defer cancel()
	began := s.source.Now()
	version, err := s.source.PutFailover(ctx, f.JSON(), dcs.Any())
	if err != nil {
		s.log.WarnContext(ctx, "could not write the request to move the leader", "action", w.action, "from", a.r.RemoteAddr, "error", err)
		a.text(503, "failed to write failover key into DCS")
		return
	}
	s.source.RequestTaken(w.action, a.r.RemoteAddr, moveText(f))
	s.source.Wake()
	if f.ScheduledAt != "" {
		a.text(202, "Switchover scheduled")
		return
	}
	a.takesLong()
	limit := 2 * max(10*time.Second, loopWait)
	switch name, gone := s.awaitLeader(leader, version, began, limit); {
	case gone:
		a.text(503, w.title+" failed")
	case name == "":
		a.text(503, fmt.Sprintf("%s status unknown after %.0f seconds; operation may still be in progress", w.title, limit.Seconds()))
	case f.Candidate == "" || f.Candidate == name:
		a.text(200, fmt.Sprintf(`Successfully %s to "%s"`, w.done, name))
	default:
		a.text(200, fmt.Sprintf(`%s to "%s" instead of "%s"`, w.instead, name, f.Candidate))
	}
}

// moveText is a request to move the leader in words.
func moveText(f cluster.Failover) string {
	var parts []string
	for _, p := range [][2]string{{"from", f.Leader}, {"to", f.Candidate}, {"at", f.ScheduledAt}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, " ")
}

// awaitLeader waits until the view shows another leader than the old one, or
// that the request is gone without one; name is "" when neither came in time.
// The view is the loop's, which a watch of the store feeds, so the answer comes
// with the new leader key and not with the next poll. Views from before our own
// write say nothing about it; errors of the store are waited out.
func (s *Server) awaitLeader(old string, wrote cluster.Version, began, limit time.Duration) (name string, gone bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	seen := false
	for {
		snap := s.source.Snapshot()
		if c := snap.Cluster; c != nil {
			f := c.Failover
			seen = seen || f != nil && f.Version >= wrote || snap.ClusterReadAt > began+unseenFor
			leader := c.LeaderName()
			switch {
			case !seen:
			case leader != "" && leader != old:
				return leader, false
			case !f.Pending():
				// The winner empties the key only after it took the leader's: in between
				// the view would have shown it. Nobody leads, or the old leader goes on.
				return "", true
			}
		}
		select {
		case <-s.source.Changed(snap):
		case <-timer.C:
			return "", false
		case <-s.leaving.Done():
			return "", false
		}
	}
}

// dropSwitchover is DELETE /switchover (9.4). Only a scheduled one can be taken
// back: an immediate one is being carried out.
func (s *Server) dropSwitchover(a *answer) {
	c, err := s.load(a.ctx)
	switch {
	case err != nil || c == nil:
		a.noStore()
		return
	case c.Failover == nil || c.Failover.ScheduledAt == "":
		a.text(404, "no switchover is scheduled")
		return
	}
	ctx, cancel := s.storeContext(s.life)
	defer cancel()
	empty := cluster.Failover{}
	switch _, err := s.source.PutFailover(ctx, empty.JSON(), dcs.IfVersion(c.Failover.Version)); {
	case errors.Is(err, dcs.ErrConflict):
		a.page(409, "")
	case err != nil:
		s.log.WarnContext(ctx, "could not take the scheduled switchover back", "from", a.r.RemoteAddr, "error", err)
		a.noStore()
	default:
		s.source.RequestTaken("delete switchover", a.r.RemoteAddr, moveText(*c.Failover))
		s.log.InfoContext(ctx, "scheduled switchover taken back", "from", a.r.RemoteAddr)
		a.text(200, "scheduled switchover deleted")
	}
}
