package config

const (
	dcsLater    = "this store is not supported yet; use etcd3"
	raftRefused = "the Raft store is replaced by the embedded etcd: remove this section and use etcd3.embedded"
)

// dcsKeys are the stores' sections (reference configuration.md 2.4). Their
// environment variables follow from the names, see genericSuffixes. Sections
// that are not supported yet are checked all the same.
func dcsKeys() []Key {
	keys := etcdKeys("etcd3", "etcd by its version 3 interface.", "")
	keys = append(keys, embeddedKeys...)
	keys = append(keys, etcdKeys("etcd", "etcd by its version 2 interface.", dcsLater)...)
	keys = append(keys, consulKeys...)
	keys = append(keys, zookeeperKeys...)
	keys = append(keys, kubernetesKeys...)
	keys = append(keys, raftKeys...)
	for i := range keys {
		keys[i].Place = Local
		if keys[i].Effect == OnReload && !reloadable[keys[i].Path] {
			keys[i].Effect = OnAgentRestart
		}
	}
	return keys
}

// reloadable are the keys of stores that take effect without a restart of the
// agent (reference configuration.md 1.8).
var reloadable = map[string]bool{
	"etcd.username": true, "etcd.password": true, "etcd3.username": true, "etcd3.password": true,
	"consul.token": true, "consul.consistency": true, "consul.dc": true, "consul.register_service": true, "consul.service_tags": true,
	"kubernetes.retriable_http_codes": true,
}

func etcdKeys(section, doc, refused string) []Key {
	keys := []Key{
		{Path: "", Kind: Section, Strict: "section", Refused: refused, Doc: doc},
		{Path: "host", Kind: AddrPort, Strict: "?H", Doc: "HOST[:PORT] of one member, port 2379 by default."},
		{Path: "hosts", Kind: Hosts, Strict: "?hosts", Doc: "Several members, as a list or with commas."},
		{Path: "srv", Kind: Text, Strict: "?str", Doc: "Domain whose SRV records name the members."},
		{Path: "srv_suffix", Kind: Text, Strict: "?str", Doc: "Suffix of the service's name in DNS."},
		{Path: "url", Kind: Text, Strict: "?str", Secret: true, Doc: "URL of one member; sets protocol, username and password too."},
		{Path: "proxy", Kind: Text, Strict: "?str", Secret: true, Doc: "URL of a proxy; means use_proxies."},
		{Path: "discovery_srv", Kind: Text, Doc: "Other name of srv."},
		{Path: "srv_domain", Kind: Text, Doc: "Other name of srv."},
		{Path: "use_proxies", Kind: Bool, Default: false, Doc: "Do not ask the members for each other."},
		{Path: "protocol", Kind: Text, Strict: "str", Default: "http", Enum: []string{"http", "https"}, Doc: "http or https."},
		{Path: "username", Kind: Text, Strict: "str", Doc: "User of etcd."},
		{Path: "password", Kind: Text, Strict: "str", Secret: true, Doc: "Its password."},
		{Path: "cacert", Kind: Text, Strict: "str", Doc: "Authorities for the members' certificates."},
		{Path: "cert", Kind: Text, Strict: "str", Doc: "Client certificate."},
		{Path: "key", Kind: Text, Strict: "str", Doc: "Its key."},
	}
	for i := range keys {
		keys[i].Path = join(section, keys[i].Path)
	}
	keys[0].Path = section
	keys[0].Env = ""
	for i := range keys {
		if name := keys[i].name(); name == "username" || name == "password" {
			keys[i].Env = map[string]string{"etcd": "ETCD_", "etcd3": "ETCD3_"}[section] + map[string]string{"username": "USERNAME", "password": "PASSWORD"}[name]
		}
	}
	return keys
}

var embeddedKeys = []Key{
	{Path: "etcd3.embedded", Kind: Section, Doc: "Run an etcd member on this node."},
	{Path: "etcd3.embedded.data_dir", Kind: Text, Doc: "Its data folder; default: etcd in the state folder."},
	{Path: "etcd3.embedded.peer", Kind: AddrPort, Required: true, Doc: "Address at which the other etcd members reach it."},
	{Path: "etcd3.embedded.client", Kind: AddrPort, Required: true, Doc: "Address at which agents reach it."},
	{Path: "etcd3.embedded.initial_cluster", Kind: Any, Required: true,
		Doc: "All members at the beginning: a mapping from member name to peer address, or NAME=ADDRESS with commas."},
	{Path: "etcd3.embedded.cacert", Kind: Text, Doc: "Authorities for the certificates of the others."},
	{Path: "etcd3.embedded.cert", Kind: Text, Doc: "Certificate of this member."},
	{Path: "etcd3.embedded.key", Kind: Text, Doc: "Its key."},
}

