package setup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

func explained(t *testing.T, key string, s Sources) string {
	t.Helper()
	var b bytes.Buffer
	if err := Explain(&b, key, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// localDocument is a node's own configuration.
func localDocument(t *testing.T, text string) *config.Document {
	t.Helper()
	file := filepath.Join(t.TempDir(), "n.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.ReadDocument(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestExplainTellsValueAndSource(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "n.yml")
	if err := os.WriteFile(file, []byte("name: a\npostgresql:\n  pgpass: /x\n  parameters:\n    Work_Mem: 8MB\n    max_connections: 5\n  authentication: {superuser: {password: hunter2}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.ReadDocument(file, []string{"PATRONI_SCOPE=b"})
	if err != nil {
		t.Fatal(err)
	}
	dynamic := document(t, "{ttl: 45, pause: on, postgresql: {use_slots: off, parameters: {max_connections: 200, checkpoint_timeout: 10min}, pg_hba: [local all all trust]}}")
	s := Sources{Local: doc, Dynamic: dynamic, DynamicFrom: "the store"}
	for key, want := range map[string]string{
		"scope":              "in force  b   from environment variable PATRONI_SCOPE",
		"namespace":          "in force  service   from the default",
		"ttl":                "in force  45   from the store",
		"bootstrap.dcs.ttl":  "in force  45   from the store",
		"loop_wait":          "in force  10   from the default",
		"postgresql.pgpass":  "in force  /x   from " + file + ":3:3",
		"pg_hba":             "", // ambiguous: see below
		"postgresql.pg_hba":  "in force  from the store:\n    - local all all trust\n",
		"work_mem":           "in force  8MB   from " + file + ":5:5",
		"max_connections":    "accepted  an integer from 25\n",
		"MAX_connections":    "in force  200   from the store",
		"checkpoint_timeout": "in force  10min   from the store",
		"wal_level":          "in force  hot_standby   from the agent's default",
		"jit":                "in force  not set by the agent",
		"postgresql.authentication.superuser.password": "in force  [hidden]   from " + file,
		"consul.dc":                       "variable  PATRONI_CONSUL_DC or TAMADA_CONSUL_DC",
		"postgresql.pgbackrest.no_leader": "Works without a running member",
	} {
		if want == "" {
			continue
		}
		if got := explained(t, key, s); !strings.Contains(got, want) {
			t.Errorf("%s: want %q in\n%s", key, want, got)
		}
	}
	secrets := Sources{Local: localDocument(t, `
restapi: {authentication: {username: reader, password: hunter1}}
etcd3: {url: "http://u:hunter2@h:2379", hosts: [a, b]}
postgresql:
  authentication: {superuser: {username: postgres, password: hunter3, sslpassword: hunter4}}
  walg: {command: fetch, aws_key: hunter5}
  pasword: hunter6
zookeeper: {auth_data: {digest: "u:hunter7"}}
bootstrap: {users: {a: {password: hunter8}}, m: {command: x, key: hunter9}}
`)}
	for key, shown := range map[string]string{"restapi": "username: reader", "etcd3": "- b", "postgresql": "command: fetch", "zookeeper": "auth_data: '[hidden]'", "bootstrap": "command: x",
		"postgresql.authentication": "username: postgres", "postgresql.authentication.superuser": "sslpassword: '[hidden]'", "postgresql.walg": "aws_key: '[hidden]'", "restapi.authentication.password": "[hidden]"} {
		if got := explained(t, key, secrets); strings.Contains(got, "hunter") || !strings.Contains(got, shown) {
			t.Errorf("%s: a secret is shown, or too much is hidden:\n%s", key, got)
		}
	}
	s.Running = &Running{Member: "n2", Value: "64", Source: "command line", Pending: true}
	if got := explained(t, "max_locks_per_transaction", s); !strings.Contains(got, "  on n2     64   from command line; another value waits for a restart\n") {
		t.Errorf("%s", got)
	}
	for key, near := range map[string]string{"tttl": "ttl", "nonsense_key": "", "pg_hba": "bootstrap.pg_hba or postgresql.pg_hba", "wrk_mem": "postgresql.parameters.work_mem"} {
		var unknown *ErrUnknownKey
		if err := Explain(&bytes.Buffer{}, key, s); !errors.As(err, &unknown) || strings.Join(unknown.Near, " or ") != near {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Every key of the table can be explained by its path.
func TestExplainKnowsEveryKey(t *testing.T) {
	t.Parallel()
	for _, k := range config.Keys() {
		if got := explained(t, k.Path, Sources{}); !strings.HasPrefix(got, k.Path+"\n  ") || strings.Contains(got, "in force") {
			t.Errorf("%s: %s", k.Path, got)
		}
	}
}

func TestGeneratedSampleIsValid(t *testing.T) {
	t.Parallel()
	bin := fakeBin(t, append(neededPrograms, "pg_rewind")...)
	environ := []string{"PATRONI_POSTGRESQL_BIN_DIR=" + bin, "PATRONI_SCOPE=x", "PATRONI_REPLICATION_USERNAME=rep", "PATH=/nowhere"}
	for _, compatible := range []bool{false, true} {
		text, err := Sample(GenerateOptions{Environ: environ, Compatible: compatible})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(text, "\n") || !strings.HasPrefix(text, "scope: x\nname: ") {
			t.Errorf("%q", text)
		}
		order := []string{"scope:", "\n\nlog:", "\n\nrestapi:", "\n\n# Counts", "bootstrap:\n  dcs:\n    loop_wait: 10\n    retry_timeout: 10\n    ttl: 30\n", "wal_level: replica",
			"\n\npostgresql:", "rewind_user", "password_encryption: scram-sha-256", "- host replication rep all scram-sha-256", "\n\ntags:"}
		at := 0
		for _, part := range order {
			i := strings.Index(text[at:], part)
			if i < 0 {
				t.Fatalf("%q is not where it should be:\n%s", part, text)
			}
			at += i
		}
		if compatible != strings.Contains(text, "nosync: false") || compatible == strings.Contains(text, "etcd3:") {
			t.Errorf("compatible: %v\n%s", compatible, text)
		}
		if compatible {
			continue
		}
		file := filepath.Join(t.TempDir(), "x.yml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := Validate([]string{file}, nil, ValidateOptions{IgnoreListenPort: true}); len(r.Errors) > 0 {
			t.Errorf("%v", config.Errors(r.Errors))
		}
	}
	if _, err := Sample(GenerateOptions{Environ: []string{"PATRONI_POSTGRESQL_BIN_DIR=/nowhere"}}); err == nil || !strings.HasPrefix(err.Error(), "Failed to get postgres version: ") {
		t.Errorf("%v", err)
	}
}

func TestParametersOfAServerAreSortedByPlace(t *testing.T) {
	t.Parallel()
	local, dynamic, lost := placeParameters(map[string]string{"max_connections": "100", "max_wal_senders": "2", "wal_level": "minimal", "work_mem": "8MB",
		"archive_command": "cp %p /a/%f", "restore_command": "", "primary_conninfo": "host=x", "primary_slot_name": "s", "port": "5432",
		"hba_file": "/d/pg_hba.conf", "ident_file": "/etc/pg_ident.conf", "config_file": "/etc/x", "data_directory": "/d", "hot_standby": "on"})
	if got := string(cluster.Compact(local)); got != `{"archive_command":"cp %p /a/%f","hba_file":"/d/pg_hba.conf","ident_file":"/etc/pg_ident.conf"}` {
		t.Error(got)
	}
	if got := string(cluster.Compact(dynamic)); got != `{"hot_standby":"on","max_connections":100,"work_mem":"8MB"}` {
		t.Error(got)
	}
	if strings.Join(lost, ",") != "max_wal_senders = 2,wal_level = minimal" {
		t.Error(lost)
	}
}

func TestConnectionStringsDoNotLeak(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://u:hunter2@[", "host=x password='hunter2", "postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=1&sslmode=disable"} {
		_, _, err := FromServer(t.Context(), GenerateOptions{DSN: dsn})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "Failed to ") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	m, err := givenCredentials(GenerateOptions{DSN: "postgres://u:p@h/db?sslmode=require"})
	if err != nil || m["username"] != "u" || m["password"] != "p" || m["sslmode"] != "require" {
		t.Error(m, err)
	}
	m, err = givenCredentials(GenerateOptions{Environ: []string{"PGUSER=v", "PGSSLROOTCERT=/c"}})
	if err != nil || m["username"] != "v" || m["sslrootcert"] != "/c" {
		t.Error(m, err)
	}
}
