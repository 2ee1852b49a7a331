package config

import (
	"strings"

	"tamada/internal/cluster"
)

// postgresqlKeys is the section postgresql, local and dynamic (reference
// configuration.md 2.9, 3.2).
var postgresqlKeys = []Key{
	{Path: "postgresql", Kind: Section, Strict: "*section", Place: Local, Required: true, Doc: "The PostgreSQL instance."},
	{Path: "postgresql", Kind: Section, StrictDCS: "section", Place: Dynamic, Doc: "Settings for the PostgreSQL instances of all nodes."},
	{Path: "postgresql.listen", Kind: AddrPort, Strict: "*L*", Place: Local, Effect: OnPostgresRestart, Required: true, Env: "POSTGRESQL_LISTEN",
		Doc: "ADDRESS[,ADDRESS…]:PORT; sets listen_addresses and port."},
	{Path: "postgresql.connect_address", Kind: AddrPort, Strict: "*C", Place: Local, Env: "POSTGRESQL_CONNECT_ADDRESS", Doc: "Address that others use; default: first of listen."},
	{Path: "postgresql.proxy_address", Kind: AddrPort, Strict: "C", Place: Local, Env: "POSTGRESQL_PROXY_ADDRESS", Doc: "Address of a pooler or proxy, published as proxy_url."},
	{Path: "postgresql.data_dir", Kind: Text, Strict: "*data_dir", Place: Local, Effect: OnAgentRestart, Required: true, Env: "POSTGRESQL_DATA_DIR", Doc: "Data folder."},
	{Path: "postgresql.config_dir", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "POSTGRESQL_CONFIG_DIR", Doc: "Folder of the configuration files; default: data_dir."},
	{Path: "postgresql.config_base_name", Kind: Text, Place: Both, Effect: OnAgentRestart, Default: "postgresql", Doc: "First part of the names of the configuration files."},
	{Path: "postgresql.custom_conf", Kind: Text, Place: Both, Doc: "File included instead of postgresql.base.conf."},
	{Path: "postgresql.bin_dir", Kind: Text, Strict: "bin_dir", Place: Both, Effect: OnAgentRestart, Default: "", Env: "POSTGRESQL_BIN_DIR", Doc: "Folder of PostgreSQL's programs; default: $PATH."},
	{Path: "postgresql.bin_name", Kind: Section, Strict: "section", Place: Both, Doc: "Other names of PostgreSQL's programs."},
	{Path: "postgresql.bin_name.pg_ctl", Kind: Text, Strict: "bin_name", Place: Both, Default: "pg_ctl", Env: "POSTGRESQL_BIN_PG_CTL", Doc: "Name of pg_ctl."},
	{Path: "postgresql.bin_name.initdb", Kind: Text, Strict: "bin_name", Place: Both, Default: "initdb", Env: "POSTGRESQL_BIN_INITDB", Doc: "Name of initdb."},
	{Path: "postgresql.bin_name.pg_controldata", Kind: Text, Strict: "bin_name", Place: Both, Default: "pg_controldata", Env: "POSTGRESQL_BIN_PG_CONTROLDATA", Doc: "Name of pg_controldata."},
	{Path: "postgresql.bin_name.pg_basebackup", Kind: Text, Strict: "bin_name", Place: Both, Default: "pg_basebackup", Env: "POSTGRESQL_BIN_PG_BASEBACKUP", Doc: "Name of pg_basebackup."},
	{Path: "postgresql.bin_name.postgres", Kind: Text, Strict: "bin_name", Place: Both, Default: "postgres", Env: "POSTGRESQL_BIN_POSTGRES", Doc: "Name of postgres."},
	{Path: "postgresql.bin_name.pg_isready", Kind: Text, Strict: "bin_name", Place: Both, Default: "pg_isready", Env: "POSTGRESQL_BIN_PG_ISREADY", Doc: "Name of pg_isready."},
	{Path: "postgresql.bin_name.pg_rewind", Kind: Text, Strict: "bin_name", Place: Both, Default: "pg_rewind", Env: "POSTGRESQL_BIN_PG_REWIND", Doc: "Name of pg_rewind."},
	{Path: "postgresql.database", Kind: Text, Place: Both, Effect: OnAgentRestart, Default: "postgres", Doc: "Maintenance database."},
	{Path: "postgresql.pgpass", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "POSTGRESQL_PGPASS", Doc: "Password file written for replication; default: ~/pgpass."},
	{Path: "postgresql.krbsrvname", Kind: Text, Place: Both, Doc: "Kerberos service name for replication connections."},
	{Path: "postgresql.use_unix_socket", Kind: Bool, Place: Both, Default: false, Doc: "Connect locally by Unix socket."},
	{Path: "postgresql.use_unix_socket_repl", Kind: Bool, Place: Both, Default: false, Doc: "The same for local replication connections."},
	{Path: "postgresql.parameters", Kind: Map, Strict: "section", StrictDCS: "section", Place: Both,
		Doc: "PostgreSQL's parameters. Which of them need a restart of PostgreSQL, PostgreSQL itself decides."},
	{Path: "postgresql.parameters.unix_socket_directories", Kind: Text, Strict: "str", Place: Both, Effect: OnPostgresRestart,
		Doc: "Folders of the server's sockets, with commas."},
	{Path: "postgresql.pg_hba", Kind: Strings, Strict: "[str]", StrictDCS: "[str]", Place: Both, Doc: "Content of pg_hba.conf."},
	{Path: "postgresql.pg_ident", Kind: Strings, Strict: "[str]", StrictDCS: "[str]", Place: Both, Doc: "Content of pg_ident.conf."},
	{Path: "postgresql.recovery_conf", Kind: Map, Place: Both, Doc: "Recovery parameters of a standby."},
	{Path: "postgresql.pg_ctl_timeout", Kind: Int, Strict: "I[0..]", StrictDCS: "I[0..]", Unit: "s", Place: Both, Default: 60, NotNegative: true, Doc: "Seconds to wait for a start."},
	{Path: "postgresql.use_pg_rewind", Kind: Bool, Strict: "bool", StrictDCS: "bool", Place: Both, Default: false, Doc: "Use pg_rewind on a diverged former primary."},
	{Path: "postgresql.rewind", Kind: Options, Strict: "[str|dict]", StrictDCS: "[str|dict]", Place: Both, Doc: "Further options of pg_rewind."},
	{Path: "postgresql.remove_data_directory_on_rewind_failure", Kind: Bool, Place: Both, Default: false, Doc: "Make the replica anew when pg_rewind failed."},
	{Path: "postgresql.remove_data_directory_on_diverged_timelines", Kind: Bool, Place: Both, Default: false, Doc: "Make a diverged replica anew without pg_rewind."},
	{Path: "postgresql.create_replica_methods", Kind: Strings, Place: Both, Doc: "Ways of making a replica, tried in order; default: basebackup."},
	{Path: "postgresql.create_replica_method", Kind: Strings, Place: Both, Doc: "Older name of create_replica_methods."},
	{Path: "postgresql.basebackup", Kind: Options, Strict: "[str|dict]", StrictDCS: "[str|dict]", Place: Both, Doc: "Options of pg_basebackup."},
	{Path: "postgresql.callbacks", Kind: Section, Place: Both, Doc: "Commands run on events, with action, role and scope."},
	{Path: "postgresql.callbacks.on_start", Kind: Text, Place: Both, Doc: "After a start."},
	{Path: "postgresql.callbacks.on_stop", Kind: Text, Place: Both, Doc: "After a stop."},
	{Path: "postgresql.callbacks.on_restart", Kind: Text, Place: Both, Doc: "After a restart."},
	{Path: "postgresql.callbacks.on_reload", Kind: Text, Place: Both, Doc: "After a reload."},
	{Path: "postgresql.callbacks.on_role_change", Kind: Text, Place: Both, Doc: "After a change of role."},
	{Path: "postgresql.pre_promote", Kind: Text, Place: Both, Doc: "Command that must succeed before a promotion."},
	{Path: "postgresql.before_stop", Kind: Text, Place: Both, Doc: "Command run before each stop."},
	{Path: "postgresql.use_slots", Kind: Bool, StrictDCS: "bool", Place: Dynamic, Default: true, Doc: "Use replication slots."},
}

