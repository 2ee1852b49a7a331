package ha

import "tamada/internal/cluster"

// repairStore writes what the store should have and has lost. Only the holder
// of the lease may: a replica that makes `initialize` anew after a wipe could
// do so with the wrong system identifier (reference ha.md, trap 25).
func repairStore(v *View) (Outcome, bool) {
	if !v.leads() || !cluster.ValidSysid(v.Instance.Sysid) {
		return Outcome{}, false
	}
	c := v.DCS.Cluster
	switch {
	case c.Initialize == nil || !cluster.ValidSysid(c.Initialize.Value):
		return do(WriteInitialize{v.Instance.Sysid}, "writing the system identifier, which the store has lost"), true
	case c.Config == nil || c.Config.Doc.Len() == 0: // absent, empty, or no object (reference dcs-layout.md 2.2)
		return do(WriteConfig{}, "writing the dynamic configuration, which the store has lost"), true
	}
	return Outcome{}, false
}

// identity compares the system identifiers (reference ha.md 3.5).
func identity(v *View) (Outcome, bool) {
	mine, theirs := v.Instance.Sysid, ""
	if v.DCS.Cluster.Initialize != nil {
		theirs = v.DCS.Cluster.Initialize.Value
	}
	switch {
	case !cluster.ValidSysid(mine):
		return wait("data dir for the cluster is not empty, but system ID is invalid; consider doing reinitialize"), true
	case cluster.ValidSysid(theirs) && mine != theirs && v.paused():
		return identityWhilePaused(v, theirs)
	case cluster.ValidSysid(theirs) && mine != theirs && v.Instance.Running && !v.failed(TaskStop):
		// Left alone it would go on as a primary that nobody watches (trap 26).
		o := do(StopPostgres{Leading: v.hasLock()}, "stopping PostgreSQL, because it belongs to a different cluster")
		o.note(Critical, "system ID mismatch, node %s belongs to a different cluster: %s != %s", v.Me, theirs, mine)
		return o, true
	case cluster.ValidSysid(theirs) && mine != theirs:
		o := do(Exit{Code: 1}, "")
		o.note(Critical, "system ID mismatch, node %s belongs to a different cluster: %s != %s", v.Me, theirs, mine)
		return o, true
	case cluster.ValidSysid(theirs):
		return Outcome{}, false
	}
	// Nobody has said yet which cluster this is.
	if v.DCS.Unlocked() && !v.paused() && v.Instance.Running && !v.Instance.Callbacks && v.Instance.Answers && v.Instance.InRecovery {
		// A replica must not name the cluster: its primary may live elsewhere and be
		// taken over next, and then two histories would claim one name.
		o := do(Exit{Code: 1, LeavePostgres: true}, "")
		o.note(Error, "No initialize key in DCS and PostgreSQL is running as replica, aborting start")
		o.note(Error, "Please first start Patroni on the node running as primary")
		return o, true
	}
	if v.DCS.Unlocked() && !v.paused() && !v.Instance.Callbacks && theirs == "" && v.DCS.Cluster.Initialize == nil && v.adoptable() {
		return do(WriteInitialize{mine}, "taking over an existing cluster with system identifier %s", mine), true
	}
	return Outcome{}, false
}

// adoptable: a stand-alone server, stopped or running as a primary, whose
// cluster the store does not know.
func (v *View) adoptable() bool {
	return !v.Instance.Running || v.Instance.Answers && !v.Instance.InRecovery
}

func identityWhilePaused(v *View, theirs string) (Outcome, bool) {
	o := Outcome{}
	o.note(Warning, "system ID has changed while in paused mode. Patroni will exit when resuming unless system ID is reset: %s != %s", theirs, v.Instance.Sysid)
	if v.hasLock() {
		o.Do, o.Line = ReleaseLeader{Why: "system ID mismatch"}, "released leader key voluntarily due to the system ID mismatch"
		return o, true
	}
	return o, false
}
