//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/proc"
)

var (
	// ErrSourceGone: the rewind failed because its source is not reachable or not
	// a primary any more; it can be tried again.
	ErrSourceGone = errors.New("the source of the rewind is gone")
)

// ErrRewindNotBegun: pg_rewind failed before it changed anything, so the data
// folder is as good as it was.
var ErrRewindNotBegun = errors.New("the rewind had not begun to change the data folder")

// maxMissing bounds how many segments a rewind may ask for one by one.
const maxMissing = 10000

// CanRewind tells whether pg_rewind may be used here, and if not, why.
func (p *Instance) CanRewind(ctx context.Context) (ok bool, why string) {
	s := p.Settings()
	if !s.UsePgRewind {
		return false, "use_pg_rewind is off"
	}
	path, err := s.program("pg_rewind")
	if err == nil {
		_, err = p.output(ctx, command{what: "pg_rewind --help", path: path, args: []string{"--help"}})
	}
	if err != nil {
		return false, err.Error()
	}
	d, err := p.ControlData(ctx)
	if err != nil {
		return false, err.Error()
	}
	if !d.WALLogHints && !d.Checksums {
		return false, "the cluster has neither wal_log_hints nor data checksums"
	}
	return true, ""
}

// DivergenceFacts collects what tells whether the local data has left the
// leader's history. What could not be found out is left unknown, with the
// error beside it; package ha/rewind then says "ask again later".
func (p *Instance) DivergenceFacts(ctx context.Context, leader Upstream) (control.DivergenceFacts, error) {
	f := control.DivergenceFacts{LeaderName: leader.Name}
	var err error
	if f.Local, err = p.localPosition(ctx); err != nil {
		return f, fmt.Errorf("check for divergence: %w", err)
	}
	if f.Local == nil {
		return f, nil
	}
	p.log.Info(fmt.Sprintf("Local timeline=%d lsn=%s", f.Local.Timeline, f.Local.LSN))
	if f.LeaderInRecovery, err = p.sourceInRecovery(ctx, leader); err != nil {
		return f, fmt.Errorf("check for divergence: ask %s: %w", leader.Name, err)
	}
	if f.LeaderInRecovery {
		p.log.Info("Leader is still in_recovery and therefore can't be used for rewind")
		return f, nil
	}
	if err := p.leaderHistory(ctx, leader, &f); err != nil {
		return f, fmt.Errorf("check for divergence: ask %s for its history: %w", leader.Name, err)
	}
	return f, nil
}

// localPosition is where the local data ends; nil without an error when that is
// not known yet (reference postgresql.md 10.3-1).
func (p *Instance) localPosition(ctx context.Context) (*control.LocalPosition, error) {
	if _, err := p.Postmaster(); err == nil {
		if r, _ := p.Ready(ctx); r == Accepting {
			return p.runningPosition(ctx)
		}
	} else if !errors.Is(err, proc.ErrNotRunning) {
		return nil, err
	}
	d, err := p.ControlData(ctx)
	if err != nil {
		return nil, err
	}
	pos, end := positionOf(d)
	if end {
		pos.CheckpointEnd = p.CheckpointEnd(ctx, d)
	}
	return pos, nil
}

// positionOf reads the position out of control data; needEnd tells that the
// end of the checkpoint record is needed too.
func positionOf(d control.Data) (pos *control.LocalPosition, needEnd bool) {
	switch d.State {
	case control.StateShutDownInRecovery, control.StateInArchiveRecovery:
		if d.MinRecoveryEnd != 0 && d.MinRecoveryEndTLI != 0 {
			return &control.LocalPosition{InRecovery: true, Timeline: d.MinRecoveryEndTLI, LSN: d.MinRecoveryEnd}, false
		}
		// It was a primary that was started as a standby and reached nothing.
	case control.StateShutDown:
	default:
		return nil, false
	}
	if d.Checkpoint == 0 || d.CheckpointTLI == 0 {
		return nil, false
	}
	return &control.LocalPosition{Timeline: d.CheckpointTLI, LSN: d.Checkpoint}, true
}

