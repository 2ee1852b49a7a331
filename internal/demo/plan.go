package demo

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// DefaultDir and DefaultPort are where a demo is when nothing else is said.
const (
	DefaultDir   = "./tamada-demo"
	DefaultPort  = 15432
	DefaultNodes = 3
	maxNodes     = 9
	scope        = "demo"
	host         = "127.0.0.1"
	ttl          = 20 // seconds, of the leader's lock: the shortest that is allowed
)

// plan is one demo cluster: what must stay the same when it is started again.
// It is kept in the folder, which only its owner may enter.
type plan struct {
	Nodes     int    `json:"nodes"`
	Port      int    `json:"port"`
	Major     int    `json:"postgresql"` // major version of the data
	Superuser string `json:"superuser_password"`
	Replica   string `json:"replication_password"`
	Control   string `json:"restapi_password"`

	dir    string // absolute
	binDir string
}

const planFile = "demo.json"

// newPlan draws passwords: the ports are open to everybody on this machine, and
// a database superuser may run programs.
func newPlan(nodes, port int) (plan, error) {
	if nodes < 1 || nodes > maxNodes {
		return plan{}, fmt.Errorf("--nodes %d: expected 1 to %d", nodes, maxNodes)
	}
	if port < 1024 || port+200+2*nodes > 65535 {
		return plan{}, fmt.Errorf("--port %d: expected 1024 to %d; the demo uses up to %d ports above it", port, 65535-200-2*nodes, 200+2*nodes)
	}
	return plan{Nodes: nodes, Port: port, Superuser: rand.Text(), Replica: rand.Text(), Control: rand.Text()}, nil
}

// errNoPlan: there is no demo in the folder.
var errNoPlan = errors.New("no demo is here")

func loadPlan(dir string) (plan, error) {
	data, err := os.ReadFile(filepath.Join(dir, planFile))
	if errors.Is(err, os.ErrNotExist) {
		return plan{}, errNoPlan
	}
	if err != nil {
		return plan{}, fmt.Errorf("read the demo's own notes: %w", err)
	}
	p := plan{dir: dir}
	if err := json.Unmarshal(data, &p); err != nil {
		return plan{}, fmt.Errorf("read the demo's own notes in %s: %w", filepath.Join(dir, planFile), err)
	}
	if p.Nodes < 1 || p.Nodes > maxNodes {
		return plan{}, fmt.Errorf("%s: %d nodes, expected 1 to %d", filepath.Join(dir, planFile), p.Nodes, maxNodes)
	}
	return p, nil
}

// node is one node of a plan; nodes count from 0, their names from n1.
type node struct {
	*plan
	i int
}

func (p *plan) nodes() []node {
	list := make([]node, p.Nodes)
	for i := range list {
		list[i] = node{p, i}
	}
	return list
}

func (n node) name() string      { return "n" + strconv.Itoa(n.i+1) }
func (n node) postgresPort() int { return n.Port + n.i }
func (n node) restPort() int     { return n.Port + 100 + n.i }
func (n node) clientPort() int   { return n.Port + 200 + 2*n.i }
func (n node) peerPort() int     { return n.Port + 201 + 2*n.i }
func (n node) folder() string    { return filepath.Join(n.dir, n.name()) }
func (n node) config() string    { return filepath.Join(n.folder(), "node.yml") }
func (n node) log() string       { return filepath.Join(n.folder(), "node.log") }
func (n node) data() string      { return filepath.Join(n.folder(), "data") }
func (n node) api() string       { return "http://" + at(n.restPort()) }

func at(port int) string { return host + ":" + strconv.Itoa(port) }

// use is one port of a node and what for.
type use struct {
	port int
	what string
}

func (n node) ports() []use {
	return []use{{n.postgresPort(), "PostgreSQL of " + n.name()}, {n.restPort(), "REST API of " + n.name()},
		{n.clientPort(), "etcd of " + n.name()}, {n.peerPort(), "etcd of " + n.name()}}
}

// yaml is the node's configuration. It is meant to be read: it is a small
// example of a node with its own etcd.
func (n node) yaml() string {
	q := func(s string) string { b, _ := json.Marshal(s); return string(b) } // a JSON string is a YAML string
	peers := make([]string, n.Nodes)
	for i, other := range n.nodes() {
		peers[i] = fmt.Sprintf("%s: %q", other.name(), at(other.peerPort()))
	}
	return fmt.Sprintf(`# Node %[1]s of the demo, made by "tamada demo".
scope: %[2]s
name: %[1]s
state_dir: %[3]s

restapi:
  listen: %[4]q
  connect_address: %[4]q
  authentication: {username: demo, password: %[5]s}

# No other store is needed: the nodes run their own etcd.
etcd3:
  embedded:
    data_dir: %[6]s
    client: %[7]q
    peer: %[8]q
    initial_cluster: {%[9]s}

# Counts when the cluster is made; afterwards it is in the store.
bootstrap:
  dcs:
    ttl: %[16]d
    loop_wait: 5
    retry_timeout: 5
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 50, shared_buffers: 32MB}
  initdb: [data-checksums, {encoding: UTF8}, {locale: C}]

postgresql:
  listen: %[10]q
  connect_address: %[10]q
  bin_dir: %[11]s
  data_dir: %[12]s
  pgpass: %[13]s
  authentication:
    superuser: {username: postgres, password: %[14]s}
    replication: {username: replicator, password: %[15]s}
  parameters:
    unix_socket_directories: ""
    password_encryption: scram-sha-256
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
`, n.name(), scope, q(filepath.Join(n.folder(), "state")), at(n.restPort()), q(n.Control),
		q(filepath.Join(n.folder(), "etcd")), at(n.clientPort()), at(n.peerPort()), strings.Join(peers, ", "),
		at(n.postgresPort()), q(n.binDir), q(n.data()), q(filepath.Join(n.folder(), "pgpass")), q(n.Superuser), q(n.Replica), ttl)
}

// passFile holds the superuser's password for psql, so that it is neither typed
// nor shown by ps.
func (p *plan) passFile() string { return filepath.Join(p.dir, "pgpass") }

func (p *plan) passLines() string {
	var b strings.Builder
	for _, n := range p.nodes() {
		fmt.Fprintf(&b, "%s:%d:*:postgres:%s\n", host, n.postgresPort(), p.Superuser)
	}
	return b.String()
}

// connection is a libpq connection string that finds the leader. shown is how
// the user named the folder.
func (p *plan) connection(shown string) string {
	hosts, ports := make([]string, p.Nodes), make([]string, p.Nodes)
	for i, n := range p.nodes() {
		hosts[i], ports[i] = host, strconv.Itoa(n.postgresPort())
	}
	pass := filepath.Join(shown, filepath.Base(p.passFile()))
	if strings.ContainsAny(pass, ` '\`) {
		pass = "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(pass) + "'"
	}
	return fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres passfile=%s target_session_attrs=read-write",
		strings.Join(hosts, ","), strings.Join(ports, ","), pass)
}

// encode is the plan as it is kept in the folder.
func (p *plan) encode() (string, error) {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return "", fmt.Errorf("the demo's own notes: %w", err)
	}
	return string(data) + "\n", nil
}
