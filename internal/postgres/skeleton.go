//go:build linux

package postgres

import (
	"context"
	"errors"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/proc"
)

var errNotYet = errors.New("not implemented yet")

// Instance is one PostgreSQL instance.
type Instance struct{}

// New makes the instance. It touches nothing.
func New(s Settings, d Deps) *Instance { return nil }

// SetSettings replaces the settings; what is running is changed by Reload.
func (p *Instance) SetSettings(s Settings) {}

// Close gives up the connections; PostgreSQL goes on.
func (p *Instance) Close() {}

// DirState is what a look at the data folder found.
type DirState int

// States of the data folder.
const (
	DirEmpty DirState = iota
	DirPresent
	DirInaccessible
)

// DataDir looks at the data folder; err is set with DirInaccessible only.
func (p *Instance) DataDir() (DirState, error) { return 0, errNotYet }

// MajorVersion is what PG_VERSION says, as 150000; 0 with an error when unknown.
func (p *Instance) MajorVersion() (int, error) { return 0, errNotYet }

// BinaryVersion is the version of the server program, as 150018.
func (p *Instance) BinaryVersion(ctx context.Context) (int, error) { return 0, errNotYet }

// CheckPrograms makes sure that all programs exist and the version is supported.
func (p *Instance) CheckPrograms(ctx context.Context) error { return errNotYet }

// CheckFolder refuses to start on a folder of another user, with wrong
// permissions, or as root.
func (p *Instance) CheckFolder() error { return errNotYet }

// ControlData runs pg_controldata.
func (p *Instance) ControlData(ctx context.Context) (control.Data, error) {
	return control.Data{}, errNotYet
}

// SignalFiles tells which files that steer a start are in the data folder.
type SignalFiles struct{ Standby, Recovery, BackupLabel, Promote bool }

// SignalFiles looks for them.
func (p *Instance) SignalFiles() (SignalFiles, error) { return SignalFiles{}, errNotYet }

// History reads the local history file of a timeline.
func (p *Instance) History(tli cluster.Timeline) ([]control.HistoryEntry, error) {
	return nil, errNotYet
}

// HistoryFiles lists the timelines that have a local history file.
func (p *Instance) HistoryFiles() ([]cluster.Timeline, error) { return nil, errNotYet }

// ShutdownCheckpoint returns what a replica must have received to be complete
// and the meaningful end of data (before the WAL switch), of a cluster that is
// shut down.
func (p *Instance) ShutdownCheckpoint(ctx context.Context, d control.Data) (checkpoint, end cluster.LSN, err error) {
	return 0, 0, errNotYet
}

// Readiness is pg_isready's answer.
type Readiness int

// The answers.
const (
	NoResponse Readiness = iota
	Rejecting
	Accepting
)

// Ready asks the server over its socket.
func (p *Instance) Ready(ctx context.Context) (Readiness, error) { return 0, errNotYet }

// Observe runs the monitoring query.
func (p *Instance) Observe(ctx context.Context, o ObserveOptions) (*Observation, error) {
	return nil, errNotYet
}

// LocalTimeline is the timeline of a standby by IDENTIFY_SYSTEM, cached while
// it equals leader.
func (p *Instance) LocalTimeline(ctx context.Context, leader cluster.Timeline) (cluster.Timeline, error) {
	return 0, errNotYet
}

// Postmaster is the running postmaster, [proc.ErrNotRunning] when there is none.
func (p *Instance) Postmaster() (*proc.Handle, error) { return nil, errNotYet }

// StartOptions say how to start.
type StartOptions struct {
	Role     cluster.Role  // primary, replica or standby_leader
	Upstream *Upstream     // whom to follow; nil: nobody
	Timeout  time.Duration // 0: Settings.PgCtlTimeout
	// BeforeSpawn is called right before the server is started; an error stops.
	BeforeSpawn func(context.Context) error
	// AfterSpawn gets the postmaster as soon as it runs.
	AfterSpawn func(*proc.Handle)
}

// Started is how far a start got.
type Started int

// Results of a start that did not fail.
const (
	StartedRunning  Started = iota + 1 // accepts connections
	StartedStarting                    // runs, still recovering when the time was over
)

// Start starts the server and waits.
func (p *Instance) Start(ctx context.Context, o StartOptions) (Started, error) { return 0, errNotYet }

// StopMode is how to stop.
type StopMode int

// The modes of pg_ctl.
const (
	StopFast StopMode = iota
	StopImmediate
	StopSmart
)

