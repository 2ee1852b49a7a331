package ha

import (
	"fmt"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
)

// failoverAction is the name of a pending request in lines and messages: with a
// leader it is a switchover, without one a manual failover (reference ha.md
// 10.1).
func failoverAction(f *cluster.Failover) string {
	if f.Leader == "" {
		return "manual failover"
	}
	return "switchover"
}

// failoverRequest decides about a pending request on the holder of the lock
// (reference ha.md 10.2). done is false when there is none, or when its time has
// not come; the notes then say so.
func failoverRequest(v *View) (o Outcome, done bool) {
	f := v.DCS.Cluster.Failover
	if !f.Pending() || v.paused() && !v.Instance.Primary() {
		return o, false
	}
	action := failoverAction(f)
	refuse := func(format string, args ...any) (Outcome, bool) {
		r := do(ClearFailover{}, "")
		r.Notes = o.Notes
		r.note(Warning, format, args...)
		r.note(Info, "Cleaning up failover key")
		return r, true
	}
	if f.ScheduledAt != "" {
		due, stale := scheduled(v, "switchover", f.ScheduledAt, &o)
		switch {
		case v.paused():
			return Outcome{}, false // frozen, not cancelled
		case stale:
			r := do(ClearFailover{}, "")
			r.Notes = o.Notes
			return r, true
		case !due:
			return o, false
		}
	}
	switch {
	case f.Leader != "" && f.Leader != v.Me:
		return refuse("%s: leader name does not match: %s != %s", action, f.Leader, v.Me)
	case f.Candidate == v.Me:
		return refuse("%s: I am already the leader, no need to %s", action, strings.ReplaceAll(action, "manual ", ""))
	case f.Candidate == "" && v.paused():
		return refuse("Switchover is possible only to a specific candidate in a paused state")
	}
	since := max(v.Now-answersGood, requestedAt(v, f))
	p := possible(v, since, 0, f.Candidate)
	switch {
	case len(p.ask) > 0:
		return Outcome{Do: PollPeers{p.ask}}, true
	case p.pending:
		return Outcome{Do: Wait{}}, true
	case !p.good:
		o.Notes = append(o.Notes, p.notes...)
		return refuse("%s: no healthy members found, %s is not possible", action, strings.ReplaceAll(action, "manual ", ""))
	}
	if w, behind := awaitCandidate(v, f, since); behind {
		w.Notes = o.Notes
		return w, true
	}
	r := do(Demote{Mode: DemoteGraceful, Action: action, Checkpoint: true}, "%s: demoting myself", action)
	r.Notes = append(o.Notes, p.notes...)
	return r, true
}

// catchUpLimit is how long a switchover waits for a candidate to have what the
// primary had when it was asked.
const catchUpLimit = 5 * time.Second

// awaitCandidate keeps a switchover back while nobody who may take over has what
// we had at the last look. A standby that has only just been started, or whose
// primary has, connects within a second; stopping the primary before that would
// cost the clients a longer pause, and in the end be taken back (see
// releaseDemoted). When the time is over the latter decides.
func awaitCandidate(v *View, f *cluster.Failover, answersSince Instant) (Outcome, bool) {
	if f.Leader == "" || v.Instance.LSN == 0 || v.Now >= requestedAt(v, f)+catchUpLimit {
		return Outcome{}, false
	}
	p := possible(v, answersSince, v.Instance.LSN, f.Candidate)
	if p.good {
		return Outcome{}, false
	}
	o := Outcome{Do: Wait{}, Line: "switchover: waiting for a candidate to catch up", Again: v.Now + handoverPause}
	if len(p.ask) > 0 {
		o.Do = PollPeers{p.ask}
	}
	return o, true
}

// requestedAt is since when a request waits to be carried out: what a member
// answered before says nothing about it. It may have been a primary that was
// being stopped by the request before this one.
func requestedAt(v *View, f *cluster.Failover) Instant {
	since := v.RequestSince
	if t, err := time.Parse(time.RFC3339, strings.Replace(f.ScheduledAt, " ", "T", 1)); err == nil {
		since = max(since, v.Now-v.Wall.Sub(t))
	}
	return min(since, v.Now)
}

