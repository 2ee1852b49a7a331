package control

import (
	"encoding/binary"
	"strconv"
	"strings"

	"tamada/internal/cluster"
)

// State is the database cluster state as pg_controldata spells it.
type State string

// The states.
const (
	StateStartingUp         State = "starting up"
	StateShutDown           State = "shut down"
	StateShutDownInRecovery State = "shut down in recovery"
	StateShuttingDown       State = "shutting down"
	StateInCrashRecovery    State = "in crash recovery"
	StateInArchiveRecovery  State = "in archive recovery"
	StateInProduction       State = "in production"
)

// states in the order of PostgreSQL's enum DBState (catalog/pg_control.h).
var states = []State{StateStartingUp, StateShutDown, StateShutDownInRecovery, StateShuttingDown,
	StateInCrashRecovery, StateInArchiveRecovery, StateInProduction}

// Data is what pg_controldata says.
type Data struct {
	State            State
	SystemIdentifier string // decimal; "" when not known

	Checkpoint    cluster.LSN // latest checkpoint location
	CheckpointTLI cluster.Timeline
	RedoWALFile   string

	// Minimum recovery end: how far a standby must replay to be consistent; 0
	// for what was a primary.
	MinRecoveryEnd    cluster.LSN
	MinRecoveryEndTLI cluster.Timeline

	// BackupPending: the data came from a base backup whose end was not reached.
	BackupPending bool

	WALLogHints bool
	Checksums   bool // data page checksums

	// Limits that a standby may not go below, by GUC name; a key that the output
	// lacks is absent.
	Limits map[string]int

	// Raw has every line, with the prefix "Current " of keys removed.
	Raw map[string]string
}

// limitKeys maps the names in the output to the GUCs.
var limitKeys = map[string]string{
	"max_connections setting":      "max_connections",
	"max_prepared_xacts setting":   "max_prepared_transactions",
	"max_locks_per_xact setting":   "max_locks_per_transaction",
	"max_worker_processes setting": "max_worker_processes",
	"max_wal_senders setting":      "max_wal_senders",
}

// LimitKey is the name under which pg_controldata shows a GUC.
func LimitKey(guc string) string {
	for k, g := range limitKeys {
		if g == guc {
			return k
		}
	}
	return ""
}

// ParseData reads the output of pg_controldata, run with LC_ALL=C. Lines
// without a colon are ignored.
func ParseData(output string) Data {
	d := Data{Raw: map[string]string{}, Limits: map[string]int{}}
	for line := range strings.Lines(output) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		k = strings.TrimPrefix(strings.TrimSpace(k), "Current ")
		d.Raw[k] = strings.TrimSpace(v)
	}
	d.State = State(d.Raw["Database cluster state"])
	d.SystemIdentifier = d.Raw["Database system identifier"]
	d.Checkpoint = lsn(d.Raw["Latest checkpoint location"])
	d.CheckpointTLI = timeline(d.Raw["Latest checkpoint's TimeLineID"])
	d.RedoWALFile = d.Raw["Latest checkpoint's REDO WAL file"]
	d.MinRecoveryEnd = lsn(d.Raw["Minimum recovery ending location"])
	d.MinRecoveryEndTLI = timeline(d.Raw["Min recovery ending loc's timeline"])
	start := d.Raw["Backup start location"]
	d.BackupPending = start != "" && lsn(start) != 0 || d.Raw["End-of-backup record required"] == "yes"
	d.WALLogHints = d.Raw["wal_log_hints setting"] == "on"
	v := d.Raw["Data page checksum version"]
	d.Checksums = v != "" && v != "0"
	for k, guc := range limitKeys {
		if n, err := strconv.Atoi(d.Raw[k]); err == nil {
			d.Limits[guc] = n
		}
	}
	return d
}

// Head is the beginning of the file global/pg_control, whose layout is the same
// in all supported versions (catalog/pg_control.h).
type Head struct {
	SystemIdentifier uint64
	ControlVersion   uint32
	State            State
	// CheckpointTLI is the timeline of the last checkpoint: after a promotion still
	// the old one, until the first checkpoint on the new one is done.
	CheckpointTLI cluster.Timeline
}

// HeadSize is how many bytes [ParseHead] needs.
const HeadSize = 52

// ParseHead reads the beginning of pg_control; ok is false when it cannot be
// one. It serves to poll the state cheaply: no program is started.
func ParseHead(b []byte) (h Head, ok bool) {
	if len(b) < HeadSize {
		return h, false
	}
	e := binary.NativeEndian
	h.SystemIdentifier = e.Uint64(b)
	h.ControlVersion = e.Uint32(b[8:])
	n := e.Uint32(b[16:])
	if int(n) >= len(states) || h.ControlVersion < 1000 || h.ControlVersion > 9999 {
		return Head{}, false
	}
	h.State = states[n]
	// After the state come its padding, the time, the checkpoint's location and, of
	// its copy, the redo location.
	h.CheckpointTLI = cluster.Timeline(e.Uint32(b[48:]))
	return h, true
}

func lsn(s string) cluster.LSN {
	l, err := cluster.ParseLSN(s)
	if err != nil {
		return 0
	}
	return l
}

func timeline(s string) cluster.Timeline {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return cluster.Timeline(n)
}
