package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"tamada/internal/cluster"
)

// typed reads the typed configuration out of a document.
func typed(doc *Document, environ []string) *Config {
	root, t := doc.Root, trees().local
	top := at(root, t)
	c := &Config{
		Name: top.text("name"), Scope: top.text("scope"), Namespace: top.text("namespace"),
		Tags:     top.section("tags").o,
		Guardian: Guardian{Mode: strings.ToLower(top.section("guardian").text("mode"))},
		Watchdog: typedWatchdog(top.section("watchdog")),
		Log:      typedLog(top.section("log")),
		RestAPI:  typedRestAPI(top.section("restapi")),
		Doc:      root, Source: root,
	}
	c.Ctl = typedCtl(top.section("ctl"), c.RestAPI)
	if root.Object("bootstrap") != nil {
		c.Bootstrap = typedBootstrap(top.section("bootstrap"))
	}
	c.Postgresql = typedPostgresql(top.section("postgresql"))
	c.Postgresql.Parameters = top.section("postgresql").texts("parameters")
	c.StateDir = stateDir(top.text("state_dir"), lookup(environ, "STATE_DIRECTORY"), c.Postgresql.DataDir)
	c.Etcd3 = typedEtcd3(top.section("etcd3"), c.StateDir)
	return c
}

// stateDir chooses the folder of the agent's own state. The service manager
// may give several with colons between them; the first is ours.
func stateDir(configured, fromManager, dataDir string) string {
	first, _, _ := strings.Cut(fromManager, ":")
	switch {
	case configured != "":
		return configured
	case first != "":
		return first
	case dataDir != "":
		return filepath.Clean(dataDir) + ".tamada"
	}
	return ""
}

func typedLog(r reader) Log {
	format := r.o.Value("format")
	if format == nil {
		format = r.key("format").key.Default
	}
	return Log{
		Type: strings.ToLower(r.text("type")), Level: strings.ToUpper(r.text("level")), TracebackLevel: strings.ToUpper(r.text("traceback_level")),
		Format: format, DateFormat: r.text("dateformat"), StaticFields: r.object("static_fields"),
		MaxQueueSize: r.integer("max_queue_size"), Dir: r.text("dir"), Mode: os.FileMode(r.integer("mode")),
		FileSize: int64(r.integer("file_size")), FileNum: r.integer("file_num"), Loggers: r.object("loggers"),
		Deduplicate: r.flag("deduplicate_heartbeat_logs"),
	}
}

func typedBootstrap(r reader) *Bootstrap {
	b := &Bootstrap{
		DCS: r.object("dcs"), Method: r.text("method"), Initdb: r.options("initdb"), Methods: r.others(),
		PgHBA: r.strings("pg_hba"), PostBootstrap: r.text("post_bootstrap"),
	}
	if b.DCS == nil {
		b.DCS = &cluster.Object{}
	}
	if b.PostBootstrap == "" {
		b.PostBootstrap = r.text("post_init")
	}
	return b
}

func typedRestAPI(r reader) RestAPI {
	auth := r.section("authentication")
	a := RestAPI{
		Listen: r.address("listen", 0), ConnectAddress: r.hostPort("connect_address", 0),
		Username: auth.text("username"), Password: auth.secret("password"),
		CertFile: r.text("certfile"), KeyFile: r.text("keyfile"), KeyFilePassword: r.secret("keyfile_password"),
		CAFile: r.text("cafile"), Ciphers: r.text("ciphers"), VerifyClient: strings.ToLower(r.text("verify_client")),
		Allowlist: r.strings("allowlist"), AllowlistIncludeMembers: r.flag("allowlist_include_members"),
		RequestQueueSize: r.integer("request_queue_size"), ServerTokens: strings.ToLower(r.text("server_tokens")),
		ExtraHeaders: r.object("http_extra_headers").Clone(),
	}
	if a.ConnectAddress == "" {
		a.ConnectAddress = a.Listen.String()
	}
	if a.ExtraHeaders == nil {
		a.ExtraHeaders = &cluster.Object{}
	}
	if a.CertFile != "" {
		cluster.Patch(a.ExtraHeaders, r.object("https_extra_headers"))
	}
	return a
}

