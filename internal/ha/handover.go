package ha

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
)

// handoverPause is how often a stopping primary asks whether its shutdown
// checkpoint has arrived.
const handoverPause = 30 * time.Millisecond

// arrivalLimit is how long a stopped primary waits for its shutdown checkpoint to
// reach somebody. A standby that streams has it before the server is gone; one
// that reads the archive looks there every 5 s (wal_retrieve_retry_interval).
const arrivalLimit = 6 * time.Second

// handover gives the key away as soon as the shutdown checkpoint has reached
// somebody who can take over, while the postmaster may still live: a slow
// archive_command can keep it for long (reference postgresql.md 14). The
// reference sleeps a second before it looks; what the pause protects, that the
// checkpoint gets through, is asked for here.
func handover(v *View) Outcome {
	line := v.Task.Name() + " in progress"
	if !v.hasLock() || v.Task.Phase != PhaseCheckpointed || v.paused() {
		return wait("%s", line)
	}
	o := possible(v, v.Task.PhaseAt, v.Task.Checkpoint, requestedCandidate(v))
	if o.good {
		r := do(ReleaseLeader{LSN: v.Task.End, Why: "another member has everything"}, "%s, released the leader key", line)
		r.Notes = o.notes
		return r
	}
	// Whether a refusal or an answer that is still on its way: ask again soon.
	r := Outcome{Do: Wait{}, Line: line, Again: v.Now + handoverPause}
	if len(o.ask) > 0 {
		r.Do = PollPeers{o.ask}
	}
	return r
}

// releaseDemoted gives the key away after a demotion has stopped PostgreSQL.
//
// A switchover is planned: nobody expects it to lose anything. A candidate that
// was not connected in the last moment (it, or the primary, had only just been
// restarted) does not have the end of the history, and with the server down it
// will not get it any more. Giving it the key would silently drop commits that
// were acknowledged. So the key goes to who has everything, or stays: then the
// server starts again, and the request has failed.
func releaseDemoted(v *View) Outcome {
	s := v.Stopped
	if s.Checkpoint == 0 {
		s.Checkpoint, s.End = v.Instance.stoppedAt(), v.Instance.stoppedAt()
	}
	r := do(ReleaseLeader{LSN: s.End, Why: "demoted"}, "")
	if !s.Planned || s.Checkpoint == 0 {
		return r
	}
	p := possible(v, s.Since, s.Checkpoint, requestedCandidate(v))
	switch {
	case p.good:
		return r
	case v.Now < s.At+arrivalLimit:
		o := Outcome{Do: Wait{}, Line: "waiting for the shutdown checkpoint to reach a candidate", Again: v.Now + handoverPause}
		if len(p.ask) > 0 {
			o.Do = PollPeers{p.ask}
		}
		return o
	case v.paused():
		return r // nothing is started in maintenance mode: who asked for this is there
	}
	o := do(TakeBack{}, "switchover: going on as the leader, because no candidate has received everything")
	o.Notes = p.notes
	o.note(Warning, "switchover: the shutdown checkpoint has not reached a candidate, handing over would lose data")
	o.note(Info, "Cleaning up failover key")
	return o
}

// requestedCandidate is the member that a pending request names: it must have
// the checkpoint itself (trap 9).
func requestedCandidate(v *View) string {
	if f := v.DCS.Cluster.Failover; f.Pending() {
		return f.Candidate
	}
	return ""
}

// failoverIfPossible demotes when somebody else could take over. It asks the
// members first; done is false when nobody can.
func failoverIfPossible(v *View, line, note string) (Outcome, bool) {
	p := possible(v, v.Now-answersGood, 0, "")
	switch {
	case len(p.ask) > 0:
		return Outcome{Do: PollPeers{p.ask}}, true
	case p.pending:
		return Outcome{Do: Wait{}}, true
	case !p.good:
		return Outcome{}, false
	}
	o := do(Demote{Mode: DemoteImmediate}, "%s", line)
	o.Notes = p.notes
	if note != "" {
		o.note(Info, "%s", note)
	}
	return o, true
}

// possibility is the answer of possible, or whom to ask before there is one.
type possibility struct {
	good    bool
	ask     []cluster.Member
	pending bool
	notes   []Note
}

// possible tells whether somebody could take over from us (reference ha.md
// 10.3), by answers asked at or after since. reference, when not 0, is the
// shutdown checkpoint that they must have; only, when not empty, is the one
// member that may.
func possible(v *View, since Instant, reference cluster.LSN, only string) possibility {
	var p possibility
	var answers []candidate.Answer
	for _, m := range candidate.Rivals(v.Me, nil, v.DCS.Cluster) {
		if only != "" && m.Name != only {
			continue
		}
		r, have := v.Peers.Results[m.Name]
		asked, pending := v.Peers.Pending[m.Name]
		fresh := have && r.Asked >= since
		if fresh {
			answers = append(answers, r.Answer)
		}
		switch {
		case pending && asked >= since:
			p.pending = p.pending || !fresh
		case !fresh, reference > 0 && r.Answer.LSN < reference && v.Now >= r.Answered+handoverPause:
			p.ask = append(p.ask, m)
		}
	}
	good, notes := candidate.Possible(answers, candidate.Handover{Reference: reference,
		LeaderLSN: max(v.DCS.Cluster.Status.LSN, 0), MaximumLag: v.Settings.MaximumLagOnFailover,
		CheckTimeline: v.Settings.CheckTimeline, ClusterTimeline: v.DCS.Cluster.History.Timeline()})
	p.good = good
	for _, n := range notes {
		p.notes = append(p.notes, Note{Info, n.Text})
	}
	return p
}
