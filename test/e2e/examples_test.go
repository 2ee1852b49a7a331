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
