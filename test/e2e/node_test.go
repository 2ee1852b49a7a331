//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"
)

// Passwords of the nodes' users.
const (
	superuserPassword   = "super-secret"
	replicationPassword = "rep-secret"
	rewindPassword      = "rewind-secret"
)

// A node is one member: folder, configuration, log and processes.
type node struct {
	c        *cluster
	name     string
	at       *place
	dir      string // with data, log and configuration; belongs to the node's user
	log      string
	port     int // PostgreSQL
	restPort int
	scheme   string // of the REST API
	config   object // may be changed before start
	command  []string
	main     *program // the guardian, nil before the first start
	down     bool     // the test has stopped or killed it

	mu   sync.Mutex // guards sql
	sql  *pgx.Conn
	http *http.Client
}

func newNode(c *cluster, name string, p *place) *node {
	c.t.Helper()
	parent := c.dir
	if p.root != "" {
		parent = filepath.Join(p.root, "e2e", filepath.Base(c.dir))
	}
	n := &node{c: c, name: name, at: p, dir: filepath.Join(parent, name), port: freePort(c.t), restPort: freePort(c.t), scheme: "http"}
	n.log = filepath.Join(n.dir, "log")
	n.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: p.dial, DisableKeepAlives: true}}
	c.makeFolder(n.dir, p)
	n.config = n.defaults()
	n.command = []string{p.tamada, "run", p.inside(n.configFile())}
	return n
}

func (n *node) file(name string) string { return filepath.Join(n.dir, name) }
func (n *node) configFile() string      { return filepath.Join(n.dir, "node.yml") }
func (n *node) dataDir() string         { return filepath.Join(n.dir, "data") }
func (n *node) stateDir() string        { return n.dataDir() + ".tamada" }
func (n *node) serverLog() string       { return filepath.Join(n.stateDir(), "postmaster.log") }
func (n *node) restURL() string {
	return fmt.Sprintf("%s://%s:%d", n.scheme, n.at.address, n.restPort)
}

// defaults is a configuration as an operator would write it, but for fsync and
// small buffers.
func (n *node) defaults() object {
	address, rest := fmt.Sprintf("%s:%d", n.at.address, n.port), fmt.Sprintf("%s:%d", n.at.address, n.restPort)
	return object{
		"scope": scope, "name": n.name,
		"restapi": object{"listen": rest, "connect_address": rest},
		"etcd3":   object{"hosts": []string{n.c.store}},
		"bootstrap": object{
			"dcs":    n.c.dynamic,
			"initdb": []any{object{"encoding": "UTF8"}, object{"locale": "C"}, object{"auth": "scram-sha-256"}, "data-checksums", "no-sync"},
		},
		"postgresql": object{
			"listen": address, "connect_address": address,
			"data_dir": n.at.inside(n.dataDir()), "bin_dir": n.at.binDir, "pgpass": n.at.inside(filepath.Join(n.dir, "pgpass")),
			"authentication": object{
				"superuser":   object{"username": "postgres", "password": superuserPassword},
				"replication": object{"username": "replicator", "password": replicationPassword},
				"rewind":      object{"username": "rewind_user", "password": rewindPassword},
			},
			"pg_hba": []string{"local all all scram-sha-256", "host all all all scram-sha-256", "host replication all all scram-sha-256"},
			"parameters": object{"unix_socket_directories": n.at.inside(n.dir), "shared_buffers": "16MB", "fsync": "off",
				"logging_collector": "off", "log_line_prefix": "%m [%p] "},
			"basebackup": []any{object{"checkpoint": "fast"}, "no-sync"},
		},
	}
}

// set changes one value of the configuration: set("postgresql.bin_dir", "/x").
func (n *node) set(path string, value any) {
	keys := strings.Split(path, ".")
	at := n.config
	for _, k := range keys[:len(keys)-1] {
		next, ok := at[k].(object)
		if !ok {
			next = object{}
		}
		next = maps.Clone(next) // sections may be shared between nodes
		at[k], at = next, next
	}
	at[keys[len(keys)-1]] = value
}

func (n *node) writeConfig() {
	n.c.t.Helper()
	b, err := yaml.Marshal(n.config)
	if err != nil {
		n.c.t.Fatal(err)
	}
	if err := os.WriteFile(n.configFile(), b, 0o600); err != nil {
		n.c.t.Fatal(err)
	}
	n.at.give(n.c.t, n.configFile())
}

// start writes the configuration and starts the node.
func (n *node) start() {
	n.c.t.Helper()
	n.writeConfig()
	n.down = false
	n.main = startProgram(n.c.t, n.name, n.log, n.at.command(n.c.t, n.command...))
	n.c.note("started %s, pid %d", n.name, n.main.pid())
}

// running tells whether the main process runs.
func (n *node) running() bool { return n.main != nil && !n.main.ended() }

