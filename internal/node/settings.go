//go:build linux

package node

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/postgres"
)

// settings are the dynamic settings in force.
func (n *node) settings() cluster.Settings { return n.snapshot.Load().Settings }

// applyConfig puts a dynamic configuration in force: for the store at once, for
// PostgreSQL in the background. The document was judged by the agent already.
func (n *node) applyConfig(e agent.ApplyConfig) {
	n.store.SetTimes(dcs.Times{TTL: e.Settings.TTL, LoopWait: e.Settings.LoopWait, RetryTimeout: e.Settings.RetryTimeout})
	cfg := n.cfg.Load()
	m, err := config.Merge(cfg, e.Doc)
	if err != nil {
		n.log.Error("Exception when setting dynamic_configuration: " + err.Error())
		return
	}
	n.pg.SetSettings(instanceSettings(cfg, &m.Postgresql))
	n.dynamic.Store(e.Doc)
	go n.reloadPostgres(e.Doc)
}

// reloadPostgres writes the configuration files and lets the server read them;
// then the document is kept beside the data, so that maintenance mode and the
// like survive a restart without the store.
func (n *node) reloadPostgres(doc *cluster.Object) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	if doc != n.dynamic.Load() {
		return // a newer one is on its way
	}
	if _, err := n.pg.Postmaster(); err == nil {
		role := n.snapshot.Load().Role
		if reloaded, err := n.pg.Reload(n.ctx, role, false); err != nil {
			n.log.Error("could not put the new configuration of PostgreSQL in force", "error", err)
		} else if reloaded {
			n.pg.RunCallback("on_reload", role)
		}
	}
	dir := n.pg.Settings().DataDir
	if state, _ := n.pg.DataDir(); state != postgres.DirPresent {
		return
	}
	if err := config.SaveCache(dir, doc, fileMode(dir)); err != nil {
		n.log.Warn("could not keep the dynamic configuration beside the data", "error", err)
	}
}

// fileMode is 0640 in a data folder that its group may read, else 0600.
func fileMode(dir string) os.FileMode {
	if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&0o750 == 0o750 {
		return 0o640
	}
	return 0o600
}

// localRules are the parts of a node's own configuration that decisions know.
func localRules(cfg *config.Config) ha.Local {
	p := &cfg.Postgresql
	tags, _ := config.PublishedTags(cfg.Tags)
	l := ha.Local{Tags: tags, MayBootstrap: cfg.Bootstrap != nil, UsePgRewind: p.UsePgRewind,
		RemoveDataOnDiverged:      p.RemoveDataDirectoryOnDivergedTimelines,
		RemoveDataOnRewindFailure: p.RemoveDataDirectoryOnRewindFailure}
	for _, name := range p.CreateReplicaMethods {
		if cluster.Truthy(p.Methods[name].Value("no_leader")) {
			l.CloneWithoutLeader = true
		}
	}
	return l
}

// identity is what the member publishes about itself.
func identity(cfg *config.Config, connURL string, guarded bool) ha.Identity {
	id := ha.Identity{ConnURL: connURL, APIURL: cfg.RestAPI.URL(), Version: cluster.CompatVersion,
		Agent: cluster.AgentInfo{Version: cluster.ProgramVersion, Guardian: guarded}}
	if a := cfg.Postgresql.ProxyAddress; a != "" {
		id.ProxyURL = "postgres://" + a + "/" + database(&cfg.Postgresql)
	}
	return id
}

func database(p *config.Postgresql) string {
	if p.Database == "" {
		return "postgres"
	}
	return p.Database
}

