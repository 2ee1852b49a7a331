//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// generated is one complete configuration of the server, ready to be written.
type generated struct {
	version  int
	params   conf.Params
	recovery conf.Params // nil: no recovery block
	password []string    // lines of the password file
	lifted   []conf.Lifted
	hba      []string // lines of pg_hba.conf, when they are ours
	ident    []string // lines of pg_ident.conf
	// keepUnknown: recovery was only read back, so it is still to be compared
	// with what is wanted.
	keepUnknown bool
}

// generate computes the configuration for a role. It starts programs but
// changes nothing.
func (p *Instance) generate(ctx context.Context, role cluster.Role, recovery conf.Params, password []string) (generated, error) {
	version, err := p.settingsVersion()
	if err != nil {
		return generated{}, err
	}
	s := p.Settings()
	s.overlay(role)
	in := conf.Input{Version: version, Scope: s.Scope, ListenAddresses: s.ListenAddresses, Port: s.Port,
		Parameters: s.Parameters, HotStandbyFeedback: s.HotStandbyFeedback}
	if s.ManageSyncNames {
		names := p.managedSyncNames()
		in.SyncNames = &names
	}
	params, warnings := conf.Compute(in)
	rules, fromServer := p.rules(ctx, version)
	params, corrected := conf.Validate(params, rules, p.knownParameters(ctx), fromServer)
	p.warnOnce(append(warnings, corrected...))
	s.absoluteFiles(&params)
	return generated{version: version, params: params, recovery: recovery, password: password, hba: s.PgHBA, ident: s.PgIdent}, nil
}

// raiseLimits lifts what a standby may not have lower than its primary (trap 7:
// below is a crash loop, above is fine). That is for a start only: the files of a
// running standby say what is configured, and its server that this waits for a
// restart (reference configuration.md 4.4 and 4.9).
func (p *Instance) raiseLimits(ctx context.Context, g *generated) error {
	d, err := p.ControlData(ctx)
	if err != nil {
		return err
	}
	for _, name := range conf.StandbyLimits {
		if _, ok := d.Limits[name]; !ok {
			p.log.Warn(conf.LimitMissing(name))
		}
	}
	g.lifted = conf.Raise(&g.params, d.Limits)
	for _, l := range g.lifted {
		p.log.Info(fmt.Sprintf("%s value in pg_controldata: %d, in the global configuration: %d. pg_controldata value will be used. Setting 'Pending restart' flag",
			l.Name, l.Needed, l.Configured))
	}
	return nil
}

// managedSyncNames is what [Instance.SetSyncNames] was told; before that, what
// our predecessor wrote into the file.
func (p *Instance) managedSyncNames() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.syncKnown {
		params, _, _ := readGenerated(p.settings.confFile())
		p.syncNames, _ = params.Get("synchronous_standby_names")
		p.syncKnown = true
	}
	return p.syncNames
}

func readGenerated(file string) (params, recovery conf.Params, ok bool) {
	text, err := readIfExists(file)
	if err != nil {
		return nil, nil, false
	}
	return conf.ReadGenerated(text)
}

