//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// controlKeys steer a custom bootstrap method and are not handed to its
// command.
var controlKeys = []string{"command", "no_params", "keep_existing_recovery_conf", "recovery_conf", "scope", "datadir"}

// CustomBootstrap tells whether the configured method is a script and not
// initdb.
func (p *Instance) CustomBootstrap() bool {
	b := p.Settings().Bootstrap
	command, _ := b.Section.String("command")
	return b.Method != "" && b.Method != "initdb" && command != ""
}

// Bootstrap creates the data of a new cluster with initdb or the custom method.
// The caller then starts it as primary, waits for the end of recovery and calls
// [Instance.PostBootstrap]; when anything fails it stops the server and calls
// [Instance.MoveAside].
func (p *Instance) Bootstrap(ctx context.Context) error {
	if st, err := p.DataDir(); st != DirEmpty {
		return errors.Join(fmt.Errorf("bootstrap: the data folder is %s, it must be empty", st), err)
	}
	s := p.Settings()
	var err error
	if p.CustomBootstrap() {
		err = p.customBootstrap(ctx, &s)
	} else {
		err = p.initdb(ctx, &s)
	}
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := p.appendHBA(&s); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	p.saveConfig()
	if p.CustomBootstrap() {
		return p.trustHBA(ctx)
	}
	return nil
}

// initdb creates an empty cluster. The superuser's password goes through a file
// that only we can read, never through an argument.
func (p *Instance) initdb(ctx context.Context, s *Settings) error {
	path, err := s.program("initdb")
	if err != nil {
		return err
	}
	args, refused := conf.Options(s.Bootstrap.Initdb, conf.Forbid("pgdata", "nosync", "pwfile", "sync-only", "version"))
	if len(refused) > 0 {
		return fmt.Errorf("bootstrap.initdb: these options are not allowed: %s", strings.Join(refused, ", "))
	}
	if s.Superuser.Username != "" {
		args = append(args, "--username="+s.Superuser.Username)
	}
	if s.Superuser.Password != "" {
		f, err := os.CreateTemp(p.dir, "initdb-") // mode 0600
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString(s.Superuser.Password + "\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		args = append(args, "--pwfile="+f.Name())
	}
	r, err := p.run(ctx, command{what: "initdb", path: path, args: append(args, s.DataDir), changes: true})
	if err != nil {
		return err
	}
	p.log.Debug("initdb", "output", r.stdout)
	return nil
}

// customBootstrap runs the method's command, then brings what it made into a
// state in which our configuration decides.
func (p *Instance) customBootstrap(ctx context.Context, s *Settings) error {
	section := s.Bootstrap.Section
	text, _ := section.String("command")
	var args []string
	if !conf.Truthy(section.Value("no_params")) {
		args = append(args, "--scope="+s.Scope, "--datadir="+s.DataDir)
	}
	for k, v := range section.All() {
		if !slices.Contains(controlKeys, k) {
			args = append(args, "--"+k+"="+cluster.Text(v))
		}
	}
	what := "bootstrap script of method " + s.Bootstrap.Method
	if err := p.script(ctx, what, text, true, args, nil); err != nil {
		return err
	}
	if err := p.restoreConfig(); err != nil {
		return err
	}
	if _, err := p.settingsVersion(); err != nil {
		return err
	}
	recovery := section.Object("recovery_conf")
	p.removeTrigger(conf.TriggerFile(recovery))
	p.mu.Lock()
	p.bootstrapping = true
	p.pointInTime = recovery
	p.keepRecovery = recovery == nil && conf.Truthy(section.Value("keep_existing_recovery_conf"))
	p.mu.Unlock()
	return nil
}

// appendHBA adds `bootstrap.pg_hba` to the file that initdb made, if nothing
// else manages it.
func (p *Instance) appendHBA(s *Settings) error {
	if _, set := s.parameter("hba_file"); set || len(s.PgHBA) > 0 || len(s.Bootstrap.PgHBA) == 0 {
		return nil
	}
	file := s.hbaFile()
	text, err := readIfExists(file)
	if err != nil {
		return err
	}
	_, err = s.writeFile(file, strings.TrimRight(text, "\n")+"\n\n"+strings.Join(s.Bootstrap.PgHBA, "\n")+"\n")
	return err
}

// PostBootstrap makes the roles and runs the post_bootstrap script on the new
// primary, and ends the special state of a custom bootstrap. needRestart tells
// that the server must be restarted to leave it.
func (p *Instance) PostBootstrap(ctx context.Context) (needRestart bool, err error) {
	s := p.Settings()
	if s.Superuser.Username != "" && s.Superuser.Password != "" {
		if err := p.makeRole(ctx, s.Superuser, "SUPERUSER"); err != nil {
			return false, fmt.Errorf("post-bootstrap: %w", err)
		}
	}
	if err := p.postBootstrapScript(ctx, &s); err != nil {
		return false, err
	}
	if err := p.makeReplicationRoles(ctx, &s); err != nil {
		return false, fmt.Errorf("post-bootstrap: %w", err)
	}
	return p.leaveBootstrap(ctx, &s)
}

// postBootstrapScript runs the command with a connection string that has no
// password; that is in the password file.
func (p *Instance) postBootstrapScript(ctx context.Context, s *Settings) error {
	if s.Bootstrap.PostBootstrap == "" {
		return nil
	}
	version, err := p.settingsVersion()
	if err != nil {
		return err
	}
	m := s.Superuser.keywords()
	m["dbname"] = s.database()
	m["host"], m["port"] = p.localAddress(s.UseUnixSocket)
	// Synchronous replication cannot work yet: a commit would wait for ever.
	env := []string{"PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0"}
	lines := m
	if m["host"] == "" {
		lines = s.Superuser.keywords()
		lines["host"], lines["port"] = "localhost", m["port"]
	}
	if password := conf.PasswordLines(lines); len(password) > 0 {
		if _, err := s.writePassword(password); err != nil {
			return err
		}
		env = append(env, "PGPASSFILE="+s.PgPass)
	}
	delete(m, "password")
	err = p.script(ctx, "post_init script", s.Bootstrap.PostBootstrap, false, []string{conf.Conninfo(m, version)}, env)
	var exit *ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("post_init script %s returned non-zero code %d: %s", s.Bootstrap.PostBootstrap, exit.Code, lastLines(exit.Output, 5))
	}
	return err
}

