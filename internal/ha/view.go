package ha

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// Instant is a moment on CLOCK_BOOTTIME.
type Instant = lease.Instant

// View is all that one decision may know. It is made anew for every decision
// and nobody changes it afterwards.
type View struct {
	Now  Instant
	Wall time.Time // for what is compared with the world outside: schedules, history
	Me   string

	Local    Local
	Settings cluster.Settings // the dynamic configuration in force
	DCS      DCS
	Instance Instance
	Lease    Lease
	Peers    Peers

	Task *Task   // what runs now, nil when nothing does
	Last *Result // how the last task ended, nil when none did

	Bootstrap Bootstrap
	Shutdown  bool // the agent was asked to end

	// Divergence is what is known about our history against the leader's.
	Divergence Divergence
	// GaveUpAt is when we last gave the leader key up because a promotion failed;
	// zero for never.
	GaveUpAt Instant
	// GaveUpByScript: what failed then was the script before the promotion.
	GaveUpByScript bool
	// RaceSince is the beginning of the present round of the leader race: positions
	// that were taken before do not count. It lies in the future between rounds.
	RaceSince Instant
	// ReleaseDue: a demotion has stopped PostgreSQL, and the key is to be given up.
	ReleaseDue bool
	// Stopped is what that demotion saw of the server's end.
	Stopped Stopped
	// RequestSince is when the pending request to move the leader was first seen.
	RequestSince Instant
	// DemotedOffline: the server was stopped because the store was away.
	DemotedOffline bool
	// Dice is a random number, drawn for this view.
	Dice uint32

	Watchdog Watchdog
	Failsafe Failsafe
	Requests Requests
	Health   Health
	// Crashes is how often this primary crashed within the last ten minutes.
	Crashes int
}

// Local is what only this node's own configuration says.
type Local struct {
	Tags         *cluster.Tags
	MayBootstrap bool // there is a `bootstrap` section
	// UsePgRewind is the setting. Whether it can work is a fact of the
	// instance.
	UsePgRewind               bool
	RemoveDataOnDiverged      bool // remove_data_directory_on_diverged_timelines
	RemoveDataOnRewindFailure bool // remove_data_directory_on_rewind_failure
	CloneWithoutLeader        bool // some create_replica_methods work with no_leader
}

// DCS is what the store said last.
type DCS struct {
	// Reachable is false when the last read, touch or renewal got no usable answer.
	Reachable bool
	Error     string // why not
	Cluster   *cluster.Cluster
	// Healthy is the last view in which somebody led.
	Healthy *cluster.Cluster
	// UnlockedAt is when the leader key was first seen to be absent; zero while
	// there is one.
	UnlockedAt Instant
	// BootstrapSince is when the present, empty initialize key was first seen; zero
	// while there is none.
	BootstrapSince Instant
}

// Unlocked tells whether nobody holds the leader key.
func (d *DCS) Unlocked() bool { return d.Cluster.LeaderName() == "" }

// DataDir says what is found at postgresql.data_dir.
type DataDir int

// The findings. DataUnknown only before the first look.
const (
	DataUnknown DataDir = iota
	DataEmpty
	DataPresent
	DataInaccessible
)

// Instance is what is known of the local PostgreSQL.
type Instance struct {
	Data    DataDir
	DataErr string // why the folder is inaccessible
	Sysid   string // system identifier, "" when it could not be read
	Major   int    // 15; 0 when not known

	Running bool // a postmaster is alive
	State   cluster.State
	Role    cluster.Role // as it was known last

	// The following come from the last observation of a running server.
	ObservedAt       Instant
	Answers          bool // the observation succeeded
	InRecovery       bool
	Timeline         cluster.Timeline
	LSN              cluster.LSN // primary: flushed; standby: max(received, replayed)
	Received         cluster.LSN
	Replayed         cluster.LSN
	ReplicationState string
	ReplayPaused     bool

	// The following come from the data directory of a stopped server.
	Control      *Control
	StandbyFile  bool // standby.signal or recovery.signal is there
	BackupLabel  bool
	RewindCan    bool // the program is there, and wal_log_hints or checksums are on
	RecoveryDone bool // single-user crash recovery was tried since the last good start

	// FollowNeeds is what following the wanted source takes.
	FollowNeeds FollowNeeds

	// Resumable is set when this instance was demoted only because the store was
	// away, has had no source since, and could go on as a primary where it
	// stopped: the timeline and the position of its shutdown checkpoint.
	Resumable *Position

	// CheckpointPending: a primary whose control file does not show its timeline
	// yet, because the CHECKPOINT after the promotion is not done.
	CheckpointPending bool

	// ServerVersion is server_version_num of the last observation, 150018.
	ServerVersion int
	// Postmaster is when the running postmaster started; zero when not known.
	Postmaster time.Time

	// PendingRestart are the parameters that wait for a restart, with their old and
	// new values; empty when none do.
	PendingRestart *cluster.Object

	StartedAt Instant // when the state became starting
	// StartTimeout is how long this start may take, as a request for a restart asked;
	// 0 for what is configured.
	StartTimeout Instant
	Callbacks    bool // this process has started or stopped the server before
}

