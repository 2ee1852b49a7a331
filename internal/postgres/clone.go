//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// baseBackupPause is what a source gets to recover between two attempts.
const baseBackupPause = 5 * time.Second

// CloneOptions say from whom and how a replica is made.
type CloneOptions struct {
	From           *Upstream // nil: only methods that need no source
	BaseBackupOnly bool      // reinitialisation from the leader
	// Begins is called right before a method removes what is in the data folder, or
	// begins to work with it (keeps). An error ends the attempt of that method.
	Begins func(keeps bool) error
}

// Clone makes a replica's data folder with the configured methods, in order,
// until one succeeds; method is its name. What is in the folder is removed
// first (not for a method with keep_data), so the caller must be sure that it
// is not the last copy; nothing is removed before the program of the method has been
// found. When all fail, or ctx ends, what was begun is removed again (not for a
// method with keep_data).
func (p *Instance) Clone(ctx context.Context, o CloneOptions) (method string, err error) {
	s := p.Settings()
	methods := s.CreateReplicaMethods
	if o.From != nil && len(o.From.CreateReplicaMethods) > 0 {
		methods = o.From.CreateReplicaMethods
	}
	if len(methods) == 0 || o.BaseBackupOnly {
		methods = []string{"basebackup"}
	}
	version, err := p.BinaryVersion(ctx)
	if err != nil {
		return "", fmt.Errorf("create replica: %w", err)
	}
	conninfo, env, err := p.cloneSource(&s, o.From, version)
	if err != nil {
		return "", fmt.Errorf("create replica: %w", err)
	}
	begins := o.Begins
	if begins == nil {
		begins = func(bool) error { return nil }
	}
	var failures []error
	for _, m := range methods {
		section := s.Methods[m]
		if o.From == nil && !conf.Truthy(section.Value("no_leader")) {
			continue
		}
		if m == "basebackup" && section == nil {
			err = p.baseBackup(ctx, &s, version, conninfo, env, begins)
		} else {
			err = p.cloneScript(ctx, &s, m, section, conninfo, env, begins)
		}
		if err == nil {
			p.log.Info("replica has been created using " + m)
			return m, p.afterClone(&s)
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("create replica: %w", err)
		}
		text, about := ended(err, section)
		p.log.Error("Error creating replica using method "+m+text, about...)
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		failures = append(failures, errors.New("no method works without a source; give one of postgresql.create_replica_methods no_leader"))
	}
	return "", fmt.Errorf("create replica: %w", errors.Join(failures...))
}

// ended is how a method failed, for the end of a log line: the reference's words
// when its program ended with a code, with what that wrote beside them.
func ended(err error, section *cluster.Object) (text string, about []any) {
	var exit *ExitError
	if !errors.As(err, &exit) {
		return "", []any{"error", err}
	}
	command, _ := section.String("command")
	if command == "" {
		command = strings.TrimPrefix(exit.What, replicaMethod) // a method without a command is its own
	}
	return fmt.Sprintf(": %s exited with code=%d", command, exit.Code), []any{"output", lastLines(exit.Output, 5)}
}

// replicaMethod begins the name of a custom method's program in errors and in the
// journal.
const replicaMethod = "replica method "

// ErrSourceSilent: there is nobody to copy from, so nothing was removed.
var ErrSourceSilent = errors.New("it cannot be copied from, so the data directory stays as it is")

// SourceAnswers asks the source of a copy whether it is there: [ErrSourceSilent].
// It is asked right before the data that the copy replaces is removed. A server
// that refuses us is there as well (no line in pg_hba.conf, no connection left), and
// so is one to which we cannot log in, but libpq may be able to: a method that
// restores from an archive needs nothing of that. One that starts or ends is not
// (PostgreSQL manual, appendix A, class 57).
func (p *Instance) SourceAnswers(ctx context.Context, from Upstream) error {
	user := p.Settings().Replication
	_, err := p.identify(ctx, connOptions{replication: true, user: &user, host: from.Host, port: from.Port})
	code := SQLState(err)
	switch {
	case err == nil, code != "" && !strings.HasPrefix(code, "57P"):
		return nil
	case code == "" && !errors.Is(err, context.DeadlineExceeded) && knock(ctx, from):
		return nil
	}
	return fmt.Errorf("%s: %w: %w", from.Name, ErrSourceSilent, err)
}

// knock tells whether a postmaster answers there, whoever may log in: to the request
// for TLS, which comes before anything else, it says yes, no, or that it does not
// understand (PostgreSQL manual 55.2.10).
func knock(ctx context.Context, at Upstream) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(at.Host, at.Port))
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	answer := []byte{0}
	if _, err := c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return false
	}
	_, err = io.ReadFull(c, answer)
	return err == nil && strings.ContainsAny(string(answer), "SNE")
}

