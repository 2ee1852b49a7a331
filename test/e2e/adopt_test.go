//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// listenNotify plays the service manager; what it hears is returned by the
// function.
func listenNotify(t *testing.T, socket string) func() string {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var text strings.Builder
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			text.WriteString(string(b[:n]) + "\n")
			mu.Unlock()
		}
	}()
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

// byHand starts a server that nobody manages in a node's data folder.
func (n *node) byHand(args ...string) {
	n.c.t.Helper()
	if out, err := n.at.command(n.c.t, args...).CombinedOutput(); err != nil {
		n.c.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func (n *node) pgProgram(name string) string { return filepath.Join(n.at.binDir, name) }

// A primary and its standby that nobody has managed so far become a cluster: with
// the configuration that generate-config writes they keep their data, their
// parameters, their processes and their clients.
func TestPrimaryAndItsStandbyAreAdopted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.add("a", here(t)), c.add("b", here(t))
	passwords := filepath.Join(a.dir, "passwords")
	if err := os.WriteFile(passwords, []byte(superuserPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.at.give(t, passwords)
	a.byHand(a.pgProgram("initdb"), "-D", a.dataDir(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile="+passwords, "-k", "-N", "--locale=C", "-E", "UTF8")
	conf := "\nport = " + strconv.Itoa(a.port) + "\nunix_socket_directories = '" + a.dir + "'\nshared_buffers = 24MB\nmax_connections = 55\nwork_mem = 7MB\n" +
		"wal_log_hints = on\nfsync = off\nlog_min_duration_statement = '10s'\ncluster_name = 'batman'\n"
	appendTo(t, filepath.Join(a.dataDir(), "postgresql.conf"), conf)
	appendTo(t, filepath.Join(a.dataDir(), "pg_hba.conf"), "host replication replicator all scram-sha-256\nhost all all all scram-sha-256\n")
	a.byHand(a.pgProgram("pg_ctl"), "-D", a.dataDir(), "-l", a.dir+"/server.log", "-w", "start")
	a.must("CREATE ROLE replicator LOGIN REPLICATION PASSWORD '" + replicationPassword + "'")
	a.must("CREATE TABLE kept AS SELECT 42 AS answer")
	b.byHand("env", "PGPASSWORD="+replicationPassword, b.pgProgram("pg_basebackup"), "-D", b.dataDir(), "-R", "-c", "fast", "-N",
		"-d", "host=127.0.0.1 port="+strconv.Itoa(a.port)+" user=replicator")
	appendTo(t, filepath.Join(b.dataDir(), "postgresql.conf"), "\nport = "+strconv.Itoa(b.port)+"\nunix_socket_directories = '"+b.dir+"'\n")
	b.byHand(b.pgProgram("pg_ctl"), "-D", b.dataDir(), "-l", b.dir+"/server.log", "-w", "start")
	pids := []int{a.postmasterPID(), b.postmasterPID()}
	client, err := a.connect(contextFor(t, patience*3))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		n.generateConfig()
		if code, out := n.validate(); code != 0 {
			t.Fatalf("the generated configuration is not valid: %s", out)
		}
	}

	a.startAsWritten()
	c.waitLeader(patience, a)
	b.startAsWritten()
	c.waitHealthy(patience, a)
	if got := []int{a.postmasterPID(), b.postmasterPID()}; got[0] != pids[0] || got[1] != pids[1] {
		t.Errorf("the servers were restarted: %v, before %v", got, pids)
	}
	if v, err := queryOn(contextFor(t, patience), client, "SELECT answer FROM kept"); v != "42" || err != nil {
		t.Errorf("the client of before: %s %v", v, err)
	}
	for _, n := range []*node{a, b} {
		for name, want := range map[string]string{"shared_buffers": "24MB", "max_connections": "55", "work_mem": "7MB"} {
			if got := n.must("SHOW " + name); got != want {
				t.Errorf("%s: %s = %s, want %s", n.name, name, got, want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(b.dataDir(), "postgresql.base.conf")); err != nil {
		t.Errorf("the configuration of before is not kept: %v", err)
	}
	// It is a cluster like any other now.
	a.kill(a.main.pid(), 15, "the guardian of a")
	c.waitLeader(patience, b)
	if v := b.must("SELECT answer FROM kept"); v != "42" {
		t.Errorf("after the hand-over: %s", v)
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// generateConfig writes the node's configuration with generate-config and fills
// in what only the operator knows.
func (n *node) generateConfig() {
	n.c.t.Helper()
	n.byHand("env", "PATRONI_NAME="+n.name, "PATRONI_ETCD3_HOSTS="+n.c.store, "PATRONI_REPLICATION_USERNAME=replicator",
		"PATRONI_REPLICATION_PASSWORD="+replicationPassword, "PATRONI_RESTAPI_LISTEN=127.0.0.1:"+strconv.Itoa(n.restPort),
		"PATRONI_RESTAPI_CONNECT_ADDRESS=127.0.0.1:"+strconv.Itoa(n.restPort), "PATRONI_POSTGRESQL_PGPASS="+n.dir+"/pgpass",
		"PATRONI_POSTGRESQL_CONNECT_ADDRESS=127.0.0.1:"+strconv.Itoa(n.port),
		n.at.tamada, "generate-config", "--dsn", n.connString(), n.configFile())
	b, err := os.ReadFile(n.configFile())
	if err != nil {
		n.c.t.Fatal(err)
	}
	var doc object
	if err := yaml.Unmarshal(b, &doc); err != nil {
		n.c.t.Fatalf("%v:\n%s", err, b)
	}
	n.c.note("generated:\n%s", b)
	if doc["scope"] == "#FIXME" {
		doc["scope"] = scope // a standby made without the name has none
	}
	if strings.Contains(string(b), "#FIXME") && doc["scope"] != scope {
		n.c.t.Errorf("there is more to fill in than the environment says:\n%s", b)
	}
	n.config = doc
	n.writeConfig()
}

func (n *node) validate() (code int, output string) {
	n.c.t.Helper()
	cmd := n.at.command(n.c.t, n.at.tamada, "validate", "--ignore-listen-port", "--connect", n.at.inside(n.configFile()))
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// startAsWritten starts the node with the configuration file that is there.
func (n *node) startAsWritten() {
	n.c.t.Helper()
	n.main = startProgram(n.c.t, n.name, n.log, n.at.command(n.c.t, n.command...))
	n.c.note("started %s, pid %d", n.name, n.main.pid())
}
