package open

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tamada/internal/config"
	"tamada/internal/dcs/embedded"
)

const nodeFile = `
scope: orders
name: b
state_dir: /var/lib/tamada
restapi: {listen: "127.0.0.1:8008", connect_address: "127.0.0.1:8008"}
etcd3:
  embedded:
    client: 10.0.0.2:2379
    peer: 10.0.0.2:2380
    initial_cluster: {a: "10.0.0.1:2380", b: "10.0.0.2:2380", c: "https://10.0.0.3:2380"}
    # more
postgresql:
  listen: 127.0.0.1:5432
  connect_address: 127.0.0.1:5432
  data_dir: /var/lib/postgresql/orders
  authentication: {superuser: {username: postgres, password: a}, replication: {username: replicator, password: b}}
`

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "node.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestEmbeddedMembersAreTheStoreWhenNoHostsAreGiven(t *testing.T) {
	t.Parallel()
	cfg := load(t, nodeFile)
	want := []string{"10.0.0.2:2379", "10.0.0.1:2379", "10.0.0.3:2379"}
	if got := Hosts(&cfg.Etcd3, cfg.Name); !slices.Equal(got, want) {
		t.Errorf("hosts %v, want %v: the own first", got, want)
	}
	m, err := Member(cfg, nil)
	if err != nil || m.Name != "b" || m.Cluster != "orders" || m.DataDir != "/var/lib/tamada/etcd" || m.Client != "10.0.0.2:2379" ||
		m.Peer != "10.0.0.2:2380" || m.InitialCluster["c"] != "10.0.0.3:2380" || m.LogPath != "/var/lib/tamada/etcd.log" {
		t.Errorf("member %+v, %v", m, err)
	}
	if o := options(cfg); o.Protocol == "https" || o.Cert != "" {
		t.Errorf("TLS without a certificate: %+v", o)
	}
	a, err := Admin(cfg)
	if err != nil || !slices.Equal(a.Endpoints, want) || a.Peers["a"] != "10.0.0.1:2380" {
		t.Errorf("admin %+v, %v", a, err)
	}
}

func TestTLSOfTheMembersIsTheAgentsToo(t *testing.T) {
	t.Parallel()
	const members = "    cacert: /ca\n    cert: /cert\n    key: /key\n"
	for _, c := range []struct {
		name, more              string
		cacert, cert, key       string // of the agents
		adminCA, adminC, adminK string
	}{
		{"members only", members, "/ca", "/cert", "/key", "/ca", "/cert", "/key"},
		{"the section's own wins", members + "  cacert: /ca2\n  cert: /cert2\n  key: /key2\n", "/ca2", "/cert2", "/key2", "/ca2", "/cert2", "/key2"},
		{"no client certificates", "    cert: /cert\n    key: /key\n  cacert: /ca2\n", "/ca2", "", "", "/ca2", "/cert", "/key"},
	} {
		cfg := load(t, strings.Replace(nodeFile, "    # more\n", c.more, 1))
		o := options(cfg)
		if o.Protocol != "https" || o.CACert != c.cacert || o.Cert != c.cert || o.Key != c.key {
			t.Errorf("%s: agents %s %q %q %q", c.name, o.Protocol, o.CACert, o.Cert, o.Key)
		}
		a, err := Admin(cfg)
		if want := (embedded.TLS{CACert: c.adminCA, Cert: c.adminC, Key: c.adminK}); err != nil || a.TLS != want {
			t.Errorf("%s: admin %+v, want %+v, %v", c.name, a.TLS, want, err)
		}
	}
}

func TestWithoutEmbeddedThereIsNoMember(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{}
	if _, err := Member(cfg, nil); err != ErrNoEmbedded {
		t.Errorf("member: %v", err)
	}
	if _, err := Admin(cfg); err != ErrNoEmbedded {
		t.Errorf("admin: %v", err)
	}
}
