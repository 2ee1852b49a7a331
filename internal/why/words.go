package why

import (
	"fmt"
	"strings"
	"time"

	"tamada/internal/ha"
	"tamada/internal/ledger"
)

// decided are decisions in words.
var decided = map[string]string{
	"AcquireLeader": "takes the leader key", "ReleaseLeader": "gives the leader key up", "AnnouncePromotion": "announces a promotion",
	"Promote": "promotes PostgreSQL", "Demote": "stops PostgreSQL", "StopPostgres": "stops PostgreSQL", "StartPrimary": "starts PostgreSQL as the primary",
	"StartReplica": "starts PostgreSQL as a replica", "ResumePrimary": "goes on as the primary", "CrashRecover": "runs crash recovery",
	"Clone": "copies the data", "Rewind": "rewinds", "Reinitialize": "throws its data away and copies it again", "Follow": "follows another source",
	"TakeInitialize": "wants to make a new cluster", "BootstrapCluster": "makes a new cluster", "RunPostBootstrap": "sets the new cluster up",
	"FinishBootstrap": "publishes the new cluster", "CancelBootstrap": "gives the new cluster up", "WriteInitialize": "writes the system identifier",
	"WriteConfig": "writes the dynamic configuration", "ResumeReplay": "resumes replay", "CancelTask": "cancels what it does", "Exit": "ends",
	"ClearFailover": "drops the request", "TakeBack": "takes the switchover back", "KeepCandidate": "keeps the requested candidate", "Restart": "restarts PostgreSQL", "DropRestart": "drops the scheduled restart",
}

// title is what an entry tells, in a few words.
func title(e *ledger.Entry) string {
	with := func(text, more string) string {
		if more == "" {
			return text
		}
		return text + " (" + more + ")"
	}
	switch e.Kind {
	case ha.RecordDecision:
		text, ok := decided[e.What]
		if !ok {
			text = e.What
		}
		return with(text, strings.TrimSpace(e.Action+" "+e.Member))
	case ha.RecordRefusal:
		if e.What == "AcquireLeader" {
			return "does not get the leader key"
		}
		if text, ok := decided[e.What]; ok {
			return text
		}
		return "does not act"
	case ha.RecordWait:
		return "waits"
	case ha.RecordLease:
		return map[string]string{"acquired": "has the leader key", "inherited": "has the previous agent's lease", "released": "gave the leader key up", "lost": "has lost the lease"}[e.What] +
			map[bool]string{true: "the clock jumped"}[e.What == "clock jumped"]
	case ha.RecordLeader:
		switch {
		case e.Member == "":
			return "sees the leader key of " + e.Before + " gone"
		case e.Before == "":
			return "sees " + e.Member + " lead"
		}
		return fmt.Sprintf("sees %s lead, not %s", e.Member, e.Before)
	case ha.RecordTask:
		text := "has done: "
		if e.Error != "" {
			text = "has failed: "
		}
		return with(text+e.What, secondsText(time.Duration(e.Took*float64(time.Second))))
	case ha.RecordRequest:
		return with("request "+e.What, e.Action)
	case ha.RecordStream:
		return map[string]string{"ended": "its stream from the primary has ended", "again": "streams again"}[e.What]
	case ha.RecordPostgres:
		return "PostgreSQL has ended by itself"
	case ha.RecordHistory:
		return "its history: " + with(e.What, e.Member)
	case ha.RecordPause:
		return "maintenance mode " + e.What
	case ha.RecordLedger:
		return "its ledger lacks entries"
	}
	return string(e.Kind) + " " + e.What
}
