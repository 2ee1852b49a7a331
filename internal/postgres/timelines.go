//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
)

// reserveTimelines makes the server pass over timeline numbers below least. At
// the end of recovery it takes the first number after the newest history file
// that it finds (findNewestTimeLine in timeline.c), so a file is put there for
// each number that is not to be used. Such a file names no ancestor: whoever
// reads it sees a timeline that is nobody's history, and does not go to it.
// Replicas get it with the others (the WAL receiver asks for every number in
// between).
func (p *Instance) reserveTimelines(ctx context.Context, least cluster.Timeline) error {
	if least == 0 {
		return nil
	}
	now, err := p.LocalTimeline(ctx, least-1)
	if err != nil {
		return fmt.Errorf("find out the present timeline: %w", err)
	}
	for tli := now + 1; tli < least; tli++ {
		file := filepath.Join(p.Settings().DataDir, "pg_wal", control.HistoryName(tli))
		s := p.Settings()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, s.modesFor(file).file)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString("# announced by another member and seen by nobody: not to be used again\n")
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("reserve timeline %d: %w", tli, err)
		}
		p.log.Warn("passing over a timeline that another member announced and nobody has seen", "timeline", uint32(tli))
	}
	return nil
}
