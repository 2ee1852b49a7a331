//go:build linux

package postgres

import (
	"time"

	"tamada/internal/cluster"
)

// Purpose names the kept connection that a query goes over.
type Purpose string

// The kept connections; the names are part of application_name.
const (
	Heartbeat Purpose = "heartbeat" // of the main loop
	RestAPI   Purpose = "restapi"
)

// ObserveOptions say which optional parts the monitoring query has.
type ObserveOptions struct {
	Over        Purpose // "": Heartbeat
	Senders     bool    // pg_stat_replication
	Slots       bool    // replication slots
	PendingGUCs bool    // names of parameters with pending_restart
}

// Observation is what one monitoring query found (reference postgresql.md 2).
// LSNs are 0 where the server said NULL.
type Observation struct {
	ServerVersion     int // server_version_num
	PostmasterStarted time.Time

	InRecovery bool
	Timeline   cluster.Timeline // of the WAL being written; 0 in recovery
	FlushLSN   cluster.LSN      // primary only

	ReplayLSN    cluster.LSN
	ReceiveLSN   cluster.LSN // pg_last_wal_receive_lsn
	ReplayPaused bool
	ReplayedAt   time.Time // commit time of the last replayed transaction; zero: none

	Receiver       *Receiver // nil: no WAL receiver
	RestoreCommand string

	SyncCommit string // synchronous_commit
	SyncNames  string // synchronous_standby_names

	Senders     []Sender
	Slots       []Slot
	PendingGUCs []string
}

// Receiver is the WAL receiver of a standby.
type Receiver struct {
	PID          int
	State        string // "streaming", ...
	Slot         string
	ConnInfo     string // password masked by the server
	WrittenLSN   cluster.LSN
	LatestEndLSN cluster.LSN
	// Timeline is the received timeline; 0 until the receiver has streamed.
	Timeline cluster.Timeline
}

// Received is the last received position: the further of received and written.
func (o *Observation) Received() cluster.LSN {
	if o.Receiver != nil {
		return max(o.ReceiveLSN, o.Receiver.WrittenLSN)
	}
	return o.ReceiveLSN
}

// Position is the last operation: the flushed position of a primary, else the
// further of received and replayed.
func (o *Observation) Position() cluster.LSN {
	if !o.InRecovery {
		return o.FlushLSN
	}
	return max(o.Received(), o.ReplayLSN)
}

// ReplicationState is "streaming", "in archive recovery" or "".
func (o *Observation) ReplicationState() string {
	switch {
	case !o.InRecovery:
		return ""
	case o.Receiver != nil && o.Receiver.State == "streaming":
		return "streaming"
	case o.RestoreCommand != "":
		return "in archive recovery"
	}
	return ""
}

// Sender is one row of pg_stat_replication.
type Sender struct {
	PID             int
	User            string
	ApplicationName string
	ClientAddr      string // "": a socket
	State           string
	SyncState       string
	SyncPriority    int
	Write           cluster.LSN
	Flush           cluster.LSN
	Replay          cluster.LSN
}

// Slot is one replication slot.
type Slot struct {
	Name           string
	Type           string // physical, logical
	Plugin         string
	Database       string
	Active         bool
	Xmin           bool // holds back the xmin horizon
	CatalogXmin    uint32
	RestartLSN     cluster.LSN
	ConfirmedFlush cluster.LSN
	WALStatus      string // reserved, extended, unreserved, lost
	Failover       bool   // PostgreSQL 17
	Synced         bool   // PostgreSQL 17
}
