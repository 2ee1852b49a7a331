//go:build linux

package postgres

import (
	"context"
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
	g, err := p.regenerate(ctx, role)
	if err != nil {
		return false, fmt.Errorf("reload PostgreSQL: %w", err)
	}
	if err := p.logChanges(ctx, g.params); err != nil {
		p.log.Warn("cannot compare the parameters with the running ones", "error", err)
	}
	changed, err := p.write(g)
	if err != nil {
		return false, fmt.Errorf("reload PostgreSQL: %w", err)
	}
	if !changed && !force {
		p.log.Info("No PostgreSQL configuration items changed, nothing to reload.")
		return false, nil
	}
	p.log.Info("Reloading PostgreSQL configuration.")
	return true, p.signalReload(ctx)
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
		}
		p.log.Info(fmt.Sprintf("Changed %s from '%s' to '%s'%s", c.Name, human(c.Value, c.Unit), want, note))
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
	rows, err := p.query(ctx, `SELECT name, setting, coalesce(unit, '') FROM pg_settings WHERE pending_restart AND name <> 'hot_standby'
 ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("list parameters that need a restart: %w", err)
	}
	var list []ParameterChange
	p.mu.Lock()
	lifted := slices.Clone(p.lifted)
	p.mu.Unlock()
	for _, l := range lifted {
		list = append(list, ParameterChange{l.Name, strconv.Itoa(l.Needed), strconv.Itoa(l.Configured)})
	}
	for _, r := range rows {
		name, unit := string(r[0]), string(r[2])
		if conf.IsRecovery(name) || slices.ContainsFunc(list, func(c ParameterChange) bool { return c.Name == name }) {
			continue
		}
		// What the files say, as the server itself reads them.
		next := "?"
		if v, err := p.OfflineParameter(ctx, name); err == nil {
			next = human(v, unit)
		}
		list = append(list, ParameterChange{name, human(string(r[1]), unit), next})
	}
	return list, nil
}

// human writes a value of pg_settings with the largest unit that keeps it
// whole, as SHOW does.
func human(value, unit string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || unit == "" || n <= 0 {
		return value
	}
	i := strings.IndexFunc(unit, func(r rune) bool { return r < '0' || r > '9' })
	if i > 0 {
		m, err := strconv.ParseInt(unit[:i], 10, 64)
		if err != nil {
			return value + unit
		}
		n, unit = n*m, unit[i:]
	}
	units, factors := []string{"B", "kB", "MB", "GB", "TB"}, []int64{1024, 1024, 1024, 1024}
	if slices.Contains([]string{"us", "ms", "s", "min", "h", "d"}, unit) {
		units, factors = []string{"us", "ms", "s", "min", "h", "d"}, []int64{1000, 1000, 60, 60, 24}
	}
	for at := slices.Index(units, unit); at >= 0 && at < len(factors) && n%factors[at] == 0; at++ {
		n /= factors[at]
		unit = units[at+1]
	}
	return strconv.FormatInt(n, 10) + unit
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
	g, err := p.regenerate(ctx, role)
	if err == nil {
		_, err = p.write(g)
	}
	if err != nil {
		return fmt.Errorf("set synchronous_standby_names: %w", err)
	}
	return p.signalReload(ctx)
}
