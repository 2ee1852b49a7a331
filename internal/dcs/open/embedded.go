package open

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"

	"tamada/internal/config"
	"tamada/internal/dcs/embedded"
)

// ErrNoEmbedded: the configuration has no etcd member on its node.
var ErrNoEmbedded = errors.New("this configuration has no etcd member: etcd3.embedded is not set")

// Member is the configuration of this node's own etcd member. etcd's own
// warnings go to etcd.log in the state folder.
func Member(cfg *config.Config, log *slog.Logger) (embedded.Config, error) {
	e := cfg.Etcd3.Embedded
	if e == nil {
		return embedded.Config{}, ErrNoEmbedded
	}
	return embedded.Config{Name: cfg.Name, Cluster: cfg.Scope, DataDir: e.DataDir, Peer: e.Peer.String(), Client: e.Client.String(),
		InitialCluster: initialCluster(e), TLS: memberTLS(e), LogPath: filepath.Join(cfg.StateDir, "etcd.log"), Logger: log}, nil
}

// Admin is the access to the cluster of embedded members that this node belongs
// to. What the section etcd3 says of TLS wins over the member's own.
func Admin(cfg *config.Config) (embedded.Admin, error) {
	e := &cfg.Etcd3
	if e.Embedded == nil {
		return embedded.Admin{}, ErrNoEmbedded
	}
	a := embedded.Admin{Endpoints: Hosts(e, cfg.Name), TLS: memberTLS(e.Embedded), Username: e.Username, Password: string(e.Password),
		Peers: initialCluster(e.Embedded)}
	if e.CACert != "" {
		a.TLS.CACert = e.CACert
	}
	if e.Cert != "" {
		a.TLS.Cert, a.TLS.Key = e.Cert, e.Key
	}
	return a, nil
}

func memberTLS(e *config.Embedded) embedded.TLS {
	return embedded.TLS{CACert: e.CACert, Cert: e.Cert, Key: e.Key}
}

// initialCluster has addresses without a scheme: TLS decides that.
func initialCluster(e *config.Embedded) map[string]string {
	all := map[string]string{}
	for _, p := range e.InitialCluster {
		all[p.Name] = strings.TrimPrefix(strings.TrimPrefix(p.Address, "http://"), "https://")
	}
	return all
}