// write writes all configuration files; changed tells whether any is different
// now.
func (p *Instance) write(g generated) (changed bool, err error) {
	s := p.Settings()
	if err := s.makeFolders(); err != nil {
		return false, err
	}
	if err := s.keepBase(); err != nil {
		return false, err
	}
	p.mu.Lock()
	bootstrapping, keep := p.bootstrapping, p.keepRecovery
	p.mu.Unlock()
	m := conf.Main{Include: filepath.Base(s.baseConfFile()), Params: g.params, Recovery: g.recovery}
	if s.CustomConf != "" {
		m.Include = s.CustomConf
	}
	if _, set := g.params.Get("hba_file"); !set || bootstrapping {
		m.Params = append(conf.Params(nil), m.Params...)
		m.Params.Delete("hba_file")
		m.HBAFile = s.hbaFile()
	}
	if _, set := g.params.Get("ident_file"); !set {
		m.IdentFile = s.identFile()
	}
	files := [][2]string{{s.confFile(), conf.MainFile(m)}}
	if s.manages("hba_file", g.hba, g.params, s.hbaFile()) && !bootstrapping {
		files = append(files, [2]string{s.hbaFile(), conf.ListFile(g.hba)})
	}
	if s.manages("ident_file", g.ident, g.params, s.identFile()) {
		files = append(files, [2]string{s.identFile(), conf.ListFile(g.ident)})
	}
	for _, f := range files {
		c, err := s.writeFile(f[0], f[1])
		if err != nil {
			return changed, err
		}
		changed = changed || c
	}
	if !keep {
		c, err := s.sanitizeAuto()
		if err != nil {
			return changed, err
		}
		changed = changed || c
	}
	c, err := s.writePassword(g.password)
	p.mu.Lock()
	p.recovery, p.recoveryKnown, p.lifted = g.recovery, !g.keepUnknown, g.lifted
	p.mu.Unlock()
	return changed || c, err
}

func (s *Settings) hbaFile() string   { return filepath.Join(s.configDir(), "pg_hba.conf") }
func (s *Settings) identFile() string { return filepath.Join(s.configDir(), "pg_ident.conf") }

// manages tells whether a file of lines is ours to write: there are lines, and
// the parameter does not name another file.
func (s *Settings) manages(guc string, lines []string, params conf.Params, ours string) bool {
	f, set := params.Get(guc)
	return len(lines) > 0 && (!set || s.absolute(f) == ours)
}

// absoluteFiles makes the paths of pg_hba.conf and pg_ident.conf absolute: a
// relative one counts from the folder of the configuration, not from wherever
// the server would look.
func (s *Settings) absoluteFiles(params *conf.Params) {
	for _, name := range []string{"hba_file", "ident_file"} {
		if f, ok := params.Get(name); ok && f != "" {
			params.Set(name, s.absolute(f))
		}
	}
}

func (s *Settings) absolute(file string) string {
	if filepath.IsAbs(file) {
		return filepath.Clean(file)
	}
	return filepath.Join(s.configDir(), file)
}

// keepBase saves the user's own postgresql.conf, once in a lifetime.
func (s *Settings) keepBase() error {
	if s.CustomConf != "" {
		return nil
	}
	_, err := os.Stat(s.baseConfFile())
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err = os.Rename(s.confFile(), s.baseConfFile())
	if errors.Is(err, os.ErrNotExist) {
		// The generated file includes it: an absent one would keep the server down.
		return replaceFile(s.baseConfFile(), "", s.modesFor(s.baseConfFile()).file, underDir(s.baseConfFile(), s.DataDir))
	}
	return err
}

func (s *Settings) sanitizeAuto() (changed bool, err error) {
	file := filepath.Join(s.DataDir, "postgresql.auto.conf")
	text, err := readIfExists(file)
	if err != nil {
		return false, err
	}
	clean, changed := conf.SanitizeAuto(text)
	if !changed {
		return false, nil
	}
	return s.writeFile(file, clean)
}

// writePassword writes the password file, always readable by us alone.
func (s *Settings) writePassword(lines []string) (changed bool, err error) {
	if len(lines) == 0 {
		return false, nil
	}
	if s.PgPass == "" {
		return false, errors.New("postgresql.pgpass is not set: there is no file for the replication password")
	}
	if i, err := os.Stat(s.PgPass); err == nil && i.IsDir() {
		return false, fmt.Errorf("%s is a folder; set postgresql.pgpass to the path of a file", s.PgPass)
	}
	content := strings.Join(lines, "\n") + "\n"
	if old, err := os.ReadFile(s.PgPass); err == nil && string(old) == content {
		if i, err := os.Stat(s.PgPass); err == nil && i.Mode().Perm() == 0o600 {
			return false, nil
		}
	}
	return true, replaceFile(s.PgPass, content, 0o600, true)
}

