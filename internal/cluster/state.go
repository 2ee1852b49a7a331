package cluster

// Role is what a member says it is (reference ha.md 1).
type Role string

// The roles as they are published. A reader also accepts "master" as primary.
const (
	RolePrimary       Role = "primary"
	RoleStandbyLeader Role = "standby_leader"
	RoleReplica       Role = "replica"
	RolePromoted      Role = "promoted" // promote was signalled and is not confirmed yet
	RoleDemoted       Role = "demoted"
	RoleUninitialized Role = "uninitialized"
)

// ParseRole reads a role as another member published it.
func ParseRole(s string) Role {
	if s == "master" {
		return RolePrimary
	}
	return Role(s)
}

// State is the state of one PostgreSQL instance (reference postgresql.md 1).
type State string

// The states, spelled as they are published.
const (
	StateInitializing           State = "initializing new cluster"
	StateInitdbFailed           State = "initdb failed"
	StateCustomBootstrap        State = "running custom bootstrap script"
	StateCustomBootstrapFailed  State = "custom bootstrap failed"
	StateCreatingReplica        State = "creating replica"
	StateRunning                State = "running"
	StateStarting               State = "starting"
	StateStartingAfterBootstrap State = "starting after custom bootstrap"
	StateStartFailed            State = "start failed"
	StateRestarting             State = "restarting"
	StateRestartFailed          State = "restart failed"
	StateStopping               State = "stopping"
	StateStopped                State = "stopped"
	StateStopFailed             State = "stop failed"
	StateCrashed                State = "crashed"
)

var stateOrder = []State{StateInitializing, StateInitdbFailed, StateCustomBootstrap, StateCustomBootstrapFailed,
	StateCreatingReplica, StateRunning, StateStarting, StateStartingAfterBootstrap, StateStartFailed, StateRestarting,
	StateRestartFailed, StateStopping, StateStopped, StateStopFailed, StateCrashed}

// Index is the number of the state in /metrics, -1 for anything else. The
// numbers never change (reference rest-api.md 5.2).
func (s State) Index() int {
	for i, x := range stateOrder {
		if x == s {
			return i
		}
	}
	return -1
}

// Starting tells whether PostgreSQL was started and does not accept
// connections yet.
func (s State) Starting() bool { return s == StateStarting || s == StateStartingAfterBootstrap }
