//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tamada/internal/postgres/proc"
)

// Recover runs crash recovery in single-user mode, so that an uncleanly stopped
// primary can be rewound or compared with the new one. PostgreSQL must not run.
//
// Archiving is made to fail during it: half-recovered WAL must neither be
// archived nor recycled. What was waiting for the archive is archived first, as
// it may exist nowhere else (reference postgresql.md 4.5, trap 34).
func (p *Instance) Recover(ctx context.Context) error {
	if _, err := p.Postmaster(); !errors.Is(err, proc.ErrNotRunning) {
		return errors.Join(errors.New("single-user recovery: PostgreSQL runs, or it is not known"), err)
	}
	s := p.Settings()
	path, err := s.program("postgres")
	if err != nil {
		return err
	}
	if err := p.ArchiveReady(ctx); err != nil {
		p.log.Warn("not all segments could be archived before the recovery", "error", err)
	}
	if err := p.clearArchiveStatus(); err != nil {
		return fmt.Errorf("single-user recovery: %w", err)
	}
	if err := p.endLeftovers(ctx); err != nil {
		return fmt.Errorf("single-user recovery: %w", err)
	}
	options, err := s.lastOptions()
	if err != nil {
		p.log.Warn("postmaster.opts cannot be read, its options are left out", "error", err)
	}
	args := []string{"--single", "-D", s.DataDir}
	for _, o := range append(options, "archive_mode=on", "archive_command=false") {
		args = append(args, "-c", o)
	}
	args = append(args, "template1")
	return p.withoutSignal(&s, func() error {
		_, err := p.run(ctx, command{what: "single-user recovery", path: path, args: args, changes: true,
			env: p.singleUserEnvironment(&s)})
		return err
	})
}

// withoutSignal takes the signal file away while f runs, as a single-user server
// refuses to run with one, and puts it back: if we end here, nobody shall take a
// standby's folder for a primary's.
func (p *Instance) withoutSignal(s *Settings, f func() error) error {
	files, err := p.SignalFiles()
	if err == nil {
		err = s.setSignal("")
	}
	if err != nil {
		return fmt.Errorf("single-user recovery: %w", err)
	}
	err = f()
	if files.Standby {
		err = errors.Join(err, s.setSignal("standby.signal"))
	}
	return err
}

// singleUserEnvironment adds what makes a stale postmaster.pid harmless.
func (p *Instance) singleUserEnvironment(s *Settings) []string {
	for _, kv := range p.serverEnvironment(s) {
		if strings.HasPrefix(kv, "PG_GRANDPARENT_PID=") {
			return []string{kv}
		}
	}
	return nil
}

// clearArchiveStatus removes all files from archive_status.
func (p *Instance) clearArchiveStatus() error {
	s := p.Settings()
	dir := filepath.Join(s.DataDir, "pg_wal", "archive_status")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// lastOptions are the parameters of the last postmaster's command line, as
// name=value, from postmaster.opts. The file may be missing or cut off.
func (s *Settings) lastOptions() ([]string, error) {
	text, err := readIfExists(filepath.Join(s.DataDir, "postmaster.opts"))
	if err != nil {
		return nil, err
	}
	return parseOptions(text), nil
}

// parseOptions reads the words "--name=value" in double quotes; the folder of
// the configuration is kept, its other arguments are not parameters.
func parseOptions(text string) []string {
	var list []string
	for {
		_, rest, ok := strings.Cut(text, `"--`)
		if !ok {
			return list
		}
		word, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return list
		}
		if name, value, ok := strings.Cut(word, "="); ok && name != "" {
			list = append(list, strings.ReplaceAll(name, "-", "_")+"="+value)
		}
		text = after
	}
}
