package agent

import (
	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// callback runs what is configured for an action. Except for a reload this
// process has then told the role once, and what follows are changes of it.
func (a *Agent) callback(action string, role cluster.Role) {
	a.everStarted = a.everStarted || action != "on_reload"
	a.emit(Callback{Action: action, Role: role})
}

// taskCallbacks runs what is configured for the end of a task (reference ha.md
// 20). before is the role when it began.
func (a *Agent) taskCallbacks(kind ha.TaskKind, before cluster.Role, ev TaskEnded) {
	ok, was := ev.Error == "", before == cluster.RolePrimary
	role := a.inst.Role
	switch kind {
	case ha.TaskStartPrimary, ha.TaskResume, ha.TaskRestart:
		switch {
		case !ok && was && role == cluster.RoleDemoted:
			// Nobody else may tell those who hold an address for the primary; once is
			// enough, because it is none any more (trap 32).
			a.callback("on_role_change", cluster.RoleDemoted)
		case !ok:
		case kind == ha.TaskRestart:
			a.callback("on_restart", role)
		case was:
			a.callback("on_start", role)
		default:
			a.callback("on_role_change", role)
		}
	case ha.TaskRestartFailure:
		switch {
		case !ok:
		case (was || before == cluster.RoleDemoted) && a.everStarted:
			a.callback("on_role_change", role)
		default:
			a.callback("on_start", role)
		}
	case ha.TaskFollowRestart:
		if ok {
			a.callback("on_restart", role)
		}
	case ha.TaskReload:
		if ok {
			a.callback("on_reload", role)
		}
	case ha.TaskPromote:
		// After the promotion, not before: a script takes time away from it, and moves
		// an address to a server that does not take writes yet.
		if ok && a.promoted {
			a.promotionTold()
		}
	case ha.TaskSwitchover, ha.TaskManualFailover:
		if ok {
			a.callback("on_stop", cluster.RoleDemoted) // the key is on its way to another
		}
	case ha.TaskDemote, ha.TaskStop:
		if ok {
			a.callback("on_stop", before)
		}
	}
}

// factCallbacks runs what a look at the server calls for while no task has the
// say: on_start when it ran before we came (but not while a new cluster is being
// made), on_role_change when a promotion was thought to have failed and has not.
func (a *Agent) factCallbacks(f Facts) {
	switch {
	case !f.Answers:
	case a.promoted && !f.InRecovery && a.lease.State() == lease.Held:
		a.promotionTold()
	case !a.everStarted && !a.boot.Mine:
		a.callback("on_start", a.inst.Role)
	}
}

func (a *Agent) promotionTold() {
	a.promoted = false
	a.callback("on_role_change", cluster.RolePrimary)
}
