package config

import (
	"os"

	"tamada/internal/cluster"
)

// Config is the local configuration of a node, checked, with defaults filled
// in. What the store adds comes with [Merge].
type Config struct {
	Name      string
	Scope     string
	Namespace string // without slashes of its own being significant; "service" by default
	StateDir  string // absolute or as configured; never inside the data folder

	// Store is the section of the configuration store that is in force; empty
	// where [LoadClient] found none.
	Store string

	Log        Log
	Bootstrap  *Bootstrap // nil: this node never makes a new cluster
	RestAPI    RestAPI
	Ctl        Ctl
	Etcd3      Etcd3
	Postgresql Postgresql      // without anything from the store
	Tags       *cluster.Object // as configured; see [PublishedTags]
	Watchdog   Watchdog
	Guardian   Guardian

	// Doc is the merged document after the translation of old spellings, as it is in
	// force. Source is what the sources said: after a [Reload] a value that waits for
	// a restart of the agent is only there. Two configurations are the same when
	// [cluster.Equal] says so of their Source.
	Doc, Source *cluster.Object
	// Warnings are what is odd and can be lived with, to be logged by the caller.
	Warnings []Problem
}

// Log is the section log.
type Log struct {
	Type           string // plain or json
	Level          string
	TracebackLevel string
	Format         any // string, or list for json
	DateFormat     string
	StaticFields   *cluster.Object
	MaxQueueSize   int
	Dir            string      // "" is standard error
	Mode           os.FileMode // 0 is 0666 less the umask
	FileSize       int64       // bytes
	FileNum        int
	Loggers        *cluster.Object
	Deduplicate    bool
}

// Bootstrap is the section bootstrap.
type Bootstrap struct {
	DCS           *cluster.Object            // never nil
	Method        string                     // initdb, or a key of Methods
	Initdb        []Option                   // options of initdb
	Methods       map[string]*cluster.Object // sections of custom methods
	PgHBA         []string
	PostBootstrap string // post_bootstrap or post_init
}

// Option is one option for a program: --Name, or --Name=Value.
type Option struct {
	Name     string
	Value    string
	HasValue bool
}

// String is the option as the program gets it.
func (o Option) String() string {
	if !o.HasValue {
		return "--" + o.Name
	}
	return "--" + o.Name + "=" + o.Value
}

// RestAPI is the section restapi.
type RestAPI struct {
	Listen                  Address // a host of "" or "*" means all addresses
	ConnectAddress          string  // HOST:PORT
	Username                string  // "" when there is no authentication
	Password                Secret
	CertFile, KeyFile       string // TLS when CertFile is given
	KeyFilePassword         Secret
	CAFile, Ciphers         string
	VerifyClient            string // none, optional or required
	Allowlist               []string
	AllowlistIncludeMembers bool
	ExtraHeaders            *cluster.Object // those for https merged in when TLS is on
	RequestQueueSize        int
	ServerTokens            string // original, minimal or productonly
}

// URL is the api_url that the member publishes.
func (r RestAPI) URL() string {
	scheme := "http"
	if r.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + r.ConnectAddress + "/patroni"
}

// Ctl is the section ctl, with what falls back to restapi.
type Ctl struct {
	Username          string
	Password          Secret
	Insecure          bool
	CACert            string
	CertFile, KeyFile string
	KeyFilePassword   Secret
}

// Etcd3 is the section etcd3.
type Etcd3 struct {
	Hosts             []string // HOST:PORT; may be empty where Embedded is not nil
	SRV, SRVSuffix    string
	Proxy             string // HOST:PORT of a proxy; it alone is used
	UseProxies        bool
	Protocol          string // http or https
	Username          string
	Password          Secret
	CACert, Cert, Key string
	Embedded          *Embedded // nil: no etcd member on this node
}

// Embedded is the section etcd3.embedded: an etcd member on this node.
type Embedded struct {
	DataDir           string
	Peer, Client      Address
	InitialCluster    []Peer // in the order given
	CACert, Cert, Key string
}

// Peer is one etcd member at the beginning.
type Peer struct {
	Name    string
	Address string // URL, or HOST:PORT
}

// Watchdog is the section watchdog.
type Watchdog struct {
	Mode         string // off, automatic or required
	Device       string
	Driver       string // "" or "default": the kernel's; "testing": a named pipe
	SafetyMargin int    // seconds; -1: half of ttl
}

// Guardian is the section guardian.
type Guardian struct {
	Mode string // off, automatic or required
}

// Postgresql is the section postgresql.
type Postgresql struct {
	Listen         Address
	ConnectAddress string // HOST:PORT
	ProxyAddress   string // HOST:PORT or ""
	DataDir        string
	ConfigDir      string
	ConfigBaseName string
	CustomConf     string
	BinDir         string
	BinName        map[string]string // program to its name here; all seven
	Database       string
	PgPass         string // "": ~/pgpass
	KrbSrvName     string

	UseUnixSocket, UseUnixSocketRepl bool

	Superuser, Replication Credentials
	Rewind                 Credentials // the superuser's unless configured

	// Parameters are the server's parameters by name as last spelled, in the
	// values' text form; after [Merge] the controlled ones are among them.
	Parameters map[string]string
	PgHBA      []string // nil: not managed
	PgIdent    []string // nil: not managed
	// ByRole holds what is different in a role: primary, replica, standby_leader.
	ByRole map[string]RoleOverride

	RecoveryConf  map[string]string
	PgCtlTimeout  int // seconds
	UsePgRewind   bool
	RewindOptions []Option

	RemoveDataDirectoryOnRewindFailure     bool
	RemoveDataDirectoryOnDivergedTimelines bool

	CreateReplicaMethods []string                   // at least one
	Methods              map[string]*cluster.Object // sections of custom methods
	BaseBackup           []Option

	Callbacks  map[string]string // on_start, on_stop, … to a command
	PrePromote string
	BeforeStop string
	UseSlots   bool
}

// RoleOverride is what a role has instead of the common settings.
type RoleOverride struct {
	Parameters map[string]string // merged over the common ones
	PgHBA      []string          // nil: as the others
	PgIdent    []string          // nil: as the others
}

// Credentials are the connection settings of one database user.
type Credentials struct {
	Username                             string
	Password                             Secret
	SSLMode, SSLCert, SSLKey             string
	SSLPassword                          Secret
	SSLRootCert, SSLCRL, SSLCRLDir       string
	GSSEncMode, ChannelBinding, SSLNegot string
}
