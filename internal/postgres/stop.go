//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/proc"
)

// StopMode is how to stop.
type StopMode int

// The modes of pg_ctl.
const (
	StopFast      StopMode = iota // roll back, disconnect, checkpoint
	StopImmediate                 // as in a crash
	StopSmart                     // wait until all clients went by themselves
)

func (m StopMode) signal() syscall.Signal {
	return [...]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}[m]
}

// StopOptions say how to stop. The hooks are called from the goroutine that
// called Stop, each at most once.
type StopOptions struct {
	Mode       StopMode
	Checkpoint bool // run CHECKPOINT first, so that the shutdown itself is short; not with StopImmediate
	// Timeout bounds each stage: when it is over fast and smart become immediate,
	// and immediate becomes SIGKILL. 0: no limit.
	Timeout time.Duration

	BeforeSignal func(ctx context.Context)
	// OnSafepoint: no client backend is left (or the server is down), so nothing
	// can be committed any more. Not called when that could not be established.
	OnSafepoint func()
	// OnShutdown: pg_control says that the cluster is shut down; the server may
	// still be archiving, or have ended. Positions as in [Instance.ShutdownCheckpoint]. Only of a
	// primary, and not with StopImmediate.
	OnShutdown func(ctx context.Context, checkpoint, end cluster.LSN)
}

