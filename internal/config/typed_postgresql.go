package config

import (
	"maps"
	"path/filepath"

	"tamada/internal/cluster"
)

// Programs are the PostgreSQL programs that can have other names.
var Programs = []string{"pg_ctl", "initdb", "pg_controldata", "pg_basebackup", "postgres", "pg_isready", "pg_rewind"}

// typedPostgresql reads a section postgresql: the local one, or the merged one.
// Parameters are left to the caller.
func typedPostgresql(r reader) Postgresql {
	p := Postgresql{
		Listen: r.address("listen", 5432), ConnectAddress: r.hostPort("connect_address", 5432), ProxyAddress: r.hostPort("proxy_address", 5432),
		DataDir: absolute(r.text("data_dir")), ConfigDir: absolute(r.text("config_dir")), ConfigBaseName: r.text("config_base_name"),
		CustomConf: r.text("custom_conf"), BinDir: absolute(r.text("bin_dir")), Database: r.text("database"),
		PgPass: absolute(r.text("pgpass")), KrbSrvName: r.text("krbsrvname"),
		UseUnixSocket: r.flag("use_unix_socket"), UseUnixSocketRepl: r.flag("use_unix_socket_repl"),
		BinName: map[string]string{},
		PgHBA:   managed(r.strings("pg_hba")), PgIdent: managed(r.strings("pg_ident")),
		ByRole:       map[string]RoleOverride{},
		RecoveryConf: r.texts("recovery_conf"), PgCtlTimeout: r.integer("pg_ctl_timeout"),
		UsePgRewind: r.flag("use_pg_rewind"), RewindOptions: r.options("rewind"),
		RemoveDataDirectoryOnRewindFailure:     r.flag("remove_data_directory_on_rewind_failure"),
		RemoveDataDirectoryOnDivergedTimelines: r.flag("remove_data_directory_on_diverged_timelines"),
		CreateReplicaMethods:                   replicaMethods(r),
		Methods:                                r.others(), BaseBackup: r.options("basebackup"),
		Callbacks: r.texts("callbacks"), PrePromote: r.text("pre_promote"), BeforeStop: r.text("before_stop"),
		UseSlots: true,
	}
	if p.ConnectAddress == "" && p.Listen.Port != 0 {
		p.ConnectAddress = Address{Hosts: []string{p.Listen.LocalHost()}, Port: p.Listen.Port}.String()
	}
	if p.ConfigDir == "" {
		p.ConfigDir = p.DataDir
	}
	for _, program := range Programs {
		p.BinName[program] = r.section("bin_name").text(program)
	}
	for _, role := range roleNames {
		o := RoleOverride{Parameters: r.texts("parameters_" + role), PgHBA: managed(r.strings("pg_hba_" + role)),
			PgIdent: managed(r.strings("pg_ident_" + role))}
		if len(o.Parameters) > 0 || o.PgHBA != nil || o.PgIdent != nil {
			p.ByRole[role] = o
		}
	}
	auth := r.section("authentication")
	p.Superuser, p.Replication = credentials(auth.section("superuser")), credentials(auth.section("replication"))
	p.Rewind = p.Superuser
	if auth.o.Object("rewind") != nil {
		p.Rewind = credentials(auth.section("rewind"))
	}
	return p
}

// absolute is a path as seen from the folder that this program was started in. The
// programs that get it (initdb, the server, scripts) run in another one. custom_conf
// is not for it: PostgreSQL looks for that beside the file that includes it.
func absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path // without a working folder nothing better is known
}

// managed makes an empty list of lines the same as none.
func managed(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return lines
}

func replicaMethods(r reader) []string {
	for _, key := range []string{"create_replica_methods", "create_replica_method"} {
		if list := r.strings(key); len(list) > 0 {
			return list
		}
	}
	return []string{"basebackup"}
}

func credentials(r reader) Credentials {
	return Credentials{
		Username: r.text("username"), Password: r.secret("password"),
		SSLMode: r.text("sslmode"), SSLCert: r.text("sslcert"), SSLKey: r.text("sslkey"), SSLPassword: r.secret("sslpassword"),
		SSLRootCert: r.text("sslrootcert"), SSLCRL: r.text("sslcrl"), SSLCRLDir: r.text("sslcrldir"),
		GSSEncMode: r.text("gssencmode"), ChannelBinding: r.text("channel_binding"), SSLNegot: r.text("sslnegotiation"),
	}
}

// RoleWarnings names parameters that role-specific settings may not override.
func (p *Postgresql) RoleWarnings() (all []string) {
	for _, role := range roleNames {
		_, _, _, warnings := p.ForRole(cluster.Role(role))
		all = append(all, warnings...)
	}
	return all
}

// ForRole is what is different in a role: parameters and the lines of
// pg_hba.conf and pg_ident.conf (reference configuration.md 1.5). warnings name
// parameters that may not be overridden.
func (p *Postgresql) ForRole(role cluster.Role) (parameters map[string]string, hba, ident, warnings []string) {
	switch role {
	case cluster.RolePromoted:
		role = cluster.RolePrimary
	case cluster.RoleDemoted:
		role = cluster.RoleReplica
	}
	o := p.ByRole[string(role)]
	parameters, hba, ident = maps.Clone(p.Parameters), p.PgHBA, p.PgIdent
	names := newParameters(parameters)
	for name, value := range o.Parameters {
		if findControlled(name) != nil {
			warnings = append(warnings, "Role-based config attempted to override protected parameter '"+name+"', ignoring")
			continue
		}
		names.set(name, value)
	}
	if o.PgHBA != nil {
		hba = o.PgHBA
	}
	if o.PgIdent != nil {
		ident = o.PgIdent
	}
	return names.values, hba, ident, warnings
}
