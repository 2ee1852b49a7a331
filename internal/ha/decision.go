package ha

import (
	"fmt"
	"time"

	"tamada/internal/cluster"
)

// Outcome is the end of one decision: what to do, and the line that says why.
type Outcome struct {
	Do Decision
	// Line is the status of this cycle, in the words of the reference; "" when
	// nothing is to be said (an answer is awaited).
	Line  string
	Notes []Note
	// Again, when not 0, is when to decide anew even if nothing happens.
	Again Instant
	// RaceLost: a round of the leader race has ended without us; the next begins at
	// Again.
	RaceLost bool
}

// Note is a further line for the log.
type Note struct {
	Level Level
	Text  string
}

// Level of a note.
type Level int

// The levels.
const (
	Debug Level = iota
	Info
	Warning
	Error
	Critical
)

func (o *Outcome) note(l Level, format string, args ...any) {
	o.Notes = append(o.Notes, Note{l, fmt.Sprintf(format, args...)})
}

// Decision is one thing to do. The set is closed: the types below.
type Decision interface{ decision() }

// Wait does nothing until the next event.
type Wait struct{}

// Observe looks at the instance anew before anything can be decided.
type Observe struct{}

// PollPeers asks these members for their status.
type PollPeers struct{ Members []cluster.Member }

// TakeInitialize makes the empty initialize key; who makes it bootstraps. Over,
// when set, is an empty one that nobody works on any more: it is taken over, if
// it is still exactly as seen.
type TakeInitialize struct{ Over *cluster.Initialize }

// BootstrapCluster makes a new cluster in the empty data directory.
type BootstrapCluster struct{}

// RunPostBootstrap makes roles and runs scripts in the new cluster.
type RunPostBootstrap struct{}

// FinishBootstrap publishes the new cluster: system identifier, configuration,
// leader key.
type FinishBootstrap struct{}

// CancelBootstrap gives the initialize key back, moves the data directory out
// of the way and ends the agent.
type CancelBootstrap struct{ Why string }

// Clone copies the data of a member into the empty data directory; without a name
// the methods of the configuration are to make it that need no member (no_leader).
type Clone struct{ From cluster.Member }

// AcquireLeader makes the leader key. Reclaim, when set, is a key of our own name
// that an earlier agent of this node left: it is moved to our session, if it is
// still exactly as seen.
type AcquireLeader struct{ Reclaim *cluster.Leader }

// AskFailsafe asks every other member of the topology for its promise not to
// race, so that a primary without the store may go on.
type AskFailsafe struct{ Members *cluster.Object }

// ReleaseLeader deletes our leader key. LSN, when not 0, is published before as
// the last position of this primary.
type ReleaseLeader struct {
	LSN cluster.LSN
	Why string
	// PrePromote: the script before the promotion said no. Others get their turn.
	PrePromote bool
}

// AnnouncePromotion writes into the store, before a promotion, that it is about
// to begin. The promotion follows when that is written.
type AnnouncePromotion struct{ Promotion cluster.Promotion }

// Promote makes the replica a primary. The lease is held, and the promotion was
// announced. Timeline is the least number that the new timeline may have: a
// smaller one may have been chosen by a leader of whom only the announcement is
// known.
type Promote struct{ Timeline cluster.Timeline }

// StartPrimary starts a stopped server as a primary that redoes its own WAL.
type StartPrimary struct{}

// ResumePrimary makes a primary of an instance that was demoted only because
// the store was away, on the timeline that it had.
type ResumePrimary struct{}

// StartReplica starts a stopped server in standby mode, following Source, or
// nobody when Source is nil.
type StartReplica struct{ Source *cluster.Member }

// CrashRecover runs crash recovery in single-user mode.
type CrashRecover struct{}

// Demote stops a primary. Action, for the graceful mode, is switchover or manual
// failover, and Checkpoint asks for the work of the shutdown checkpoint to be
// done ahead, while clients can still write.
type Demote struct {
	Mode       DemoteMode
	Action     string
	Checkpoint bool
	// Hung: the server does not react; its processes are killed one by one.
	Hung bool
}

