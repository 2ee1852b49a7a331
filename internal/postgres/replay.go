//go:build linux

package postgres

import (
	"context"
	"fmt"
	"strconv"
	"syscall"

	"tamada/internal/postgres/proc"
)

// ResumeReplay resumes WAL replay on a standby that paused it.
func (p *Instance) ResumeReplay(ctx context.Context) error {
	if _, err := p.query(ctx, "SELECT pg_catalog.pg_wal_replay_resume()"); err != nil {
		return fmt.Errorf("resume WAL replay: %w", err)
	}
	return nil
}

// RetryStream wakes the startup process of a standby that waits for
// wal_retrieve_retry_interval, so that it looks for WAL at once: in its archive, in
// pg_wal, and at its source. The signal is that of a reload, to this one process:
// it reads the configuration files again and does nothing else if it is not
// waiting. The server must have answered as a hot standby, which is long after
// the process took over its signals.
func (p *Instance) RetryStream(ctx context.Context) error {
	rows, err := p.query(ctx, "SELECT pid FROM pg_catalog.pg_stat_activity WHERE backend_type = 'startup'")
	if err != nil {
		return fmt.Errorf("look for the startup process: %w", err)
	}
	if len(rows) == 0 {
		return nil // it has just been promoted
	}
	pid, err := strconv.Atoi(string(rows[0][0]))
	if err != nil {
		return fmt.Errorf("look for the startup process: %w", err)
	}
	postmaster, err := p.Postmaster()
	if err != nil {
		return fmt.Errorf("wake the startup process: %w", err)
	}
	h, err := proc.Open(pid, 0)
	if err != nil {
		return fmt.Errorf("wake the startup process: %w", err)
	}
	defer h.Close()
	// The number may be another process's by now. The handle is of whatever has it,
	// so what is found to be the postmaster's child is also what gets the signal;
	// a child that has become something else takes a reload without harm.
	if s, err := proc.ReadStat(pid); err != nil || s.Parent != postmaster.PID() || s.Start != h.Start() {
		return nil
	}
	if err := h.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("wake the startup process: %w", err)
	}
	return nil
}
