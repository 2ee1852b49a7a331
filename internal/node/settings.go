//go:build linux

package node

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/ha"
	"tamada/internal/postgres"
)

// settings are the dynamic settings in force.
func (n *node) settings() cluster.Settings { return n.snapshot.Load().Settings }

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

// identity is what the member publishes about itself; problem tells what of the
// configuration is not in force.
func (n *node) identity(cfg *config.Config, problem string) ha.Identity {
	id := ha.Identity{ConnURL: n.pg.ConnURL(), APIURL: cfg.RestAPI.URL(), Version: cluster.CompatVersion, Agent: *n.agentInfo.Load()}
	id.Agent.ConfigError = problem
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
	for role := range p.ByRole {
		parameters, hba, ident, _ := p.ForRole(cluster.Role(role))
		if s.ByRole == nil {
			s.ByRole = map[cluster.Role]postgres.RoleSettings{}
		}
		s.ByRole[cluster.Role(role)] = postgres.RoleSettings{Parameters: ordered(parameters), PgHBA: hba, PgIdent: ident}
	}
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

// localRules with what the dynamic configuration may set in `postgresql`.
func (n *node) localRules(cfg *config.Config, p *config.Postgresql) ha.Local {
	merged := *cfg
	merged.Postgresql = *p
	return localRules(&merged)
}
