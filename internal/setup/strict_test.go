package setup

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/testport"
)

// fakeBin is a folder with programs that say that they are PostgreSQL 15.
func fakeBin(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range programs {
		syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open: "text file busy"
		err := os.WriteFile(filepath.Join(dir, p), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18 (Debian)'\n"), 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func document(t *testing.T, text string) *cluster.Object {
	t.Helper()
	v, err := config.ParseYAML("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*cluster.Object)
}

// listener is an address that accepts connections.
func listener(t *testing.T) (address string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testport.Free(t, 1)[0])
}

func lines(text string) string { return strings.TrimSpace(strings.ReplaceAll(text, "\t", "")) }

func TestStrictSaysNothingOfAGoodConfiguration(t *testing.T) {
	t.Parallel()
	etcd, _ := listener(t)
	doc := document(t, fmt.Sprintf(`
name: a
scope: b
log: {type: json, level: INFO, traceback_level: debug, format: [message, {levelname: level}], mode: 0644}
restapi: {listen: "%s", connect_address: "10.0.0.1:8008", server_tokens: MINIMAL, verify_client: none}
bootstrap: {dcs: {ttl: "30", synchronous_mode: quorum, member_slots_ttl: 30min, standby_cluster: {port: 5432}}, initdb: [data-checksums, {encoding: UTF8}]}
etcd3: {hosts: ["%s"]}
postgresql:
  listen: "%s"
  connect_address: 10.0.0.1:5432
  data_dir: %s
  bin_dir: %s
  authentication: {replication: {username: r}, superuser: {username: s, password: p}}
  unheard_of: 1
watchdog: {mode: off}
tags: {nofailover: true, sync_priority: 2, anything: [1]}
`, free(t), etcd, free(t), t.TempDir(), fakeBin(t, neededPrograms...)))
	if got := Strict(doc, StrictOptions{}); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func TestStrictLines(t *testing.T) {
	t.Parallel()
	taken, port := listener(t)
	nobody := free(t)
	bin := fakeBin(t, neededPrograms[1:]...)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("14\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(data, "pg_wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, doc, want string }{
		{"nothing", "{x: 1}", `
name  is not defined.
scope  is not defined.
restapi  is not defined.
consul  is not defined.
etcd  is not defined.
etcd3  is not defined.
exhibitor  is not defined.
kubernetes  is not defined.
raft  is not defined.
zookeeper  is not defined.
postgresql  is not defined.`},
		{"types", fmt.Sprintf(`
name: 1
scope: [a]
thread_pool_size: 4
thread_stack_size: 1000
log: {type: JSON, level: info, format: [], max_queue_size: many, mode: 01000, loggers: [a], deduplicate_heartbeat_logs: "on"}
ctl: {insecure: 1, authentication: {username: u}}
restapi: {listen: "%[1]s", connect_address: "localhost:8008", allowlist: a, request_queue_size: "5"}
bootstrap:
  dcs:
    ttl: 5
    loop_wait: x
    synchronous_mode: maybe
    standby_cluster: {create_replica_methods: []}
    postgresql: {use_pg_rewind: "yes", parameters: {max_connections: 0}, pg_hba: host}
  initdb: [5]
consul: {host: "%[2]s", port: "8500", consistency: strong}
etcd: {protocol: http}
postgresql: 5
watchdog: {mode: [1], safety_margin: -2}
tags: {nofailover: true, failover_priority: 1, nosync: 0, sync_priority: -1}
`, taken, nobody), fmt.Sprintf(`
name 1 is not a string
scope ['a'] is not a string
thread_pool_size 4 didn't pass validation: Wrong value
thread_stack_size 1000 didn't pass validation: Wrong value
log.type JSON didn't pass validation: Wrong value
log.level info didn't pass validation: Wrong value
log.format [] didn't pass validation: should contain at least one item
log.max_queue_size many is not an integer
log.mode 512 didn't pass validation: Wrong value
log.loggers ['a'] is not a dictionary
log.deduplicate_heartbeat_logs on is not a boolean
ctl.authentication.password  is not defined.
ctl.insecure 1 is not a boolean
restapi.listen %[1]s didn't pass validation: Port %[3]d is already in use.
restapi.connect_address localhost:8008 didn't pass validation: must not contain "127.0.0.1", "0.0.0.0", "*", "::1", "localhost"
restapi.allowlist a is not a list
restapi.request_queue_size 5 is not an integer
bootstrap.dcs.ttl 5 didn't pass validation: Wrong value
bootstrap.dcs.loop_wait x didn't pass validation: Wrong value
bootstrap.dcs.synchronous_mode maybe didn't pass validation: invalid value for synchronous_mode
bootstrap.dcs.standby_cluster.host  is not defined.
bootstrap.dcs.standby_cluster.port  is not defined.
bootstrap.dcs.standby_cluster.restore_command  is not defined.
bootstrap.dcs.standby_cluster.create_replica_methods [] is an empty list
bootstrap.dcs.postgresql.parameters.max_connections 0 didn't pass validation: Wrong value
bootstrap.dcs.postgresql.pg_hba host is not a list
bootstrap.dcs.postgresql.use_pg_rewind yes is not a boolean
bootstrap.initdb.0 5 is not a string
bootstrap.initdb.0 5 is not a dictionary
consul.host %[2]s didn't pass validation: %[2]s is not reachable
consul.port 8500 is not an integer
consul.consistency strong didn't pass validation: Wrong value
etcd.host  is not defined.
etcd.hosts  is not defined.
etcd.srv  is not defined.
etcd.srv_suffix  is not defined.
etcd.url  is not defined.
etcd.proxy  is not defined.
postgresql 5 is not a dictionary
watchdog.mode [1] didn't pass validation: expected type is not a string
watchdog.safety_margin -2 didn't pass validation: Wrong value
tags  Multiple of ('nofailover', 'failover_priority') provided
tags  Multiple of ('nosync', 'sync_priority') provided`, taken, nobody, port)},
		{"the machine", fmt.Sprintf(`
name: a
scope: b
restapi: {listen: "a b", connect_address: "h:1"}
etcd3: {hosts: "%[1]s,%[2]s"}
postgresql:
  listen: "*,10.0.0.1:5432"
  connect_address: ":5432"
  data_dir: %[3]s
  bin_dir: %[4]s
  bin_name: {pg_ctl: "", initdb: nope}
  authentication: {replication: {password: 5}, superuser: {}}
  pg_hba: []
  parameters: {unix_socket_directories: 1}
`, taken, nobody, data, bin), fmt.Sprintf(`
restapi.listen a b didn't pass validation: contains a wrong value
etcd3.hosts %[1]s,%[2]s didn't pass validation: %[2]s is not reachable
postgresql.listen *,10.0.0.1:5432 didn't pass validation: expecting '*' alone
postgresql.connect_address :5432 didn't pass validation: contains a wrong value
postgresql.data_dir %[3]s didn't pass validation: data_dir directory postgresql version (14) doesn't match with 'postgres --version' output (15)
postgresql.bin_dir  does not contain 'pg_ctl' in '%[4]s'
postgresql.bin_dir  does not contain 'nope' in '%[4]s'
postgresql.bin_name.pg_ctl  didn't pass validation: does not contain '' in '%[4]s'
postgresql.bin_name.initdb nope didn't pass validation: does not contain 'nope' in '%[4]s'
postgresql.parameters.unix_socket_directories 1 is not a string
postgresql.pg_hba [] is an empty list
postgresql.authentication.superuser.username  is not defined.
postgresql.authentication.replication.username  is not defined.
postgresql.authentication.replication.password [hidden] is not a string`, taken, nobody, data, bin)},
	} {
		got := strings.Join(Strict(document(t, c.doc), StrictOptions{}), "\n")
		if got != lines(c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, got, lines(c.want))
		}
	}
	doc := document(t, fmt.Sprintf("{name: a, scope: b, restapi: {listen: '%s', connect_address: 'h:1'}}", taken))
	for _, l := range Strict(doc, StrictOptions{IgnoreListenPort: true}) {
		if strings.Contains(l, "in use") {
			t.Errorf("the port is not ignored: %s", l)
		}
	}
}

func TestDataFolders(t *testing.T) {
	t.Parallel()
	v := &strict{doc: document(t, "{postgresql: {bin_dir: "+fakeBin(t, "postgres")+"}}")}
	make := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			name, content, _ := strings.Cut(f, "=")
			if strings.HasSuffix(name, "/") {
				_ = os.MkdirAll(filepath.Join(dir, name), 0o700)
				continue
			}
			_ = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	file := filepath.Join(make("x"), "x")
	for dir, want := range map[string]string{
		"":                               "is an empty string",
		"/does/not/exist":                "",
		file:                             "is not a directory",
		make():                           "",
		make(".hidden", "lost+found/"):   "",
		make("something"):                "doesn't look like a valid data directory",
		make("global/pg_control"):        "doesn't look like a valid data directory",
		make("PG_VERSION=15\n"):          `data dir for the cluster is not empty, but doesn't contain "pg_wal" directory`,
		make("PG_VERSION=9.6"):           `data dir for the cluster is not empty, but doesn't contain "pg_xlog" directory`,
		make("PG_VERSION=15", "pg_wal/"): "",
	} {
		if got := v.dataDir(dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}
