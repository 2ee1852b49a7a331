//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/postgres"
)

// taskSlot is the running task as seen from outside of it.
type taskSlot struct {
	mu     sync.Mutex // guards the rest
	id     uint64
	cancel context.CancelFunc
}

func (t *taskSlot) begin(ctx context.Context, id uint64) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.id, t.cancel = id, cancel
	return ctx
}

func (t *taskSlot) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel()
}

// stop cancels the task of that number, if it is the running one.
func (t *taskSlot) stop(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.id == id && t.cancel != nil {
		t.cancel()
	}
}

// halfMade is what an interrupted task leaves of the data folder.
type halfMade int

const (
	stillWhole      halfMade = iota // it changes nothing that has to be mended
	halfCopied                      // to be removed, or left to another copy: it has a source
	halfRewound                     // not to be started; only another rewind, or a copy, mends it
	halfInitialized                 // a new cluster: whole only if the store knows it
	halfRecovered                   // recovery can be begun again at any point
)

// interrupted tells what an interruption of a task leaves. Tasks that leave
// something are in the journal while they run.
func interrupted(k ha.TaskKind) halfMade {
	switch k {
	case ha.TaskClone, ha.TaskReinitialize, ha.TaskReinit:
		return halfCopied
	case ha.TaskRewind:
		return halfRewound
	case ha.TaskBootstrap, ha.TaskPostBootstrap:
		return halfInitialized
	case ha.TaskCrashRecovery:
		return halfRecovered
	}
	return stillWhole
}

// startTask runs a task in a goroutine. What it does to the data folder is in
// the journal before it begins, and stays there when it fails half-way.
func (n *node) startTask(e agent.StartTask) {
	ctx := n.task.begin(n.ctx, e.ID)
	go func() {
		end := agent.TaskEnded{ID: e.ID}
		err := n.runTask(ctx, e, &end)
		if err != nil {
			end.Error = err.Error()
		}
		n.task.ended()
		n.facts.forget()
		n.send(end)
	}()
}

func (n *node) runTask(ctx context.Context, e agent.StartTask, end *agent.TaskEnded) error {
	leaves := interrupted(e.Kind)
	// A copy goes into the journal when it begins to remove: until then the folder is
	// as it was, and a successor must not remove what may be the last copy by then.
	if leaves != stillWhole && leaves != halfCopied {
		var initialize cluster.Version
		if leaves == halfInitialized {
			initialize = e.Initialize
		}
		if err := n.moveUnfinishedAside(e.Kind); err != nil {
			return err
		}
		if err := n.journal.Begin(e.Kind, initialize); err != nil {
			return err
		}
	}
	err := n.do(ctx, e, end)
	if leaves == stillWhole || leaves == halfInitialized {
		return err // a bootstrap is whole when the store knows the cluster
	}
	if err != nil && leaves == halfCopied && !n.journal.halfCopied() {
		end.Retry = errors.Is(err, postgres.ErrSourceSilent)
		return err // nothing was touched: what the journal says of the folder still holds
	}
	end.Retry = e.Kind == ha.TaskRewind && errors.Is(err, postgres.ErrRewindNotBegun) && errors.Is(err, postgres.ErrSourceGone)
	if err == nil || n.wholeAfter(leaves, err) {
		return errors.Join(err, n.journal.Clear())
	}
	end.Broken = leaves == halfRewound
	return err
}

// moveUnfinishedAside moves what an unfinished copy left aside before a new cluster is made in
// its place: from then on the journal tells of the new one only.
func (n *node) moveUnfinishedAside(k ha.TaskKind) error {
	if k != ha.TaskBootstrap || !n.journal.halfCopied() {
		return nil
	}
	if state, _ := n.pg.DataDir(); state == postgres.DirEmpty {
		return nil
	}
	return n.pg.MoveAside()
}

// wholeAfter tells whether the data folder is fit to be started although the
// task failed.
func (n *node) wholeAfter(leaves halfMade, err error) bool {
	switch leaves {
	case halfCopied:
		state, _ := n.pg.DataDir()
		return state == postgres.DirEmpty // the copy was cleaned away
	case halfRecovered:
		return true
	case halfRewound:
		return errors.Is(err, postgres.ErrRewindNotBegun)
	}
	return false
}

