//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/proc"
)

// nudgeEvery is how often an unheard promotion request is repeated.
const nudgeEvery = 20 * time.Millisecond

// Promote makes a running standby a primary and waits until pg_control says
// that it is in production; from that moment on it accepts writes. A server
// that already is a primary is success.
//
// The request (the file and SIGUSR1, as pg_ctl sends it) is repeated until then.
// Once is not enough: the startup process can take the request and right after
// that go to sleep for wal_retrieve_retry_interval, 5 s by default, probably
// because its wake-up was used up by the end of the WAL receiver. Measured with PostgreSQL
// 15.18, 100 promotions after a clean stop of the primary on a busy machine with
// two cores: asked once, the median was 0.13 s, the longest 5.2 s, and the whole
// run took 196 s longer; repeated, 0.09 s and 0.84 s. A repeated request
// only wakes.
//
// least, when not 0, is the least number that the new timeline may have.
//
// When ctx ends first the request is taken back, so that nothing is promoted
// behind the caller's back later. It may have been taken before: the caller
// then has to look at the server again.
func (p *Instance) Promote(ctx context.Context, least cluster.Timeline) error {
	h, err := p.Postmaster()
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if head, err := p.ControlHead(); err != nil {
		return fmt.Errorf("promote: %w", err)
	} else if head.State == control.StateInProduction {
		return nil
	}
	s := p.Settings()
	if err := p.reserveTimelines(ctx, least); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	file := filepath.Join(s.DataDir, "promote")
	// A left-over would look as if our request were not taken yet.
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("promote: %w", err)
	}
	poll := adaptive{2 * time.Millisecond, 10 * time.Millisecond}
	var asked time.Time
	for {
		if time.Since(asked) >= nudgeEvery {
			asked = time.Now()
			if err := requestPromotion(h, file, s.modesFor(file).file); err != nil {
				_ = os.Remove(file)
				return fmt.Errorf("promote: %w", err)
			}
		}
		if head, err := p.ControlHead(); err == nil && head.State == control.StateInProduction {
			return removeIfThere(file)
		}
		if !h.Alive() {
			_ = os.Remove(file)
			return errors.New("promote: PostgreSQL ended")
		}
		if !poll.wait(ctx, h.Done()) {
			_ = os.Remove(file)
			return fmt.Errorf("promote: not finished in time, look whether the server took the request: %w", ctx.Err())
		}
	}
}

// requestPromotion asks the postmaster, which tells the startup process.
func requestPromotion(h *proc.Handle, file string, mode os.FileMode) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return h.Signal(syscall.SIGUSR1)
}

func removeIfThere(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// removeTrigger deletes a file that would promote the server as soon as it
// starts; a backup may carry one (trap 68).
func (p *Instance) removeTrigger(name string) {
	s := p.Settings()
	file := name
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.DataDir, file)
	}
	if err := os.Remove(file); err == nil {
		p.log.Info("removed a promotion trigger file that came with the data", "file", file)
	} else if !errors.Is(err, os.ErrNotExist) {
		p.log.Warn("cannot remove a promotion trigger file", "file", file, "error", err)
	}
}

// Restart stops the server fast and starts it again.
func (p *Instance) Restart(ctx context.Context, stop StopOptions, start StartOptions) (Started, error) {
	if _, err := p.Stop(ctx, stop); err != nil {
		return 0, fmt.Errorf("restart: %w", err)
	}
	r, err := p.Start(ctx, start)
	if err != nil {
		return 0, fmt.Errorf("restart: %w", err)
	}
	return r, nil
}

// RoleOnDisk is the role that the data folder would start in: uninitialized
// without data, replica with a signal file, else primary.
func (p *Instance) RoleOnDisk() (cluster.Role, error) {
	if st, err := p.DataDir(); st != DirPresent {
		return cluster.RoleUninitialized, err
	}
	if _, err := p.ControlHead(); errors.Is(err, os.ErrNotExist) {
		return cluster.RoleUninitialized, nil
	}
	f, err := p.SignalFiles()
	if err != nil {
		return cluster.RoleUninitialized, err
	}
	if f.Replica() {
		return cluster.RoleReplica, nil
	}
	return cluster.RolePrimary, nil
}
