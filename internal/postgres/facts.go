//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
)

// DirState is what a look at the data folder found.
type DirState int

// States of the data folder.
const (
	DirEmpty        DirState = iota // or not there
	DirPresent                      // something is in it
	DirInaccessible                 // it could not be read: never taken for empty
)

// String is for logs.
func (s DirState) String() string {
	return [...]string{"empty", "present", "inaccessible"}[s]
}

// DataDir looks at the data folder; err is set with DirInaccessible only.
//
// pg_control is looked for first and by name: listing the folder can block for
// minutes on a busy disk (reference ha.md, trap 27).
func (p *Instance) DataDir() (DirState, error) {
	s := p.Settings()
	_, err := os.Stat(filepath.Join(s.DataDir, "global", "pg_control"))
	if err == nil {
		return DirPresent, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return DirInaccessible, err
	}
	d, err := os.Open(s.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return DirEmpty, nil
	}
	if err != nil {
		return DirInaccessible, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(64)
		for _, n := range names {
			if n != "lost+found" && n[0] != '.' {
				return DirPresent, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return DirEmpty, nil
		}
		if err != nil {
			return DirInaccessible, err
		}
	}
}

// MajorVersion is what PG_VERSION says, as 150000. An error means that it is
// not known: then nothing may be written into the folder.
func (p *Instance) MajorVersion() (int, error) {
	s := p.Settings()
	file := filepath.Join(s.DataDir, "PG_VERSION")
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(data))
	a, b, _ := strings.Cut(text, ".")
	major, err := strconv.Atoi(a)
	if err != nil || major <= 0 || major > 999 {
		return 0, fmt.Errorf("read %s: %q is not a version", file, text)
	}
	minor, _ := strconv.Atoi(b)
	if major >= 10 {
		minor = 0
	}
	return major*10000 + minor*100, nil
}

// settingsVersion is the version whose rules configuration files follow: the
// data folder's, if it can be operated.
func (p *Instance) settingsVersion() (int, error) {
	v, err := p.MajorVersion()
	if err != nil {
		return 0, fmt.Errorf("the version of the data folder is not known: %w", err)
	}
	return v, p.checkVersion(v)
}

// ControlData runs pg_controldata.
func (p *Instance) ControlData(ctx context.Context) (control.Data, error) {
	s := p.Settings()
	path, err := s.program("pg_controldata")
	if err != nil {
		return control.Data{}, err
	}
	out, err := p.output(ctx, command{what: "pg_controldata", path: path, args: []string{s.DataDir}})
	if err != nil {
		return control.Data{}, fmt.Errorf("read the control data of %s: %w", s.DataDir, err)
	}
	return control.ParseData(out), nil
}

// ControlHead reads the beginning of pg_control itself: state and system
// identifier, without starting a program. It serves waits that look often.
func (p *Instance) ControlHead() (control.Head, error) {
	s := p.Settings()
	file := filepath.Join(s.DataDir, "global", "pg_control")
	f, err := os.Open(file)
	if err != nil {
		return control.Head{}, err
	}
	defer f.Close()
	b := make([]byte, control.HeadSize)
	if _, err := io.ReadFull(f, b); err != nil {
		return control.Head{}, fmt.Errorf("read %s: %w", file, err)
	}
	h, ok := control.ParseHead(b)
	if !ok {
		return h, fmt.Errorf("read %s: it is damaged or of an unknown version", file)
	}
	return h, nil
}

// SignalFiles tells which files that steer a start are in the data folder.
type SignalFiles struct{ Standby, Recovery, BackupLabel bool }

// Replica tells whether a server started on this folder comes up in recovery.
func (f SignalFiles) Replica() bool { return f.Standby || f.Recovery }