// runToEnd starts the node where it is expected to refuse, and returns exit
// code and output.
func (n *node) runToEnd() (code int, output string) {
	n.c.t.Helper()
	before, _ := os.Stat(n.log)
	n.start()
	n.c.eventually(patience, n.name+" has ended", func() (bool, string) { return n.main.ended(), "it runs" })
	b, err := os.ReadFile(n.log)
	if err != nil {
		n.c.t.Fatal(err)
	}
	if before != nil {
		b = b[before.Size():]
	}
	return n.main.exitCode(), string(b)
}

// agentPID is the node's agent, whoever is its parent; 0 for none.
func (n *node) agentPID() int {
	for _, p := range readProcesses() {
		if p.state != 'Z' && strings.HasSuffix(p.cmdline, "tamada agent "+n.at.inside(n.configFile())) {
			return p.pid
		}
	}
	return 0
}

// postmasterPID is what postmaster.pid says, 0 when there is none or the
// process is gone.
func (n *node) postmasterPID() int {
	b, err := os.ReadFile(filepath.Join(n.dataDir(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	if pid <= 0 || !alive(pid) {
		return 0
	}
	if p, _ := readProcess(pid); p.comm != "postgres" {
		return 0
	}
	return pid
}

// processes are all that belong to the node: what is below its main process, and
// whoever is their parent, what was started with its configuration or works in
// its data folder.
func (n *node) processes() (list []process) {
	all := readProcesses()
	seen := map[int]bool{}
	take := func(more ...process) {
		for _, p := range more {
			if !seen[p.pid] && p.state != 'Z' {
				seen[p.pid] = true
				list = append(list, p)
			}
		}
	}
	if n.main != nil {
		if p, ok := all[n.main.pid()]; ok && !n.main.ended() {
			take(p)
			take(descendants(all, p.pid)...)
		}
	}
	if pid := n.postmasterPID(); pid != 0 {
		take(all[pid])
		take(descendants(all, pid)...)
	}
	for _, p := range all {
		if p.cwd == n.dataDir() || strings.HasSuffix(p.cmdline, " "+n.at.inside(n.configFile())) {
			take(p)
			take(descendants(all, p.pid)...)
		}
	}
	return list
}

// killAll kills every process of the node at once, as a power failure would,
// and waits until none is left.
func (n *node) killAll() {
	n.down = true
	known := map[int]process{}
	for range 400 {
		for _, p := range n.processes() {
			known[p.pid] = p
		}
		left := false
		// Ours first and PostgreSQL last: an agent that sees a program or a server die
		// would start it again, or write down how it ended.
		order := slices.SortedFunc(maps.Keys(known), func(x, y int) int {
			return cmp.Compare(last(known[x]), last(known[y]))
		})
		for _, pid := range order {
			p := known[pid]
			// A pid that now is another process is not ours any more; one that now runs
			// another program is a postmaster just being started.
			if q, ok := readProcess(pid); ok && q.state != 'Z' && q.start == p.start {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				left = true
			}
		}
		if !left {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n.main != nil {
		<-n.main.done
	}
}

// last puts the processes in the order in which they are killed.
func last(p process) int {
	switch p.comm {
	case "tamada":
		return 0
	case "postgres":
		return 2
	}
	return 1
}

// children are the children of the postmaster whose title contains a text.
func (n *node) children(title string) (pids []int) {
	postmaster := n.postmasterPID()
	for _, p := range readProcesses() {
		if p.ppid == postmaster && postmaster != 0 && strings.Contains(p.cmdline, title) {
			pids = append(pids, p.pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// logSince returns what the node has logged from a position on; logSize is the
// position now.
func (n *node) logSince(from int64) string {
	b, err := os.ReadFile(n.log)
	if err != nil || int64(len(b)) < from {
		return ""
	}
	return string(b[from:])
}

// says waits until the log has all these texts: a line is written after what it
// tells of can be seen, at times after the answer to a request too.
func (n *node) says(from int64, texts ...string) (log string) {
	n.c.t.Helper()
	n.c.eventually(patience, fmt.Sprintf("%s logs %q", n.name, texts), func() (bool, string) {
		log = n.logSince(from)
		return !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(log, s) }), log
	})
	return log
}

func (n *node) logSize() int64 {
	st, err := os.Stat(n.log)
	if err != nil {
		return 0
	}
	return st.Size()
}

// stop asks the node to end, as a service manager does; it may take as long as
// it takes.
func (n *node) stop() {
	n.c.t.Helper()
	n.down = true
	n.kill(n.main.pid(), syscall.SIGTERM, "guardian")
}

// kill sends a signal to one process and notes it.
func (n *node) kill(pid int, s syscall.Signal, what string) {
	n.c.t.Helper()
	if pid <= 0 {
		n.c.t.Fatalf("%s of %s does not run", what, n.name)
	}
	n.c.note("%v to %s of %s, pid %d", s, what, n.name, pid)
	if err := syscall.Kill(pid, s); err != nil {
		n.c.t.Fatalf("%v to %s of %s: %v", s, what, n.name, err)
	}
}

// touch makes an empty file.
func touch(path string) error { return os.WriteFile(path, nil, 0o600) }
