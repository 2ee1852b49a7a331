//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// reloadTime is how long the server may take to read its files again.
const reloadTime = time.Second

// Reload brings the running server to the settings: it compares, writes the
// files if anything differs (or force), and tells the server to read them.
// reloaded tells whether it did. Reference configuration.md 4.4.
func (p *Instance) Reload(ctx context.Context, role cluster.Role, force bool) (reloaded bool, err error) {
	p.mu.Lock()
	bootstrapping := p.bootstrapping
	p.mu.Unlock()
	if bootstrapping {
		p.log.Info("Skipping PostgreSQL configuration update while in custom bootstrap.")
		return false, nil
	}
	changed, err := p.rewrite(ctx, role)
	if err != nil {
		return false, fmt.Errorf("reload PostgreSQL: %w", err)
	}
	if !changed && !force {
		p.log.Info("No PostgreSQL configuration items changed, nothing to reload.")
		return false, nil
	}
	p.log.Info("Reloading PostgreSQL configuration.")
	if err := p.signalReload(ctx); err != nil {
		return true, err
	}
	p.announceForeign(ctx)
	return true, nil
}

// FileErrors is what the running server does not accept in the files that it
// has read last. It ignores such a file, or such a line, as a whole, and says so
// only in its own log.
func (p *Instance) FileErrors(ctx context.Context) error {
	queries := []string{`SELECT 'pg_hba.conf ' || coalesce('line ' || line_number || ': ', '') || error FROM pg_hba_file_rules WHERE error IS NOT NULL`,
		// That a restart is needed is no error: the server goes on with the old value of
		// that parameter and puts all others in force. It says so for a value that was
		// changed and, in a row without a name or a file, for one that was taken out.
		// (These texts are not translated.)
		`SELECT coalesce(regexp_replace(sourcefile, '.*/', '') || ' line ' || sourceline || ': ', '') || coalesce(name || ': ', '') || error
 FROM pg_file_settings
 WHERE error <> 'setting could not be applied' AND error NOT LIKE 'parameter "%" cannot be changed without restarting the server'
 UNION ALL SELECT f.name || ': the value is not accepted' FROM pg_file_settings f JOIN pg_settings s USING (name)
 WHERE f.error = 'setting could not be applied' AND s.context <> 'internal' AND NOT (s.context = 'postmaster' AND s.pending_restart)`}
	if v, err := p.settingsVersion(); err == nil && v >= 150000 {
		queries = append(queries, `SELECT 'pg_ident.conf ' || coalesce('line ' || line_number || ': ', '') || error FROM pg_ident_file_mappings WHERE error IS NOT NULL`)
	}
	var problems []error
	for _, q := range queries {
		rows, err := p.query(ctx, q)
		if err != nil {
			return nil // the user of the agent need not be a superuser; then nobody can tell
		}
		for _, r := range rows {
			problems = append(problems, errors.New(string(r[0])))
		}
	}
	return errors.Join(problems...)
}

// announceForeign tells of parameters that wait for a restart although the
// configuration did not change them: ALTER SYSTEM, or a file of the user's.
func (p *Instance) announceForeign(ctx context.Context) {
	pending, err := p.pendingSettings(ctx)
	if err != nil {
		p.log.Debug("cannot ask which parameters wait for a restart", "error", err)
		return
	}
	var names []string
	p.mu.Lock()
	if p.explained == nil {
		p.explained = map[string]bool{}
	}
	for _, c := range pending {
		if !p.explained[c.Name] {
			names = append(names, c.Name)
			p.explained[c.Name] = true // once
		}
	}
	p.mu.Unlock()
	if len(names) > 0 {
		p.log.Info("PostgreSQL configuration parameters requiring restart (" + strings.Join(names, ", ") +
			") seem to be changed bypassing Patroni config. Setting 'Pending restart' flag")
	}
}

// rewrite computes the configuration, tells what is different from what runs,
// and writes it.
func (p *Instance) rewrite(ctx context.Context, role cluster.Role) (changed bool, err error) {
	p.files.Lock()
	defer p.files.Unlock()
	g, err := p.regenerate(ctx, role)
	if err != nil {
		return false, err
	}
	if err := p.logChanges(ctx, g.params); err != nil {
		p.log.Warn("cannot compare the parameters with the running ones", "error", err)
	}
	return p.write(g)
}

// regenerate computes the configuration as it is, with whom it follows left
// alone: that is FollowReload's. After a restart of ours it is read back from
// the file, or a replica would lose its source.
func (p *Instance) regenerate(ctx context.Context, role cluster.Role) (generated, error) {
	s := p.Settings()
	p.mu.Lock()
	recovery, known := p.recovery, p.recoveryKnown
	p.mu.Unlock()
	if !known {
		_, recovery, _ = readGenerated(s.confFile())
	}
	g, err := p.generate(ctx, role, recovery, nil)
	if err != nil {
		return g, err
	}
	g.keepUnknown = !known
	return g, nil
}

// signalReload sends SIGHUP to the postmaster and waits until the server has
// read its files: queries after that see the new values.
func (p *Instance) signalReload(ctx context.Context) error {
	h, err := p.Postmaster()
	if err != nil {
		return fmt.Errorf("reload PostgreSQL: %w", err)
	}
	before, known := p.loadTime(ctx)
	if err := h.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload PostgreSQL: %w", err)
	}
	if !known {
		return nil // it does not answer yet; it reads the files when it does
	}
	wctx, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	poll := adaptive{5 * time.Millisecond, 50 * time.Millisecond}
	for poll.wait(wctx, h.Done()) {
		if now, ok := p.loadTime(wctx); ok && now != before {
			return nil
		}
		if !h.Alive() {
			return fmt.Errorf("reload PostgreSQL: the server ended")
		}
	}
	return ctx.Err()
}