func typedCtl(r reader, api RestAPI) Ctl {
	auth := r.section("authentication")
	c := Ctl{
		Username: auth.text("username"), Password: auth.secret("password"), Insecure: r.flag("insecure"),
		CACert: r.text("cacert"), CertFile: r.text("certfile"), KeyFile: r.text("keyfile"), KeyFilePassword: r.secret("keyfile_password"),
	}
	if auth.o == nil {
		c.Username, c.Password = api.Username, api.Password
	}
	if c.CACert == "" {
		c.CACert = api.CAFile
	}
	return c
}

func typedWatchdog(r reader) Watchdog {
	mode := strings.ToLower(r.text("mode"))
	if mode != "off" && strings.HasPrefix(mode, "disable") {
		mode = "off"
	} else if mode == "auto" {
		mode = "automatic"
	} else if mode == "require" {
		mode = "required"
	}
	return Watchdog{Mode: mode, Device: r.text("device"), Driver: strings.ToLower(r.text("driver")), SafetyMargin: r.integer("safety_margin")}
}

// etcdURL is what a URL of etcd says.
type etcdURL struct {
	protocol, host, username, password string
}

// parseEtcdURL never repeats the URL in its error: it may hold a password.
func parseEtcdURL(s string) (etcdURL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return etcdURL{}, fmt.Errorf("is not a URL, expected http://HOST:PORT or https://HOST:PORT")
	}
	port := u.Port()
	if port == "" {
		port = "2379"
	}
	e := etcdURL{protocol: u.Scheme, host: net.JoinHostPort(u.Hostname(), port), username: u.User.Username()}
	e.password, _ = u.User.Password()
	return e, nil
}

func typedEtcd3(r reader, stateDir string) Etcd3 {
	e := Etcd3{
		SRVSuffix: r.text("srv_suffix"), UseProxies: r.flag("use_proxies"), Protocol: strings.ToLower(r.text("protocol")),
		Username: r.text("username"), Password: r.secret("password"),
		CACert: r.text("cacert"), Cert: r.text("cert"), Key: r.text("key"),
	}
	for _, name := range []string{"srv", "discovery_srv", "srv_domain"} {
		if e.SRV == "" {
			e.SRV = r.text(name)
		}
	}
	hosts, _ := hostList(r.o.Value("hosts"))
	if h := r.hostPort("host", 2379); h != "" {
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		if a, err := ParseAddress(h, 2379); err == nil {
			e.Hosts = append(e.Hosts, a.String())
		}
	}
	for _, name := range []string{"url", "proxy"} {
		u, err := parseEtcdURL(r.text(name))
		if err != nil {
			continue
		}
		e.Protocol = u.protocol
		// What the section says itself wins over what the URL carries.
		if e.Username == "" {
			e.Username, e.Password = u.username, Secret(u.password)
		}
		if name == "proxy" {
			e.Proxy, e.UseProxies = u.host, true
		} else {
			e.Hosts = append(e.Hosts, u.host)
		}
	}
	if r.o.Object("embedded") != nil {
		e.Embedded = typedEmbedded(r.section("embedded"), stateDir)
	}
	return e
}

func typedEmbedded(r reader, stateDir string) *Embedded {
	e := &Embedded{
		DataDir: r.text("data_dir"), Peer: r.address("peer", 0), Client: r.address("client", 0),
		CACert: r.text("cacert"), Cert: r.text("cert"), Key: r.text("key"),
	}
	e.InitialCluster, _ = peers(r.o.Value("initial_cluster"))
	if e.DataDir == "" && stateDir != "" {
		e.DataDir = filepath.Join(stateDir, "etcd")
	}
	return e
}

// peers reads the members of the embedded etcd at the beginning.
func peers(v any) (list []Peer, problem string) {
	switch v := v.(type) {
	case *cluster.Object:
		for name, a := range v.All() {
			list = append(list, Peer{name, cluster.Text(a)})
		}
	case string:
		for item := range strings.SplitSeq(v, ",") {
			name, a, _ := strings.Cut(strings.TrimSpace(item), "=")
			list = append(list, Peer{name, a})
		}
	default:
		return nil, "found " + found(v, false) + ", expected a mapping of member names to addresses"
	}
	for _, p := range list {
		address := strings.TrimPrefix(strings.TrimPrefix(p.Address, "http://"), "https://")
		if _, err := ParseAddress(address, 0); err != nil || p.Name == "" {
			return nil, fmt.Sprintf("member %q has the address %q, expected HOST:PORT", p.Name, p.Address)
		}
	}
	if len(list) == 0 {
		return nil, "names no member"
	}
	return list, ""
}