// SignalFiles looks for them. An error other than absence is returned: a folder
// whose standby.signal cannot be seen must not be started as a primary.
func (p *Instance) SignalFiles() (SignalFiles, error) {
	s := p.Settings()
	var f SignalFiles
	var errs []error
	for name, to := range map[string]*bool{"standby.signal": &f.Standby, "recovery.signal": &f.Recovery, "backup_label": &f.BackupLabel} {
		_, err := os.Stat(filepath.Join(s.DataDir, name))
		*to = err == nil
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return f, errors.Join(errs...)
}

// HistoryFile is a timeline history file of the local data.
type HistoryFile struct {
	Entries []control.HistoryEntry
	// Modified is when the timeline began on this machine (the file's time).
	Modified time.Time
}

// History reads the local history file of a timeline; [os.ErrNotExist] when
// there is none (timeline 1 never has one).
func (p *Instance) History(tli cluster.Timeline) (HistoryFile, error) {
	s := p.Settings()
	file := filepath.Join(s.DataDir, "pg_wal", control.HistoryName(tli))
	data, err := os.ReadFile(file)
	if err != nil {
		return HistoryFile{}, err
	}
	entries, bad := control.ParseHistory(string(data))
	for _, line := range bad {
		p.log.Warn("a line of a history file cannot be read", "file", file, "line", line)
	}
	h := HistoryFile{Entries: entries}
	if i, err := os.Stat(file); err == nil {
		h.Modified = i.ModTime()
	}
	return h, nil
}

// HistoryFiles lists the timelines that have a local history file, ascending.
func (p *Instance) HistoryFiles() ([]cluster.Timeline, error) {
	s := p.Settings()
	entries, err := os.ReadDir(filepath.Join(s.DataDir, "pg_wal"))
	if err != nil {
		return nil, err
	}
	var list []cluster.Timeline
	for _, e := range entries {
		if t, ok := control.HistoryTimeline(e.Name()); ok {
			list = append(list, t)
		}
	}
	slices.Sort(list)
	return list, nil
}

// ShutdownCheckpoint returns two positions of a cluster that is shut down: the
// checkpoint record, which a replica must have received to be complete, and
// the meaningful end of data. They differ when archiving is on, because the
// server switches to a new segment right before the checkpoint (reference
// postgresql.md 3). Zeroes when d is not of a cluster that is shut down.
func (p *Instance) ShutdownCheckpoint(ctx context.Context, d control.Data) (checkpoint, end cluster.LSN, err error) {
	if d.State != control.StateShutDown || d.Checkpoint == 0 {
		return 0, 0, nil
	}
	r, err := p.record(ctx, d.CheckpointTLI, d.Checkpoint)
	if err != nil {
		return 0, 0, err
	}
	if !r.ShutdownCheckpoint(d.Checkpoint) {
		return 0, 0, fmt.Errorf("the record at %s is not a shutdown checkpoint", d.Checkpoint)
	}
	before, err := p.record(ctx, d.CheckpointTLI, r.Prev)
	if err == nil && before.WALSwitch() {
		return d.Checkpoint, before.LSN, nil
	}
	return d.Checkpoint, d.Checkpoint, nil
}

// record reads one WAL record with pg_waldump.
func (p *Instance) record(ctx context.Context, tli cluster.Timeline, at cluster.LSN) (control.Record, error) {
	r, err := p.waldump(ctx, tli, at, 1)
	if err != nil {
		return control.Record{}, err
	}
	rec, ok := control.ParseRecord(r.stdout)
	if !ok {
		return rec, fmt.Errorf("read the WAL record at %s of timeline %d: %s", at, tli, lastLines(r.stderr, 2))
	}
	return rec, nil
}

// waldump dumps n records. That it ends in an error is normal at the end of the
// log, so only a program that cannot run is one here.
func (p *Instance) waldump(ctx context.Context, tli cluster.Timeline, at cluster.LSN, n int) (result, error) {
	s := p.Settings()
	path, err := s.program("pg_waldump")
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, shortCommand)
	defer cancel()
	r, err := p.run(ctx, command{what: "pg_waldump", path: path, env: []string{"LANG=C", "LC_ALL=C"},
		args: []string{"-p", filepath.Join(s.DataDir, "pg_wal"), "-t", strconv.Itoa(int(tli)), "-s", at.String(), "-n", strconv.Itoa(n)}})
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code >= 0 {
		return r, nil
	}
	return r, err
}

// CheckpointEnd is the end of the checkpoint record of a cluster that is shut
// down, 0 when it cannot be told: then the divergence check assumes the worst.
func (p *Instance) CheckpointEnd(ctx context.Context, d control.Data) cluster.LSN {
	r, err := p.waldump(ctx, d.CheckpointTLI, d.Checkpoint, 2)
	if err != nil {
		p.log.Warn("cannot find the end of the last checkpoint", "error", err)
		return 0
	}
	return control.RecordEnd(r.stdout, r.stderr, d.Checkpoint)
}

// OfflineParameter is the value of a parameter as the server would use it, read
// by the server program; the server need not run.
func (p *Instance) OfflineParameter(ctx context.Context, name string) (string, error) {
	s := p.Settings()
	path, err := s.program("postgres")
	if err != nil {
		return "", err
	}
	out, err := p.output(ctx, command{what: "read parameter " + name, path: path,
		args: []string{"-D", s.DataDir, "-C", name, "--config-file=" + s.confFile()}})
	if err != nil {
		return "", err
	}
	return strings.TrimRight(out, "\n"), nil
}
