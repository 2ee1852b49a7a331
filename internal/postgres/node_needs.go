//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
)

// ErrRewindNotBegun: pg_rewind failed before it changed anything.
var ErrRewindNotBegun = errors.New("the rewind had not begun to change the data folder")

// ResumeReplay resumes WAL replay on a standby that paused it.
func (p *Instance) ResumeReplay(ctx context.Context) error {
	if _, err := p.query(ctx, "SELECT pg_catalog.pg_wal_replay_resume()"); err != nil {
		return fmt.Errorf("resume WAL replay: %w", err)
	}
	return nil
}