// instanceSettings are the settings of the instance: p is the section after the
// merge with the dynamic configuration.
func instanceSettings(cfg *config.Config, p *config.Postgresql) postgres.Settings {
	s := postgres.Settings{Name: cfg.Name, Scope: cfg.Scope,
		DataDir: p.DataDir, ConfigDir: p.ConfigDir, ConfigBaseName: p.ConfigBaseName, CustomConf: p.CustomConf,
		BinDir: p.BinDir, BinName: p.BinName,
		ListenAddresses: strings.Join(p.Listen.Hosts, ","), Port: p.Listen.Port, ConnectAddress: p.ConnectAddress,
		Database: database(p), PgPass: passFile(p), KrbSrvName: p.KrbSrvName,
		UseUnixSocket: p.UseUnixSocket, UseUnixSocketRepl: p.UseUnixSocketRepl,
		Superuser: credentials(p.Superuser), Replication: credentials(p.Replication), Rewind: credentials(p.Rewind),
		Parameters: ordered(p.Parameters), PgHBA: p.PgHBA, PgIdent: p.PgIdent, RecoveryConf: ordered(p.RecoveryConf),
		PgCtlTimeout: time.Duration(p.PgCtlTimeout) * time.Second, UsePgRewind: p.UsePgRewind, RewindOptions: optionList(p.RewindOptions),
		RemoveDataDirectoryOnRewindFailure:     p.RemoveDataDirectoryOnRewindFailure,
		RemoveDataDirectoryOnDivergedTimelines: p.RemoveDataDirectoryOnDivergedTimelines,
		CreateReplicaMethods:                   p.CreateReplicaMethods, Methods: p.Methods, BaseBackup: optionList(p.BaseBackup),
		Callbacks: p.Callbacks, PrePromote: p.PrePromote, BeforeStop: p.BeforeStop, UseSlots: p.UseSlots}
	if b := cfg.Bootstrap; b != nil {
		s.Bootstrap = postgres.BootstrapSettings{Method: b.Method, Section: b.Methods[b.Method], Initdb: optionList(b.Initdb),
			PgHBA: b.PgHBA, PostBootstrap: b.PostBootstrap}
	}
	return s
}

func passFile(p *config.Postgresql) string {
	if p.PgPass != "" {
		return p.PgPass
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, "pgpass")
}

func credentials(c config.Credentials) postgres.Credentials {
	return postgres.Credentials{Username: c.Username, Password: string(c.Password), SSLMode: c.SSLMode, SSLCert: c.SSLCert,
		SSLKey: c.SSLKey, SSLPassword: string(c.SSLPassword), SSLRootCert: c.SSLRootCert, SSLCRL: c.SSLCRL, SSLCRLDir: c.SSLCRLDir,
		GSSEncMode: c.GSSEncMode, ChannelBinding: c.ChannelBinding, SSLNegotiation: c.SSLNegot}
}

// ordered is a map as an object, by name; nil for none.
func ordered(m map[string]string) *cluster.Object {
	if m == nil {
		return nil
	}
	o := &cluster.Object{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		o.Set(k, m[k])
	}
	return o
}

// optionList spells options as the configuration does: switches as strings,
// others as mappings of one pair.
func optionList(options []config.Option) any {
	list := []any{}
	for _, o := range options {
		if o.HasValue {
			list = append(list, cluster.NewObject(o.Name, o.Value))
		} else {
			list = append(list, o.Name)
		}
	}
	return list
}

// reload reads the node's own configuration again (SIGHUP, POST /reload). A
// mistake in it leaves the old one in force; files that it names, such as
// certificates, are read again in any case (reference configuration.md 1.7).
func (n *node) reload() {
	cfg, err := config.Load(n.path, n.environ)
	switch {
	case err != nil:
		n.log.Error("Exception when reloading local configuration from "+n.path+", the old one stays in force", "error", err)
		cfg = n.cfg.Load()
	case cluster.Equal(cfg.Doc, n.cfg.Load().Doc):
		n.log.Info("No local configuration items changed.")
	}
	m, err := config.Merge(cfg, n.dynamic.Load())
	if err != nil {
		n.log.Error("Failed to reload config_file="+n.path, "error", err)
		return
	}
	n.reloadAPI(cfg)
	n.cfg.Store(cfg)
	go n.reloadRest(cfg)
	n.pg.SetSettings(instanceSettings(cfg, &m.Postgresql))
	n.step(agent.LocalChanged{Local: n.localRules(cfg, &m.Postgresql), Identity: identity(cfg, n.pg.ConnURL(), n.guard != nil)})
	go n.reloadPostgres(n.dynamic.Load())
}

// localRules with what the dynamic configuration may set in `postgresql`.
func (n *node) localRules(cfg *config.Config, p *config.Postgresql) ha.Local {
	merged := *cfg
	merged.Postgresql = *p
	return localRules(&merged)
}
