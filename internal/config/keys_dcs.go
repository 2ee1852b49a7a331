package config

const (
	dcsLater    = "this store is not supported yet; use etcd3"
	raftRefused = "the Raft store is replaced by the embedded etcd: remove this section and use etcd3.embedded"
)

// dcsKeys are the stores' sections (reference configuration.md 2.4). Those
// that are not supported yet have only their first row.
var dcsKeys = []Key{
	{Path: "etcd3", Kind: Section, Place: Local, Effect: OnAgentRestart, Doc: "etcd by its version 3 interface."},
	{Path: "etcd3.host", Kind: AddrPort, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_HOST", Doc: "HOST[:PORT] of one member, port 2379 by default."},
	{Path: "etcd3.hosts", Kind: Hosts, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_HOSTS", Doc: "Several members, as a list or with commas."},
	{Path: "etcd3.url", Kind: Text, Place: Local, Effect: OnAgentRestart, Secret: true, Env: "ETCD3_URL", Doc: "URL of one member; sets protocol, username and password too."},
	{Path: "etcd3.proxy", Kind: Text, Place: Local, Effect: OnAgentRestart, Secret: true, Env: "ETCD3_PROXY", Doc: "URL of a proxy; means use_proxies."},
	{Path: "etcd3.srv", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_SRV", Doc: "Domain whose SRV records name the members."},
	{Path: "etcd3.discovery_srv", Kind: Text, Place: Local, Effect: OnAgentRestart, Doc: "Other name of srv."},
	{Path: "etcd3.srv_domain", Kind: Text, Place: Local, Effect: OnAgentRestart, Doc: "Other name of srv."},
	{Path: "etcd3.srv_suffix", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_SRV_SUFFIX", Doc: "Suffix of the service's name in DNS."},
	{Path: "etcd3.use_proxies", Kind: Bool, Place: Local, Effect: OnAgentRestart, Default: false, Env: "ETCD3_USE_PROXIES", Doc: "Do not ask the members for each other."},
	{Path: "etcd3.protocol", Kind: Text, Place: Local, Effect: OnAgentRestart, Default: "http", Enum: []string{"http", "https"}, Env: "ETCD3_PROTOCOL", Doc: "http or https."},
	{Path: "etcd3.username", Kind: Text, Place: Local, Env: "ETCD3_USERNAME", Doc: "User of etcd."},
	{Path: "etcd3.password", Kind: Text, Place: Local, Secret: true, Env: "ETCD3_PASSWORD", Doc: "Its password."},
	{Path: "etcd3.cacert", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_CACERT", Doc: "Authorities for the members' certificates."},
	{Path: "etcd3.cert", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_CERT", Doc: "Client certificate."},
	{Path: "etcd3.key", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "ETCD3_KEY", Doc: "Its key."},
	{Path: "etcd3.embedded", Kind: Section, Place: Local, Effect: OnAgentRestart, Doc: "Run an etcd member on this node."},
	{Path: "etcd3.embedded.data_dir", Kind: Text, Place: Local, Effect: OnAgentRestart, Doc: "Its data folder; default: etcd in the state folder."},
	{Path: "etcd3.embedded.peer", Kind: AddrPort, Place: Local, Effect: OnAgentRestart, Required: true, Doc: "Address at which the other etcd members reach it."},
	{Path: "etcd3.embedded.client", Kind: AddrPort, Place: Local, Effect: OnAgentRestart, Required: true, Doc: "Address at which agents reach it."},
	{Path: "etcd3.embedded.initial_cluster", Kind: Any, Place: Local, Effect: OnAgentRestart, Required: true,
		Doc: "All members at the beginning: a mapping from member name to peer address, or NAME=ADDRESS with commas."},
	{Path: "etcd3.embedded.cacert", Kind: Text, Place: Local, Effect: OnAgentRestart, Doc: "Authorities for the certificates of the others."},
	{Path: "etcd3.embedded.cert", Kind: Text, Place: Local, Effect: OnAgentRestart, Doc: "Certificate of this member."},
	{Path: "etcd3.embedded.key", Kind: Text, Place: Local, Effect: OnAgentRestart, Doc: "Its key."},

	{Path: "etcd", Kind: Map, Place: Local, Effect: OnAgentRestart, Refused: dcsLater, Secret: true, Doc: "etcd by its version 2 interface."},
	{Path: "consul", Kind: Map, Place: Local, Effect: OnAgentRestart, Refused: dcsLater, Secret: true, Doc: "Consul."},
	{Path: "zookeeper", Kind: Map, Place: Local, Effect: OnAgentRestart, Refused: dcsLater, Secret: true, Doc: "ZooKeeper."},
	{Path: "exhibitor", Kind: Map, Place: Local, Effect: OnAgentRestart, Refused: dcsLater, Secret: true, Doc: "ZooKeeper found through Exhibitor."},
	{Path: "kubernetes", Kind: Map, Place: Local, Effect: OnAgentRestart, Refused: dcsLater, Secret: true, Doc: "Kubernetes objects."},
	{Path: "raft", Kind: Map, Place: Local, Effect: OnAgentRestart, Refused: raftRefused, Secret: true, Doc: "The old Raft store."},
	{Path: "raft.self_addr", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "RAFT_SELF_ADDR", Doc: "See raft."},
	{Path: "raft.partner_addrs", Kind: Hosts, Place: Local, Effect: OnAgentRestart, Env: "RAFT_PARTNER_ADDRS", Doc: "See raft."},
	{Path: "raft.data_dir", Kind: Text, Place: Local, Effect: OnAgentRestart, Env: "RAFT_DATA_DIR", Doc: "See raft."},
}
