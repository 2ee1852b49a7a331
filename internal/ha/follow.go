package ha

import (
	"time"

	"tamada/internal/cluster"
)

// compareAgain is how long to wait after a comparison of timelines that came to
// no conclusion, because the leader could not be asked or is still in recovery.
const compareAgain = time.Second

// stuckAgain is how long a conclusion stands for a replica that does not get to
// the leader's timeline by it.
const stuckAgain = time.Minute

// secondary decides while somebody else leads (reference ha.md 8 row 10, 13).
func secondary(v *View) Outcome {
	o := follow(v,
		"demoting self because I do not have the lock and I was a leader",
		"no action. I am ("+v.Me+"), a secondary, and following a leader ("+v.DCS.Cluster.LeaderName()+")")
	if _, idle := o.Do.(Wait); idle {
		if r, done := scheduledRestart(v); done {
			o = r
		} else if r.Again > 0 {
			o.Again, o.Notes = r.Again, append(o.Notes, r.Notes...)
		}
	}
	v.lockNote(&o)
	return o
}

// FollowSource is the member whose WAL this node should stream: nil for nobody
// (reference ha.md 13.1). A leader without a member key has no address and is
// nobody (trap 46).
func FollowSource(v *View) *cluster.Member {
	if cluster.NoStream(v.Local.Tags) {
		return nil
	}
	source := v.DCS.Cluster.LeaderMember()
	if name := cluster.ReplicateFrom(v.Local.Tags); name != "" && name != v.Me {
		if m := v.DCS.Cluster.Member(name); m != nil && m.ConnURL != "" {
			source = m
		}
	}
	if source == nil || source.Name == v.Me || source.ConnURL == "" {
		return nil
	}
	return source
}

// follow makes this node a replica of the right source (reference ha.md 13.2).
func follow(v *View, demoteReason, followReason string) Outcome {
	i := &v.Instance
	if i.Primary() {
		if v.paused() {
			return wait("continue to run as primary without lock")
		}
		// Another node may be a primary already: no checkpoint, no hand-over, end it.
		return do(Demote{Mode: DemoteImmediateNoLock}, "%s", demoteReason)
	}
	if !i.Answers {
		return Outcome{Do: Wait{}, Line: followReason}
	}
	if o, done := healDivergence(v); done {
		return o
	}
	if i.ReplayPaused && !v.paused() && i.Major >= 14 {
		o := do(ResumeReplay{}, "%s", followReason)
		o.note(Info, "Resuming paused WAL replay for PostgreSQL 14+")
		return o
	}
	source := FollowSource(v)
	if source == nil {
		// Nobody to follow: the settings stay as they are. What still comes from an
		// old source was written before the lock was lost.
		if v.paused() && v.DCS.Unlocked() {
			return wait("no action. I am (%s)", v.Me)
		}
		return wait("%s", followReason)
	}
	if i.FollowNeeds.Checked && i.FollowNeeds.Source == source.Name && i.FollowNeeds.Change != NoChange {
		restart := i.FollowNeeds.Change == NeedsRestart
		return do(Follow{Source: *source, Restart: restart}, "%s", followReason)
	}
	return wait("%s", followReason)
}

// compareDue tells whether our history must be compared with the leader's: no
// conclusion was reached about this leader on this timeline.
func compareDue(v *View, l *cluster.Member) bool {
	if l == nil || l.Name == v.Me || l.ConnURL == "" || !rewindAllowed(v) {
		return false
	}
	d := &v.Divergence
	switch d.State {
	case DivergenceFound, RewindFailed:
		return false
	case RewindDone, DivergenceNone:
		return d.Leader != l.Name || l.Timeline > 0 && d.Timeline < l.Timeline || stuckBehind(v, l) && v.Now >= max(d.At, d.TriedAt)+stuckPause(v)
	}
	return true
}

