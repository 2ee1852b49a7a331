//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// Change is what a running standby needs to follow as wanted.
type Change int

// Kinds of change, the larger the more it costs.
const (
	ChangeNone Change = iota
	ChangeReload
	ChangeRestart
)

// String is for logs.
func (c Change) String() string { return [...]string{"none", "reload", "restart"}[c] }

// followCache keeps the recovery parameters that the server runs with, as long
// as nothing that could change them did.
type followCache struct {
	valid    bool
	stamp    fileStamp
	settings map[string]conf.Setting
}

// fileStamp says when the files last changed from which recovery parameters
// come.
type fileStamp struct {
	conf, auto, pass time.Time
	postmaster       uint64
}

func (p *Instance) stamp(s *Settings) fileStamp {
	var f fileStamp
	at := func(file string) time.Time {
		if i, err := os.Stat(file); err == nil {
			return i.ModTime()
		}
		return time.Time{}
	}
	f.conf, f.auto, f.pass = at(s.confFile()), at(filepath.Join(s.DataDir, "postgresql.auto.conf")), at(s.PgPass)
	if h, err := p.Postmaster(); err == nil {
		f.postmaster = h.Start()
	}
	return f
}

// connection is how a replica connects to up, password included.
func (s *Settings) connection(up *Upstream, version int) map[string]string {
	m := s.Replication.keywords()
	m["host"], m["port"] = up.Host, up.Port
	if m["port"] == "" {
		m["port"] = "5432"
	}
	m["application_name"] = s.Name
	m["dbname"] = up.Database
	if up.Database == "" {
		m["dbname"] = s.database()
	}
	m["krbsrvname"] = s.KrbSrvName
	conf.Defaults(m, version)
	// Several hosts of which only one accepts writes: the slot is there.
	if up.Remote && strings.Contains(up.Host, ",") && up.Slot != "" && s.UseSlots {
		m["target_session_attrs"] = "read-write"
	}
	return m
}

// wanted are the recovery parameters and password lines for following up (nil:
// nobody) in a role (reference postgresql.md 6.1).
func (s *Settings) wanted(up *Upstream, role cluster.Role, version int) (params conf.Params, password []string) {
	params = conf.Recovery(conf.RecoverySection(s.RecoveryConf, s.Parameters), version)
	slot := cluster.SlotName(s.Name)
	if up != nil && up.Remote {
		slot = up.Slot
	}
	if s.UseSlots && slot != "" {
		params.Set("primary_slot_name", slot)
	}
	if up == nil {
		return params, nil
	}
	if up.Host != "" {
		m := s.connection(up, version)
		password = conf.PasswordLines(m)
		if len(password) > 0 {
			m["passfile"] = s.PgPass
		}
		params.Set("primary_conninfo", conf.Conninfo(m, version))
	}
	override := func(name string, v *string) {
		if v != nil {
			params.Set(name, *v)
		}
	}
	override("restore_command", up.RestoreCommand)
	override("archive_cleanup_command", up.ArchiveCleanupCommand)
	if role == cluster.RoleStandbyLeader {
		override("recovery_min_apply_delay", up.RecoveryMinApplyDelay)
	}
	return params, password
}

// FollowChange compares what a running standby follows with what is wanted. o
// is the cycle's observation; nil while the server does not answer, then what
// was last written counts (reference postgresql.md 6.3).
//
// An error means that nothing is known: it never asks for a restart, because a
// server that just crashed would look as if its settings had changed (trap 15).
func (p *Instance) FollowChange(ctx context.Context, up *Upstream, role cluster.Role, o *Observation) (Change, error) {
	files, err := p.SignalFiles()
	if err != nil {
		return ChangeNone, err
	}
	if gone := p.markerGone(!files.Standby); gone > promotionTakes {
		return ChangeRestart, nil
	} else if gone > 0 {
		return ChangeNone, nil
	}
	version, err := p.settingsVersion()
	if err != nil {
		return ChangeNone, err
	}
	s := p.Settings()
	params, password := s.wanted(up, role, version)
	p.mu.Lock()
	written, known := p.recovery, p.recoveryKnown
	p.mu.Unlock()
	if o == nil {
		if known && !slices.Equal(written, params) {
			return ChangeReload, nil
		}
		return ChangeNone, nil
	}
	current, err := p.recoverySettings(ctx, version)
	if err != nil {
		return ChangeNone, fmt.Errorf("read the recovery settings in force: %w", err)
	}
	change := ChangeNone
	if !known {
		change = ChangeReload // the first time after joining: what we want gets written
	}
	for name, c := range current {
		change = max(change, s.compareRecovery(name, c, params, o, version))
	}
	if change < ChangeReload && len(password) > 0 {
		if text, err := readIfExists(s.PgPass); err != nil || !conf.SameLines(text, password) {
			change = ChangeReload // a rotated password
		}
	}
	return change, nil
}

// promotionTakes is how long a server may be without its standby.signal and say
// that it is in recovery: a promotion removes the file first. Whoever promotes a
// server by hand, in maintenance mode, must not have it stopped under his hands as
// one whose marker file is missing.
const promotionTakes = 10 * time.Second

// markerGone is for how long the running server's marker file has been missing.
func (p *Instance) markerGone(now bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now {
		p.unmarked = time.Time{}
		return 0
	}
	if p.unmarked.IsZero() {
		p.unmarked = time.Now()
	}
	return max(time.Since(p.unmarked), 1)
}

