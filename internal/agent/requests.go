package agent

import (
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// Codes of the answers to operators' requests (reference rest-api.md 10, 11).
const (
	codeOK        = 200
	codeAccepted  = 202
	codeNotFound  = 404
	codeConflict  = 409
	codeRefused   = 503
	codeNoDCSView = 503
)

func (a *Agent) answer(id uint64, code int, text string) {
	a.answerBecause(id, code, text, "")
}

// answerBecause is answer with a reason that is for the ledger only.
func (a *Agent) answerBecause(id uint64, code int, text, why string) {
	if id == 0 {
		return
	}
	a.recordAnswer(code, text, why)
	a.emit(Answer{ID: id, Code: code, Text: text})
}

// restartRequested takes up a restart now, or remembers it for its time.
func (a *Agent) restartRequested(ev RestartRequested) {
	r := ev.Request
	switch {
	case ev.Drop && a.requests.Restart == nil:
		a.answer(ev.ID, codeNotFound, "no restarts are scheduled")
	case ev.Drop:
		a.requests.Restart = nil
		a.duties.touchNow()
		a.answer(ev.ID, codeOK, "scheduled restart deleted")
	case !r.At.IsZero() && a.requests.Restart != nil:
		a.answer(ev.ID, codeConflict, "Another restart is already scheduled")
	case !r.At.IsZero():
		a.requests.Restart = &r
		a.tieRestart()
		a.duties.touchNow()
		a.answer(ev.ID, codeAccepted, "Restart scheduled")
	default:
		a.restartNow(ev.ID, &r)
	}
}

// tieRestart ties the scheduled restart to the server that it is for: another
// restart before its time does what was wanted. While the facts are older than the
// server, the next look tells which one that is.
func (a *Agent) tieRestart() {
	if a.requests.Restart == nil || !a.requests.Restart.Postmaster.IsZero() || a.stale || a.inst.Postmaster.IsZero() {
		return
	}
	r := *a.requests.Restart // pictures that were handed out keep the old one
	r.Postmaster = a.inst.Postmaster
	if r.Published != nil {
		r.Published = r.Published.Clone()
		r.Published.Set("postmaster_start_time", r.Postmaster.Format("2006-01-02 15:04:05.000000-07:00"))
	}
	a.requests.Restart = &r
	a.duties.touchNow()
}

func (a *Agent) restartNow(id uint64, r *ha.RestartRequest) {
	v := a.view()
	switch why := ha.RestartRefused(v, r); {
	case why != "":
		a.log(ha.Info, "not proceeding with the restart: "+why)
		a.answerBecause(id, codeRefused, "restart conditions are not satisfied", why)
		return
	case a.task != nil:
		a.answer(id, codeRefused, ha.AlreadyInProgress(a.task))
		return
	case a.shutdown || a.inst.Data != ha.DataPresent:
		a.answer(id, codeRefused, "restart failed")
		return
	}
	a.asking = id
	a.start(ha.TaskRestart, "", ha.RestartDecision(v, r))
}

// reinitRequested throws this replica's data away and copies it again, if the
// decision core allows it.
func (a *Agent) reinitRequested(ev ReinitRequested) {
	v := a.view()
	from, why := ha.Reinitializable(v, ev.FromLeader)
	switch {
	case why != "":
		a.answer(ev.ID, codeRefused, why)
	case a.shutdown:
		a.answer(ev.ID, codeRefused, "the agent is about to end")
	case a.task != nil && !ev.Force:
		a.answer(ev.ID, codeRefused, ha.AlreadyInProgress(a.task))
	default:
		d := ha.Reinitialize{From: from, Why: "an operator asked for it", BaseBackupOnly: ev.FromLeader}
		if a.task != nil {
			a.afterCancel = d
			a.cancel()
			a.answer(ev.ID, codeOK, "reinitialize started")
			return
		}
		// The answer waits until the source has answered and our server is down.
		a.asking = ev.ID
		a.start(ha.TaskReinit, "", d)
	}
}

// taskAnswers ends the request that the task was for.
func (a *Agent) taskAnswers(kind ha.TaskKind, ev TaskEnded) {
	id := a.asking
	if id == 0 || kind != ha.TaskRestart && kind != ha.TaskReinit {
		return
	}
	a.asking = 0
	switch {
	case kind == ha.TaskReinit:
		a.answer(id, codeRefused, "reinitialize failed: "+ev.Error)
	case ev.Error == "":
		// Until it was looked at, our state is still the one during the restart.
		a.restartSeen()
		a.restarted = id
	case ev.StillStarting:
		a.answer(id, codeRefused, "postgres is still starting")
	default:
		a.answer(id, codeRefused, "restart failed")
	}
}

// restartSeen answers the request for a restart that is done.
func (a *Agent) restartSeen() {
	a.answer(a.restarted, codeOK, "restarted successfully")
	a.restarted = 0
}

// pauseChanged begins or ends maintenance mode. In it nothing is fenced. After
// it the guardian has to know the deadline again before the primary may be
// relied on, and whatever people have done to the data meanwhile is looked at
// anew.
func (a *Agent) pauseChanged(paused bool) {
	if paused == a.paused {
		return
	}
	a.paused = paused
	a.duties.touchNow()
	if paused {
		a.log(ha.Info, "maintenance mode begins: nothing is started, stopped, promoted or fenced")
		a.happened(ha.RecordPause, "begins", "")
		a.disarm()
		return
	}
	a.log(ha.Info, "maintenance mode has ended")
	a.happened(ha.RecordPause, "ends", "")
	a.div = ha.Divergence{Broken: a.div.Broken}
	a.last = nil
	a.leaseEvent(lease.Rearm{})
	a.observe(false)
}