func (p *Instance) runningPosition(ctx context.Context) (*control.LocalPosition, error) {
	o, err := p.Observe(ctx, ObserveOptions{})
	if err != nil {
		return nil, err
	}
	if !o.InRecovery {
		return nil, nil // a primary: nothing can be said while it writes
	}
	// Received WAL may be of a later timeline than what is replayed (trap 29).
	tli, err := p.LocalTimeline(ctx, 0)
	if err != nil {
		return nil, err
	}
	return &control.LocalPosition{InRecovery: true, Timeline: tli, LSN: o.ReplayLSN}, nil
}

// rewindSource is a connection to the leader with the rewind user's rights.
func (s *Settings) rewindSource(leader Upstream) connOptions {
	user := s.rewindUser()
	return connOptions{user: &user, host: leader.Host, port: leader.Port, database: leader.Database, timeout: queryTimeout}
}

func (p *Instance) sourceInRecovery(ctx context.Context, leader Upstream) (bool, error) {
	s := p.Settings()
	v, err := p.ask(ctx, s.rewindSource(leader), "SELECT pg_is_in_recovery()")
	return v == "t", err
}

// ask runs one query for one value over a new connection.
func (p *Instance) ask(ctx context.Context, o connOptions, sql string) (string, error) {
	c, err := p.connect(ctx, o)
	if err != nil {
		return "", err
	}
	defer closeConn(c)
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	rs, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if len(rs) != 1 || len(rs[0].Rows) != 1 || len(rs[0].Rows[0]) != 1 {
		return "", errors.New("unexpected answer")
	}
	return string(rs[0].Rows[0][0]), nil
}

// leaderHistory asks for the leader's timeline and, when it is later than ours,
// for its history.
func (p *Instance) leaderHistory(ctx context.Context, leader Upstream, f *control.DivergenceFacts) error {
	user := p.Settings().Replication
	c, err := p.connect(ctx, connOptions{replication: true, user: &user, host: leader.Host, port: leader.Port})
	if err != nil {
		return err
	}
	defer closeConn(c)
	id, err := identifyOver(ctx, c)
	if err != nil {
		return err
	}
	f.LeaderTimeline = id.Timeline
	p.log.Info(fmt.Sprintf("primary_timeline=%d", id.Timeline))
	if id.Timeline <= f.Local.Timeline || id.Timeline == 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	rs, err := c.Exec(ctx, "TIMELINE_HISTORY "+strconv.Itoa(int(id.Timeline))).ReadAll()
	if err != nil {
		return err
	}
	if len(rs) != 1 || len(rs[0].Rows) != 1 || len(rs[0].Rows[0]) < 2 {
		return errors.New("TIMELINE_HISTORY: unexpected answer")
	}
	entries, bad := control.ParseHistory(string(rs[0].Rows[0][1]))
	for _, line := range bad {
		p.log.Warn("a line of the leader's history cannot be read", "line", line)
	}
	f.History, f.HistoryKnown = entries, true
	p.log.Info("primary: history=" + strings.TrimSpace(string(rs[0].Rows[0][1])))
	return nil
}

// forbiddenRewind are options that this package sets or that would break it.
var forbiddenRewind = []string{"target-pgdata", "source-pgdata", "source-server", "write-recovery-conf", "dry-run",
	"restore-target-wal", "config-file", "no-ensure-shutdown", "version", "help"}

// Rewind runs pg_rewind against the leader. The server must be stopped and,
// unless it was stopped cleanly, recovered before. On success the folder holds
// the leader's data and is to be started as its standby. [ErrSourceGone] means
// that the folder is to be looked at: it may still be good, or half rewound.
func (p *Instance) Rewind(ctx context.Context, leader Upstream) error {
	if _, err := p.Postmaster(); !errors.Is(err, proc.ErrNotRunning) {
		p.log.Warn("Can not run pg_rewind because postgres is still running")
		return errors.Join(errors.New("rewind: PostgreSQL still runs, or it is not known"), err)
	}
	if err := p.ArchiveReady(ctx); err != nil {
		p.log.Warn("not all segments could be archived before the rewind", "error", err)
	}
	args, env, restore, err := p.rewindCommand(ctx, leader)
	if err != nil {
		return fmt.Errorf("rewind from %s: %w", leader.Name, err)
	}
	p.log.Info("running pg_rewind from " + leader.Name)
	err = p.rewindLoop(ctx, args, env, restore)
	if err == nil || ctx.Err() != nil {
		return err // with ErrRewindNotBegun also when it was cancelled in time
	}
	if inRecovery, serr := p.sourceInRecovery(ctx, leader); serr != nil || inRecovery {
		p.log.Warn("Failed to rewind because primary " + leader.Name + " become unreachable")
		return fmt.Errorf("%w: %w", ErrSourceGone, err)
	}
	p.log.Error("Failed to rewind from healthy primary: " + leader.Name)
	return fmt.Errorf("rewind from %s: %w", leader.Name, err)
}