// StopOptions say how to stop.
type StopOptions struct {
	Mode         StopMode
	Checkpoint   bool
	Timeout      time.Duration // 0: no limit
	BeforeSignal func(context.Context)
	OnSafepoint  func()                                                 // no client backend is left
	OnShutdown   func(ctx context.Context, checkpoint, end cluster.LSN) // pg_control says shut down
}

// Stop stops the server; nothing to stop is success with signalled false.
func (p *Instance) Stop(ctx context.Context, o StopOptions) (signalled bool, err error) {
	return false, errNotYet
}

// Restart stops fast and starts.
func (p *Instance) Restart(ctx context.Context, o StartOptions) (Started, error) { return 0, errNotYet }

// Reload writes the configuration files and tells the server to read them.
func (p *Instance) Reload(ctx context.Context) error { return errNotYet }

// Recover runs crash recovery in single-user mode.
func (p *Instance) Recover(ctx context.Context) error { return errNotYet }

// Promote promotes and waits until the server is in production.
func (p *Instance) Promote(ctx context.Context) error { return errNotYet }

// StartAsPrimaryAgain starts a cleanly stopped standby as primary on the same
// timeline.
func (p *Instance) StartAsPrimaryAgain(ctx context.Context, o StartOptions) (Started, error) {
	return 0, errNotYet
}

// Checkpoint runs CHECKPOINT.
func (p *Instance) Checkpoint(ctx context.Context) error { return errNotYet }

// Bootstrap creates a new cluster (not started).
func (p *Instance) Bootstrap(ctx context.Context) error { return errNotYet }

// PostBootstrap creates roles and runs the script on the new primary.
func (p *Instance) PostBootstrap(ctx context.Context) error { return errNotYet }

// MoveAside renames the data folder to NAME.failed.
func (p *Instance) MoveAside() error { return errNotYet }

// RemoveData removes the data folder.
func (p *Instance) RemoveData() error { return errNotYet }

// Clone creates a replica's data folder from upstream (nil: without source).
func (p *Instance) Clone(ctx context.Context, o CloneOptions) error { return errNotYet }

// CloneOptions say from whom and how.
type CloneOptions struct {
	From           *Upstream
	BaseBackupOnly bool
}

// Change is what following another upstream needs.
type Change int

// Kinds of change.
const (
	ChangeNone Change = iota
	ChangeReload
	ChangeRestart
)

// FollowChange compares the running replication settings with the wanted ones.
func (p *Instance) FollowChange(ctx context.Context, up *Upstream) (Change, error) {
	return 0, errNotYet
}

// FollowReload writes the settings for up and reloads.
func (p *Instance) FollowReload(ctx context.Context, up *Upstream) error { return errNotYet }

// CanRewind tells whether pg_rewind may be used, and why not.
func (p *Instance) CanRewind(ctx context.Context) (bool, string) { return false, "" }

// DivergenceFacts collects what the divergence check needs.
func (p *Instance) DivergenceFacts(ctx context.Context, leader Upstream) (control.DivergenceFacts, error) {
	return control.DivergenceFacts{}, errNotYet
}

// Rewind runs pg_rewind against the leader.
func (p *Instance) Rewind(ctx context.Context, leader Upstream) error { return errNotYet }

// Slots lists the replication slots.
func (p *Instance) Slots(ctx context.Context) ([]Slot, error) { return nil, errNotYet }

// CreatePhysicalSlot creates one that reserves WAL at once, if there is none.
func (p *Instance) CreatePhysicalSlot(ctx context.Context, name string) error { return errNotYet }

// DropSlot drops a slot if it is inactive.
func (p *Instance) DropSlot(ctx context.Context, name string) (dropped, active bool, err error) {
	return false, false, errNotYet
}

// AdvanceSlot moves a slot forward.
func (p *Instance) AdvanceSlot(ctx context.Context, name string, to cluster.LSN) error {
	return errNotYet
}

// PendingRestart lists the parameters that need a restart.
func (p *Instance) PendingRestart(ctx context.Context) ([]ParameterChange, error) {
	return nil, errNotYet
}

// ParameterChange is one pending parameter.
type ParameterChange struct{ Name, Old, New string }

// SetSyncNames sets synchronous_standby_names and reloads if it differs.
func (p *Instance) SetSyncNames(ctx context.Context, names string) error { return errNotYet }

// RunCallback runs a callback in the background.
func (p *Instance) RunCallback(action string, role cluster.Role) {}

// RunPrePromote runs the pre_promote command.
func (p *Instance) RunPrePromote(ctx context.Context) error { return errNotYet }
