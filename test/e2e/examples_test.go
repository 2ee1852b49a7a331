//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// fromExample takes the configuration of docs/examples, with this test's
// addresses, folders and store instead of the example's.
func fromExample(file string) func(*node) {
	return func(n *node) {
		n.c.t.Helper()
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", file))
		if err != nil {
			n.c.t.Fatal(err)
		}
		var doc object
		if err := yaml.Unmarshal(b, &doc); err != nil {
			n.c.t.Fatal(err)
		}
		ours := n.config
		n.config = doc
		doc["scope"], doc["name"] = scope, n.name
		doc["etcd3"] = ours["etcd3"]
		delete(doc, "namespace")
		delete(doc, "ctl")
		delete(doc["restapi"].(object), "allowlist")
		for _, key := range []string{"certfile", "keyfile", "cafile", "verify_client"} {
			delete(doc["restapi"].(object), key)
		}
		address := fmt.Sprintf("127.0.0.1:%d", n.port)
		n.set("restapi.listen", fmt.Sprintf("127.0.0.1:%d", n.restPort))
		n.set("restapi.connect_address", fmt.Sprintf("127.0.0.1:%d", n.restPort))
		n.set("postgresql.listen", address)
		n.set("postgresql.connect_address", address)
		n.set("postgresql.data_dir", n.dataDir())
		n.set("postgresql.bin_dir", n.at.binDir)
		n.set("postgresql.pgpass", n.dir+"/pgpass")
		n.set("postgresql.authentication", ours["postgresql"].(object)["authentication"])
		n.set("postgresql.pg_hba", ours["postgresql"].(object)["pg_hba"])
		n.set("postgresql.parameters.unix_socket_directories", n.dir)
		n.set("postgresql.parameters.fsync", "off")
	}
}

// The tutorial's three nodes form a cluster with the example configurations.
func TestExamplesOfTheTutorialFormACluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for i := range 3 {
		c.add(fmt.Sprintf("postgresql%d", i), here(t), fromExample(fmt.Sprintf("tutorial-%d.yml", i)))
	}
	c.startAll()
	if v := c.nodes[2].must("SHOW data_checksums"); v != "on" {
		t.Errorf("data_checksums = %s", v)
	}
}

// The example of a server in a rack starts, here without its certificates and
// with less memory, and logs to its file.
func TestExampleOfBareMetalStarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.add("db1", here(t), fromExample("bare-metal.yml"), func(n *node) {
		n.set("log.dir", n.dir+"/logs")
		n.set("bootstrap.dcs.postgresql.parameters.shared_buffers", "32MB")
		n.set("bootstrap.dcs.postgresql.parameters.max_wal_size", "1GB")
		n.set("bootstrap.dcs.postgresql.parameters.wal_keep_size", "64MB")
		for _, key := range []string{"ssl", "ssl_cert_file", "ssl_key_file"} {
			delete(n.config["postgresql"].(object)["parameters"].(object), key)
		}
	})
	n.start()
	c.waitLeader(patience, n)
	if v := n.must("SHOW max_connections"); v != "500" {
		t.Errorf("max_connections = %s", v)
	}
	log := tail(n.dir+"/logs/patroni.log", 1<<20)
	c.eventually(patience, "the log is in its file, as JSON with the constant fields", func() (bool, string) {
		log = tail(n.dir+"/logs/patroni.log", 1<<20)
		return containsAll(log, `"message": "initialized a new cluster"`, `"rack": "r12"`, `"levelname": "INFO"`), log
	})
}

func containsAll(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// backup makes what the example restores: the folder of a server with one table,
// set to recover from an archive and to go on from there, as backup tools leave
// it. script puts it into a data folder.
func backup(n *node, script string, dataDir string) {
	t := n.c.t
	t.Helper()
	dir := filepath.Join(n.c.dir, "backup")
	if _, err := os.Stat(dir); err != nil {
		n.byHand(n.pgProgram("initdb"), "-D", dir, "-U", "postgres", "-A", "trust", "-k", "-N", "--locale=C", "-E", "UTF8")
		n.byHand("sh", "-c", fmt.Sprintf(`echo "CREATE TABLE kept AS SELECT 42 AS answer" | %s --single -D %s postgres`, n.pgProgram("postgres"), dir))
		n.byHand("sh", "-c", fmt.Sprintf(`touch %[1]s/recovery.signal && echo "restore_command = 'false'" >>%[1]s/postgresql.auto.conf && echo "recovery_target_action = promote" >>%[1]s/postgresql.auto.conf`, dir))
	}
	text := fmt.Sprintf("#!/bin/sh\nset -e\nmkdir -p -m 700 %[2]s\ncp -a %[1]s/. %[2]s/\n", dir, dataDir)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	n.at.give(t, script)
}

// The example of a restore makes a cluster out of a backup, and its replicas out
// of the same backup.
func TestExampleOfARestoreStarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	restored := func(n *node) {
		script := n.dir + "/restore"
		backup(n, script, n.dataDir())
		n.set("bootstrap.pgbackrest.command", script)
		n.set("bootstrap.post_bootstrap", "/bin/true")
		n.set("postgresql.pgbackrest.command", script)
		n.set("postgresql.recovery_conf.restore_command", "false")
		n.set("postgresql.parameters.archive_command", "true")
	}
	for _, name := range []string{"db1", "db2"} {
		c.add(name, here(t), fromExample("restore.yml"), restored)
	}
	c.startAll()
	n1, n2 := c.nodes[0], c.nodes[1]
	for _, n := range c.nodes {
		if v := n.must("SELECT answer FROM kept"); v != "42" {
			t.Errorf("%s: %s", n.name, v)
		}
		if v := n.must("SHOW max_connections"); v != "500" {
			t.Errorf("%s: max_connections = %s", n.name, v)
		}
	}
	if n1.timeline() != 2 {
		t.Errorf("timeline %d", n1.timeline())
	}
	if log := n2.says(0, "pgbackrest"); strings.Contains(log, "pg_basebackup") {
		t.Errorf("the replica was not made from the backup:\n%s", log)
	}
	if b, err := os.ReadFile(filepath.Join(n1.dataDir(), "postgresql.auto.conf")); err != nil || strings.Contains(string(b), "restore_command") {
		t.Errorf("the settings of the recovery are still there: %s %v", b, err)
	}
}

// What the dynamic configuration says of slots keeps them from being dropped,
// while slots of nobody are.
func TestSlotsOfOperatorsAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	c.dynamic["ignore_slots"] = []any{object{"name": "archiver", "type": "physical"}}
	n := c.bringUp(1, guarded)
	for _, name := range []string{"archiver", "warehouse", "nobody"} {
		if name == "warehouse" {
			n.patch(`{"slots": {"warehouse": {"type": "physical"}}}`) // not supported yet, and refused
			c.eventually(patience, "list shows that slots are not supported", func() (bool, string) {
				_, out := n.cli("list")
				return strings.Contains(out, "not in force: dynamic configuration: slots: permanent replication slots are not supported yet"), out
			})
		}
		n.must("SELECT pg_create_physical_replication_slot('" + name + "', true)")
	}
	c.eventually(patience, "the slot that nobody wants is dropped", func() (bool, string) {
		v, err := n.query("SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots")
		return v == "archiver,warehouse", fmt.Sprint(v, " ", err)
	})
}
