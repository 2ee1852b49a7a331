package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `scope: batman
name: pg-a
restapi:
  listen: 127.0.0.1:8008
  authentication: {username: patroni, password: rest-secret}
etcd3:
  hosts: 127.0.0.1:2379,127.0.0.2:2379
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 3
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 40
        Wal_Keep_Size: 64MB
        archive_mode: on
        max_wal_senders: 2
  initdb:
  - encoding: UTF8
  - data-checksums
postgresql:
  listen: 127.0.0.1,::1:5432
  connect_address: 127.0.0.1:5432
  data_dir: /var/lib/pg/data
  bin_dir: /usr/lib/postgresql/15/bin
  authentication:
    superuser: {username: postgres, password: super-secret}
    replication: {username: replicator, password: 1234}
  parameters:
    shared_buffers: 16MB
    Archive_Mode: off
    max_connections: 999
tags:
  nofailover: true
  zone: eu-1
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, environ ...string) (*Config, error) {
	t.Helper()
	return Load(write(t, "node.yml", text), environ)
}

func TestSampleLoadsWithDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings {
		t.Log(w)
	}
	for _, tc := range []struct{ what, got, want string }{
		{"scope", c.Scope, "batman"},
		{"namespace", c.Namespace, "service"},
		{"etcd3 hosts", strings.Join(c.Etcd3.Hosts, " "), "127.0.0.1:2379 127.0.0.2:2379"},
		{"listen", c.Postgresql.Listen.String(), "127.0.0.1,::1:5432"},
		{"state_dir", c.StateDir, "/var/lib/pg/data.tamada"},
		{"api url", c.RestAPI.URL(), "http://127.0.0.1:8008/patroni"},
		{"ctl user falls back", c.Ctl.Username, "patroni"},
		{"number as password", string(c.Postgresql.Replication.Password), "1234"},
		{"rewind user", c.Postgresql.Rewind.Username, "postgres"},
		{"initdb", c.Bootstrap.Initdb[0].String() + " " + c.Bootstrap.Initdb[1].String(), "--encoding=UTF8 --data-checksums"},
		{"boolean parameter", c.Postgresql.Parameters["Archive_Mode"], "False"},
		{"methods", strings.Join(c.Postgresql.CreateReplicaMethods, " "), "basebackup"},
		{"guardian", c.Guardian.Mode, "automatic"},
		{"log level", c.Log.Level, "INFO"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, tc.got, tc.want)
		}
	}
	if len(c.Warnings) != 1 || c.Warnings[0].Path != "postgresql.parameters.max_connections" {
		t.Errorf("warnings: %v", c.Warnings)
	}
}