// do carries out one decision.
func (n *node) do(ctx context.Context, e agent.StartTask, end *agent.TaskEnded) error {
	switch e.Kind {
	case ha.TaskBootstrap:
		return n.bootstrap(ctx)
	case ha.TaskPostBootstrap:
		return n.postBootstrap(ctx)
	case ha.TaskCancelBootstrap:
		return n.cancelBootstrap(ctx)
	case ha.TaskClone:
		return n.clone(ctx, e.Kind, e.Do.(ha.Clone).From, false)
	case ha.TaskReinitialize, ha.TaskReinit:
		return n.reinitialize(ctx, e, e.Do.(ha.Reinitialize))
	case ha.TaskStartPrimary:
		return n.startServer(ctx, postgres.StartOptions{Role: cluster.RolePrimary})
	case ha.TaskRestartFailure:
		return n.startServer(ctx, postgres.StartOptions{Role: cluster.RoleReplica, Upstream: upstream(e.Do.(ha.StartReplica).Source)})
	case ha.TaskCrashRecovery:
		return n.pg.Recover(ctx)
	case ha.TaskRewind:
		return n.rewind(ctx, e.Do.(ha.Rewind).From)
	case ha.TaskPromote:
		return n.promote(ctx, e.ID, e.Do.(ha.Promote).Timeline)
	case ha.TaskResume:
		return n.resume(ctx)
	case ha.TaskFollowRestart, ha.TaskReload:
		return n.followSource(ctx, e.Do.(ha.Follow))
	case ha.TaskRestart:
		return n.restart(ctx, e.Do.(ha.Restart), end)
	case ha.TaskDemote, ha.TaskSwitchover, ha.TaskManualFailover:
		return n.demote(ctx, e.ID, e.Do.(ha.Demote), end)
	case ha.TaskStop:
		return n.demote(ctx, e.ID, ha.Demote{Mode: ha.DemoteGraceful}, end)
	}
	return fmt.Errorf("no such task: %s", e.Kind)
}

func (n *node) bootstrap(ctx context.Context) error {
	if err := n.pg.Bootstrap(ctx); err != nil {
		return err
	}
	_, err := n.pg.Start(ctx, postgres.StartOptions{Role: cluster.RolePrimary})
	return err
}

// postBootstrap ends with a CHECKPOINT: replicas are about to be cloned, and a
// base backup begins by waiting for one that is spread over minutes.
func (n *node) postBootstrap(ctx context.Context) error {
	restart, err := n.pg.PostBootstrap(ctx)
	if err != nil {
		return err
	}
	if restart {
		if _, err := n.pg.Restart(ctx, postgres.StopOptions{}, postgres.StartOptions{Role: cluster.RolePrimary}); err != nil {
			return err
		}
	}
	return n.pg.Checkpoint(ctx)
}

// cancelBootstrap moves the half-made cluster aside. Nobody has ever used it:
// its system identifier was not published.
func (n *node) cancelBootstrap(ctx context.Context) error {
	if _, err := n.pg.Stop(ctx, postgres.StopOptions{Mode: postgres.StopImmediate, Timeout: n.stopTimeout()}); err != nil {
		return err
	}
	if err := n.pg.MoveAside(); err != nil {
		return err
	}
	return n.journal.Clear()
}

func (n *node) stopTimeout() time.Duration { return n.settings().RetryTimeout }

func (n *node) clone(ctx context.Context, kind ha.TaskKind, from cluster.Member, baseBackupOnly bool) error {
	up := upstream(&from)
	if up == nil && from.Name != "" {
		return fmt.Errorf("member %s has no usable address: %q", from.Name, from.ConnURL)
	}
	_, err := n.pg.Clone(ctx, postgres.CloneOptions{From: up, BaseBackupOnly: baseBackupOnly,
		Begins: func(keeps bool) error { return n.journal.beginCopy(kind, keeps) }})
	return err
}

// reinitialize copies the data again. The decision core asks for it only with the
// permission of the configuration, or an operator's, and with a leader; the copy
// from it is what makes this not the last one.
//
// What if that leader has just died, and this is the last copy after all? It is
// asked before our server is stopped, so that a replica goes on as long as nobody
// can replace its data, and once more when the server is down, which takes a while.
// The data is removed by the method that makes the copy, when it is about to begin,
// or not at all (keep_data). If the source vanishes after that, the other replicas
// still have the data.
func (n *node) reinitialize(ctx context.Context, e agent.StartTask, d ha.Reinitialize) error {
	up := upstream(&d.From)
	if up == nil {
		return fmt.Errorf("member %s has no usable address: %q", d.From.Name, d.From.ConnURL)
	}
	if err := n.pg.SourceAnswers(ctx, *up); err != nil {
		return err
	}
	_, down := n.pg.Postmaster()
	n.log.Warn("making this replica anew: its data directory is replaced", "data_dir", n.pg.Settings().DataDir, "reason", d.Why, "source", d.From.Name)
	if _, err := n.pg.Stop(ctx, postgres.StopOptions{Mode: postgres.StopImmediate, Timeout: n.stopTimeout()}); err != nil {
		return err
	}
	if err := n.pg.SourceAnswers(ctx, *up); err != nil {
		if down == nil { // it ran: it goes on, also in maintenance mode
			_, serr := n.pg.Start(ctx, postgres.StartOptions{Role: cluster.RoleReplica, Upstream: up})
			err = errors.Join(err, serr)
		}
		return err
	}
	n.send(agent.TaskProgress{ID: e.ID, Phase: ha.PhaseCommitted})
	return n.clone(ctx, e.Kind, d.From, d.BaseBackupOnly)
}