// Stop stops the server. That none runs is success with signalled false. When
// ctx ends during the wait, the server goes on shutting down.
func (p *Instance) Stop(ctx context.Context, o StopOptions) (signalled bool, err error) {
	h, err := p.Postmaster()
	st := &stopping{p: p, h: h, o: o}
	if errors.Is(err, proc.ErrNotRunning) {
		return false, st.down(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("stop PostgreSQL: %w", err)
	}
	if o.Checkpoint && o.Mode != StopImmediate {
		if err := p.Checkpoint(ctx); err != nil {
			p.log.Warn("the checkpoint before the stop failed", "error", err)
		}
	}
	s := p.Settings()
	if s.BeforeStop != "" {
		if err := p.script(ctx, "before_stop script", s.BeforeStop, false, nil, nil); err != nil {
			p.log.Warn("before_stop script failed", "error", err)
		}
	}
	if o.BeforeSignal != nil {
		o.BeforeSignal(ctx)
	}
	if err := h.Signal(o.Mode.signal()); errors.Is(err, proc.ErrGone) {
		return false, st.down(ctx)
	} else if err != nil {
		return false, fmt.Errorf("stop PostgreSQL: %w", err)
	}
	p.closeLinks() // a smart shutdown would wait for us
	if err := st.wait(ctx); err != nil {
		return true, fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return true, st.down(ctx)
}

// stopping is one stop in progress.
type stopping struct {
	p        *Instance
	h        *proc.Handle
	o        StopOptions
	safe     bool // OnSafepoint was called
	shutDown bool // nothing more to learn from pg_control
}

// down completes a stop when the postmaster is gone. Backends outlive a
// postmaster that was killed, and can still commit: only without them nothing
// can be written any more.
func (st *stopping) down(ctx context.Context) error {
	if err := st.p.endLeftovers(ctx); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	st.safepoint()
	return nil
}

func (st *stopping) safepoint() {
	if !st.safe && st.o.OnSafepoint != nil {
		st.o.OnSafepoint()
	}
	st.safe = true
}

// wait waits until the postmaster has ended, by its pidfd, and escalates when a
// stage takes too long.
func (st *stopping) wait(ctx context.Context) error {
	ended, err := st.stage(ctx)
	if ended || err != nil {
		return err
	}
	st.p.log.Warn("Timeout during postmaster stop, aborting Postgres.")
	if st.o.Mode != StopImmediate {
		if err := st.h.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, proc.ErrGone) {
			return err
		}
		st.o.Mode = StopImmediate
		if ended, err := st.stage(ctx); ended || err != nil {
			return err
		}
	}
	st.p.log.Warn("Sending SIGKILL to Postmaster and its children")
	s := st.p.Settings()
	return proc.KillAll(ctx, s.DataDir, 0, serverNames(s.BinName["postgres"])...)
}

// stage waits for the end of the postmaster, at most the timeout, and calls the
// hooks when their moment comes.
func (st *stopping) stage(ctx context.Context) (ended bool, err error) {
	tctx := ctx
	if st.o.Timeout > 0 {
		var cancel context.CancelFunc
		tctx, cancel = context.WithTimeout(ctx, st.o.Timeout)
		defer cancel()
	}
	poll := adaptive{2 * time.Millisecond, 100 * time.Millisecond}
	for {
		if !st.h.Alive() {
			if st.o.Mode != StopImmediate {
				st.checkControl(ctx) // it may have ended between two looks
			}
			return true, nil
		}
		if st.o.Mode != StopImmediate {
			st.checkBackends()
			st.checkControl(ctx)
		}
		if !poll.wait(tctx, st.h.Done()) {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if !st.safe && st.o.Mode != StopImmediate && st.o.OnSafepoint != nil {
				st.reportBackends()
			}
			return false, nil
		}
	}
}

// checkBackends fires the safepoint once the shutdown has begun (new clients
// are refused from then on; before, a count would miss the next one) and no
// client backend is left.
func (st *stopping) checkBackends() {
	if st.safe || st.o.OnSafepoint == nil {
		return
	}
	f, err := proc.ReadPidFile(st.p.Settings().DataDir)
	if err != nil || f.PID != st.h.PID() || f.Status != "stopping" {
		return
	}
	if list, err := st.p.clientBackends(st.h); err == nil && len(list) == 0 {
		st.safepoint()
	}
}

func (st *stopping) reportBackends() {
	if list, err := st.p.clientBackends(st.h); err == nil && len(list) > 0 {
		st.p.log.Warn("client backends did not end in time", "backends", strings.Join(list, "; "))
	}
}

// checkControl looks whether the shutdown checkpoint is written. The postmaster
// may live on for as long as archive_command is slow, but from here on the data
// is complete.
func (st *stopping) checkControl(ctx context.Context) {
	if st.shutDown || st.o.OnShutdown == nil {
		return
	}
	head, err := st.p.ControlHead()
	if err != nil {
		return
	}
	switch head.State {
	case control.StateShutDownInRecovery:
		st.shutDown = true
	case control.StateShutDown:
		st.shutDown = true
		st.safepoint() // the checkpoint comes after the last backend
		d, err := st.p.ControlData(ctx)
		if err != nil {
			st.p.log.Warn("cannot read the control data of the stopped cluster", "error", err)
			return
		}
		checkpoint, end, err := st.p.ShutdownCheckpoint(ctx, d)
		if err != nil || checkpoint == 0 {
			st.p.log.Warn("cannot read the shutdown checkpoint", "error", err)
			return
		}
		st.o.OnShutdown(ctx, checkpoint, end)
	}
}

// auxiliary are the beginnings of process titles that are not client backends,
// of all supported versions.
var auxiliary = []string{"archiver", "startup", "autovacuum launcher", "autovacuum worker", "checkpointer", "logger",
	"stats collector", "wal receiver", "walreceiver", "wal sender", "walsender", "wal writer", "walwriter",
	"background writer", "logical replication launcher", "logical replication worker",
	"logical replication apply worker", "logical replication parallel worker", "logical replication tablesync worker",
	"logical replication parallel apply worker", "slotsync worker", "walsummarizer", "io worker", "datachecksums",
	"bgworker:"}

// clientBackends are the titles of the postmaster's children that serve
// clients. It is an error when they cannot be listed: an unreadable list is not
// an empty one (trap 5).
func (p *Instance) clientBackends(h *proc.Handle) ([]string, error) {
	children, err := proc.Children(h.PID())
	if err != nil {
		return nil, err
	}
	prefix := p.Settings().Scope + ": "
	var list []string
	for _, c := range children {
		if c.Dead() {
			continue
		}
		title, err := proc.Title(c.PID)
		if err != nil || title == "" {
			continue // it ended meanwhile
		}
		if clientTitle(title, prefix) {
			list = append(list, title)
		}
	}
	return list, nil
}

func clientTitle(title, clusterPrefix string) bool {
	what, ok := strings.CutPrefix(title, "postgres: ")
	if !ok {
		return false // just forked: before the shutdown began it was none of these
	}
	what = strings.TrimPrefix(what, clusterPrefix)
	for _, a := range auxiliary {
		if strings.HasPrefix(what, a) {
			return false
		}
	}
	return true
}

// Checkpoint runs CHECKPOINT on a connection of its own, without a time limit of
// the server's: it may take minutes. Ending ctx cancels it.
func (p *Instance) Checkpoint(ctx context.Context) error {
	c, err := p.connect(ctx, connOptions{})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer closeConn(c)
	sql := "CHECKPOINT"
	if serverVersion(c) >= 190000 {
		sql = "CHECKPOINT (FLUSH_UNLOGGED)"
	}
	stop := context.AfterFunc(ctx, func() {
		cctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		_ = c.CancelRequest(cctx)
	})
	defer stop()
	if _, err := c.Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
