package config

// The rows of the table that stand in a node's own file (reference
// configuration.md 2).

var topKeys = []Key{
	{Path: "name", Kind: Text, Strict: "*str", Place: Local, Effect: OnAgentRestart, Required: true, Env: "NAME",
		Doc: "Name of the member: its key in the store, its application_name, the base of its slot's name."},
	{Path: "scope", Kind: Text, Strict: "*str", Place: Local, Effect: OnAgentRestart, Required: true, Env: "SCOPE",
		Doc: "Name of the cluster, also the GUC cluster_name."},
	{Path: "namespace", Kind: Text, Place: Local, Effect: OnAgentRestart, Default: "service", Env: "NAMESPACE",
		Doc: "Prefix in the store; the cluster's keys are below /NAMESPACE/SCOPE/."},
	{Path: "state_dir", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "STATE_DIR",
		Doc: "Folder of the agent's own state, outside of the data folder. Default: $STATE_DIRECTORY, else DATA_DIR.tamada."},
	{Path: "guardian", Kind: Section, Place: Local, Doc: "The process that enforces the lease's deadline."},
	{Path: "guardian.mode", Kind: Text, Place: Local, Effect: OnAgentRestart, Default: "automatic", Enum: []string{"off", "automatic", "required"},
		Doc: "automatic: lead under a guardian when there is one; required: never lead without; off: none."},
	{Path: "thread_pool_size", Kind: Int, Strict: "I[5..]!", Place: Local, Effect: OnAgentRestart, Default: 5, Min: 5, Env: "THREAD_POOL_SIZE",
		Doc: "Read for compatibility; has no meaning here."},
	{Path: "thread_stack_size", Kind: Int, Strict: "stack", Unit: "B", Place: Local, Effect: OnAgentRestart, Default: 524288, Min: 65536, Env: "THREAD_STACK_SIZE",
		Doc: "Read for compatibility; has no meaning here."},
	{Path: "citus", Kind: Section, Strict: "section", Place: Local, Effect: OnAgentRestart, Refused: "Citus is not supported yet", Doc: "Citus cluster."},
	{Path: "citus.group", Kind: Int, Strict: "*I[0..]!", Place: Local, Effect: OnAgentRestart, Env: "CITUS_GROUP", NotNegative: true, Doc: "Group number."},
	{Path: "citus.database", Kind: Text, Strict: "*str", Place: Local, Effect: OnAgentRestart, Env: "CITUS_DATABASE", Doc: "Database."},
}