// makeFolders makes the folders that the server needs and cannot make itself.
func (s *Settings) makeFolders() error {
	list := map[string][]string{}
	if v, ok := s.parameter("unix_socket_directories"); ok {
		for d := range strings.SplitSeq(v, ",") {
			if d = strings.Trim(strings.TrimSpace(d), `"'`); strings.HasPrefix(d, "/") {
				list["unix_socket_directories"] = append(list["unix_socket_directories"], d)
			}
		}
	}
	if v, ok := s.parameter("stats_temp_directory"); ok && v != "" {
		if !filepath.IsAbs(v) {
			v = filepath.Join(s.DataDir, v)
		}
		list["stats_temp_directory"] = []string{v}
	}
	if s.PgPass != "" {
		list["postgresql.pgpass"] = []string{filepath.Dir(s.PgPass)}
	}
	for what, dirs := range list {
		for _, d := range dirs {
			if err := s.makeFolder(d, what); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Settings) makeFolder(dir, what string) error {
	i, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, s.modesFor(dir).dir); err != nil {
			return fmt.Errorf("'%s' is defined in %s, couldn't create the directory: %w", dir, what, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	const mayWrite = 2 // W_OK of access(2)
	switch {
	case !i.IsDir():
		return fmt.Errorf("'%s' is defined in %s, is not a directory", dir, what)
	case syscall.Access(dir, mayWrite) != nil:
		return fmt.Errorf("'%s' is defined in %s, the directory is not writable", dir, what)
	}
	return nil
}

// backedUp are the files that are copied into the data folder, because backup
// tools skip links and a configuration folder elsewhere.
func (s *Settings) backedUp() []string {
	files := []string{s.confFile(), s.hbaFile(), s.identFile()}
	if s.CustomConf == "" {
		files = append(files, s.baseConfFile())
	}
	return files
}

// saveConfig copies the configuration files to *.backup in the data folder.
func (p *Instance) saveConfig() {
	s := p.Settings()
	for _, f := range s.backedUp() {
		text, err := os.ReadFile(f)
		if err == nil {
			_, err = s.writeFile(filepath.Join(s.DataDir, filepath.Base(f)+".backup"), string(text))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.log.Warn("cannot save a configuration file", "file", f, "error", err)
		}
	}
}

// restoreConfig brings back configuration files that a clone did not carry. A
// missing pg_ident.conf is made empty: the server would complain at each start.
func (p *Instance) restoreConfig() error {
	s := p.Settings()
	for _, f := range s.backedUp() {
		if _, err := os.Stat(f); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.DataDir, filepath.Base(f)+".backup"))
		if err != nil && (!errors.Is(err, os.ErrNotExist) || f != s.identFile()) {
			continue
		}
		if _, err := s.writeFile(f, string(text)); err != nil {
			return err
		}
	}
	return nil
}

// trustHBA writes the temporary pg_hba.conf of a custom bootstrap.
func (p *Instance) trustHBA(ctx context.Context) error {
	s := p.Settings()
	host := localHost(s.ListenAddresses)
	var addresses []string
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip4", host)
	if err != nil {
		p.log.Warn("cannot resolve the local address", "host", host, "error", err)
	}
	for _, ip := range ips {
		addresses = append(addresses, ip.String())
	}
	_, err = s.writeFile(s.hbaFile(), conf.TrustHBA(s.Replication.Username, s.Superuser.Username, addresses))
	return err
}

// setSignal leaves exactly the wanted signal file ("": none) in the data
// folder. Both at once, or the wrong one, would decide the server's role.
func (s *Settings) setSignal(name string) error {
	for _, n := range []string{"standby.signal", "recovery.signal"} {
		file := filepath.Join(s.DataDir, n)
		if n == name {
			if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
				if err := replaceFile(file, "", s.modesFor(file).file, true); err != nil {
					return err
				}
			}
			continue
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return syncDir(s.DataDir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
