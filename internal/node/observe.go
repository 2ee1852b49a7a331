//go:build linux

package node

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/slots"
	"tamada/internal/postgres"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/proc"
	"tamada/internal/watchdog"
)

const (
	observeTimeout  = 5 * time.Second
	rewindCheckedIn = 10 * time.Minute
)

// seen are the processes that an observation found.
type seen struct {
	postmaster      int
	postmasterStart uint64
	receiver        int
}

// observedNow carries, beside the facts, what the node itself needs of them.
type observedNow struct {
	agent.Observed
	seen seen
}

// factCache keeps facts that are expensive to find out and rarely change.
type factCache struct {
	mu        sync.Mutex // guards the rest
	rewindCan bool
	rewindAt  time.Time
	complaint string // the newest about connections that fail

	// received is the highest timeline that a WAL receiver of the postmaster that
	// started at postmaster was seen to receive.
	received   cluster.Timeline
	postmaster time.Time
}

// receivedUpTo takes down the timeline that a WAL receiver receives now, 0 when
// there is none, and returns the highest since the postmaster started.
//
// In a race the primary is gone, the receiver with it, and the server itself tells
// only the timeline that it has replayed. Where replay stands still before the
// switch of timelines (a query in conflict with it, a pause) the WAL that was
// received beyond would count as that of an old timeline, by which the member may
// not lead and is passed over: rows that were acknowledged would be lost. A
// promotion replays all that was received.
//
// An agent that starts when the receiver is gone already does not know, and tells
// what was replayed. That errs to the safe side for this node, which does not race,
// and the others wait a ttl for it (candidate.Compare). To remember less than was
// received is always that; more cannot be remembered, because what another
// postmaster received is forgotten, also by an observation that comes late.
func (c *factCache) receivedUpTo(postmaster time.Time, now cluster.Timeline) cluster.Timeline {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !postmaster.Equal(c.postmaster) {
		c.postmaster, c.received = postmaster, 0
	}
	c.received = max(c.received, now)
	return c.received
}

// firstTime tells whether a complaint differs from the one before.
func (c *factCache) firstTime(complaint string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	differs := complaint != c.complaint
	c.complaint = complaint
	return differs
}

// observe looks at the instance.
func (n *node) observe(e agent.Observe) {
	ctx, cancel := context.WithTimeout(n.ctx, observeTimeout)
	defer cancel()
	f, s := n.look(ctx, e.Source)
	f.WatchdogProblem = watchdog.Problem(n.watchdogSettings(), n.settings().TTL)
	select {
	case n.looks <- observedNow{agent.Observed{ID: e.ID, Facts: f}, s}:
	case <-n.ctx.Done():
	}
}

func (n *node) look(ctx context.Context, source *cluster.Member) (f agent.Facts, s seen) {
	switch state, err := n.pg.DataDir(); state {
	case postgres.DirEmpty:
		f.Data = ha.DataEmpty
	case postgres.DirInaccessible:
		f.Data, f.DataErr = ha.DataInaccessible, err.Error()
	default:
		f.Data = ha.DataPresent
		if n.journal.halfCopied() {
			f.Data = ha.DataEmpty // what a copy left that did not succeed, for the next one (keep_data)
		}
	}
	h, err := n.pg.Postmaster()
	if err == nil {
		f.Running = true
		s.postmaster, s.postmasterStart = h.PID(), h.Start()
	} else if !errors.Is(err, proc.ErrNotRunning) {
		n.log.Error("could not tell whether PostgreSQL runs", "error", err)
	}
	if f.Data != ha.DataPresent {
		return f, s
	}
	if head, err := n.pg.ControlHead(); err == nil {
		f.Sysid, f.ControlTimeline = strconv.FormatUint(head.SystemIdentifier, 10), head.CheckpointTLI
	}
	if v, err := n.pg.MajorVersion(); err == nil {
		f.Major = v / 10000
	}
	f.RewindCan = n.rewindCan(ctx)
	if f.Running {
		s.receiver = n.lookRunning(ctx, &f, source)
	} else {
		n.lookStopped(ctx, &f)
	}
	return f, s
}

// rewindCan asks for a fact that needs two child processes only now and then.
func (n *node) rewindCan(ctx context.Context) bool {
	c := &n.facts
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rewindAt.IsZero() || time.Since(c.rewindAt) > rewindCheckedIn {
		c.rewindCan, _ = n.pg.CanRewind(ctx)
		c.rewindAt = time.Now()
	}
	return c.rewindCan
}

// forget makes the next look ask anew, after something changed the folder.
func (c *factCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rewindAt = time.Time{}
}

