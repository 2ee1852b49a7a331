package agent

import (
	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// start begins a long action.
func (a *Agent) start(kind ha.TaskKind, detail string, d ha.Decision) {
	a.opID++
	a.taskID, a.taskDo, a.taskCancelled = a.opID, d, false
	a.task = &ha.Task{Kind: kind, Detail: detail, Started: a.now}
	a.last, a.roleBefore = nil, a.inst.Role
	a.taskBegins(kind, d)
	a.emit(StartTask{ID: a.taskID, Kind: kind, Do: d, Initialize: a.initialized})
	a.duties.touchNow()
}

// cancel ends the running task early. Its end is reported like any other.
func (a *Agent) cancel() {
	if a.task == nil || a.taskCancelled {
		return
	}
	a.taskCancelled = true
	a.emit(StopTask{a.taskID})
}

// taskBegins sets the state that is published while the task runs.
func (a *Agent) taskBegins(kind ha.TaskKind, d ha.Decision) {
	i := &a.inst
	state := func(s cluster.State) {
		if i.State != s {
			i.State, i.StartedAt = s, a.now
		}
	}
	i.Callbacks = true
	switch kind {
	case ha.TaskBootstrap:
		state(cluster.StateInitializing)
	case ha.TaskClone, ha.TaskReinitialize:
		state(cluster.StateCreatingReplica)
		i.Role, i.Sysid = cluster.RoleUninitialized, ""
	case ha.TaskStartPrimary:
		state(cluster.StateStarting)
	case ha.TaskRestartFailure:
		state(cluster.StateStarting)
		i.Role = cluster.RoleReplica
		if s := d.(ha.StartReplica); s.Source != nil {
			i.Resumable, a.demotedOffline = nil, false
		}
	case ha.TaskFollowRestart, ha.TaskResume, ha.TaskRestart:
		state(cluster.StateRestarting)
		if r, ok := d.(ha.Restart); ok {
			i.StartTimeout = r.Timeout
			if r.Primary {
				i.Role = cluster.RolePrimary // also of one that people had stopped
			}
		}
	case ha.TaskReinit:
		state(cluster.StateCreatingReplica)
		i.Role, i.Sysid = cluster.RoleUninitialized, ""
	case ha.TaskDemote, ha.TaskStop, ha.TaskSwitchover, ha.TaskManualFailover:
		state(cluster.StateStopping)
		i.CheckpointPending = false
	case ha.TaskRewind, ha.TaskCrashRecovery:
		i.Resumable = nil
		if i.Running {
			state(cluster.StateStopping)
		}
	}
	if kind == ha.TaskPromote || kind == ha.TaskStartPrimary || kind == ha.TaskReload || kind == ha.TaskFollowRestart {
		i.Resumable = nil
	}
}

func (a *Agent) taskProgress(ev TaskProgress) {
	if a.task == nil || ev.ID != a.taskID || ev.Phase <= a.task.Phase {
		return
	}
	t := *a.task // views that were handed out keep the old one
	t.Phase, t.PhaseAt, t.Checkpoint, t.End = ev.Phase, a.now, ev.Checkpoint, ev.End
	a.task = &t
	stopping := a.stopping()
	switch {
	case t.Kind == ha.TaskPromote && t.Phase == ha.PhaseCommitted:
		a.inst.Role, a.inst.CheckpointPending = cluster.RolePromoted, true
		a.promoted = true
		a.reached(partAllowed)
		a.duties.touchNow()
	case t.Kind == ha.TaskReinit && t.Phase == ha.PhaseCommitted && a.asking != 0:
		a.answer(a.asking, codeOK, "reinitialize started")
		a.asking = 0
	case stopping && t.Phase == ha.PhaseSignalled:
		a.reached(partAhead)
	case stopping && t.Phase >= ha.PhaseSafe:
		// Nobody can write any more: a shutdown checkpoint that takes longer than the
		// lease must not be killed for it.
		a.disarm()
		if t.Phase == ha.PhaseSafe {
			a.reached(partClients)
		} else {
			a.reached(partCheckpoint)
		}
	}
}

// taskEnded takes over the result of the long action and looks at what it left.
func (a *Agent) taskEnded(ev TaskEnded) {
	if a.task == nil || ev.ID != a.taskID {
		return
	}
	kind, before := a.task.Kind, a.roleBefore
	defer a.recordTask(a.task, ev)
	a.last = &ha.Result{Kind: kind, OK: ev.Error == "", Error: ev.Error, Ended: a.now, Phase: a.task.Phase}
	if a.taskCancelled && (kind == ha.TaskClone || kind == ha.TaskPromote && a.task.Phase < ha.PhaseCommitted) {
		a.last = nil // cancelled, which says nothing about the next one
	}
	ended := a.task
	a.task = nil
	if ev.Error != "" && !a.taskCancelled {
		a.log(ha.Error, ended.Name()+" failed: "+ev.Error)
	}
	a.downed = ha.Stopped{}
	if ended.Stops() {
		a.downed = ha.Stopped{Planned: kind == ha.TaskSwitchover, Since: a.now, At: a.now}
		if ended.Phase == ha.PhaseCheckpointed {
			a.downed.Checkpoint, a.downed.End, a.downed.Since = ended.Checkpoint, ended.End, ended.PhaseAt
		}
	}
	a.health = ha.Health{} // of a server as it was before
	a.div.Broken = a.div.Broken || ev.Broken
	a.stale = true
	if ev.Error == "" {
		a.taskSucceeded(kind, ev)
	} else {
		a.taskFailed(kind, ev)
	}
	a.taskAnswers(kind, ev)
	a.taskCallbacks(kind, before, ev)
	a.duties.touchNow()
	next := a.afterCancel
	a.afterCancel = nil
	switch d := next.(type) {
	case ha.Demote:
		a.demote(d)
	case ha.Reinitialize:
		a.start(ha.TaskReinit, "", d)
	default:
		a.observe(false)
	}
}

func (a *Agent) taskSucceeded(kind ha.TaskKind, ev TaskEnded) {
	i := &a.inst
	switch kind {
	case ha.TaskPostBootstrap:
		a.boot.Post = ha.PostDone
	case ha.TaskClone, ha.TaskReinitialize, ha.TaskReinit:
		a.div = a.concluded(ha.DivergenceNone)
		i.State, i.RecoveryDone = cluster.StateStopped, false
		if kind != ha.TaskClone {
			a.last.Kind = ha.TaskClone // what follows is the same
		}
	case ha.TaskRewind:
		a.div = a.concluded(ha.RewindDone)
		i.State = cluster.StateStopped
	case ha.TaskCrashRecovery:
		i.RecoveryDone, i.State = true, cluster.StateStopped
	case ha.TaskStartPrimary, ha.TaskResume:
		i.Role, i.RecoveryDone, i.Resumable = cluster.RolePrimary, false, nil
	case ha.TaskRestart:
		i.RecoveryDone = false
	case ha.TaskRestartFailure, ha.TaskFollowRestart, ha.TaskReload:
		a.hurry(hurryAfterEnd)
		i.RecoveryDone = false
		if a.div.State == ha.RewindDone {
			a.div.State = ha.DivergenceNone
		}
	case ha.TaskPromote:
		i.Role, i.CheckpointPending = cluster.RolePrimary, true
		a.div = ha.Divergence{}
		a.checkpoint()
		a.reached(partPromoted)
	case ha.TaskDemote, ha.TaskStop, ha.TaskSwitchover, ha.TaskManualFailover:
		a.reached(partStopped)
		i.State = cluster.StateStopped
		if kind != ha.TaskStop { // the last entry of an agent that ends keeps the role (reference README, corrections)
			i.Role = cluster.RoleDemoted
		}
		i.Running, i.Answers = false, false
		if a.demotedOffline {
			i.Resumable = ev.StoppedClean
		}
		a.disarm()
	case ha.TaskCancelBootstrap:
		a.bootstrapCancelled()
	}
}

func (a *Agent) taskFailed(kind ha.TaskKind, ev TaskEnded) {
	i := &a.inst
	switch kind {
	case ha.TaskBootstrap:
		i.State = cluster.StateInitdbFailed
	case ha.TaskPostBootstrap:
		a.boot.Post = ha.PostFailed
	case ha.TaskClone, ha.TaskReinitialize, ha.TaskReinit:
		i.State = cluster.StateStopped
		if kind == ha.TaskReinitialize && ev.Retry && !a.div.Broken {
			// Nothing was removed, as the leader was gone: compare with whoever leads next.
			// A half-rewound folder cannot be compared; that its rewind failed is still so.
			a.div = ha.Divergence{State: ha.DivergenceCheck, TriedAt: a.now}
		}
	case ha.TaskRewind:
		switch {
		case a.taskCancelled:
		case ev.Retry:
			// It did not begin: the leader was gone before the first byte. The folder is
			// as whole, and as diverged, as before; compare again.
			a.div = ha.Divergence{State: ha.DivergenceCheck, TriedAt: a.now, Broken: a.div.Broken}
		default:
			a.div = a.concluded(ha.RewindFailed)
		}
	case ha.TaskCrashRecovery:
		i.RecoveryDone = true
	case ha.TaskRestart:
		if ev.StillStarting {
			// The time that the request gave it is over: if somebody else can take over,
			// that is due now (reference rest-api.md 10).
			i.State, i.StartedAt, a.last = cluster.StateStarting, a.now-i.StartTimeout, nil
			return
		}
		i.State = cluster.StateRestartFailed
		if i.Role == cluster.RolePrimary {
			i.Role = cluster.RoleDemoted
		}
	case ha.TaskStartPrimary, ha.TaskRestartFailure, ha.TaskFollowRestart, ha.TaskResume:
		i.State = cluster.StateStartFailed
		if i.Role == cluster.RolePrimary {
			i.Role = cluster.RoleDemoted
		}
	case ha.TaskPromote:
		i.CheckpointPending = false
	case ha.TaskDemote, ha.TaskStop, ha.TaskSwitchover, ha.TaskManualFailover:
		i.State = cluster.StateStopFailed
	case ha.TaskCancelBootstrap:
		a.bootstrapCancelled()
	}
}

// concluded is a state of the divergence with respect to the present leader.
func (a *Agent) concluded(s ha.DivergenceState) ha.Divergence {
	d := ha.Divergence{State: s, At: a.now, Broken: a.div.Broken && s == ha.RewindFailed}
	if l := a.store.view.LeaderMember(); l != nil {
		d.Leader, d.Timeline = l.Name, l.Timeline
	}
	return d
}

func (a *Agent) bootstrapCancelled() {
	a.log(ha.Critical, "Failed to bootstrap cluster")
	a.exit(ha.Exit{Code: 1})
}

// disarm tells the guardian that there is nothing to guard: PostgreSQL is down,
// or runs as a replica without a lease.
func (a *Agent) disarm() {
	if !a.armed {
		return
	}
	a.armed = false
	a.emit(DisarmGuardian{})
}

// observed takes over the facts of a look at the instance.
func (a *Agent) observed(ev Observed) {
	if ev.ID != a.observing {
		return
	}
	a.observing, a.observedAt = 0, a.now
	if a.observeAgain {
		// Something happened while we looked: these facts may be from before it.
		a.observeAgain = false
		a.takeFacts(ev.Facts)
		a.checkpointAfterPromotion(ev)
		a.observe(false)
		return
	}
	a.stale = false
	a.takeFacts(ev.Facts)
	a.restartSeen()
	a.checkpointAfterPromotion(ev)
	if a.cycle {
		a.cycle, a.cycleDone, a.duties.due, a.guard.cycled = false, true, true, true
	}
}

func (a *Agent) takeFacts(f Facts) {
	i := &a.inst
	first := i.Data == ha.DataUnknown
	i.Data, i.DataErr, i.Sysid, i.Major = f.Data, f.DataErr, f.Sysid, f.Major
	i.Running, i.Answers = f.Running, f.Answers
	i.Control, i.StandbyFile, i.BackupLabel, i.RewindCan = f.Control, f.StandbyFile, f.BackupLabel, f.RewindCan
	i.FollowNeeds = f.FollowNeeds
	a.deviceChecked(f.WatchdogProblem)
	if f.Answers {
		i.ObservedAt, i.InRecovery, i.Timeline, i.LSN = a.now, f.InRecovery, f.Timeline, f.LSN
		i.Received, i.Replayed, i.ReplicationState, i.ReplayPaused = f.Received, f.Replayed, f.ReplicationState, f.ReplayPaused
		i.PendingRestart, i.ServerVersion, i.Postmaster = f.PendingRestart, f.ServerVersion, f.Postmaster
		a.tieRestart()
		a.duties.existing, a.duties.haveSlots = f.Slots, true
		a.streams()
	}
	if a.task == nil {
		a.stateOf(f, first)
		a.factCallbacks(f)
	}
	if a.lease.State() == lease.None && (!f.Running || f.Answers && f.InRecovery) {
		a.disarm()
	}
}

// checkpointAfterPromotion sees to it that the control file of a leader shows its
// timeline, which pg_rewind reads there (reference ha.md 11). Whoever promoted it
// may not have come to that: an agent that was killed, or an operator. The first
// look tells, so that this member never says that it may be rewound from before
// it may.
func (a *Agent) checkpointAfterPromotion(ev Observed) {
	i, f := &a.inst, &ev.Facts
	if a.task != nil || !i.Primary() || !f.Answers || f.InRecovery || f.ControlTimeline == 0 || f.Timeline == 0 || ev.ID <= a.checkpointSeen {
		return
	}
	i.CheckpointPending = f.ControlTimeline != f.Timeline
	if i.CheckpointPending && a.lease.State() == lease.Held {
		a.checkpoint()
	}
}

// checkpoint begins a CHECKPOINT unless one is under way.
func (a *Agent) checkpoint() {
	if !a.checkpointing {
		a.checkpointing = true
		a.emit(Checkpoint{})
	}
}

// checkpointed: a CHECKPOINT has ended. After one that failed the next look begins
// another, if the control file still shows the old timeline.
func (a *Agent) checkpointed(ev Checkpointed) {
	a.checkpointing = false
	if ev.Err != "" {
		a.log(ha.Warning, "CHECKPOINT after the promotion failed, it is tried again: "+ev.Err)
		return
	}
	a.inst.CheckpointPending = false
	a.duties.touchNow()
	a.checkpointSeen = a.opID // what a look that is under way saw may be from before
}

// stateOf derives state and role from the facts while no task has the say.
func (a *Agent) stateOf(f Facts, first bool) {
	i := &a.inst
	switch {
	case f.Data == ha.DataEmpty:
		i.State, i.Role = cluster.StateStopped, cluster.RoleUninitialized
	case f.Running && f.Answers:
		i.State, i.StartTimeout = cluster.StateRunning, 0
		i.Role = cluster.RolePrimary
		if f.InRecovery {
			i.Role = cluster.RoleReplica
		}
	case f.Running && f.Rejecting:
		if !i.State.Starting() {
			i.State, i.StartedAt = cluster.StateStarting, a.now
		}
		if first {
			i.Role = roleOfDirectory(f)
		}
	case f.Running:
		if first {
			i.State, i.Role = cluster.StateStarting, roleOfDirectory(f)
		}
	case first:
		i.State, i.Role = cluster.StateStopped, roleOfDirectory(f)
		if i.Role == cluster.RolePrimary {
			i.Role = cluster.RoleDemoted // so that nothing takes it for the primary
		}
	default:
		a.crashed()
	}
}

// crashed is the state of a server that was there and is gone without a task of
// ours.
func (a *Agent) crashed() {
	i := &a.inst
	if i.State != cluster.StateRunning && !i.State.Starting() && i.State != cluster.StateRestarting {
		return
	}
	i.State = cluster.StateCrashed
	if a.settings.Pause {
		i.State = cluster.StateStopped // by hand, most likely; in any case nobody starts it
	}
}

func roleOfDirectory(f Facts) cluster.Role {
	if f.StandbyFile {
		return cluster.RoleReplica
	}
	return cluster.RolePrimary
}