var logKeys = []Key{
	{Path: "log", Kind: Section, Strict: "section", Place: Local, Doc: "Logging."},
	{Path: "log.type", Kind: Text, Strict: "E{plain,json}", Place: Local, Default: "plain", Enum: []string{"plain", "json"}, Env: "LOG_TYPE", Doc: "plain or json."},
	{Path: "log.level", Kind: Text, Strict: "E{DEBUG,INFO,WARN,WARNING,ERROR,FATAL,CRITICAL}", Place: Local, Default: "INFO", Enum: []string{"DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL"}, Env: "LOG_LEVEL",
		Doc: "Lowest level that is logged."},
	{Path: "log.traceback_level", Kind: Text, Strict: "e{DEBUG,ERROR}", Place: Local, Default: "ERROR", Enum: []string{"DEBUG", "ERROR"}, Env: "LOG_TRACEBACK_LEVEL",
		Doc: "Read for compatibility; has no meaning here: an error is one line, always."},
	{Path: "log.format", Kind: Any, Check: checkFormat, Strict: "format", Schema: `{"anyOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"anyOf":[{"type":"string"},{"type":"object"}]}}]}`, Place: Local, Default: "%(asctime)s %(levelname)s: %(message)s", Env: "LOG_FORMAT",
		Doc: "Format of a line; for json a list of field names or {field: output name}."},
	{Path: "log.dateformat", Kind: Text, Strict: "str", Place: Local, Env: "LOG_DATEFORMAT", Doc: "strftime format of the time; default: YYYY-MM-DD HH:MM:SS,mmm in local time."},
	{Path: "log.static_fields", Kind: Map, Strict: "dict", Place: Local, Env: "LOG_STATIC_FIELDS", Doc: "Constant fields added to each json record."},
	{Path: "log.max_queue_size", Kind: Int, Strict: "int", Place: Local, Default: 1000, Env: "LOG_MAX_QUEUE_SIZE", NotNegative: true, Doc: "Records that may wait to be written; more are dropped."},
	{Path: "log.dir", Kind: Text, Strict: "str", Place: Local, Env: "LOG_DIR", Doc: "Folder for the file patroni.log; default: standard error."},
	{Path: "log.mode", Kind: Int, Strict: "I[0..511]!", Place: Local, Max: 511, Env: "LOG_MODE", Doc: "Permissions of log files; default: 0666 less the umask."},
	{Path: "log.file_size", Kind: Int, Strict: "int", Place: Local, Default: 25000000, Env: "LOG_FILE_SIZE", NotNegative: true, Doc: "Bytes at which a log file is rotated."},
	{Path: "log.file_num", Kind: Int, Strict: "int", Place: Local, Default: 4, Env: "LOG_FILE_NUM", NotNegative: true, Doc: "Rotated files that are kept."},
	{Path: "log.loggers", Kind: Map, Strict: "dict", Place: Local, Env: "LOG_LOGGERS", Doc: "Levels by logger name."},
	{Path: "log.deduplicate_heartbeat_logs", Kind: Bool, Strict: "bool", Place: Local, Default: false, Env: "LOG_DEDUPLICATE_HEARTBEAT_LOGS",
		Doc: "Leave out a heartbeat line that equals the one before."},
}

var bootstrapKeys = []Key{
	{Path: "bootstrap", Kind: Section, Strict: "section", Place: Local, Effect: OnBootstrap, Doc: "How a new cluster is made; without it this node never makes one."},
	{Path: "bootstrap.dcs", Kind: Section, Strict: "*section", Place: Local, Effect: OnBootstrap, Doc: "First content of the dynamic configuration."},
	{Path: "bootstrap.method", Kind: Text, Strict: "str", Place: Local, Effect: OnBootstrap, Default: "initdb", Doc: "initdb, or the name of a section here that has a command."},
	{Path: "bootstrap.initdb", Kind: Options, Strict: "[str|dict]", Place: Local, Effect: OnBootstrap, Doc: "Options of initdb."},
	{Path: "bootstrap.pg_hba", Kind: Strings, Place: Local, Effect: OnBootstrap, Doc: "Lines added to the generated pg_hba.conf if nothing else manages it."},
	{Path: "bootstrap.post_bootstrap", Kind: Text, Place: Local, Effect: OnBootstrap, Doc: "Command run once the new cluster works; gets a connection string."},
	{Path: "bootstrap.post_init", Kind: Text, Place: Local, Effect: OnBootstrap, Doc: "Older name of post_bootstrap."},
	{Path: "bootstrap.users", Kind: Any, Place: Local, Effect: OnBootstrap, Secret: true, Doc: "Removed since 4.0; use post_bootstrap."},
}

