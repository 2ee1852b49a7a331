package agent

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// stream is the hurry to stream again. A standby whose connection to the primary
// ended, or failed once, tries again only after wal_retrieve_retry_interval, 5 s
// by default (PostgreSQL manual 20.6.3), and after a change of the primary that
// is nearly always so: the first try comes before the new one is promoted.
// Until then a second failure would find it behind, and synchronous commits wait.
type stream struct {
	until, at ha.Instant // nothing to hurry for when until is zero
	pause     time.Duration
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Second
	// How long it is worth it: a primary that is dead stays so until its key expires,
	// and each try leaves a line in the server's log.
	hurryAfterEnd    = 3 * time.Second
	hurryAfterChange = 15 * time.Second
)

// hurry makes the standby try again soon, and again for some time.
func (a *Agent) hurry(long time.Duration) {
	s := &a.stream
	s.until, s.pause = max(s.until, a.now+long), firstRetry
	s.at = a.now + s.pause
}

// streamWake is when to look at the stream next.
func (a *Agent) streamWake() ha.Instant {
	if a.stream.until == 0 {
		return 0
	}
	return a.stream.at
}

func (a *Agent) retryStream() {
	s := &a.stream
	if s.until == 0 || a.now < s.at {
		return
	}
	if a.now >= s.until || a.inst.Primary() || a.lease.State() != lease.None {
		*s = stream{}
		return
	}
	s.pause = min(s.pause*3/2, lastRetry)
	s.at = a.now + s.pause
	i := &a.inst
	if a.task == nil && i.State == cluster.StateRunning && i.Running && i.Answers && i.FollowNeeds.Change == ha.NoChange && i.ReplicationState != "streaming" {
		a.emit(RetryStream{})
	}
	a.observe(false)
}

// streams takes over what a look said of the stream.
func (a *Agent) streams() {
	i := &a.inst
	if i.ReplicationState == "streaming" || !i.InRecovery {
		if a.suspect && i.InRecovery {
			a.happened(ha.RecordStream, "again", "")
		}
		a.suspect = false
		if i.FollowNeeds.Change == ha.NoChange {
			a.stream = stream{}
		}
	}
}