// stuckBehind: we replay a timeline that is not the leader's any more, and nothing
// comes. pg_rewind says that nothing is to be done while the control file of its
// source shows the old timeline, and the replica would wait for ever.
func stuckBehind(v *View, l *cluster.Member) bool {
	i := &v.Instance
	return i.Answers && i.InRecovery && i.ReplicationState != "streaming" && i.Timeline > 0 && i.Timeline < l.Timeline
}

// stuckPause is how long the conclusion about a stuck replica stands. Where it has
// replayed more of the old timeline since, the conclusion is about another end: our
// old source, come back as a replica with the end that it alone has, may have gone
// on sending between the comparison and the change of the source.
func stuckPause(v *View) Instant {
	if v.Instance.Replayed > v.Divergence.Replayed {
		return compareAgain
	}
	return stuckAgain
}

// rewindAllowed: something could be done about a divergence (reference
// postgresql.md 10.1).
func rewindAllowed(v *View) bool { return rewindPossible(v) || v.Local.RemoveDataOnDiverged }

func rewindPossible(v *View) bool { return v.Local.UsePgRewind && v.Instance.RewindCan }

// healDivergence compares timelines when that is due and acts on the result
// (reference ha.md 5.3). It is asked both while the server runs and while it is
// stopped.
func healDivergence(v *View) (Outcome, bool) {
	l := v.DCS.Cluster.LeaderMember()
	if v.Divergence.State == DivergenceFound || v.Divergence.Broken {
		return rewindOrReinitialize(v, l)
	}
	if !compareDue(v, l) || v.Now < v.Divergence.TriedAt+compareAgain && v.Divergence.TriedAt > 0 {
		return Outcome{}, false
	}
	return Outcome{Do: CompareTimelines{*l}}, true
}

// rewindOrReinitialize heals a history that diverged from the leader's.
func rewindOrReinitialize(v *View, l *cluster.Member) (Outcome, bool) {
	if l == nil || l.Name == v.Me || l.ConnURL == "" {
		if v.Divergence.Broken {
			return wait("waiting for a leader, because the data directory is half rewound and must not be started"), true
		}
		return Outcome{}, false
	}
	failed := v.Divergence.State == RewindFailed
	switch {
	case failed && (v.Local.RemoveDataOnRewindFailure || v.Local.RemoveDataOnDiverged), !rewindPossible(v) && v.Local.RemoveDataOnDiverged:
		if at := v.copyAgain(TaskReinitialize); v.Now < at {
			o := wait("waiting to copy the data of %s again, because the last attempt failed", l.Name)
			o.Again = at
			return o, true
		}
		// The leader is alive and has the data: this is not the last copy. The task asks
		// it before it removes anything.
		return do(Reinitialize{From: *l, Why: "its history diverged from the leader's"}, "%s", TaskReinitialize), true
	case failed && v.Divergence.Broken:
		return wait("pg_rewind failed and left the data directory unusable: reinitialize this member, or set postgresql.remove_data_directory_on_rewind_failure"), true
	case failed:
		return Outcome{}, false
	case !rewindPossible(v):
		o := Outcome{}
		o.note(Warning, "The history of this node diverged from %s, and it cannot be rewound: set postgresql.use_pg_rewind (with data checksums or wal_log_hints), or reinitialize it", l.Name)
		return o, false
	case v.Divergence.TriedAt > 0 && v.Now < v.Divergence.TriedAt+compareAgain:
		return Outcome{Do: Wait{}, Line: "waiting a moment before the next try to rewind from " + l.Name, Again: v.Divergence.TriedAt + compareAgain}, true
	case l.CheckpointPending:
		// pg_rewind reads the timeline from the source's control file, and that is
		// old until the CHECKPOINT after the promotion is done.
		return wait("Waiting for checkpoint on %s before rewind", l.Name), true
	case !v.Instance.Running && v.Instance.Control != nil && v.Instance.Control.State == "in archive recovery" && !v.Instance.RecoveryDone:
		return do(CrashRecover{}, "%s", TaskCrashRecovery), true
	}
	return do(Rewind{*l}, "%s %s", TaskRewind, l.Name), true
}
