//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

var readyName = regexp.MustCompile(`^([0-9A-F]{24}(?:\.partial)?)\.ready$`)

// ArchiveReady archives the finished segments that the server did not get to,
// by the configured archive_command, before a rewind or recovery recycles them:
// they may exist nowhere else. The server must not run.
func (p *Instance) ArchiveReady(ctx context.Context) error {
	s := p.Settings()
	command, err := p.archiveCommand(ctx)
	if err != nil || command == "" {
		return err
	}
	wal := filepath.Join(s.DataDir, "pg_wal")
	entries, err := os.ReadDir(filepath.Join(wal, "archive_status"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries { // sorted by name
		m := readyName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(wal, m[1])); err != nil {
			continue
		}
		if err := p.archiveSegment(ctx, command, m[1]); err != nil {
			return err
		}
	}
	return nil
}

// archiveCommand is the command if archiving is on, else "".
func (p *Instance) archiveCommand(ctx context.Context) (string, error) {
	mode, err := p.OfflineParameter(ctx, "archive_mode")
	if err != nil {
		return "", err
	}
	if on, ok := cluster.ParseBool(mode); (!ok || !on) && mode != "always" {
		return "", nil
	}
	return p.OfflineParameter(ctx, "archive_command")
}

// archiveSegment runs archive_command, which is a shell's, as the server would.
func (p *Instance) archiveSegment(ctx context.Context, text, segment string) error {
	s := p.Settings()
	line := placeholders(text, map[byte]string{'p': filepath.Join("pg_wal", segment), 'f': segment})
	p.log.Info("archiving a segment", "segment", segment)
	_, err := p.run(ctx, command{what: "archive_command for " + segment, path: "/bin/sh", args: []string{"-c", line}, dir: s.DataDir, changes: true})
	if err != nil {
		return err
	}
	status := filepath.Join(s.DataDir, "pg_wal", "archive_status", segment)
	if err := os.Rename(status+".ready", status+".done"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ArchiveSegment archives one segment explicitly (the last one of a cluster that
// becomes a standby cluster); done is false when archiving is off.
func (p *Instance) ArchiveSegment(ctx context.Context, segment string) (done bool, err error) {
	command, err := p.archiveCommand(ctx)
	if err != nil || command == "" {
		return false, err
	}
	return true, p.archiveSegment(ctx, command, segment)
}

// fetchWAL gets a segment with restore_command into pg_wal. The command is split
// into words and not given to a shell.
func (p *Instance) fetchWAL(ctx context.Context, text, segment string) error {
	s := p.Settings()
	words, err := conf.ShellSplit(text)
	if err != nil || len(words) == 0 {
		return fmt.Errorf("restore_command: %w", errors.Join(errors.New("it cannot be split into words"), err))
	}
	values := map[byte]string{'p': filepath.Join(s.DataDir, "pg_wal", segment), 'f': segment, 'r': "000000010000000000000001"}
	for i := range words {
		words[i] = placeholders(words[i], values)
	}
	_, err = p.run(ctx, command{what: "restore_command for " + segment, path: words[0], args: words[1:], dir: s.DataDir, changes: true})
	return err
}

// placeholders replaces %p, %f, %r and %% as the server does.
func placeholders(text string, values map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		next := text[i+1]
		if v, ok := values[next]; ok {
			b.WriteString(v)
		} else if next == '%' {
			b.WriteByte('%')
		} else {
			b.WriteByte('%')
			continue
		}
		i++
	}
	return b.String()
}
