//go:build linux

package postgres

import (
	"context"
	"fmt"
)

// ResumeReplay resumes WAL replay on a standby that paused it.
func (p *Instance) ResumeReplay(ctx context.Context) error {
	if _, err := p.query(ctx, "SELECT pg_catalog.pg_wal_replay_resume()"); err != nil {
		return fmt.Errorf("resume WAL replay: %w", err)
	}
	return nil
}