// roleNames are the suffixes of the keys that hold in one role only (reference
// configuration.md 1.5).
var roleNames = []string{"primary", "replica", "standby_leader"}

func roleKeys() (rows []Key) {
	for _, role := range roleNames {
		rows = append(rows,
			Key{Path: "postgresql.parameters_" + role, Kind: Map, Place: Both, Doc: "Parameters in this role, merged over parameters."},
			Key{Path: "postgresql.pg_hba_" + role, Kind: Strings, Place: Both, Doc: "Content of pg_hba.conf in this role."},
			Key{Path: "postgresql.pg_ident_" + role, Kind: Strings, Place: Both, Doc: "Content of pg_ident.conf in this role."})
	}
	return rows
}

// credentialNames are the keys of a user below postgresql.authentication, in
// the order of the reference.
var credentialNames = []string{"username", "password", "sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert",
	"sslcrl", "sslcrldir", "gssencmode", "channel_binding", "sslnegotiation"}

func authenticationKeys() []Key {
	rows := []Key{{Path: "postgresql.authentication", Kind: Section, Strict: "*section", Place: Local, Required: true, Secret: true, Doc: "Database users of the agent."}}
	for _, user := range []string{"superuser", "replication", "rewind"} {
		strict := "*section"
		if user == "rewind" {
			strict = "section"
		}
		rows = append(rows, Key{Path: "postgresql.authentication." + user, Kind: Section, Strict: strict, Place: Local, Required: user == "replication", Secret: true,
			Doc: "Connection settings of the " + user + " user."})
		for _, name := range credentialNames {
			rows = append(rows, Key{Path: "postgresql.authentication." + user + "." + name, Kind: Text, Place: Local, Strict: map[string]string{"username": "*str", "password": "str"}[name],
				Required: name == "username" && user != "superuser", Secret: strings.HasSuffix(name, "password"),
				Env: strings.ToUpper(user + "_" + name), Doc: credentialDoc(user, name)})
		}
	}
	return rows
}

