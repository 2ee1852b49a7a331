package agent

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
	"tamada/internal/ha/slots"
)

// Event is one thing that happened.
type Event interface{ event() }

// Timer: the moment that [Agent.WakeAt] named has come.
type Timer struct{}

// Woken: somebody wants a cycle now (an API request).
type Woken struct{}

// ClusterSeen: the store delivered a view.
type ClusterSeen struct{ Cluster *cluster.Cluster }

// StoreFailed: the store's view is lost until the next [ClusterSeen].
type StoreFailed struct{ Err string }

// Observed: a look at the instance has ended.
type Observed struct {
	ID    uint64
	Facts Facts
}

// Facts are what one look at the local PostgreSQL found.
type Facts struct {
	Data    ha.DataDir
	DataErr string
	Sysid   string
	Major   int

	Running   bool // a postmaster is alive
	Answers   bool // the monitoring query succeeded
	Rejecting bool // it runs and does not accept connections yet

	InRecovery       bool
	Timeline         cluster.Timeline
	LSN              cluster.LSN
	Received         cluster.LSN
	Replayed         cluster.LSN
	ReplicationState string
	ReplayPaused     bool
	Slots            []slots.Slot
	// ControlTimeline is the timeline of the last checkpoint, as in the control file;
	// 0 when that could not be read.
	ControlTimeline cluster.Timeline

	Control     *ha.Control // of a stopped server
	StandbyFile bool
	BackupLabel bool
	RewindCan   bool
	FollowNeeds ha.FollowNeeds

	// WatchdogProblem tells why the watchdog device that is required cannot be used,
	// "" when it can or is not required.
	WatchdogProblem string

	PendingRestart *cluster.Object
	ServerVersion  int
	Postmaster     time.Time // when it started
}

// PostmasterExited: the postmaster is gone.
type PostmasterExited struct{}

// ReceiverEnded: the process that streams from the primary is gone.
type ReceiverEnded struct{}

// PeerAnswered: a question to a member has ended, with an answer or without.
type PeerAnswered struct {
	Name   string
	Asked  ha.Instant
	Answer candidate.Answer
}

// TaskProgress: the running task has reached a phase.
type TaskProgress struct {
	ID              uint64
	Phase           ha.Phase
	Checkpoint, End cluster.LSN
}

// TaskEnded: the running task has ended. Error is "" when it succeeded.
type TaskEnded struct {
	ID    uint64
	Error string
	// Broken: the data folder was left in a state that must not be started.
	Broken bool
	// Retry: what failed was not ours (the source of a rewind or of a copy vanished);
	// nothing was changed, and it may be tried again.
	Retry bool
	// StillStarting: a restart's time is over and the server still recovers.
	StillStarting bool
	// StoppedClean is the end of the history of a server that was stopped with a
	// shutdown checkpoint and nothing left to replay.
	StoppedClean *ha.Position
}

// OperationEnded: the running operation has ended.
type OperationEnded struct {
	ID    uint64
	Err   error
	Grant dcs.Grant // of an acquisition
	Sent  ha.Instant
	// Version is that of the key that [TakeInitialize] made.
	Version cluster.Version
}

// Compared: a comparison of timelines has ended. Concluded is false when the
// leader could not be asked or was not ready; Why says so.
type Compared struct {
	ID        uint64
	Concluded bool
	Diverged  bool
	// Replayed is the local position that was compared, of a server in recovery; 0 of
	// one that does not run.
	Replayed cluster.LSN
	Why      string
}

// Touched: the member key was written, or not.
type Touched struct{ Err error }

// Renewed: a renewal of the lease has ended.
type Renewed struct {
	Attempt uint64
	Grant   dcs.Grant
	Err     error
}

// Acked: the guardian knows the deadline of that number. DeviceFailed: the
// watchdog device is required, and could not be activated for it.
type Acked struct {
	Seq          uint64
	DeviceFailed bool
}

// GuardianAnswered: the guardian has answered a sign of life.
type GuardianAnswered struct{}

// GuardianLost: the connection to the guardian has ended.
type GuardianLost struct{}

// GuardianBack: there is a connection to a guardian again, perhaps another one
// than before.
type GuardianBack struct{}

// FailsafeAnswered: a round of questions in failsafe mode has ended. OK is true
// when every member gave its promise; Why says who did not.
type FailsafeAnswered struct {
	ID   uint64
	Sent ha.Instant
	OK   bool
	Why  string
}

// FailsafeAsked: a primary that has lost the store asks for our promise.
type FailsafeAsked struct {
	ID                    uint64
	Name, ConnURL, APIURL string
	Slots                 []cluster.Slot
}

// HealthSeen: a new connection and a small write were tried. Since is when they
// last worked.
type HealthSeen struct {
	OK    bool
	Since ha.Instant
	Why   string
}

// ClockJumped: see [lease.ClockJumped].
type ClockJumped struct{}

// Checkpointed: the CHECKPOINT after a promotion has ended.
type Checkpointed struct{ Err string }

// SlotsDone: the last plan for slots was carried out.
type SlotsDone struct{ Err string }

// Published: status or history was written, or not.
type Published struct {
	Key     string
	Version cluster.Version
	Err     error
}

// HistoryRead: the local history file was read, or could not be.
type HistoryRead struct {
	Local ha.LocalHistory
	Err   string
}

// RestartRequested: somebody wants PostgreSQL restarted. With a time it is
// remembered, otherwise made now; [Answer] says what came of it.
type RestartRequested struct {
	ID      uint64
	Request ha.RestartRequest
	Drop    bool // forget the scheduled one instead
}

// ReinitRequested: somebody wants this replica made anew.
type ReinitRequested struct {
	ID         uint64
	Force      bool // cancel what runs
	FromLeader bool
}

// LocalChanged: the node's own configuration was read again.
type LocalChanged struct {
	Local    ha.Local
	Identity ha.Identity
}

// ShutdownRequested: the agent was asked to end.
type ShutdownRequested struct{}

// Inherited: the guardian vouches for a lease of this node's previous agent.
type Inherited struct {
	Hold  dcs.Hold
	Lease lease.Inherited
}

func (Timer) event()             {}
func (Woken) event()             {}
func (ClusterSeen) event()       {}
func (StoreFailed) event()       {}
func (Observed) event()          {}
func (PostmasterExited) event()  {}
func (ReceiverEnded) event()     {}
func (PeerAnswered) event()      {}
func (TaskProgress) event()      {}
func (TaskEnded) event()         {}
func (OperationEnded) event()    {}
func (Compared) event()          {}
func (Touched) event()           {}
func (Renewed) event()           {}
func (Acked) event()             {}
func (GuardianAnswered) event()  {}
func (GuardianLost) event()      {}
func (GuardianBack) event()      {}
func (FailsafeAnswered) event()  {}
func (FailsafeAsked) event()     {}
func (HealthSeen) event()        {}
func (ClockJumped) event()       {}
func (Checkpointed) event()      {}
func (SlotsDone) event()         {}
func (Published) event()         {}
func (HistoryRead) event()       {}
func (RestartRequested) event()  {}
func (ReinitRequested) event()   {}
func (LocalChanged) event()      {}
func (ShutdownRequested) event() {}
func (Inherited) event()         {}