// rewindLoop repeats the rewind after fetching each segment that it misses.
// restore is the command for that; "" when pg_rewind does it itself or there is
// none.
func (p *Instance) rewindLoop(ctx context.Context, args, env []string, restore string) error {
	s := p.Settings()
	path, err := s.program("pg_rewind")
	if err != nil {
		return err
	}
	fetched := map[string]bool{}
	for {
		r, err := p.run(ctx, command{what: "pg_rewind", path: path, args: args, env: env, changes: true})
		if err == nil {
			return nil
		}
		if notBegun(r) {
			err = fmt.Errorf("%w: %w", ErrRewindNotBegun, err)
		}
		segment := control.MissingWAL(r.stderr)
		if segment == "" {
			segment = control.MissingWAL(r.stdout)
		}
		if ctx.Err() != nil || restore == "" || segment == "" || fetched[segment] || len(fetched) >= maxMissing {
			return err
		}
		fetched[segment] = true
		if ferr := p.fetchWAL(ctx, restore, segment); ferr != nil {
			return errors.Join(err, ferr)
		}
	}
}

// notBegun tells whether pg_rewind ended before it changed anything. With
// --progress it says how much there is to copy right before it begins to
// (pg_rewind.c, all supported versions). An output of which we only have the end
// proves nothing.
func notBegun(r result) bool {
	return len(r.stderr)+len(r.stdout) < outputLimit && !strings.Contains(r.stderr+r.stdout, "need to copy")
}

func (p *Instance) rewindCommand(ctx context.Context, leader Upstream) (args, env []string, restore string, err error) {
	s := p.Settings()
	version, err := p.settingsVersion()
	if err != nil {
		return nil, nil, "", err
	}
	restore, err = p.OfflineParameter(ctx, "restore_command")
	if err != nil {
		return nil, nil, "", err
	}
	inside := filepath.Clean(s.configDir()) == filepath.Clean(s.DataDir)
	if restore != "" && (inside || version >= 150000) {
		args = append(args, "--restore-target-wal")
		restore = ""
	}
	if !inside && version >= 150000 {
		args = append(args, "--config-file="+s.confFile())
	}
	m := s.rewindUser().keywords()
	m["host"], m["port"], m["dbname"] = leader.Host, leader.Port, leader.Database
	if m["dbname"] == "" {
		m["dbname"] = s.database()
	}
	conf.Defaults(m, version)
	env = []string{"LANG=C", "LC_ALL=C", "PGOPTIONS=-c statement_timeout=0"}
	if lines := conf.PasswordLines(m); len(lines) > 0 {
		if _, err := s.writePassword(lines); err != nil {
			return nil, nil, "", err
		}
		env = append(env, "PGPASSFILE="+s.PgPass)
	}
	delete(m, "password")
	options, refused := s.rewindOptions()
	for _, r := range refused {
		p.log.Error("postgresql.rewind: this option is not allowed and left out", "option", r)
	}
	args = append(args, "--progress", "-D", s.DataDir, "--source-server="+conf.Conninfo(m, version))
	return append(args, options...), env, restore, nil
}

// rewindOptions are the user's own options. --progress is ours already, because of
// [notBegun], and not given twice.
func (s *Settings) rewindOptions() (options, refused []string) {
	options, refused = conf.Options(s.RewindOptions, conf.Forbid(forbiddenRewind...))
	return slices.DeleteFunc(options, func(o string) bool { return o == "--progress" }), refused
}

// ControlUsable tells whether pg_control can still be read after a failed
// rewind; a damaged folder must be made anew.
func (p *Instance) ControlUsable(ctx context.Context) bool {
	d, err := p.ControlData(ctx)
	return err == nil && d.SystemIdentifier != "" && d.State != "" && d.Checkpoint > cluster.LSN(0)
}