func credentialDoc(user, name string) string {
	switch name {
	case "username":
		return "Name of the " + user + " user."
	case "password":
		return "Its password."
	}
	return "The same as libpq's " + name + "."
}

// dynamicKeys stand in the store's document and in bootstrap.dcs (reference
// configuration.md 3).
var dynamicKeys = []Key{
	{Path: "ttl", Kind: Seconds, StrictDCS: "I[20..]", Place: Dynamic, Default: 30, Min: cluster.GuardedFloors.TTL, Doc: "Seconds that a leader key lives without renewal. Below 20 only while every member has a guardian."},
	{Path: "loop_wait", Kind: Seconds, StrictDCS: "I[1..]", Place: Dynamic, Default: 10, Min: cluster.GuardedFloors.LoopWait, Doc: "Longest sleep of the agent's loop in seconds."},
	{Path: "retry_timeout", Kind: Seconds, StrictDCS: "I[3..]", Place: Dynamic, Default: 10, Min: cluster.GuardedFloors.RetryTimeout, Doc: "Seconds that operations on the store and PostgreSQL are retried. Below 3 only while every member has a guardian."},
	{Path: "maximum_lag_on_failover", Kind: Int, StrictDCS: "I[0..]", Place: Dynamic, Default: 1048576, NotNegative: true, Doc: "Bytes that a replica may lag and still be promoted."},
	{Path: "maximum_lag_on_syncnode", Kind: Int, StrictDCS: "I[-1..]", Place: Dynamic, Default: -1, Min: -1, Doc: "Bytes that a synchronous standby may lag."},
	{Path: "primary_race_backoff", Kind: Int, Place: Dynamic, Default: 0, NotNegative: true, Doc: "Seconds to wait while the old primary still sends WAL."},
	{Path: "max_timelines_history", Kind: Int, Place: Dynamic, Default: 0, NotNegative: true, Doc: "Lines kept in the history; 0: all."},
	{Path: "primary_start_timeout", Kind: Int, StrictDCS: "I[0..]", Place: Dynamic, Default: 300, NotNegative: true, Doc: "Seconds that a primary may recover before a failover."},
	{Path: "master_start_timeout", Kind: Int, Place: Dynamic, NotNegative: true, Doc: "Older name of primary_start_timeout."},
	{Path: "primary_stop_timeout", Kind: Int, StrictDCS: "I[0..]", Place: Dynamic, Default: 0, NotNegative: true, Doc: "Seconds before a stop is escalated in synchronous mode."},
	{Path: "primary_hang_timeout", Kind: Seconds, Unit: "s", Place: Dynamic, NotNegative: true, Doc: "Time that a primary's PostgreSQL may take no new connection, or its disk no write, before another member takes over; 0: never. Default: two thirds of ttl. Ours."},
	{Path: "primary_crash_limit", Kind: Int, Place: Dynamic, Default: 5, NotNegative: true, Doc: "Crashes within ten minutes after which another member takes over from a primary; 0: no limit. Ours."},
	{Path: "master_stop_timeout", Kind: Int, Place: Dynamic, NotNegative: true, Doc: "Older name of primary_stop_timeout."},
	{Path: "synchronous_mode", Kind: Any, Schema: `{"anyOf":[{"type":"boolean"},{"enum":["on","off","true","false","yes","no","quorum"]}]}`, StrictDCS: "sync", Place: Dynamic, Default: false, Doc: "true, false or quorum."},
	{Path: "synchronous_mode_strict", Kind: Bool, StrictDCS: "bool", Place: Dynamic, Default: false, Doc: "Never commit without a synchronous standby."},
	{Path: "synchronous_node_count", Kind: Int, StrictDCS: "I[1..]", Place: Dynamic, Default: 1, Min: 1, Doc: "Number of synchronous standbys."},
	{Path: "failsafe_mode", Kind: Bool, Place: Dynamic, Default: false, Doc: "Keep the primary when the store is lost and all members agree."},
	{Path: "check_timeline", Kind: Bool, Place: Dynamic, Default: false, Doc: "Only a node on the newest timeline may be promoted."},
	{Path: "pause", Kind: Bool, Place: Dynamic, Default: false, Doc: "Maintenance mode."},
	{Path: "member_slots_ttl", Kind: Seconds, StrictDCS: "I[0..]", Unit: "s", Place: Dynamic, Default: 1800, NotNegative: true, Doc: "Time that the slot of an absent member is kept."},
	{Path: "slots", Kind: Map, Place: Dynamic, Doc: "Permanent replication slots by name (lower-case letters, digits and _).", Schema: slotsSchema},
	{Path: "slots.*.type", Kind: Text, Place: Dynamic, Enum: []string{"physical", "logical"}, Doc: "Kind of slot; logical when database and plugin are given, else physical."},
	{Path: "slots.*.database", Kind: Text, Place: Dynamic, Doc: "Database of a logical slot."},
	{Path: "slots.*.plugin", Kind: Text, Place: Dynamic, Doc: "Output plugin of a logical slot."},
	{Path: "slots.*.cluster_type", Kind: Text, Place: Dynamic, Enum: []string{"primary", "standby"}, Doc: "primary: only while the cluster is none of standbys; standby: only then."},
	{Path: "permanent_replication_slots", Kind: Map, Place: Dynamic, Doc: "Older name of slots.", Schema: slotsSchema},
	{Path: "permanent_slots", Kind: Map, Place: Dynamic, Doc: "Older name of slots.", Schema: slotsSchema},
	{Path: "ignore_slots", Kind: Any, Check: checkIgnore, Place: Dynamic, Schema: `{"type":"array","items":{"type":"object"}}`, Doc: "Matchers of slots that are left alone."},
	{Path: "standby_cluster", Kind: Section, StrictDCS: "section", Place: Dynamic, Doc: "Be a standby of another cluster."},
	{Path: "standby_cluster.host", Kind: Text, StrictDCS: "?str", Place: Dynamic, Doc: "Where to stream from."},
	{Path: "standby_cluster.port", Kind: Int, StrictDCS: "?I[..65535]!", Place: Dynamic, Max: 65535, Doc: "Its port."},
	{Path: "standby_cluster.primary_slot_name", Kind: Text, StrictDCS: "str", Place: Dynamic, Doc: "Slot there."},
	{Path: "standby_cluster.create_replica_methods", Kind: Strings, StrictDCS: "[str]", Place: Dynamic, Doc: "Ways of making the standby leader."},
	{Path: "standby_cluster.restore_command", Kind: Text, StrictDCS: "?str", Place: Dynamic, Doc: "Command that fetches WAL from the archive."},
	{Path: "standby_cluster.archive_cleanup_command", Kind: Text, StrictDCS: "str", Place: Dynamic, Doc: "Command that cleans the archive."},
	{Path: "standby_cluster.recovery_min_apply_delay", Kind: Text, StrictDCS: "str", Place: Dynamic, Doc: "Delay of the standby leader."},
}

