package control

import "tamada/internal/cluster"

// LocalPosition is where the local data ends.
type LocalPosition struct {
	// InRecovery: it was a standby; LSN is then the replayed (running) or minimum
	// recovery end position, else the location of the shutdown checkpoint.
	InRecovery bool
	Timeline   cluster.Timeline
	LSN        cluster.LSN
	// CheckpointEnd is the end of the record at LSN; only of a stopped primary. 0
	// means that it could not be found out.
	CheckpointEnd cluster.LSN
}

// DivergenceFacts is all that tells whether the local data has left the
// history of the leader (reference postgresql.md 10.3). A nil Local, or a
// Leader* that is not known, means: ask again later.
type DivergenceFacts struct {
	Local *LocalPosition // nil: not known yet

	LeaderName       string
	LeaderInRecovery bool             // it answered, and is not a primary (yet)
	LeaderTimeline   cluster.Timeline // by IDENTIFY_SYSTEM; 0: not known
	History          []HistoryEntry   // of LeaderTimeline, when it was needed
	HistoryKnown     bool             // History was fetched
}