var consulKeys = []Key{
	{Path: "consul", Kind: Section, Strict: "section", Refused: dcsLater, Doc: "Consul."},
	{Path: "consul.host", Kind: AddrPort, Strict: "?H", Doc: "HOST[:PORT] of the agent; 127.0.0.1:8500 when neither host nor url is given."},
	{Path: "consul.url", Kind: Text, Strict: "?str", Secret: true, Doc: "URL of the agent."},
	{Path: "consul.port", Kind: Int, Strict: "I[..65535]!", Default: 8500, Max: 65535, Doc: "Port where host has none."},
	{Path: "consul.scheme", Kind: Text, Strict: "str", Default: "http", Enum: []string{"http", "https"}, Doc: "http or https."},
	{Path: "consul.token", Kind: Text, Strict: "str", Secret: true, Doc: "Token of the access control."},
	{Path: "consul.verify", Kind: Bool, Strict: "bool", Doc: "Verify the certificate of the agent."},
	{Path: "consul.cacert", Kind: Text, Strict: "str", Doc: "Authorities for its certificate."},
	{Path: "consul.cert", Kind: Text, Strict: "str", Doc: "Client certificate."},
	{Path: "consul.key", Kind: Text, Strict: "str", Doc: "Its key."},
	{Path: "consul.dc", Kind: Text, Strict: "str", Doc: "Datacenter."},
	{Path: "consul.checks", Kind: Strings, Strict: "[str]", Doc: "Further health checks of the session."},
	{Path: "consul.register_service", Kind: Bool, Strict: "bool", Default: false, Doc: "Register the member as a service."},
	{Path: "consul.service_tags", Kind: Strings, Strict: "[str]", Doc: "Further tags of that service."},
	{Path: "consul.service_check_interval", Kind: Text, Strict: "str", Default: "5s", Doc: "How often Consul checks the service."},
	{Path: "consul.service_check_tls_server_name", Kind: Text, Strict: "str", Doc: "Name in the certificate of the service, for that check."},
	{Path: "consul.consistency", Kind: Text, Strict: "E{default,consistent,stale}", Default: "default", Enum: []string{"default", "consistent", "stale"}, Doc: "Consistency of reads."},
}

var zookeeperKeys = []Key{
	{Path: "zookeeper", Kind: Section, Strict: "section", Refused: dcsLater, Doc: "ZooKeeper."},
	{Path: "zookeeper.hosts", Kind: Hosts, Required: true, Strict: "*hosts", Doc: "Members, as a list or with commas; port 2181 by default."},
	{Path: "zookeeper.use_ssl", Kind: Bool, Strict: "bool", Default: false, Doc: "Use TLS."},
	{Path: "zookeeper.cacert", Kind: Text, Strict: "str", Doc: "Authorities for the members' certificates."},
	{Path: "zookeeper.cert", Kind: Text, Strict: "str", Doc: "Client certificate."},
	{Path: "zookeeper.key", Kind: Text, Strict: "str", Doc: "Its key."},
	{Path: "zookeeper.key_password", Kind: Text, Strict: "str", Secret: true, Doc: "Password of the key."},
	{Path: "zookeeper.verify", Kind: Bool, Strict: "bool", Default: true, Doc: "Verify the members' certificates."},
	{Path: "zookeeper.set_acls", Kind: Map, Strict: "dict", Doc: "Access rights of the nodes: principal to a list of CREATE, READ, WRITE, DELETE, ADMIN, ALL."},
	{Path: "zookeeper.auth_data", Kind: Map, Strict: "dict", Secret: true, Doc: "Credentials by scheme."},
	{Path: "exhibitor", Kind: Section, Strict: "section", Refused: dcsLater, Doc: "ZooKeeper found through Exhibitor."},
	{Path: "exhibitor.hosts", Kind: Strings, Required: true, Strict: "*[str]", Doc: "Hosts of Exhibitor."},
	{Path: "exhibitor.port", Kind: Int, Required: true, Strict: "*I[..65535]!", Max: 65535, Doc: "Its port."},
	{Path: "exhibitor.poll_interval", Kind: Int, Strict: "I[1..]!", Default: 300, Min: 1, Doc: "Seconds between two questions."},
}