const slotsSchema = `{"type":"object","propertyNames":{"pattern":"^[a-z0-9_]{1,63}$"},"additionalProperties":{"type":["object","null"],` +
	`"properties":{"type":{"enum":["physical","logical"]},"database":{"type":"string"},"plugin":{"type":"string"},"cluster_type":{"enum":["primary","standby"]}}}}`

// controlledKeys are the parameters that count only in the store, with the
// ranges that the reference's validator has (looser than those in force).
func controlledKeys() []Key {
	rows := []Key{}
	for _, r := range []struct{ name, strict, doc string }{
		{"wal_level", "", "replica or logical."},
		{"hot_standby", "", "Always on."},
		{"max_connections", "I[1..262143]", "Connections; at least 25. A standby may not have less than its primary."},
		{"max_wal_senders", "I[0..262143]", "Senders of WAL; at least 3. A standby may not have less than its primary."},
		{"wal_keep_segments", "", "Segments of WAL kept for standbys, up to PostgreSQL 12; at least 1."},
		{"wal_keep_size", "", "WAL kept for standbys, since PostgreSQL 13; at least 16MB."},
		{"max_prepared_transactions", "I[0..262143]", "Prepared transactions. A standby may not have less than its primary."},
		{"max_locks_per_transaction", "I[10..2147483647]", "Locks; at least 32. A standby may not have less than its primary."},
		{"track_commit_timestamp", "", "Keep the time of commits."},
		{"max_replication_slots", "I[0..262143]", "Replication slots; at least 4."},
		{"max_worker_processes", "I[0..262143]", "Background workers; at least 2. A standby may not have less than its primary."},
		{"wal_log_hints", "", "Needed by pg_rewind without checksums."},
	} {
		effect := OnPostgresRestart
		if strings.HasPrefix(r.name, "wal_keep") {
			effect = OnReload
		}
		rows = append(rows, Key{Path: "postgresql.parameters." + r.name, Kind: Any, StrictDCS: r.strict, Place: Dynamic, Effect: effect,
			Default: findControlled(r.name).dflt(), Doc: r.doc})
	}
	return rows
}