// notCompared are recovery parameters that mean nothing on a standby.
var notCompared = []string{"recovery_target_inclusive", "recovery_target_action"}

// fromElsewhere are parameters that may stand in a file of the user's when we
// do not set them.
var fromElsewhere = []string{"archive_cleanup_command", "promote_trigger_file", "recovery_end_command",
	"recovery_min_apply_delay", "restore_command"}

func (s *Settings) compareRecovery(name string, c conf.Setting, params conf.Params, o *Observation, version int) Change {
	want, wanted := params.Get(name)
	_, following := params.Get("primary_conninfo")
	switch {
	case slices.Contains(notCompared, name):
		return ChangeNone
	case !wanted && slices.Contains(fromElsewhere, name) && c.SourceFile != "" && !s.ourFile(c.SourceFile):
		return ChangeNone
	case name == "primary_slot_name" && !following:
		return ChangeNone
	case name == "primary_slot_name" && o.Receiver != nil && o.Receiver.ConnInfo != "":
		c.Value = o.Receiver.Slot // what is in use wins over what is configured
	case name == "primary_conninfo":
		if sameUpstream(c.Value, want, o, version) {
			return ChangeNone
		}
		return cost(c)
	}
	if !wanted {
		want = defaultOf(name)
	}
	if conf.Equal(c, want) {
		return ChangeNone
	}
	return cost(c)
}

func defaultOf(name string) string {
	switch name {
	case "recovery_target_timeline":
		return "latest"
	case "recovery_min_apply_delay":
		return "0"
	}
	return ""
}

func (s *Settings) ourFile(file string) bool {
	return file == s.confFile() || filepath.Base(file) == "postgresql.auto.conf"
}

func cost(c conf.Setting) Change {
	if c.Context == "postmaster" {
		return ChangeRestart
	}
	return ChangeReload
}

// sameUpstream compares connection strings; the one that the WAL receiver uses
// wins, but the server masks its password and its dbname is not real.
func sameUpstream(configured, want string, o *Observation, version int) bool {
	if want == "" || configured == "" {
		return want == configured
	}
	w, err1 := conf.ParseConninfo(want)
	c, err2 := conf.ParseConninfo(configured)
	if err1 != nil || err2 != nil {
		return false
	}
	if o.Receiver != nil && o.Receiver.ConnInfo != "" {
		if live, err := conf.ParseConninfo(o.Receiver.ConnInfo); err == nil {
			live = maps.Clone(live)
			live["dbname"], live["password"] = c["dbname"], c["password"]
			c = live
		}
	}
	// An inline password of somebody else's making is not how we connect.
	if w["passfile"] != "" && c["passfile"] != w["passfile"] {
		return false
	}
	return conf.SameConninfo(c, w, version)
}

// recoverySettings reads the recovery parameters in force, or takes them from
// the cache.
func (p *Instance) recoverySettings(ctx context.Context, version int) (map[string]conf.Setting, error) {
	s := p.Settings()
	stamp := p.stamp(&s)
	p.mu.Lock()
	kept := p.follow
	p.mu.Unlock()
	if kept.valid && kept.stamp == stamp {
		return kept.settings, nil
	}
	list, err := p.pgSettings(ctx, conf.RecoveryNames(version))
	if err != nil {
		return nil, err
	}
	m := map[string]conf.Setting{}
	for _, c := range list {
		m[c.Name] = c
	}
	if len(m) == 0 {
		return nil, errors.New("the server knows no recovery parameters")
	}
	p.mu.Lock()
	p.follow = followCache{true, stamp, m}
	p.mu.Unlock()
	return m, nil
}

// pgSettings reads rows of pg_settings.
func (p *Instance) pgSettings(ctx context.Context, names []string) ([]conf.Setting, error) {
	rows, err := p.query(ctx, `SELECT name, setting, coalesce(unit, ''), vartype, context, source, coalesce(sourcefile, ''), pending_restart
 FROM pg_settings WHERE lower(name) = ANY(string_to_array(lower($1), ','))`, strings.Join(names, ","))
	if err != nil {
		return nil, err
	}
	list := make([]conf.Setting, 0, len(rows))
	for _, r := range rows {
		c := &columns{row: r}
		list = append(list, conf.Setting{Name: c.text(), Value: c.text(), Unit: c.text(), Type: c.text(), Context: c.text(),
			Source: c.text(), SourceFile: c.text(), PendingRestart: c.yes()})
		if c.err != nil {
			return nil, c.err
		}
	}
	return list, nil
}

// FollowReload writes the settings for following up and makes a running standby
// read them. Use it when [Instance.FollowChange] said reload.
func (p *Instance) FollowReload(ctx context.Context, up *Upstream, role cluster.Role) error {
	version, err := p.settingsVersion()
	if err != nil {
		return err
	}
	s := p.Settings()
	params, password := s.wanted(up, role, version)
	p.files.Lock()
	g, err := p.generate(ctx, role, params, password)
	if err == nil {
		_, err = p.write(g)
	}
	p.files.Unlock()
	if err != nil {
		return fmt.Errorf("follow %s: %w", upName(up), err)
	}
	return p.signalReload(ctx)
}

func upName(up *Upstream) string {
	switch {
	case up == nil:
		return "nobody"
	case up.Name != "":
		return up.Name
	}
	return up.Host
}
