package ha

import (
	"fmt"
	"time"

	"tamada/internal/cluster"
)

// noData decides on an empty, unreadable or not yet examined data directory
// (reference ha.md 3.4).
func noData(v *View) Outcome {
	if v.Instance.Data == DataUnknown {
		return Outcome{Do: Observe{}}
	}
	what := "empty"
	if v.Instance.Data == DataInaccessible {
		what = "not accessible"
	}
	switch {
	case v.hasLock():
		return do(ReleaseLeader{Why: "data dir " + what}, "released leader key voluntarily as data dir %s and currently leader", what)
	case v.Instance.Data == DataInaccessible:
		return wait("data directory is not accessible: %s", v.Instance.DataErr)
	case v.paused():
		return wait("running with empty data directory")
	}
	return emptyData(v)
}

// emptyData decides how an empty data directory is filled (reference ha.md 4.1).
func emptyData(v *View) Outcome {
	c := v.DCS.Cluster
	if v.DCS.Unlocked() {
		may := v.Local.MayBootstrap && !cluster.NoFailover(v.Local.Tags)
		switch {
		case may && c.Initialize == nil:
			return do(TakeInitialize{}, "")
		case may && bootstrapAbandoned(v):
			o := do(TakeInitialize{Over: c.Initialize}, "")
			o.note(Warning, "Nobody has gone on with the bootstrap of this cluster for %s, taking it over", v.Settings.TTL)
			return o
		case v.Local.CloneWithoutLeader && (c.Initialize == nil || c.Initialize.Value != ""):
			// From a backup, say. The empty value is a bootstrap that somebody is at.
			//
			// What if there is a member with newer data, which is only slow to come
			// back? The restored one may lead only if it is not further behind the last
			// published position than maximum_lag_on_failover, as everybody.
			return cloneFrom(v, cluster.Member{}, "(without leader)")
		}
		o := wait("waiting for leader to bootstrap")
		if at := v.DCS.BootstrapSince + v.Settings.TTL; may && v.DCS.BootstrapSince > 0 && v.Now < at {
			o.Again = at
		}
		return o
	}
	from, ok := cloneSource(v)
	if !ok {
		return wait("waiting for leader to bootstrap")
	}
	return cloneFrom(v, from, fmt.Sprintf("from %s '%s'", roleWord(v, from.Name), from.Name))
}

func cloneFrom(v *View, from cluster.Member, what string) Outcome {
	if at := v.copyAgain(TaskClone); v.Now < at {
		o := wait("waiting to bootstrap %s again, because the last attempt failed", what)
		o.Again = at
		return o
	}
	return do(Clone{from}, "trying to bootstrap %s", what)
}

// cloneAgain is the pause after a clone that failed, at most: as long as the one
// between the two attempts of a base backup (reference postgresql.md 8).
const cloneAgain = 5 * time.Second

// copyAgain is when a copy of that kind may be tried again after it failed, 0 for
// at once. What fails immediately (a method of the operator's, a full disk, a source
// that does not answer) must not be tried in a tight loop: it would flood the log
// and keep the source busy.
func (v *View) copyAgain(k TaskKind) Instant {
	if !v.failed(k) {
		return 0
	}
	return v.Last.Ended + min(cloneAgain, v.Settings.LoopWait)
}

// bootstrapAbandoned tells whether the empty initialize key was left by somebody
// who is gone: an agent that died after making it, or one whose request was
// carried out although it never got the answer, and who waits for itself now.
// Without this nobody would ever bootstrap.
//
// What if we are wrong, and somebody works on it unseen? Then both make a
// cluster, and the one who publishes second finds another version of the key
// and gives up: the bootstrap is finished by a compare-and-swap. Nobody has used
// either before.
func bootstrapAbandoned(v *View) bool {
	c := v.DCS.Cluster
	if c.Initialize == nil || c.Initialize.Value != "" || v.DCS.BootstrapSince == 0 || v.Now < v.DCS.BootstrapSince+v.Settings.TTL {
		return false
	}
	for _, m := range c.Members {
		if m.Name != v.Me && (m.Role != cluster.RoleUninitialized || m.State != cluster.StateStopped) {
			return false // it has data, or is making some
		}
	}
	return true
}

// roleWord is "leader" or "replica", as messages about a source say it.
func roleWord(v *View, name string) string {
	if name == v.DCS.Cluster.LeaderName() {
		return "leader"
	}
	return "replica"
}

// cloneSource is a random running member that is tagged for it, or else the
// leader.
func cloneSource(v *View) (cluster.Member, bool) {
	c := v.DCS.Cluster
	var tagged []cluster.Member
	for _, m := range c.Members {
		if m.Name != v.Me && m.Name != c.LeaderName() && m.State == cluster.StateRunning && m.ConnURL != "" && cluster.CloneFrom(m.Tags) {
			tagged = append(tagged, m)
		}
	}
	if len(tagged) > 0 {
		return tagged[int(v.Dice)%len(tagged)], true
	}
	l := c.LeaderMember()
	if l == nil || l.ConnURL == "" || l.Name == v.Me {
		return cluster.Member{}, false
	}
	return *l, true
}

// bootstrapping decides while we make a new cluster; nobody holds the lock
// meanwhile (reference ha.md 4.3).
func bootstrapping(v *View) Outcome {
	switch {
	case v.Last == nil || v.Last.Kind != TaskBootstrap && v.Last.Kind != TaskPostBootstrap:
		return do(BootstrapCluster{}, "trying to bootstrap a new cluster")
	case v.failed(TaskBootstrap) || v.failed(TaskPostBootstrap) || !v.Instance.Running:
		o := do(CancelBootstrap{Why: v.Last.Error}, "")
		o.note(Info, "removing initialize key after failed attempt to bootstrap the cluster")
		return o
	case v.Bootstrap.Post == PostDone && v.Watchdog.Unusable:
		// With the leader key others would join a cluster whose only node must not
		// lead.
		o := do(CancelBootstrap{Why: "watchdog activation failed"}, "")
		o.note(Error, "Cancelling bootstrap because watchdog activation failed")
		o.note(Info, "removing initialize key after failed attempt to bootstrap the cluster")
		return o
	case v.Bootstrap.Post == PostDone:
		return do(FinishBootstrap{}, "")
	case !v.Instance.Answers:
		return Outcome{Do: Observe{}, Line: "waiting for end of recovery after bootstrap"}
	case v.Instance.InRecovery:
		return Outcome{Do: Wait{}, Line: "waiting for end of recovery after bootstrap", Again: v.Now + recoveryPause}
	}
	return do(RunPostBootstrap{}, "running post_bootstrap")
}