func (p *Instance) loadTime(ctx context.Context) (string, bool) {
	rows, err := p.query(ctx, "SELECT extract(epoch FROM pg_conf_load_time())")
	if err != nil || len(rows) != 1 {
		return "", false
	}
	return string(rows[0][0]), true
}

// logChanges tells what the reload will change, in the words that operators
// look for.
func (p *Instance) logChanges(ctx context.Context, params conf.Params) error {
	s := p.Settings()
	current, _, _ := readGenerated(s.confFile())
	var names []string
	for _, x := range params {
		names = append(names, x.Name)
	}
	for _, x := range current {
		if _, kept := params.Get(x.Name); !kept && !strings.EqualFold(x.Name, "hba_file") && !strings.EqualFold(x.Name, "ident_file") {
			names = append(names, x.Name)
		}
	}
	settings, err := p.pgSettings(ctx, names)
	if err != nil {
		return err
	}
	for _, c := range settings {
		if c.Context == "internal" || c.Name == "hot_standby" {
			continue
		}
		want, wanted := params.Get(c.Name)
		if c.Name == "wal_buffers" && want == "-1" && p.autoWALBuffers(ctx) == c.Value {
			continue
		}
		if wanted && conf.Equal(c, want) {
			continue
		}
		if !wanted {
			want = "None"
		}
		note := ""
		if c.Context == "postmaster" {
			note = " (restart might be required)"
			p.mu.Lock()
			if p.explained == nil {
				p.explained = map[string]bool{}
			}
			p.explained[c.Name] = true
			p.mu.Unlock()
		}
		p.log.Info(fmt.Sprintf("Changed %s from '%s' to '%s'%s", c.Name, conf.Human(c.Value, c.Unit), want, note))
	}
	return nil
}

func (p *Instance) autoWALBuffers(ctx context.Context) string {
	list, err := p.pgSettings(ctx, []string{"shared_buffers", "wal_segment_size"})
	if err != nil || len(list) != 2 {
		return ""
	}
	slices.SortFunc(list, func(a, b conf.Setting) int { return strings.Compare(a.Name, b.Name) })
	buffers, ok1 := cluster.ParseInt(list[0].Value, "")
	segment, ok2 := cluster.ParseInt(list[1].Value+list[1].Unit, "B")
	if !ok1 || !ok2 {
		return ""
	}
	return conf.AutoWALBuffers(buffers, segment)
}

// ParameterChange is a parameter whose value in the files waits for a restart.
type ParameterChange struct{ Name, Old, New string }

// PendingRestart lists the parameters that need a restart: by the server's own
// word, and those that were lifted above the configured value because this is a
// standby (reference configuration.md 4.4-5 and 4.9). Ask after a reload.
func (p *Instance) PendingRestart(ctx context.Context) ([]ParameterChange, error) {
	list := p.Lifted()
	settings, err := p.pendingSettings(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range settings {
		if slices.ContainsFunc(list, func(l ParameterChange) bool { return l.Name == c.Name }) {
			continue
		}
		// What the files say, as the server itself reads them.
		next := "?"
		if v, err := p.OfflineParameter(ctx, c.Name); err == nil {
			next = conf.Human(v, c.Unit)
		}
		list = append(list, ParameterChange{c.Name, conf.Human(c.Value, c.Unit), next})
	}
	return list, nil
}

// pendingSettings are the parameters of which the server itself says that they
// wait for a restart.
func (p *Instance) pendingSettings(ctx context.Context) (list []conf.Setting, err error) {
	rows, err := p.query(ctx, `SELECT name, setting, coalesce(unit, '') FROM pg_settings WHERE pending_restart AND name <> 'hot_standby'
 ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("list parameters that need a restart: %w", err)
	}
	for _, r := range rows {
		if name := string(r[0]); !conf.IsRecovery(name) {
			list = append(list, conf.Setting{Name: name, Value: string(r[1]), Unit: string(r[2])})
		}
	}
	return list, nil
}

// Lifted are the parameters that this standby runs with above their configured
// value, because the primary's was higher when it started. They wait for a
// restart after the primary's value has come down (reference configuration.md
// 4.9).
func (p *Instance) Lifted() (list []ParameterChange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lifted {
		list = append(list, ParameterChange{l.Name, strconv.Itoa(l.Needed), strconv.Itoa(l.Configured)})
	}
	return list
}

// SetSyncNames sets synchronous_standby_names ("": none) and makes a running
// server read it; nothing happens when it is set already. It takes effect only
// with Settings.ManageSyncNames.
func (p *Instance) SetSyncNames(ctx context.Context, role cluster.Role, names string) error {
	before := p.managedSyncNames()
	if before == names {
		return nil
	}
	p.mu.Lock()
	p.syncNames = names
	p.mu.Unlock()
	if _, err := p.Postmaster(); err != nil {
		return nil // the next start writes it
	}
	p.log.Info("Assigning synchronous_standby_names to " + names)
	p.files.Lock()
	g, err := p.regenerate(ctx, role)
	if err == nil {
		_, err = p.write(g)
	}
	p.files.Unlock()
	if err != nil {
		return fmt.Errorf("set synchronous_standby_names: %w", err)
	}
	return p.signalReload(ctx)
}