func (n *node) startServer(ctx context.Context, o postgres.StartOptions) error {
	_, err := n.pg.Start(ctx, o)
	return err
}

func (n *node) rewind(ctx context.Context, leader cluster.Member) error {
	up := upstream(&leader)
	if up == nil {
		return fmt.Errorf("member %s has no usable address: %q", leader.Name, leader.ConnURL)
	}
	if _, err := n.pg.Stop(ctx, postgres.StopOptions{Mode: postgres.StopFast, Timeout: n.stopTimeout()}); err != nil {
		return errors.Join(postgres.ErrRewindNotBegun, err)
	}
	return n.pg.Rewind(ctx, *up)
}

func (n *node) promote(ctx context.Context, id uint64, least cluster.Timeline) error {
	if err := n.pg.RunPrePromote(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n.send(agent.TaskProgress{ID: id, Phase: ha.PhaseCommitted})
	return n.pg.Promote(ctx, least)
}

// resume restarts a server that was demoted only because the store was away as
// the primary that it was. The decision core has proved that nobody led in
// between.
func (n *node) resume(ctx context.Context) error {
	if _, err := n.pg.Stop(ctx, postgres.StopOptions{Mode: postgres.StopFast, Timeout: n.stopTimeout()}); err != nil {
		return err
	}
	_, err := n.pg.StartAsPrimaryAgain(ctx, postgres.StartOptions{Role: cluster.RolePrimary})
	return err
}

func (n *node) followSource(ctx context.Context, d ha.Follow) error {
	up := upstream(&d.Source)
	if up == nil {
		return fmt.Errorf("member %s has no usable address: %q", d.Source.Name, d.Source.ConnURL)
	}
	if !d.Restart {
		return n.pg.FollowReload(ctx, up, cluster.RoleReplica)
	}
	_, err := n.pg.Restart(ctx, postgres.StopOptions{}, postgres.StartOptions{Role: cluster.RoleReplica, Upstream: up})
	return err
}

// restart restarts the server as what it is. A server that cannot be started
// again in time goes on recovering; that is not a failure of the stop.
func (n *node) restart(ctx context.Context, d ha.Restart, end *agent.TaskEnded) error {
	o := postgres.StartOptions{Role: cluster.RoleReplica, Timeout: d.Timeout, Upstream: upstream(d.Source)}
	if d.Primary {
		o.Role = cluster.RolePrimary
	} else {
		n.pg.AwaitLowerLimits(ctx, o.Upstream)
	}
	// The checkpoint is done ahead, while clients can still write.
	started, err := n.pg.Restart(ctx, postgres.StopOptions{Checkpoint: true}, o)
	if err == nil && started == postgres.StartedStarting {
		end.StillStarting = true
		return errors.New("PostgreSQL is still starting")
	}
	return err
}

// demote stops a server. The reports on the way let the key be handed over, and
// the guardian be disarmed, before the last process has ended.
func (n *node) demote(ctx context.Context, id uint64, d ha.Demote, end *agent.TaskEnded) error {
	mode := d.Mode
	if d.Hung {
		// It would not react to a shutdown request. Its clients are waiting for a
		// server that serves them: end every process, the sessions first of all.
		n.log.Warn("PostgreSQL hangs: killing its processes")
		return guardian.KillInstance(n.pg.Settings().DataDir, serverNames(n.pg.Settings().BinName["postgres"]))
	}
	o := postgres.StopOptions{Mode: postgres.StopFast, Checkpoint: d.Checkpoint,
		BeforeSignal: func(context.Context) { n.send(agent.TaskProgress{ID: id, Phase: ha.PhaseSignalled}) },
		OnSafepoint:  func() { n.send(agent.TaskProgress{ID: id, Phase: ha.PhaseSafe}) },
		OnShutdown: func(_ context.Context, checkpoint, last cluster.LSN) {
			n.send(agent.TaskProgress{ID: id, Phase: ha.PhaseCheckpointed, Checkpoint: checkpoint, End: last})
		}}
	if mode == ha.DemoteImmediate || mode == ha.DemoteImmediateNoLock {
		o.Mode, o.Timeout = postgres.StopImmediate, n.stopTimeout()
	}
	if _, err := n.pg.Stop(ctx, o); err != nil {
		return err
	}
	if mode == ha.DemoteOffline {
		end.StoppedClean = n.stoppedClean(ctx)
	}
	return nil
}

func serverNames(binName string) []string {
	if binName == "" {
		return nil
	}
	return []string{binName}
}