// ClearFailover empties the failover key, if it is still as seen.
type ClearFailover struct{}

// KeepCandidate rewrites the failover key with its candidate alone: in
// maintenance mode the holder of the key waits for the promotion by it.
type KeepCandidate struct{}

// TakeBack ends a switchover that would lose data: the request is cleared, the
// leader key is kept, and the server that was stopped for it starts again.
type TakeBack struct{}

// Restart restarts PostgreSQL.
type Restart struct {
	Timeout time.Duration
	Primary bool            // it was the primary and stays it
	Source  *cluster.Member // whom a replica follows, nil for nobody
}

// DropRestart forgets the scheduled restart.
type DropRestart struct{}

// DemoteMode is how a primary is stopped (reference ha.md 12).
type DemoteMode string

// The modes. Offline: the store is away, stop fast and go on as a read-only
// server without a source. Immediate: stop without a checkpoint and release the
// key. ImmediateNoLock: the same without a key to release. Graceful: stop fast
// and hand over.
const (
	DemoteOffline         DemoteMode = "offline"
	DemoteImmediate       DemoteMode = "immediate"
	DemoteImmediateNoLock DemoteMode = "immediate-nolock"
	DemoteGraceful        DemoteMode = "graceful"
)

// CompareTimelines finds out whether our history diverged from the leader's.
type CompareTimelines struct{ Leader cluster.Member }

// Rewind runs pg_rewind against the leader.
type Rewind struct{ From cluster.Member }

// Reinitialize copies the data directory again, after asking the source whether it
// is there.
type Reinitialize struct {
	From           cluster.Member
	Why            string
	BaseBackupOnly bool // not by other methods
}

// Follow changes the source of a running replica.
type Follow struct {
	Source  cluster.Member
	Restart bool
}

// ResumeReplay resumes WAL replay that the server paused because a parameter is
// lower than on the primary.
type ResumeReplay struct{}

// WriteInitialize publishes our system identifier.
type WriteInitialize struct{ Sysid string }

// WriteConfig publishes the dynamic configuration that we have, because the
// store lost it.
type WriteConfig struct{}

// CancelTask ends the running task.
type CancelTask struct{}

// StopPostgres stops the server because the agent ends.
type StopPostgres struct{ Leading bool }

// Exit ends the agent with that code. LeavePostgres leaves the server running.
type Exit struct {
	Code          int
	LeavePostgres bool
}

func (Wait) decision()              {}
func (Observe) decision()           {}
func (PollPeers) decision()         {}
func (TakeInitialize) decision()    {}
func (BootstrapCluster) decision()  {}
func (RunPostBootstrap) decision()  {}
func (FinishBootstrap) decision()   {}
func (CancelBootstrap) decision()   {}
func (Clone) decision()             {}
func (AcquireLeader) decision()     {}
func (ReleaseLeader) decision()     {}
func (AnnouncePromotion) decision() {}
func (Promote) decision()           {}
func (StartPrimary) decision()      {}
func (ResumePrimary) decision()     {}
func (StartReplica) decision()      {}
func (CrashRecover) decision()      {}
func (Demote) decision()            {}
func (CompareTimelines) decision()  {}
func (Rewind) decision()            {}
func (Reinitialize) decision()      {}
func (Follow) decision()            {}
func (ResumeReplay) decision()      {}
func (WriteInitialize) decision()   {}
func (WriteConfig) decision()       {}
func (CancelTask) decision()        {}
func (StopPostgres) decision()      {}
func (Exit) decision()              {}
func (AskFailsafe) decision()       {}
func (ClearFailover) decision()     {}
func (KeepCandidate) decision()     {}
func (Restart) decision()           {}
func (DropRestart) decision()       {}
func (TakeBack) decision()          {}

// wait is an outcome that does nothing and says why.
func wait(format string, args ...any) Outcome {
	return Outcome{Do: Wait{}, Line: fmt.Sprintf(format, args...)}
}

// do is an outcome that acts and says why.
func do(d Decision, format string, args ...any) Outcome {
	return Outcome{Do: d, Line: fmt.Sprintf(format, args...)}
}
