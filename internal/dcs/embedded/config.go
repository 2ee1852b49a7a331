package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// TLS are PEM files. With Cert and Key connections are encrypted; with CACert
// the other side must show a certificate of that authority.
type TLS struct {
	CACert, Cert, Key string
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CACert, ClientCertAuth: t.CACert != "" && t.Cert != ""}
}

func (t TLS) scheme() string {
	if t.Cert != "" {
		return "https"
	}
	return "http"
}

// Config is one member.
type Config struct {
	Name    string // our member name, a key of InitialCluster
	Cluster string // names the cluster: the scope. A data folder belongs to one
	DataDir string
	Peer    string // host:port where the other members reach us
	Client  string // host:port where agents reach us
	// InitialCluster are all members, us included: name -> host:port of the peer
	// address. It counts only until the cluster exists.
	InitialCluster map[string]string
	TLS            TLS    // for clients and members alike
	LogPath        string // etcd's own warnings; empty: stderr
	Logger         *slog.Logger
}

// Sizes and times of a store of a few dozen small keys.
const (
	quota = 256 << 20 // bytes; it is mapped, not allocated
	// A snapshot after so many changes; as many entries stay in memory twice over.
	// A member that was away for longer gets the whole snapshot, which is small.
	snapshotCount  = 1000
	catchUpEntries = 500
	segmentBytes   = 8 << 20         // of the write-ahead log, which is preallocated
	compaction     = "10m"           // history that is kept; our watches begin anew instead of looking back
	stopWithin     = 5 * time.Second // then the process may end without further ado
)

func (c Config) validate() error {
	switch {
	case c.Name == "" || c.Cluster == "" || c.DataDir == "":
		return errors.New("embedded etcd: name, cluster and data folder must be given")
	case c.InitialCluster[c.Name] == "":
		return fmt.Errorf("embedded etcd: this node, %q, is not among the members %s", c.Name, strings.Join(slices.Sorted(maps.Keys(c.InitialCluster)), ", "))
	case c.InitialCluster[c.Name] != c.Peer:
		return fmt.Errorf("embedded etcd: the peer address of %q is %s here and %s in the list of members", c.Name, c.Peer, c.InitialCluster[c.Name])
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return errors.New("embedded etcd: of cert and key both or none must be given")
	}
	for _, a := range append(slices.Collect(maps.Values(c.InitialCluster)), c.Client) {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("embedded etcd: address %q is not of the form host:port", a)
		}
	}
	return nil
}

// etcd is the server's configuration.
func (c Config) etcd(s start) (*embed.Config, error) {
	wal.SegmentSizeBytes = segmentBytes
	e := embed.NewConfig()
	e.Name, e.Dir = c.Name, c.DataDir
	e.InitialCluster, e.ClusterState, e.InitialClusterToken = s.initialCluster, s.state, c.token()
	peer, client := c.url(c.Peer), c.url(c.Client)
	e.ListenPeerUrls, e.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	e.ListenClientUrls, e.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	e.ClientTLSInfo, e.PeerTLSInfo = c.TLS.info(), c.TLS.info()
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, compaction
	e.QuotaBackendBytes = quota
	e.SnapshotCount, e.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	e.MaxWalFiles = 2
	e.PreVote = true // a node that was cut off must not force an election when it returns
	e.StrictReconfigCheck = true
	e.EnableGRPCGateway = true // Patroni's client needs it
	logger, err := c.zap()
	if err != nil {
		return nil, err
	}
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return e, nil
}

// token keeps clusters of different scopes apart even if their addresses are
// mixed up: it goes into the cluster id.
func (c Config) token() string { return "tamada-" + c.Cluster }

func (c Config) url(addr string) url.URL { return url.URL{Scheme: c.TLS.scheme(), Host: addr} }

// zap is etcd's logger: warnings only, into a file that nobody else may read.
func (c Config) zap() (*zap.Logger, error) {
	out := zapcore.Lock(os.Stderr)
	if c.LogPath != "" {
		if err := os.MkdirAll(filepath.Dir(c.LogPath), 0o700); err != nil {
			return nil, fmt.Errorf("embedded etcd: folder of the log: %w", err)
		}
		f, err := os.OpenFile(c.LogPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("embedded etcd: open the log: %w", err)
		}
		out = zapcore.Lock(f)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), out, zap.WarnLevel)), nil
}