var restapiKeys = []Key{
	{Path: "restapi", Kind: Section, Strict: "*section", Place: Local, Required: true, Doc: "HTTP API."},
	{Path: "restapi.listen", Kind: AddrPort, Strict: "*L", Place: Local, Required: true, Env: "RESTAPI_LISTEN", Doc: "Address to listen on; an empty host or * means all."},
	{Path: "restapi.connect_address", Kind: AddrPort, Strict: "*C", Place: Local, Env: "RESTAPI_CONNECT_ADDRESS", Doc: "Address that others use; default: listen."},
	{Path: "restapi.authentication", Kind: Section, Strict: "section", Place: Local, Doc: "Basic authentication for requests that change something."},
	{Path: "restapi.authentication.username", Kind: Text, Strict: "*str", Place: Local, Required: true, Env: "RESTAPI_USERNAME", Doc: "User."},
	{Path: "restapi.authentication.password", Kind: Text, Strict: "*str", Place: Local, Required: true, Secret: true, Env: "RESTAPI_PASSWORD", Doc: "Password."},
	{Path: "restapi.certfile", Kind: Text, Strict: "str", Place: Local, Env: "RESTAPI_CERTFILE", Doc: "Server certificate in PEM; turns TLS on."},
	{Path: "restapi.keyfile", Kind: Text, Strict: "str", Place: Local, Env: "RESTAPI_KEYFILE", Doc: "Its key, if not in certfile."},
	{Path: "restapi.keyfile_password", Kind: Text, Strict: "str", Place: Local, Secret: true, Env: "RESTAPI_KEYFILE_PASSWORD", Doc: "Password of the key."},
	{Path: "restapi.cafile", Kind: Text, Strict: "str", Place: Local, Env: "RESTAPI_CAFILE", Doc: "Authorities that client certificates are checked with."},
	{Path: "restapi.ciphers", Kind: Text, Strict: "str", Place: Local, Env: "RESTAPI_CIPHERS", Doc: "Allowed ciphers."},
	{Path: "restapi.verify_client", Kind: Text, Strict: "E{none,optional,required}", Place: Local, Default: "none", Enum: []string{"none", "optional", "required"}, Lenient: true, Env: "RESTAPI_VERIFY_CLIENT",
		Doc: "optional: certificate needed for requests that change something; required: for each connection."},
	{Path: "restapi.allowlist", Kind: Strings, Strict: "[str]", Place: Local, Env: "RESTAPI_ALLOWLIST", Doc: "Names, addresses and networks that may send requests that change something."},
	{Path: "restapi.allowlist_include_members", Kind: Bool, Strict: "bool", Place: Local, Default: false, Env: "RESTAPI_ALLOWLIST_INCLUDE_MEMBERS", Doc: "Allow the cluster's members too."},
	{Path: "restapi.http_extra_headers", Kind: Map, Strict: "dict", Place: Local, Env: "RESTAPI_HTTP_EXTRA_HEADERS", Doc: "Headers added to each answer."},
	{Path: "restapi.https_extra_headers", Kind: Map, Strict: "dict", Place: Local, Env: "RESTAPI_HTTPS_EXTRA_HEADERS", Doc: "The same with TLS; merged over the former."},
	{Path: "restapi.request_queue_size", Kind: Int, Strict: "I[0..4096]!", Place: Local, Effect: OnAgentRestart, Default: 5, Max: 4096, Env: "RESTAPI_REQUEST_QUEUE_SIZE", Doc: "Read for compatibility; has no meaning here: the queue has the length that the system allows."},
	{Path: "restapi.server_tokens", Kind: Text, Strict: "e{minimal,productonly,original}", Place: Local, Default: "Original", Env: "RESTAPI_SERVER_TOKENS",
		Enum: []string{"Original", "Minimal", "ProductOnly"}, Lenient: true, Doc: "What the Server header tells."},
	{Path: "restapi.thread_pool_size", Kind: Int, Strict: "I[5..]!", Place: Local, Effect: OnAgentRestart, Default: 5, Min: 5, Env: "RESTAPI_THREAD_POOL_SIZE", Doc: "Read for compatibility; has no meaning here."},
}