// scheduled judges the time of a scheduled action (reference ha.md 17.2): due
// within the present cycle's reach it is awaited to the instant; one and a half
// cycles late it is stale.
func scheduled(v *View, action, at string, o *Outcome) (due, stale bool) {
	t, err := time.Parse(time.RFC3339, strings.Replace(at, " ", "T", 1))
	if err != nil {
		o.note(Warning, "Incorrect value of scheduled_at: %s", at)
		return false, true
	}
	return scheduledAt(v, action, t, at, o)
}

func scheduledAt(v *View, action string, t time.Time, shown string, o *Outcome) (due, stale bool) {
	left := t.Sub(v.Wall)
	switch {
	case left < -v.Settings.LoopWait*3/2:
		o.note(Warning, "Found a stale %s value, cleaning up: %s", action, shown)
		return false, true
	case left > 0:
		o.Again = v.Now + left
		if left > v.Settings.LoopWait {
			o.note(Info, "Awaiting %s at %s (in %.0f seconds)", action, shown, left.Seconds())
		}
		return false, false
	}
	o.note(Info, "Manual scheduled %s at %s", action, shown)
	return true, false
}

// requestedElsewhere decides what a pending request means for a member that does
// not hold the lock while nobody does (reference ha.md 10.4).
func requestedElsewhere(v *View) eligibility {
	f := v.DCS.Cluster.Failover
	action := failoverAction(f)
	var e eligibility
	if f.Candidate == v.Me {
		e.verdict = yes
		return e
	}
	if f.Candidate != "" {
		if v.paused() {
			return pausedCandidate(v, action)
		}
		if m := v.DCS.Cluster.Member(f.Candidate); m != nil && m.APIURL != "" {
			answers, ask, until := v.answersOf([]cluster.Member{*m}, v.RaceSince, "")
			switch {
			case len(ask) > 0:
				return eligibility{verdict: undecided, outcome: Outcome{Do: PollPeers{ask}}}
			case until > 0:
				return eligibility{verdict: undecided, outcome: Outcome{Do: Wait{}, Again: until}}
			}
			if limit := limitation(answers); limit != "" {
				e.outcome.note(Warning, "%s: member %s is %s", action, f.Candidate, limit)
			} else {
				e.outcome.note(Info, "%s: to %s, i am %s", action, f.Candidate, v.Me)
				return e
			}
		}
	} else if v.paused() {
		return e
	}
	if f.Leader == v.Me {
		return takeBack(v, e)
	}
	return amongOthers(v, e, f.Leader)
}

func limitation(answers []candidate.Answer) string {
	if len(answers) == 0 {
		return "not reachable"
	}
	return answers[0].Limitation()
}

// pausedCandidate: in maintenance mode only the candidate may take the key. One
// that does not exist is forgotten by a running primary.
func pausedCandidate(v *View, action string) eligibility {
	f := v.DCS.Cluster.Failover
	if v.DCS.Cluster.Member(f.Candidate) != nil || !v.Instance.Primary() {
		return eligibility{}
	}
	e := eligibility{verdict: undecided, outcome: Outcome{Do: ClearFailover{}}}
	e.outcome.note(Warning, "%s: removing failover key because failover candidate is not running", action)
	return e
}

// takeBack: we have just stepped down. Somebody else takes over if anybody can;
// otherwise we go on.
func takeBack(v *View, e eligibility) eligibility {
	p := possible(v, v.RaceSince, 0, "")
	switch {
	case len(p.ask) > 0:
		return eligibility{verdict: undecided, outcome: Outcome{Do: PollPeers{p.ask}}}
	case p.pending:
		return eligibility{verdict: undecided, outcome: Outcome{Do: Wait{}}}
	}
	e.verdict = verdictOf(!p.good)
	return e
}