// cloneSource writes the password file and returns the connection string
// without password.
func (p *Instance) cloneSource(s *Settings, from *Upstream, version int) (conninfo string, env []string, err error) {
	if s.KrbSrvName != "" {
		env = append(env, "PGKRBSRVNAME="+s.KrbSrvName)
	}
	if from == nil {
		return "", env, nil
	}
	m := s.connection(from, version)
	if lines := conf.PasswordLines(m); len(lines) > 0 {
		if _, err := s.writePassword(lines); err != nil {
			return "", nil, err
		}
		env = append(env, "PGPASSFILE="+s.PgPass)
	}
	delete(m, "password")
	return conf.Conninfo(m, version), env, nil
}

func (p *Instance) afterClone(s *Settings) error {
	if err := p.restoreConfig(); err != nil {
		// The data is complete: to copy it once more would not help.
		p.log.Error("The configuration files of the new replica could not be put in place", "error", err)
	}
	if _, err := p.settingsVersion(); err != nil {
		return fmt.Errorf("create replica: %w", err)
	}
	p.removeTrigger(conf.TriggerFile(s.RecoveryConf))
	p.removeTrigger("promote")
	return nil
}

// cloneScript runs a custom method.
func (p *Instance) cloneScript(ctx context.Context, s *Settings, method string, section *cluster.Object, conninfo string, env []string, begins func(bool) error) error {
	keep := conf.Truthy(section.Value("keep_data"))
	text, _ := section.String("command")
	if text == "" {
		text = method
	}
	what, begun := replicaMethod+method, false
	err := p.runScript(ctx, text, command{what: what, args: cloneArguments(s, section, conninfo), env: env, changes: true, before: func() error {
		if err := p.mustBeDown(what); err != nil {
			return err
		}
		if err := begins(keep); err != nil {
			return err
		}
		begun = true
		if keep {
			p.log.Info("Leaving data directory uncleaned")
			return nil
		}
		return p.RemoveData()
	}})
	if err != nil && begun && !keep {
		return errors.Join(err, p.RemoveData())
	}
	return err
}

// cloneArguments: with no_params only the section's own keys, without it also
// ours, and then the control keys are handed on too (trap 25: scripts rely on
// both).
func cloneArguments(s *Settings, section *cluster.Object, conninfo string) []string {
	bare := conf.Truthy(section.Value("no_params"))
	ours := [][2]string{{"scope", s.Scope}, {"role", "replica"}, {"datadir", s.DataDir}, {"connstring", conninfo}}
	var args []string
	for k, v := range section.All() {
		switch {
		case k == "command":
		case bare && (k == "no_params" || k == "no_leader" || k == "keep_data"):
		case !bare && slices.ContainsFunc(ours, func(o [2]string) bool { return o[0] == k }):
		default:
			args = append(args, "--"+k+"="+cluster.Text(v))
		}
	}
	if !bare {
		for _, o := range ours {
			args = append(args, "--"+o[0]+"="+o[1])
		}
	}
	return args
}

// baseBackup runs pg_basebackup, twice if need be.
func (p *Instance) baseBackup(ctx context.Context, s *Settings, version int, conninfo string, env []string, begins func(bool) error) error {
	path, err := s.program("pg_basebackup")
	if err != nil {
		return err
	}
	if err := p.mustBeDown("pg_basebackup"); err != nil {
		return err
	}
	if err := begins(false); err != nil {
		return err
	}
	options, refused := conf.Options(s.BaseBackup, forbidBaseBackup(version))
	for _, r := range refused {
		p.log.Error("postgresql.basebackup: this option is not allowed and left out", "option", r)
	}
	args := append([]string{"--pgdata=" + s.DataDir, "-X", "stream", "--dbname=" + conninfo}, options...)
	for attempt := 1; ; attempt++ {
		if err := p.RemoveData(); err != nil {
			return err
		}
		_, err := p.run(ctx, command{what: "pg_basebackup", path: path, args: args, env: env, changes: true})
		if err == nil {
			return nil
		}
		text, about := ended(err, nil)
		p.log.Error("Error when fetching backup"+text, about...)
		if attempt == 2 || ctx.Err() != nil {
			return errors.Join(err, p.RemoveData())
		}
		p.log.Warn("Trying again in 5 seconds")
		if !(&adaptive{baseBackupPause, baseBackupPause}).wait(ctx, nil) {
			return errors.Join(err, p.RemoveData())
		}
	}
}

func forbidBaseBackup(version int) func(name, value string) bool {
	names := conf.Forbid("pgdata", "format", "wal-method", "xlog-method", "gzip", "version", "dbname", "host", "port",
		"username", "password")
	return func(name, value string) bool {
		if name == "compress" && (version < 150000 || !strings.HasPrefix(value, "server")) {
			return true // it would leave files in the folder that the server cannot read
		}
		return names(name, value)
	}
}