var ctlKeys = []Key{
	{Path: "ctl", Kind: Section, Strict: "section", Place: Local, Doc: "How the command line and other agents are called."},
	{Path: "ctl.authentication", Kind: Section, Strict: "section", Place: Local, Doc: "Credentials sent with requests; default: restapi.authentication."},
	{Path: "ctl.authentication.username", Kind: Text, Strict: "*str", Place: Local, Required: true, Env: "CTL_USERNAME", Doc: "User."},
	{Path: "ctl.authentication.password", Kind: Text, Strict: "*str", Place: Local, Required: true, Secret: true, Env: "CTL_PASSWORD", Doc: "Password."},
	{Path: "ctl.insecure", Kind: Bool, Strict: "bool", Place: Local, Default: false, Env: "CTL_INSECURE", Doc: "Do not verify server certificates."},
	{Path: "ctl.cacert", Kind: Text, Strict: "str", Place: Local, Env: "CTL_CACERT", Doc: "Authorities for server certificates; default: restapi.cafile."},
	{Path: "ctl.certfile", Kind: Text, Strict: "str", Place: Local, Env: "CTL_CERTFILE", Doc: "Client certificate."},
	{Path: "ctl.keyfile", Kind: Text, Strict: "str", Place: Local, Env: "CTL_KEYFILE", Doc: "Its key."},
	{Path: "ctl.keyfile_password", Kind: Text, Strict: "str", Place: Local, Secret: true, Env: "CTL_KEYFILE_PASSWORD", Doc: "Password of the key."},
}

var watchdogKeys = []Key{
	{Path: "watchdog", Kind: Section, Strict: "section", Place: Local, Doc: "The kernel's watchdog device."},
	{Path: "watchdog.mode", Kind: Text, Strict: "watchdog", Place: Local, Default: "automatic", Enum: []string{"off", "automatic", "required", "auto", "require", "disable", "disabled"},
		Doc: "off; automatic: use the device if there is one; required: do not lead without one that works."},
	{Path: "watchdog.device", Kind: Text, Strict: "str", Place: Local, Default: "/dev/watchdog", Doc: "The device; the user that tamada runs as must be able to write to it."},
	{Path: "watchdog.safety_margin", Kind: Int, Strict: "I[-1..]!", Place: Local, Default: 5, Min: -1, Doc: "Seconds between the watchdog and the end of ttl; -1: half of ttl."},
	{Path: "watchdog.driver", Kind: Text, Place: Local, Doc: "testing: device is a named pipe, to which is written what the kernel would be told; anything else: the kernel's."},
}

// flagSchema is of a flag that takes no text: every text would be true.
const flagSchema = `{"type":["boolean","null"]}`

var tagKeys = []Key{
	{Path: "tags", Kind: Section, Strict: "section", Place: Local, Doc: "Tags of this member; others than these are published as they are."},
	{Path: "tags.nofailover", Kind: Any, Check: checkFlag, Schema: flagSchema, Strict: "^bool", Place: Local, Default: false, Doc: "Never lead."},
	{Path: "tags.failover_priority", Kind: Int, Strict: "^I[0..]!", Place: Local, Default: 1, NotNegative: true, Doc: "Rank among equal candidates; not above 0: never lead."},
	{Path: "tags.nosync", Kind: Any, Check: checkFlag, Schema: flagSchema, Strict: "^^bool", Place: Local, Default: false, Doc: "Never be a synchronous standby."},
	{Path: "tags.sync_priority", Kind: Int, Strict: "^^I[0..]!", Place: Local, Default: 1, NotNegative: true, Doc: "Rank as synchronous standby; not above 0: never."},
	{Path: "tags.clonefrom", Kind: Any, Check: checkFlag, Schema: flagSchema, Strict: "bool", Place: Local, Default: false, Doc: "Preferred source of base backups."},
	{Path: "tags.noloadbalance", Kind: Any, Check: checkFlag, Schema: flagSchema, Strict: "bool", Place: Local, Default: false, Doc: "GET /replica answers 503."},
	{Path: "tags.nostream", Kind: Bool, Strict: "bool", Place: Local, Default: false, Doc: "Never stream; recover from the archive only."},
	{Path: "tags.replicatefrom", Kind: Text, Strict: "str", Place: Local, Doc: "Member to stream from instead of the leader."},
	{Path: "tags.*", Kind: Any, Place: Local, Doc: "A tag of your own."},
}
