package rest

import (
	"context"
	"errors"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ledger"
)

// ErrConnection marks an error of [Source.SQLStatus] that means "no connection
// to PostgreSQL", as opposed to a query that failed or took too long. Only
// these are tried a second time (5.1 item 4).
var ErrConnection = errors.New("no connection to PostgreSQL")

// Source is the agent as the API sees it. All methods may be called at the same
// time from many goroutines.
//
// Points in time are readings of CLOCK_BOOTTIME, as the lease's deadline is.
type Source interface {
	// Now reads CLOCK_BOOTTIME.
	Now() time.Duration

	// Snapshot is the loop's latest picture. It costs next to nothing, is never
	// nil, and what it points to is never changed afterwards; a new fact is a new
	// Snapshot.
	Snapshot() *Snapshot

	// SQLStatus asks PostgreSQL, over a connection that is not the loop's. It is
	// called only while the state is running, starting or restarting, and never
	// twice at the same time. Errors without a connection wrap [ErrConnection].
	SQLStatus(ctx context.Context) (*SQLStatus, error)

	// Failsafe asks the agent for its promise to a primary that has lost the store
	// (section 8): code and text of the answer, and our own position, 0 when not
	// known.
	Failsafe(ctx context.Context, name, connURL, apiURL string, slots []cluster.Slot) (code int, text string, lsn cluster.LSN, err error)

	// LoadCluster reads the store itself, not a cache.
	LoadCluster(ctx context.Context) (*cluster.Cluster, error)

	// PutConfig writes the dynamic configuration and returns its new version; the
	// error wraps [dcs.ErrConflict] when cond does not hold.
	PutConfig(ctx context.Context, doc *cluster.Object, cond dcs.Condition) (cluster.Version, error)

	// PutFailover writes the request to move the leader and returns its new
	// version; the error wraps [dcs.ErrConflict] when cond does not hold.
	PutFailover(ctx context.Context, value []byte, cond dcs.Condition) (cluster.Version, error)

	// Poll asks members for their status, all at the same time and once, for two
	// seconds at most.
	Poll(ctx context.Context, members []cluster.Member) []candidate.Answer

	// Changed returns a channel that is closed as soon as Snapshot returns another
	// one than seen.
	Changed(seen *Snapshot) <-chan struct{}

	// Restart restarts PostgreSQL if the conditions of the request hold, remembers
	// it when it has a time, or, with drop, forgets the one that is remembered. It
	// returns the answer when the restart is done. The error is the context's, or
	// tells that the agent ends.
	Restart(ctx context.Context, r ha.RestartRequest, drop bool) (code int, text string, err error)

	// Reinitialize begins to throw this replica's data away and to copy it anew;
	// force ends a running action before. The answer comes when it begins to remove,
	// or tells why nothing is done; with force and an action to be ended, at once.
	Reinitialize(ctx context.Context, force, fromLeader bool) (code int, text string, err error)

	// Ledger reads what this node has decided, refused and met with.
	Ledger(ctx context.Context, q ledger.Query) (ledger.Page, error)

	// RequestTaken and RequestRefused keep in the ledger what became of an
	// operator's request that the agent itself does not get to see; from is the
	// address that it came from. They do not wait.
	RequestTaken(action, from, what string)
	RequestRefused(action, from string, code int, why string)

	// Wake starts the loop's next turn now.
	Wake()

	// Reload does at the beginning of the loop's next turn what SIGHUP does.
	Reload()
}

// Snapshot is what the agent knows without asking anybody.
type Snapshot struct {
	// Generation is another number after every change of State or Role; what
	// PostgreSQL said before it is not believed any more.
	Generation uint64
	State      cluster.State
	Role       cluster.Role

	// LockUntil is the deadline of our lease on the leader key, 0 when we do not
	// hold it. It must become 0 before a demotion begins (trap 4).
	LockUntil time.Duration
	// FailsafeUntil is when the last failsafe confirmation loses its force, 0 when
	// there was none.
	FailsafeUntil time.Duration
	// NextRun is when the loop's next turn is planned.
	NextRun time.Duration
	// PostmasterAlive tells whether a postmaster process exists.
	PostmasterAlive bool

	// Cluster is the last view of the store, nil when there is none or when the
	// last attempt to get one failed.
	Cluster *cluster.Cluster
	// ClusterReadAt is when that view was known to be current.
	ClusterReadAt time.Duration
	// DCSLastSeen is the wall clock, in seconds of the epoch, of the last read or
	// renewal that succeeded; 0 before the first.
	DCSLastSeen int64
	// Settings are the last valid ones, also without a view.
	Settings cluster.Settings
	// Failsafe is the key `failsafe` as last read: an empty object before the
	// first read, nil when it was absent or not an object.
	Failsafe *cluster.Object

	// Tags are the configured tags as they are published (5.3) and EffectiveTags
	// the same with what the agent adds for a time.
	Tags          *cluster.Tags
	EffectiveTags *cluster.Tags

	SystemID             string // "" when not known
	PendingRestart       bool
	PendingRestartReason *cluster.Object
	ScheduledRestart     *cluster.Object // as in the member key
	WatchdogFailed       bool            // a watchdog is required and unusable

	// Agent is shown as the field "tamada"; nil hides it.
	Agent *cluster.AgentInfo
}

// SQLStatus is what one query found out. Positions and times that are not known
// are zero.
type SQLStatus struct {
	PostmasterStart time.Time // shown in its own zone
	ServerVersion   int       // 160004
	InRecovery      bool
	Timeline        cluster.Timeline

	// Flushed is a primary's WAL flush position.
	Flushed cluster.LSN
	// Received is the first that is not zero of the receiver's written position,
	// pg_last_wal_receive_lsn() and the replay position.
	Received     cluster.LSN
	Replayed     cluster.LSN
	ReplayedAt   time.Time
	ReplayPaused bool
	// LatestEnd is the sender's end of WAL by the WAL receiver; it is compared
	// with and never shown.
	LatestEnd cluster.LSN
	// ReplicationState is "streaming", "in archive recovery" or "".
	ReplicationState string

	Replication []WALSender
}

// WALSender is one row of pg_stat_replication.
type WALSender struct {
	User, Application string
	ClientAddr        string // "" for a local socket, shown as null
	State, SyncState  string
	SyncPriority      int
}

// hasLock tells whether our lease on the leader key is in force.
func (s *Snapshot) hasLock(now time.Duration) bool { return now < s.LockUntil }

// failsafe tells whether a failsafe confirmation is in force.
func (s *Snapshot) failsafe(now time.Duration) bool { return now < s.FailsafeUntil }

// cached is the view of the store as long as it may be believed, else nil. An
// entirely empty view counts as none.
func (s *Snapshot) cached(now time.Duration) *cluster.Cluster {
	if s.Cluster.Empty() || now >= s.ClusterReadAt+s.Settings.TTL {
		return nil
	}
	return s.Cluster
}

// canAsk tells whether PostgreSQL is worth asking (5.1 item 1).
func (s *Snapshot) canAsk() bool {
	return s.State == cluster.StateRunning || s.State == cluster.StateStarting || s.State == cluster.StateRestarting
}