// lookRunning asks a running server and returns the pid of its WAL receiver.
func (n *node) lookRunning(ctx context.Context, f *agent.Facts, source *cluster.Member) (receiver int) {
	o, err := n.pg.Observe(ctx, postgres.ObserveOptions{Slots: true, PendingGUCs: true})
	if err != nil {
		ready, _ := n.pg.Ready(ctx)
		f.Rejecting = ready == postgres.Rejecting
		n.log.Debug("PostgreSQL did not answer", "error", err, "readiness", ready.String())
		if ready == postgres.Accepting && n.facts.firstTime(err.Error()) {
			n.log.Warn("PostgreSQL accepts connections, but not ours: see postgresql.authentication and postgresql.pg_hba", "error", err)
		}
		return 0
	}
	n.facts.firstTime("")
	f.Answers, f.InRecovery = true, o.InRecovery
	f.LSN, f.Received, f.Replayed = o.Position(), o.Received(), o.ReplayLSN
	f.ServerVersion, f.Postmaster = o.ServerVersion, o.PostmasterStarted
	f.ReplicationState, f.ReplayPaused, f.Timeline = o.ReplicationState(), o.ReplayPaused, o.Timeline
	for _, x := range o.Slots {
		f.Slots = append(f.Slots, slots.Slot{Name: x.Name, Physical: x.Type == "physical", Active: x.Active,
			RestartLSN: x.RestartLSN, HasXmin: x.Xmin, Lost: x.WALStatus == "lost"})
	}
	if len(o.PendingGUCs) > 0 || len(n.pg.Lifted()) > 0 {
		f.PendingRestart = n.pendingRestart(ctx)
	}
	if !o.InRecovery {
		return 0
	}
	f.Timeline = n.standbyTimeline(ctx, o, source)
	n.lookFollow(ctx, f, o, source)
	if o.Receiver != nil {
		return o.Receiver.PID
	}
	return 0
}

// standbyTimeline is the highest that was received since the server started, or
// the one that it replays, where that is higher: WAL from an archive is received
// by nobody. The latter is the server's own word over a replication connection,
// which is cached while it equals the leader's.
func (n *node) standbyTimeline(ctx context.Context, o *postgres.Observation, source *cluster.Member) cluster.Timeline {
	var receives cluster.Timeline
	if o.Receiver != nil {
		receives = o.Receiver.Timeline
	}
	received := n.facts.receivedUpTo(o.PostmasterStarted, receives)
	if receives > 0 {
		return received
	}
	var leader cluster.Timeline
	if source != nil {
		leader = source.Timeline
	}
	replayed, err := n.pg.LocalTimeline(ctx, leader)
	if err != nil {
		n.log.Debug("could not ask for the own timeline", "error", err)
	}
	return max(received, replayed)
}

func (n *node) lookFollow(ctx context.Context, f *agent.Facts, o *postgres.Observation, source *cluster.Member) {
	if source == nil {
		return
	}
	change, err := n.pg.FollowChange(ctx, upstream(source), cluster.RoleReplica, o)
	if err != nil {
		n.log.Debug("could not compare the recovery settings", "error", err)
		return
	}
	f.FollowNeeds = ha.FollowNeeds{Source: source.Name, Checked: true, Change: map[postgres.Change]ha.Change{
		postgres.ChangeNone: ha.NoChange, postgres.ChangeReload: ha.NeedsReload, postgres.ChangeRestart: ha.NeedsRestart}[change]}
}

func (n *node) lookStopped(ctx context.Context, f *agent.Facts) {
	d, err := n.pg.ControlData(ctx)
	if err != nil {
		level := slog.LevelError
		if n.journal.Unfinished() {
			level = slog.LevelDebug // a copy, or initdb, comes to that file last
		}
		n.log.Log(ctx, level, "could not read the control file of the data folder", "error", err)
		return
	}
	if files, err := n.pg.SignalFiles(); err == nil {
		f.StandbyFile, f.BackupLabel = files.Replica(), files.BackupLabel
	} else {
		// Whoever cannot see standby.signal must not take the folder for a primary's.
		n.log.Error("could not look for the signal files in the data folder", "error", err)
		return
	}
	f.Control = &ha.Control{State: string(d.State), CheckpointLSN: d.Checkpoint, CheckpointTLI: d.CheckpointTLI}
}

func (n *node) pendingRestart(ctx context.Context) *cluster.Object {
	changes, err := n.pg.PendingRestart(ctx)
	if err != nil {
		n.log.Debug("could not ask which parameters wait for a restart", "error", err)
		return nil
	}
	o := &cluster.Object{}
	for _, c := range changes {
		o.Set(c.Name, cluster.NewObject("old_value", c.Old, "new_value", c.New))
	}
	return o
}

// upstream is a member as somebody to stream from; nil for nobody.
func upstream(m *cluster.Member) *postgres.Upstream {
	if m == nil {
		return nil
	}
	host, port, ok := m.Address()
	if !ok {
		return nil
	}
	return &postgres.Upstream{Name: m.Name, Host: host, Port: strconv.Itoa(port)}
}

// stoppedClean is the end of the history of a server that was stopped with a
// shutdown checkpoint, nil otherwise.
func (n *node) stoppedClean(ctx context.Context) *ha.Position {
	d, err := n.pg.ControlData(ctx)
	if err != nil || d.State != control.StateShutDown {
		return nil
	}
	end := n.pg.CheckpointEnd(ctx, d)
	if end == 0 {
		return nil
	}
	return &ha.Position{Timeline: d.CheckpointTLI, LSN: end}
}