func (p *Instance) makeReplicationRoles(ctx context.Context, s *Settings) error {
	if s.Replication.Username != "" && s.Replication.Username != s.Superuser.Username {
		if err := p.makeRole(ctx, s.Replication, "REPLICATION"); err != nil {
			return err
		}
	}
	if r := s.Rewind.Username; r == "" || r == s.Superuser.Username {
		return nil
	}
	if s.Rewind.Username != s.Replication.Username {
		if err := p.makeRole(ctx, s.Rewind); err != nil {
			return err
		}
	}
	c, err := p.connect(ctx, connOptions{options: "-c synchronous_commit=local"})
	if err != nil {
		return err
	}
	defer closeConn(c)
	for _, f := range []string{"pg_ls_dir(text,boolean,boolean)", "pg_stat_file(text,boolean)", "pg_read_binary_file(text)",
		"pg_read_binary_file(text,bigint,bigint,boolean)"} {
		if _, err := c.Exec(ctx, "GRANT EXECUTE ON FUNCTION pg_catalog."+f+" TO "+quoteIdent(s.Rewind.Username)).ReadAll(); err != nil {
			return fmt.Errorf("grant rights to role %s: %w", s.Rewind.Username, err)
		}
	}
	return nil
}

// leaveBootstrap ends the special state of a custom bootstrap: trust in
// pg_hba.conf, recovery settings of the script, no reloads.
func (p *Instance) leaveBootstrap(ctx context.Context, s *Settings) (needRestart bool, err error) {
	p.mu.Lock()
	was := p.bootstrapping
	p.bootstrapping, p.keepRecovery, p.pointInTime = false, false, nil
	p.recovery, p.recoveryKnown = nil, true
	p.mu.Unlock()
	if !was {
		return false, nil
	}
	if err := s.setSignal(""); err != nil {
		return false, err
	}
	own := *s
	own.overlay(cluster.RolePrimary)
	if f, set := own.parameter("hba_file"); len(own.PgHBA) == 0 || set && own.absolute(f) != own.hbaFile() {
		text, err := os.ReadFile(filepath.Join(s.DataDir, "pg_hba.conf.backup"))
		if err != nil {
			return false, fmt.Errorf("restore pg_hba.conf after the bootstrap: %w", err)
		}
		if _, err := s.writeFile(s.hbaFile(), string(text)); err != nil {
			return false, err
		}
	}
	if _, err := p.Reload(ctx, cluster.RolePrimary, true); err != nil {
		return false, err
	}
	p.closeLinks()
	pending, err := p.PendingRestart(ctx)
	if err != nil {
		return false, err
	}
	_, ownHBA := s.parameter("hba_file")
	return ownHBA || len(pending) > 0, nil
}
