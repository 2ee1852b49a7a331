//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/proc"
)

// ErrStartFailed: the server ended while it started. The error has the end of
// its log.
var ErrStartFailed = errors.New("PostgreSQL did not start")

// StartOptions say how to start.
type StartOptions struct {
	Role     cluster.Role  // primary, replica or standby_leader
	Upstream *Upstream     // whom a standby follows; nil: nobody
	Timeout  time.Duration // how long to wait; 0: Settings.PgCtlTimeout
	// BeforeSpawn is called right before the server is started, after everything
	// was prepared; an error gives up. It is the place of the last check that
	// nobody cancelled.
	BeforeSpawn func(context.Context) error
	// AfterSpawn gets the postmaster as soon as it runs.
	AfterSpawn func(*proc.Handle)

	reopen bool // StartAsPrimaryAgain: a standby's folder, opened on purpose
}

// Started is how far a start got.
type Started int

// Results of a start that did not fail.
const (
	StartedRunning  Started = iota + 1 // accepts connections
	StartedStarting                    // runs, and was still recovering when the time was over
)

const (
	logName      = "postmaster.log"
	logLimit     = 16 << 20 // at the next start a larger one is put aside
	leftoverTime = 5 * time.Second
)

// Start writes the configuration for the role and starts the server. When it
// returns, the server accepts connections, still starts, or is known not to
// have started. When ctx ends during the wait the server goes on.
func (p *Instance) Start(ctx context.Context, o StartOptions) (Started, error) {
	if h, err := p.Postmaster(); err == nil {
		p.log.Error("Cannot start PostgreSQL because one is already running.")
		return p.waitStarted(ctx, h, o.Timeout, 0)
	} else if !errors.Is(err, proc.ErrNotRunning) {
		return 0, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.closeLinks()
	setRole, err := p.prepare(ctx, o)
	if err != nil {
		return 0, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := p.endLeftovers(ctx); err != nil {
		return 0, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if o.BeforeSpawn != nil {
		if err := o.BeforeSpawn(ctx); err != nil {
			p.log.Info("PostgreSQL start cancelled.")
			return 0, fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
	if err := setRole(); err != nil {
		return 0, fmt.Errorf("start PostgreSQL: %w", err)
	}
	h, from, err := p.spawn()
	if err != nil {
		return 0, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.adopt(h)
	if o.AfterSpawn != nil {
		o.AfterSpawn(h)
	}
	return p.waitStarted(ctx, h, o.Timeout, from)
}

// prepare writes the configuration. The signal file, which decides the role,
// is left to setRole: a start that is cancelled must not turn a standby's folder
// into a primary's.
func (p *Instance) prepare(ctx context.Context, o StartOptions) (setRole func() error, err error) {
	if st, err := p.DataDir(); st != DirPresent {
		return nil, errors.Join(fmt.Errorf("the data folder is %s", st), err)
	}
	version, err := p.settingsVersion()
	if err != nil {
		return nil, err
	}
	p.files.Lock()
	defer p.files.Unlock()
	s := p.Settings()
	p.mu.Lock()
	keep, pitr, bootstrapping := p.keepRecovery, p.pointInTime, p.bootstrapping
	p.mu.Unlock()
	if o.Role == cluster.RolePrimary && !bootstrapping && !o.reopen {
		if f, err := p.SignalFiles(); err != nil || f.Replica() {
			return nil, errors.Join(errors.New("the data folder is a standby's (it has a signal file): it cannot be started as a primary, only promoted"), err)
		}
	}
	var recovery conf.Params
	var password []string
	signal := ""
	switch {
	case keep: // the bootstrap script's own settings stay
	case pitr != nil:
		params, standby := conf.PointInTime(pitr, version)
		recovery, signal = params, "recovery.signal"
		if standby {
			signal = "standby.signal"
		}
	case o.Role != cluster.RolePrimary:
		recovery, password = s.wanted(o.Upstream, o.Role, version)
		signal = "standby.signal"
	}
	g, err := p.generate(ctx, o.Role, recovery, password)
	if err != nil {
		return nil, err
	}
	if o.Role != cluster.RolePrimary && o.Role != cluster.RolePromoted {
		if err := p.raiseLimits(ctx, &g); err != nil {
			return nil, err
		}
	}
	if keep || pitr != nil && conf.PromotesAtTarget(pitr) {
		// It must not look like a member that can be connected to before it is whole.
		g.params.Set("hot_standby", "off")
	}
	if _, err := p.write(g); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.arguments = conf.Arguments(g.params)
	p.mu.Unlock()
	return func() error {
		if keep {
			return nil
		}
		return s.setSignal(signal)
	}, nil
}

// endLeftovers ends server processes whose postmaster died: as long as one of
// them is attached to its shared memory a new server refuses to start. They
// cannot commit anything that the crash did not already put at risk.
func (p *Instance) endLeftovers(ctx context.Context) error {
	s := p.Settings()
	names := serverNames(s.BinName["postgres"])
	list, err := proc.Processes(s.DataDir, names...)
	if err != nil || len(list) == 0 {
		return err
	}
	for _, h := range list {
		h.Close()
	}
	p.log.Warn("ending processes of a server that died", "count", len(list))
	ctx, cancel := context.WithTimeout(ctx, leftoverTime)
	defer cancel()
	return proc.KillAll(ctx, s.DataDir, 500*time.Millisecond, names...)
}

// spawn starts the postmaster in a session of its own, so that no signal to our
// terminal or process group reaches it and it outlives us. It stays our child
// and is reaped here; when we are gone our parent, the guardian, does that.
// from is where this server's output begins in the log.
func (p *Instance) spawn() (h *proc.Handle, from int64, err error) {
	s := p.Settings()
	path, err := s.program("postgres")
	if err != nil {
		return nil, 0, err
	}
	out, from, err := p.openLog()
	if err != nil {
		return nil, 0, err
	}
	defer out.Close()
	p.mu.Lock()
	args := append([]string{"-D", s.DataDir, "--config-file=" + s.confFile()}, p.arguments...)
	p.mu.Unlock()
	cmd, err := p.startServer(func() *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Dir = "/"
		cmd.Env = p.serverEnvironment(&s)
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return cmd
	})
	if err != nil {
		return nil, from, err
	}
	h, err = proc.Open(cmd.Process.Pid, 0)
	// Reaped at once when it ends: a zombie's process id in postmaster.pid looks
	// like a running server to the next one.
	go func() { _ = cmd.Wait() }()
	if errors.Is(err, proc.ErrGone) {
		return nil, from, p.startFailed(from)
	}
	if err != nil {
		// It runs and we cannot hold it: it must not stay without supervision.
		_ = cmd.Process.Signal(syscall.SIGINT)
		return nil, from, err
	}
	return h, from, nil
}

// startServer starts the postmaster in a control group of its own, where one may
// be made, so that fencing can kill it as a whole. Where that does not work it is
// started all the same: its processes are found by their folder then.
func (p *Instance) startServer(command func() *exec.Cmd) (*exec.Cmd, error) {
	cmd := command()
	group, err := proc.Group(p.Settings().DataDir)
	if err == nil {
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
		if err = proc.Punctual(cmd.Start); err == nil {
			return cmd, nil
		}
		cmd = command()
	}
	if !errors.Is(err, proc.ErrNotDelegated) {
		p.log.Warn("PostgreSQL is started without a control group of its own", "error", err)
	}
	return cmd, proc.Punctual(cmd.Start)
}

// openLog opens the file for what the server prints before (or without) its own
// logging.
func (p *Instance) openLog() (f *os.File, size int64, err error) {
	file := filepath.Join(p.dir, logName)
	if i, err := os.Stat(file); err == nil && i.Size() > logLimit {
		_ = os.Rename(file, file+".1")
	}
	f, err = os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open the server's log: %w", err)
	}
	size, err = f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// serverEnvironment is the environment of the postmaster.
func (p *Instance) serverEnvironment(s *Settings) []string {
	env := environment()
	for i, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PG_MALLOC_ARENA_MAX="); ok {
			env[i] = "MALLOC_ARENA_MAX=" + v
		}
	}
	// The process named in a stale postmaster.pid exists but is not a postmaster:
	// its number was given to somebody else (containers), or it is a zombie that
	// nobody has reaped. Named as grandparent, PostgreSQL ignores it. The file
	// itself is never removed by us: that is how two servers get onto one folder.
	if f, err := proc.ReadPidFile(s.DataDir); err == nil {
		if _, err := os.Stat("/proc/" + strconv.Itoa(f.PID)); err == nil {
			env = append(env, "PG_GRANDPARENT_PID="+strconv.Itoa(f.PID))
		}
	}
	return env
}

// waitStarted waits until the server accepts connections, by the word of the
// postmaster itself in postmaster.pid: no connection is made and no program
// started for it.
func (p *Instance) waitStarted(ctx context.Context, h *proc.Handle, timeout time.Duration, from int64) (Started, error) {
	s := p.Settings()
	if timeout == 0 {
		timeout = s.PgCtlTimeout
	}
	wctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	poll := adaptive{2 * time.Millisecond, 20 * time.Millisecond}
	for {
		if !h.Alive() {
			return 0, p.startFailed(from)
		}
		if f, err := proc.ReadPidFile(s.DataDir); err == nil && f.PID == h.PID() && f.Status == "ready" {
			p.mu.Lock()
			bootstrapping := p.bootstrapping
			p.mu.Unlock()
			if !bootstrapping {
				p.saveConfig()
			}
			return StartedRunning, nil
		}
		if !poll.wait(wctx, h.Done()) {
			if ctx.Err() != nil {
				return 0, fmt.Errorf("wait for PostgreSQL to start: %w", ctx.Err())
			}
			return StartedStarting, nil
		}
	}
}

// WaitStarted goes on waiting after a start that took too long.
func (p *Instance) WaitStarted(ctx context.Context, timeout time.Duration) (Started, error) {
	h, err := p.Postmaster()
	if err != nil {
		return 0, err
	}
	return p.waitStarted(ctx, h, timeout, 0)
}

// startFailed is the error of a server that ended, with the end of its output.
func (p *Instance) startFailed(from int64) error {
	text := ""
	if f, err := os.Open(filepath.Join(p.dir, logName)); err == nil {
		defer f.Close()
		if i, err := f.Stat(); err == nil {
			from = max(from, i.Size()-8<<10)
		}
		b, _ := io.ReadAll(io.NewSectionReader(f, from, 8<<10))
		text = lastLines(string(b), 10)
	}
	if text == "" {
		return fmt.Errorf("%w and said nothing in %s; look into its own log", ErrStartFailed, filepath.Join(p.dir, logName))
	}
	return fmt.Errorf("%w: %s", ErrStartFailed, text)
}

// StartAsPrimaryAgain starts the data folder of a standby that was stopped
// cleanly as a primary on the SAME timeline: without signal file it is, to
// PostgreSQL, a primary that was shut down.
//
// That is only right when this folder has everything that was ever committed on
// the timeline and nobody can go on with it: two servers on one timeline
// diverge without a trace. Whoever calls has proved that; here only what the
// folder itself must fulfil is checked, and nothing is changed if it does not.
func (p *Instance) StartAsPrimaryAgain(ctx context.Context, o StartOptions) (Started, error) {
	if _, err := p.Postmaster(); !errors.Is(err, proc.ErrNotRunning) {
		return 0, errors.Join(errors.New("start as primary again: PostgreSQL runs, or it is not known"), err)
	}
	d, err := p.ControlData(ctx)
	if err != nil {
		return 0, err
	}
	files, err := p.SignalFiles()
	if err != nil {
		return 0, err
	}
	if why := p.notWhole(d, files); why != "" {
		return 0, errors.New("start as primary again: " + why)
	}
	o.Role, o.Upstream, o.reopen = cluster.RolePrimary, nil, true
	return p.Start(ctx, o)
}

// notWhole tells why the folder cannot be opened as a primary without losing
// something, "" if it can. Without a signal file PostgreSQL runs crash recovery,
// which stays on the timeline of the last checkpoint: WAL of a later timeline,
// even if already replayed, would be ignored.
func (p *Instance) notWhole(d control.Data, files SignalFiles) string {
	switch {
	case d.State != control.StateShutDown && d.State != control.StateShutDownInRecovery:
		return fmt.Sprintf("the cluster is %q, not cleanly shut down", d.State)
	case files.BackupLabel:
		return "backup_label is there: the data is a base backup that was never recovered"
	case d.BackupPending:
		return "the end of the base backup that it came from was never reached"
	case d.MinRecoveryEndTLI != 0 && d.MinRecoveryEndTLI != d.CheckpointTLI:
		return fmt.Sprintf("it was recovered to timeline %d, its last checkpoint is of timeline %d", d.MinRecoveryEndTLI, d.CheckpointTLI)
	}
	list, err := p.HistoryFiles()
	if err != nil {
		return "its timelines cannot be listed: " + err.Error()
	}
	if n := len(list); n > 0 && list[n-1] > d.CheckpointTLI {
		return fmt.Sprintf("timeline %d exists already, the data is of timeline %d", list[n-1], d.CheckpointTLI)
	}
	return ""
}