var kubernetesKeys = []Key{
	{Path: "kubernetes", Kind: Section, Strict: "section", Refused: dcsLater, Doc: "Kubernetes objects."},
	{Path: "kubernetes.labels", Kind: Map, Required: true, Strict: "*dict", Doc: "Labels that select the cluster's objects."},
	{Path: "kubernetes.bootstrap_labels", Kind: Map, Strict: "dict", Doc: "Labels of a pod while its data is made."},
	{Path: "kubernetes.namespace", Kind: Text, Strict: "str", Default: "default", Doc: "Namespace; the one at the top of the configuration wins."},
	{Path: "kubernetes.scope_label", Kind: Text, Strict: "str", Default: "cluster-name", Doc: "Label that holds the cluster's name."},
	{Path: "kubernetes.role_label", Kind: Text, Strict: "str", Default: "role", Doc: "Label that holds the role."},
	{Path: "kubernetes.leader_label_value", Kind: Text, Strict: "str", Default: "primary", Doc: "Its value on a leader."},
	{Path: "kubernetes.follower_label_value", Kind: Text, Strict: "str", Default: "replica", Doc: "Its value on a replica."},
	{Path: "kubernetes.standby_leader_label_value", Kind: Text, Strict: "str", Default: "primary", Doc: "Its value on a standby leader."},
	{Path: "kubernetes.tmp_role_label", Kind: Text, Strict: "str", Doc: "A second label with the role, for changing the first."},
	{Path: "kubernetes.use_endpoints", Kind: Bool, Strict: "bool", Default: false, Doc: "Use Endpoints instead of ConfigMaps."},
	{Path: "kubernetes.pod_ip", Kind: Text, Check: checkIP, Strict: "ip", Doc: "Address of this pod."},
	{Path: "kubernetes.ports", Kind: Any, Check: checkPorts, Strict: "ports", Doc: "Ports of the leader's Endpoint: a list of {name, port, protocol}.",
		Schema: `{"type":"array","items":{"type":"object","required":["name","port"],"properties":{"name":{"type":"string"},"port":{"type":"integer"},"protocol":{"type":"string"}}}}`},
	{Path: "kubernetes.cacert", Kind: Text, Strict: "str", Doc: "Authorities for the API server's certificate; default: those of the service account."},
	{Path: "kubernetes.retriable_http_codes", Kind: Any, Check: checkCodes, Strict: "codes", Doc: "Further HTTP codes after which a request is repeated, besides 500, 503 and 504.",
		Schema: `{"anyOf":[{"type":"integer"},{"type":"array","items":{"type":"integer"}},{"type":"string"}]}`},
	{Path: "kubernetes.bypass_api_service", Kind: Bool, Default: false, Doc: "Talk to the API servers' own addresses."},
	{Path: "kubernetes.context", Kind: Text, Default: "kind-kind", Doc: "Context of the kubeconfig, outside of a pod."},
}

var raftKeys = []Key{
	{Path: "raft", Kind: Section, Strict: "section", Refused: raftRefused, Doc: "The old Raft store."},
	{Path: "raft.self_addr", Kind: Text, Strict: "*C", Env: "RAFT_SELF_ADDR", Doc: "Address of this member."},
	{Path: "raft.bind_addr", Kind: Text, Strict: "L", Env: "RAFT_BIND_ADDR", Doc: "Address to listen on."},
	{Path: "raft.partner_addrs", Kind: Hosts, Strict: "*[H]", Env: "RAFT_PARTNER_ADDRS", Doc: "Addresses of the others."},
	{Path: "raft.data_dir", Kind: Text, Strict: "str", Env: "RAFT_DATA_DIR", Doc: "Folder of the log."},
	{Path: "raft.password", Kind: Text, Strict: "str", Secret: true, Env: "RAFT_PASSWORD", Doc: "Password between the members."},
	{Path: "raft.min_timeout", Kind: Real, Default: "0.4", Env: "RAFT_MIN_TIMEOUT", Doc: "Shortest time before an election, seconds."},
	{Path: "raft.max_timeout", Kind: Real, Default: "1.4", Env: "RAFT_MAX_TIMEOUT", Doc: "Longest time before an election, seconds."},
	{Path: "raft.connection_timeout", Kind: Real, Default: "3.5", Env: "RAFT_CONNECTION_TIMEOUT", Doc: "Time for a connection, seconds."},
	{Path: "raft.append_entries_period", Kind: Real, Default: "0.1", Env: "RAFT_APPEND_ENTRIES_PERIOD", Doc: "Time between two heartbeats, seconds."},
	{Path: "raft.connection_retry_time", Kind: Real, Default: "5.0", Env: "RAFT_CONNECTION_RETRY_TIME", Doc: "Time before a new try, seconds."},
	{Path: "raft.leader_fallback_timeout", Kind: Real, Default: "30.0", Env: "RAFT_LEADER_FALLBACK_TIMEOUT", Doc: "Time without a majority before leading ends, seconds."},
}