// methodKeys are the sections of custom methods, which may have any name.
func methodKeys() []Key {
	command := "Command, split into words without a shell."
	params := "Do not add the usual arguments."
	return []Key{
		{Path: "bootstrap.<method>", Kind: Section, Place: Local, Effect: OnBootstrap, Doc: "A way of making the cluster, chosen by method: a restore, say."},
		{Path: "bootstrap.<method>.command", Kind: Text, Place: Local, Effect: OnBootstrap, Doc: command},
		{Path: "bootstrap.<method>.no_params", Kind: Bool, Place: Local, Effect: OnBootstrap, Default: false, Doc: params},
		{Path: "bootstrap.<method>.keep_existing_recovery_conf", Kind: Bool, Place: Local, Effect: OnBootstrap, Default: false, Doc: "Keep the recovery settings that the command made."},
		{Path: "bootstrap.<method>.recovery_conf", Kind: Map, Place: Local, Effect: OnBootstrap, Doc: "Recovery parameters of the first start."},
		{Path: "bootstrap.<method>.*", Kind: Any, Place: Local, Effect: OnBootstrap, Secret: true, Doc: "Passed to the command as --KEY=VALUE."},
		{Path: "postgresql.<method>", Kind: Section, Place: Both, Doc: "A way of making a replica, named in create_replica_methods."},
		{Path: "postgresql.<method>.command", Kind: Text, Place: Both, Doc: command + " Default: the name of the method."},
		{Path: "postgresql.<method>.no_params", Kind: Bool, Place: Both, Default: false, Doc: params},
		{Path: "postgresql.<method>.no_leader", Kind: Bool, Place: Both, Default: false, Doc: "Works without a running member: can bring back a cluster of which nothing is left."},
		{Path: "postgresql.<method>.keep_data", Kind: Bool, Place: Both, Default: false, Doc: "Do not empty the data folder before and after."},
		{Path: "postgresql.<method>.*", Kind: Any, Place: Both, Secret: true, Doc: "Passed to the command as --KEY=VALUE."},
	}
}