// amongOthers runs the comparison without the lag check: the operator wants a
// new leader among those that there are.
func amongOthers(v *View, e eligibility, leader string) eligibility {
	rivals := candidate.Rivals(v.Me, nil, v.DCS.Cluster)
	n := 0
	for _, m := range rivals {
		if m.Name != leader {
			rivals[n] = m
			n++
		}
	}
	notes := e.outcome.Notes
	e = compareWith(v, rivals[:n], leader, false)
	e.outcome.Notes = append(notes, e.outcome.Notes...)
	return e
}

// RestartRefused tells why a requested restart must not be made, "" when it may
// (reference ha.md 17.1).
func RestartRefused(v *View, r *RestartRequest) string {
	switch {
	case r.Role != "" && r.Role != v.Instance.Role:
		return "host role mismatch"
	case r.Below > 0 && v.Instance.ServerVersion >= r.Below:
		return "postgres version mismatch"
	case r.Pending && v.Instance.PendingRestart.Len() == 0:
		return "pending restart flag is not set"
	}
	return ""
}

// RestartDecision is the restart that a request asks for.
func RestartDecision(v *View, r *RestartRequest) Restart {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = v.Settings.PrimaryStartTimeout
	}
	return Restart{Timeout: timeout, Primary: v.Instance.Primary() || wasPrimary(v), Source: FollowSource(v)}
}

// wasPrimary tells whether a restart starts a stopped server as the primary that
// it was. Only in maintenance mode, where somebody stopped it by hand and nobody
// is promoted without being told to: with another leader in the store, or out
// of maintenance mode, it could be a second primary, and starts as a replica.
func wasPrimary(v *View) bool {
	i := &v.Instance
	return !i.Running && v.paused() && i.Control != nil && !i.StandbyFile && (v.DCS.Unlocked() || v.hasLock())
}

// scheduledRestart decides about this node's scheduled restart (reference ha.md
// 17.2). It is looked at only while a leader exists and nothing else is to be
// done.
func scheduledRestart(v *View) (o Outcome, done bool) {
	r := v.Requests.Restart
	if r == nil || v.paused() {
		return o, false
	}
	if !r.Postmaster.IsZero() && !v.Instance.Postmaster.IsZero() && !r.Postmaster.Equal(v.Instance.Postmaster) {
		o = do(DropRestart{}, "")
		o.note(Info, "Cancelling scheduled restart: postgres restart has already happened at %s", v.Instance.Postmaster.Format(time.RFC3339))
		return o, true
	}
	due, stale := scheduledAt(v, "restart", r.At, r.At.Format(time.RFC3339), &o)
	switch {
	case stale:
		o.Do = DropRestart{}
		return o, true
	case !due:
		return o, false
	}
	if why := RestartRefused(v, r); why != "" {
		o.Do = DropRestart{}
		o.note(Info, "not proceeding with the restart: %s", why)
		return o, true
	}
	o.Do, o.Line = RestartDecision(v, r), "restart initiated"
	return o, true
}

// Reinitializable tells why this node must not be made anew, "" when it may, and
// from whom (reference ha.md 17.3).
func Reinitializable(v *View, fromLeader bool) (from cluster.Member, why string) {
	switch {
	case !v.DCS.Reachable || v.DCS.Unlocked():
		// The last view of a store that does not answer is no reason to remove data:
		// whoever led then may be gone, and the copy with him.
		return from, "Cluster has no leader, can not reinitialize"
	case v.hasLock():
		return from, "I am the leader, can not reinitialize"
	}
	if l := v.DCS.Cluster.LeaderMember(); fromLeader {
		if l == nil || l.ConnURL == "" {
			return from, "Cluster has no leader, can not reinitialize"
		}
		return *l, ""
	}
	from, ok := cloneSource(v)
	if !ok {
		return from, "Cluster has no leader, can not reinitialize"
	}
	return from, ""
}

// AlreadyInProgress is the answer to a request that a running task keeps back.
// Tools match on its end.
func AlreadyInProgress(t *Task) string { return fmt.Sprintf("%s already in progress", t.Name()) }
