//go:build linux

package postgres

import (
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tamada/internal/cluster"
)

// Settings is what the configuration says about one instance (reference
// configuration.md 2.3 and 2.9), effective: defaults, dynamic and local
// configuration are already merged. Objects and slices must not be changed
// after they were handed over.
type Settings struct {
	Name  string // of this member
	Scope string // of the cluster: cluster_name

	DataDir        string
	ConfigDir      string // "": DataDir
	ConfigBaseName string // "": postgresql
	CustomConf     string // included instead of postgresql.base.conf
	BinDir         string // "": PATH
	BinName        map[string]string

	ListenAddresses string // comma separated, as in the GUC
	Port            int
	ConnectAddress  string // HOST:PORT that others use; "": the local one
	Database        string // maintenance database; "": postgres
	PgPass          string // password file that we write
	KrbSrvName      string

	UseUnixSocket     bool
	UseUnixSocketRepl bool

	Superuser   Credentials
	Replication Credentials
	Rewind      Credentials // empty user: the superuser

	Parameters   *cluster.Object // GUCs
	PgHBA        []string        // empty: not managed
	PgIdent      []string        // empty: not managed
	RecoveryConf *cluster.Object
	// ByRole has what is different in a role: primary, replica, standby_leader.
	ByRole map[cluster.Role]RoleSettings

	// ManageSyncNames: synchronous_standby_names is what [Instance.SetSyncNames]
	// was told, not what Parameters says.
	ManageSyncNames bool
	// HotStandbyFeedback forces hot_standby_feedback on (logical slots need it).
	HotStandbyFeedback bool

	PgCtlTimeout  time.Duration // how long a start may take; 0: no wait
	UsePgRewind   bool
	RewindOptions any // list or map, as in the configuration

	RemoveDataDirectoryOnRewindFailure     bool
	RemoveDataDirectoryOnDivergedTimelines bool

	CreateReplicaMethods []string                   // empty: basebackup
	Methods              map[string]*cluster.Object // sections of custom methods
	BaseBackup           any                        // list or map

	Callbacks  map[string]string // on_start, ... -> command
	PrePromote string
	BeforeStop string
	UseSlots   bool

	Bootstrap BootstrapSettings
}

// BootstrapSettings is the section `bootstrap` as far as the instance is
// concerned.
type BootstrapSettings struct {
	Method        string          // "" or initdb: initdb
	Section       *cluster.Object // of the custom method; nil or without command: initdb
	Initdb        any             // list or map of options
	PgHBA         []string        // appended to the generated pg_hba.conf
	PostBootstrap string          // command
}

// Credentials are the twelve keys of one user in `authentication`. They never
// print their secrets.
type Credentials struct {
	Username, Password                         string
	SSLMode, SSLCert, SSLKey, SSLPassword      string
	SSLRootCert, SSLCRL, SSLCRLDir             string
	GSSEncMode, ChannelBinding, SSLNegotiation string
}

// String names the user only.
func (c Credentials) String() string { return c.Username }

// GoString names the user only.
func (c Credentials) GoString() string { return strconv.Quote(c.Username) }

// LogValue names the user only.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.Username) }

// keywords are the connection keywords of the credentials that are set.
func (c Credentials) keywords() map[string]string {
	m := map[string]string{}
	for _, kv := range [][2]string{{"user", c.Username}, {"password", c.Password}, {"sslmode", c.SSLMode},
		{"sslcert", c.SSLCert}, {"sslkey", c.SSLKey}, {"sslpassword", c.SSLPassword}, {"sslrootcert", c.SSLRootCert},
		{"sslcrl", c.SSLCRL}, {"sslcrldir", c.SSLCRLDir}, {"gssencmode", c.GSSEncMode},
		{"channel_binding", c.ChannelBinding}, {"sslnegotiation", c.SSLNegotiation}} {
		if kv[1] != "" {
			m[kv[0]] = kv[1]
		}
	}
	return m
}

// Journal is told about every child process that changes the data folder, so
// that a successor of this program can clean up after an interruption. An error
// of ChildStarted ends the child at once: what was not written down must not
// run.
type Journal interface {
	ChildStarted(what string, pid int, startTicks uint64) error
	ChildEnded(what string)
}

// Deps are what an [Instance] needs from outside.
type Deps struct {
	Log      *slog.Logger
	StateDir string  // existing folder of ours, outside of the data folder
	Journal  Journal // nil: none
}

// Upstream is whom to replicate from.
type Upstream struct {
	Name     string // member name, for logs; "" of a remote member
	Host     string // may be a comma separated list for a remote member
	Port     string // likewise
	Database string // "": ours

	// Remote: not a member of this cluster (standby_cluster). It brings its own
	// slot name (Slot, "" for none); members get one after our own name.
	Remote bool
	Slot   string

	// What a remote member overrides; nil: not given.
	RestoreCommand, ArchiveCleanupCommand, RecoveryMinApplyDelay *string

	// Methods and order of replica creation that a remote member prescribes.
	CreateReplicaMethods []string
}

func (s *Settings) configDir() string {
	if s.ConfigDir != "" {
		return s.ConfigDir
	}
	return s.DataDir
}

func (s *Settings) confBase() string {
	if s.ConfigBaseName != "" {
		return s.ConfigBaseName
	}
	return "postgresql"
}

// confFile is the generated main configuration file.
func (s *Settings) confFile() string { return filepath.Join(s.configDir(), s.confBase()+".conf") }

// baseConfFile is the user's own main file, which the generated one includes.
func (s *Settings) baseConfFile() string {
	return filepath.Join(s.configDir(), s.confBase()+".base.conf")
}

func (s *Settings) database() string {
	if s.Database != "" {
		return s.Database
	}
	return "postgres"
}

// rewindUser are the credentials for reading from a source of pg_rewind.
func (s *Settings) rewindUser() Credentials {
	if s.Rewind.Username != "" {
		return s.Rewind
	}
	return s.Superuser
}

// parameter is the text of a GUC in Parameters; names are case-insensitive.
func (s *Settings) parameter(name string) (string, bool) {
	for k, v := range s.Parameters.All() {
		if strings.EqualFold(k, name) && v != nil {
			return cluster.Text(v), true
		}
	}
	return "", false
}
