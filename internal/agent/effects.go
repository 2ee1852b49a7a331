package agent

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/slots"
)

// Effect is one thing to execute. Unless it says otherwise its end comes back
// as an event.
type Effect interface{ effect() }

// Observe looks at the instance and reports [Observed]. Source is whom the
// instance should follow: what that takes is one of the facts.
type Observe struct {
	ID     uint64
	Source *cluster.Member
}

// AskPeers asks members for their status; each ends with [PeerAnswered].
type AskPeers struct {
	Members []cluster.Member
	Timeout time.Duration
}

// StartTask runs a long action: [TaskProgress], then [TaskEnded]. Do is the
// decision that it carries out. Initialize is the version of the initialize key
// that this node made, if it did: a bootstrap writes it down, so that the agent
// after this one can tell the key from another's.
type StartTask struct {
	ID         uint64
	Kind       ha.TaskKind
	Do         ha.Decision
	Initialize cluster.Version
}

// StopTask cancels the running task; its [TaskEnded] still comes.
type StopTask struct{ ID uint64 }

// Operate does one operation on the store: [OperationEnded].
type Operate struct {
	ID uint64
	Op Operation
}

// Operation is one of the operations below.
type Operation interface{ operation() }

// TakeInitialize makes the empty initialize key, or takes an abandoned one over.
type TakeInitialize struct{ Condition dcs.Condition }

// DropInitialize deletes the initialize key after a failed bootstrap, if it is
// still the one that this node made.
type DropInitialize struct{ Condition dcs.Condition }

// Acquire makes the leader key, or moves one of our own name to our session.
type Acquire struct{ Reclaim *cluster.Leader }

// Release publishes a last position, when Status is set, and deletes the leader
// key if it is exactly Hold's.
type Release struct {
	Hold   dcs.Hold
	Status []byte
}

// PutInitialize writes the system identifier under a condition.
type PutInitialize struct {
	Sysid     string
	Condition dcs.Condition
}

// PutConfig writes the dynamic configuration if there is none.
type PutConfig struct {
	Doc       *cluster.Object
	Condition dcs.Condition
}

// PublishCluster ends a bootstrap: system identifier, configuration, then the
// leader key.
type PublishCluster struct {
	Sysid     string
	Condition dcs.Condition // for the initialize key
	Config    *cluster.Object
}

// PutFailover writes the failover key under a condition.
type PutFailover struct {
	Value     []byte
	Condition dcs.Condition
}

func (PutFailover) operation() {}

// Announce writes the status document in which a promotion is announced.
type Announce struct {
	Promotion cluster.Promotion
	Status    []byte
	Condition dcs.Condition
}

func (Announce) operation()       {}
func (TakeInitialize) operation() {}
func (DropInitialize) operation() {}
func (Acquire) operation()        {}
func (Release) operation()        {}
func (PutInitialize) operation()  {}
func (PutConfig) operation()      {}
func (PublishCluster) operation() {}

// Compare compares our history with the leader's: [Compared].
type Compare struct {
	ID     uint64
	Leader cluster.Member
}

// ResumeReplay resumes paused WAL replay. Nothing comes back.
type ResumeReplay struct{}

// RetryStream makes a standby that waits for wal_retrieve_retry_interval connect to
// its source at once. Nothing comes back.
type RetryStream struct{}

// Touch publishes the member key and extends the session: [Touched].
type Touch struct{ Value []byte }

// RenewLease extends and proves the lease: [Renewed].
type RenewLease struct {
	Attempt uint64
	Hold    dcs.Hold
	Timeout time.Duration
}

// ArmGuardian tells the guardian the deadline: [Acked].
type ArmGuardian struct {
	Seq      uint64
	Deadline ha.Instant
	Hold     dcs.Hold
	TTL      time.Duration
}

// Alive is a sign of life for the guardian. The next comes within Next. With
// Answer it is to be answered by [GuardianAnswered]: this is how a frozen
// guardian is noticed when no deadline is told.
type Alive struct {
	Next   time.Duration
	Answer bool
}

// Works tells the guardian that this agent does its work: it has completed a
// cycle with the store, and as a leader renewed its lease.
type Works struct{}

// ReplaceGuardian finds a guardian or starts one: [GuardianBack]. With Kill the
// present one is frozen and has to be ended first.
type ReplaceGuardian struct{ Kill bool }

// DisarmGuardian: no primary of ours accepts writes any more. Nothing comes
// back.
type DisarmGuardian struct{}

// Publish writes one key under a condition: [Published].
type Publish struct {
	Key       string
	Value     []byte
	Condition dcs.Condition
}

// ReadHistory reads the local history file: [HistoryRead].
type ReadHistory struct{ Timeline cluster.Timeline }

// ArrangeSlots carries out a plan: [SlotsDone].
type ArrangeSlots struct{ Plan slots.Plan }

// Checkpoint runs a CHECKPOINT in the background: [Checkpointed].
type Checkpoint struct{}

// ApplyConfig puts a new dynamic configuration in force for the instance and
// the store. Nothing comes back.
type ApplyConfig struct {
	Doc      *cluster.Object // with the times that are in force
	Settings cluster.Settings
}

// AskFailsafe asks every member of the topology but us for its promise:
// [FailsafeAnswered].
type AskFailsafe struct {
	ID      uint64
	Members *cluster.Object // name to api_url
	Body    *cluster.Object
	Timeout time.Duration
}

// KeepPromise writes a promise down, so that it survives this agent, and then
// ends the request with 200 Accepted. LSN is our position.
type KeepPromise struct {
	ID      uint64
	Promise ha.Promise
	LSN     cluster.LSN
}

// Answer ends a request of an operator: the code of the REST API and its text.
type Answer struct {
	ID   uint64
	Code int
	Text string
}

// Callback runs a configured callback in the background. Nothing comes back.
type Callback struct {
	Action string // on_start, on_stop, on_restart, on_reload, on_role_change
	Role   cluster.Role
}

// Log writes one line.
type Log struct {
	Level ha.Level
	Text  string
}

// Exit ends the agent.
type Exit struct {
	Code          int
	LeavePostgres bool
}

func (Observe) effect()         {}
func (AskPeers) effect()        {}
func (StartTask) effect()       {}
func (StopTask) effect()        {}
func (Operate) effect()         {}
func (Compare) effect()         {}
func (ResumeReplay) effect()    {}
func (RetryStream) effect()     {}
func (Touch) effect()           {}
func (RenewLease) effect()      {}
func (ArmGuardian) effect()     {}
func (Alive) effect()           {}
func (Works) effect()           {}
func (ReplaceGuardian) effect() {}
func (DisarmGuardian) effect()  {}
func (Publish) effect()         {}
func (ReadHistory) effect()     {}
func (ArrangeSlots) effect()    {}
func (Checkpoint) effect()      {}
func (ApplyConfig) effect()     {}
func (AskFailsafe) effect()     {}
func (KeepPromise) effect()     {}
func (Answer) effect()          {}
func (Callback) effect()        {}
func (Log) effect()             {}
func (Exit) effect()            {}
