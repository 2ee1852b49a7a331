//go:build linux

package demo

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tamada/internal/config"
	"tamada/internal/dcs/open"
)

func examplePlan(t *testing.T, dir string) plan {
	t.Helper()
	p, err := newPlan(3, 15432)
	if err != nil {
		t.Fatal(err)
	}
	p.dir, p.binDir, p.Major = dir, "/usr/lib/postgresql/15/bin", 15
	return p
}

// The configuration is read by the real reader: no warning, and all members of
// etcd where the others expect them.
func TestNodesConfigurationsFitTogether(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `it's "quoted": ü # x`)
	p := examplePlan(t, dir)
	var peers, clients []string
	for _, n := range p.nodes() {
		if err := os.MkdirAll(n.folder(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.config(), []byte(n.yaml()), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(n.config(), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, n.yaml())
		}
		if len(cfg.Warnings) > 0 {
			t.Errorf("%s: %v", n.name(), cfg.Warnings)
		}
		if cfg.Postgresql.DataDir != n.data() || cfg.Name != n.name() || string(cfg.Postgresql.Superuser.Password) != p.Superuser {
			t.Errorf("read back: %q %q", cfg.Postgresql.DataDir, cfg.Name)
		}
		m, err := open.Member(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		peers, clients = append(peers, m.Peer), append(clients, m.Client)
		if m.InitialCluster[n.name()] != m.Peer || len(m.InitialCluster) != 3 {
			t.Errorf("%s: %v has not %s", n.name(), m.InitialCluster, m.Peer)
		}
		hosts := open.Hosts(&cfg.Etcd3, cfg.Name)
		if len(hosts) != 3 || hosts[0] != "localhost:"+strconv.Itoa(n.clientPort()) {
			t.Errorf("%s asks %v, its own first", n.name(), hosts)
		}
		for _, other := range p.nodes() {
			port := strconv.Itoa(other.clientPort())
			if !slices.ContainsFunc(hosts, func(h string) bool { _, q, _ := net.SplitHostPort(h); return q == port }) {
				t.Errorf("%s asks %v, not the client port %s of %s", n.name(), hosts, port, other.name())
			}
		}
	}
	slices.Sort(peers)
	slices.Sort(clients)
	if len(slices.Compact(peers)) != 3 || len(slices.Compact(clients)) != 3 {
		t.Errorf("shared ports: %v %v", peers, clients)
	}
}

func TestNoTwoPortsOfADemoAreTheSame(t *testing.T) {
	t.Parallel()
	p := examplePlan(t, "/x")
	p.Nodes = maxNodes
	seen := map[int]string{}
	for _, n := range p.nodes() {
		for _, u := range n.ports() {
			if seen[u.port] != "" {
				t.Errorf("port %d: %s and %s", u.port, seen[u.port], u.what)
			}
			seen[u.port] = u.what
		}
	}
	for port, what := range map[int]string{15432: "PostgreSQL of n1", 15433: "PostgreSQL of n2", 15532: "REST API of n1", 15634: "etcd of n2"} {
		if seen[port] != what {
			t.Errorf("port %d is %q, want %q", port, seen[port], what)
		}
	}
}

func TestPlanIsKeptAndBadOnesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := loadPlan(dir); err != errNoPlan {
		t.Errorf("an empty folder: %v", err)
	}
	p := examplePlan(t, dir)
	text, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, planFile)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	q, err := loadPlan(dir)
	if err != nil || q.Superuser != p.Superuser || q.Nodes != 3 || q.Port != 15432 || q.Major != 15 || q.dir != dir {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []string{"", "{", `{"nodes": 0}`, `{"nodes": 1000}`} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadPlan(dir); err == nil || err == errNoPlan {
			t.Errorf("%q was accepted: %v", bad, err)
		}
	}
	for _, bad := range [][2]int{{0, 15432}, {10, 15432}, {3, 80}, {3, 65400}} {
		if _, err := newPlan(bad[0], bad[1]); err == nil {
			t.Errorf("%d nodes from port %d were accepted", bad[0], bad[1])
		}
	}
}

func TestConnectionStringNamesAllNodesAndNoPassword(t *testing.T) {
	t.Parallel()
	p := examplePlan(t, "/x")
	if got, want := p.connection("/a b/it's"), `host=127.0.0.1,127.0.0.1,127.0.0.1 port=15432,15433,15434 user=postgres dbname=postgres `+
		`passfile='/a b/it\'s/pgpass' target_session_attrs=read-write`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Contains(p.connection("/x"), p.Superuser) {
		t.Error("the password is in the connection string, where ps shows it")
	}
}

func TestNewestCompletePostgresIsChosen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	install := func(version string, names []string) {
		dir := filepath.Join(root, version, "bin")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if err := os.WriteFile(filepath.Join(dir, n), []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	install("9", programs)
	install("15", programs)
	install("17", programs[:2]) // client programs only
	pattern := filepath.Join(root, "*", "bin")
	if dir, major, err := findPrograms(pattern, 0); err != nil || major != 15 || dir != filepath.Join(root, "15", "bin") {
		t.Errorf("newest: %s %d %v", dir, major, err)
	}
	if _, major, err := findPrograms(pattern, 9); err != nil || major != 9 {
		t.Errorf("that of the data: %d %v", major, err)
	}
	if _, _, err := findPrograms(pattern, 17); err == nil || !strings.Contains(err.Error(), "PostgreSQL 17") {
		t.Errorf("one that is not there: %v", err)
	}
}