// Position is a place in a history.
type Position struct {
	Timeline cluster.Timeline
	LSN      cluster.LSN
}

// Primary tells whether the instance runs as a primary: by its own word, or, when
// it could not be asked, by what it was and that it is alive (reference ha.md,
// trap 29).
func (i *Instance) Primary() bool {
	if !i.Running {
		return false
	}
	if i.Answers {
		return !i.InRecovery
	}
	return i.Role == cluster.RolePrimary
}

// stoppedAt is the last position of a server that was stopped with a shutdown
// checkpoint, 0 otherwise.
func (i *Instance) stoppedAt() cluster.LSN {
	if i.Running || i.Control == nil || i.Control.State != "shut down" {
		return 0
	}
	return i.Control.CheckpointLSN
}

// Control is what pg_controldata says about a stopped server.
type Control struct {
	State         string // "in production", "shut down", …
	CheckpointLSN cluster.LSN
	CheckpointTLI cluster.Timeline
}

// crashed tells whether the server ended without a shutdown checkpoint.
func (c *Control) crashed() bool {
	return c != nil && (c.State == "in production" || c.State == "shutting down" || c.State == "in crash recovery")
}

// FollowNeeds says what it takes to follow a source.
type FollowNeeds struct {
	Source  string // member name, "" for nobody
	Checked bool   // the comparison was made for Source
	Change  Change
}

// Change is how a change of recovery settings takes effect.
type Change int

// The changes.
const (
	NoChange Change = iota
	NeedsReload
	NeedsRestart
)

// Lease is the leader's lease as the decision may see it.
type Lease struct {
	State    lease.State
	Deadline Instant
	KeyGone  bool         // the store has no leader key, our deadline still runs
	Lost     lease.Reason // why the last lease ended; "" while one is held
	// Newer: the leader key has our name and is a newer one than that of our lease:
	// an acquisition that was never answered has been carried out.
	Newer bool
}

// Holds tells whether we may accept writes now.
func (l *Lease) Holds() bool { return l.State == lease.Held }

// Peers is what the other members answered.
type Peers struct {
	Results map[string]PeerResult
	Pending map[string]Instant // asked and not answered, since when
}

// PeerResult is the end of one question to one member.
type PeerResult struct {
	Asked, Answered Instant
	Answer          candidate.Answer
}

// TaskKind names a long action. The text appears in status lines.
type TaskKind string

// The tasks (reference ha.md 18).
const (
	TaskBootstrap       TaskKind = "bootstrap"
	TaskPostBootstrap   TaskKind = "post_bootstrap"
	TaskClone           TaskKind = "bootstrap from"
	TaskCrashRecovery   TaskKind = "doing crash recovery in a single user mode"
	TaskRewind          TaskKind = "running pg_rewind from"
	TaskReinitialize    TaskKind = "reinitializing due to diverged timelines"
	TaskStartPrimary    TaskKind = "starting primary after failure"
	TaskRestartFailure  TaskKind = "restarting after failure"
	TaskFollowRestart   TaskKind = "changing primary_conninfo and restarting"
	TaskPromote         TaskKind = "promote"
	TaskDemote          TaskKind = "demote"
	TaskResume          TaskKind = "resuming as primary"
	TaskStop            TaskKind = "stopping"
	TaskReload          TaskKind = "changing primary_conninfo"
	TaskCancelBootstrap TaskKind = "cancelling bootstrap"
	TaskRestart         TaskKind = "restart"
	TaskReinit          TaskKind = "reinitialize"
	TaskSwitchover      TaskKind = "switchover: demote"
	TaskManualFailover  TaskKind = "manual failover: demote"
)

// Task is the running one.
type Task struct {
	Kind    TaskKind
	Detail  string // completes the kind in status lines
	Started Instant
	Phase   Phase
	// In PhaseCheckpointed: where the shutdown checkpoint is, which a replica must
	// have received to be complete, and the end of what matters to publish (before
	// the switch of the WAL file that archiving adds; reference postgresql.md 3).
	Checkpoint, End cluster.LSN
	PhaseAt         Instant
}

// Name is the task as status lines call it.
func (t *Task) Name() string {
	switch {
	case t.Kind == TaskClone && t.Detail == "":
		return "bootstrap (without leader)"
	case t.Detail == "":
		return string(t.Kind)
	}
	return string(t.Kind) + " " + t.Detail
}

// Stopped is the end of a demotion.
type Stopped struct {
	// Planned: it was for a switchover, in which nothing may be lost.
	Planned bool
	// Checkpoint and End are as in [Task]; 0 when only a look at the stopped server
	// can tell. Since is when the checkpoint was written, At when the server was gone.
	Checkpoint, End cluster.LSN
	Since, At       Instant
}

// Phase is how far a task has come, where it matters to others.
type Phase int

// The phases. PhaseCommitted: the irreversible step has been taken, or, of a
// reinitialization, nothing is in the way of the copy. PhaseSignalled:
// what a stop does ahead (a checkpoint, before_stop) is done. PhaseSafe: a
// stopping primary has no client left and takes no new one. PhaseCheckpointed:
// it has written its shutdown checkpoint.
const (
	PhaseBegun Phase = iota
	PhaseCommitted
	PhaseSignalled
	PhaseSafe
	PhaseCheckpointed
)

// Result is the end of a task.
type Result struct {
	Kind  TaskKind
	OK    bool
	Error string
	Ended Instant
	Phase Phase // how far it came
}

// failed tells whether the last task was of that kind and failed.
func (v *View) failed(k TaskKind) bool { return v.Last != nil && v.Last.Kind == k && !v.Last.OK }

// Bootstrap is how far the making of a new cluster has come.
type Bootstrap struct {
	// Mine: we made the empty initialize key.
	Mine bool
	// Post: unknown until post-bootstrap has ended.
	Post PostBootstrap
}

// PostBootstrap is the result of the steps after a new cluster started.
type PostBootstrap int

// The results.
const (
	PostUnknown PostBootstrap = iota
	PostDone
	PostFailed
)

// Divergence is the state of the comparison of our history with the leader's
// (reference postgresql.md 10.2). A conclusion is about one leader on one
// timeline: with another one the comparison is due again.
type Divergence struct {
	State    DivergenceState
	Leader   string
	Timeline cluster.Timeline
	At       Instant // when it was concluded
	// Replayed is how far this node had replayed then; 0 when it did not run.
	Replayed cluster.LSN
	TriedAt  Instant // last comparison that came to no conclusion
	// Broken: a rewind was interrupted or failed half-way. The folder must not be
	// started; only another rewind or a new copy makes it whole.
	Broken bool
}

// DivergenceState is how far the comparison has come.
type DivergenceState int

// The states.
const (
	DivergenceCheck DivergenceState = iota // a comparison is due
	DivergenceNone
	DivergenceFound
	RewindDone
	RewindFailed
)

// Watchdog is the kernel's watchdog device, where it is required. Unusable: this
// node should not become the leader. Failed: it was to be activated for the lease
// in force, and could not be.
type Watchdog struct{ Unusable, Failed bool }

// Failsafe is the mode in which a primary goes on without the store, as long as
// every member promises not to race (reference ha.md 15).
type Failsafe struct {
	// Members is the topology as last read from the store: member name to api_url;
	// nil when the key was absent.
	Members *cluster.Object
	// Asked is when the last round of questions was sent, Pending whether it has
	// not ended, and Confirmed when the last one in which all agreed was sent.
	Asked, Confirmed Instant
	Pending          bool
	// Promise is what we promised to a primary that has lost the store.
	Promise *Promise
}

// Promise is what a member told a primary that asked in failsafe mode: until the
// end of it this node does not race.
type Promise struct {
	Name, ConnURL, APIURL string
	Slots                 []cluster.Slot
	Until                 Instant
}

// Health is what new connections and small writes say about a server that
// looks alive.
type Health struct {
	FailingSince Instant // 0: it is well
	Why          string
}

// Requests are what operators asked of this node and what waits for its time.
type Requests struct {
	Restart *RestartRequest // scheduled; lives in this agent's memory only
}

// RestartRequest asks to restart PostgreSQL under conditions (reference ha.md
// 17). Zero values ask for nothing.
type RestartRequest struct {
	At      time.Time     // zero for now
	Timeout time.Duration // 0: primary_start_timeout
	Role    cluster.Role
	// Below restarts only a server older than this (16.4 is 160004).
	Below int
	// Pending restarts only a server that waits for a restart.
	Pending bool
	// Postmaster is when the postmaster of the time of the request had started; a
	// scheduled restart is dropped when it is another one by then.
	Postmaster time.Time
	// Published is the request as the member key shows it.
	Published *cluster.Object
}
