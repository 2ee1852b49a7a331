//go:build linux

package pgtest

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres"
	"tamada/internal/postgres/proc"
	"tamada/internal/testport"
)

// Passwords of the users that every instance has.
const (
	SuperuserPassword   = "super-secret"
	ReplicationPassword = `rep:sec\ret '"`
	RewindPassword      = "rewind-secret"
)

// BinDir is the folder of PostgreSQL's programs; the test is skipped when there
// is none.
func BinDir(t testing.TB) string {
	if d := os.Getenv("PG_BINDIR"); d != "" {
		return d
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(dirs) == 0 {
		if p, err := exec.LookPath("postgres"); err == nil {
			return filepath.Dir(p)
		}
		t.Skip("PostgreSQL is not installed")
	}
	version := func(d string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(d)))
		return n
	}
	return slices.MaxFunc(dirs, func(a, b string) int { return version(a) - version(b) })
}

// Server is one instance under test.
type Server struct {
	*postgres.Instance
	Settings postgres.Settings
	StateDir string
	Log      *Log
	Journal  *Journal
}

// Journal records what it is told.
type Journal struct{ Lines []string }

// ChildStarted implements [postgres.Journal].
func (j *Journal) ChildStarted(what string, pid int, start uint64) error {
	j.Lines = append(j.Lines, "+"+what)
	return nil
}

// ChildEnded implements [postgres.Journal].
func (j *Journal) ChildEnded(what string) { j.Lines = append(j.Lines, "-"+what) }

// New makes an instance that has no data yet. change may alter the settings.
func New(t testing.TB, name string, change ...func(*postgres.Settings)) *Server {
	t.Helper()
	root := t.TempDir()
	// Paths of sockets are limited to 107 bytes, temporary folders of tests are long.
	socket, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socket) })
	s := postgres.Settings{
		Name: name, Scope: "batman",
		DataDir: filepath.Join(root, "data"), BinDir: BinDir(t),
		ListenAddresses: "127.0.0.1", Port: testport.Free(t, 1)[0],
		PgPass:        filepath.Join(root, "pgpass"),
		UseUnixSocket: true, UseSlots: true, UsePgRewind: true,
		Superuser:    postgres.Credentials{Username: "postgres", Password: SuperuserPassword},
		Replication:  postgres.Credentials{Username: "replicator", Password: ReplicationPassword},
		Rewind:       postgres.Credentials{Username: "rewind_user", Password: RewindPassword},
		PgCtlTimeout: 30 * time.Second,
		Parameters: cluster.NewObject("unix_socket_directories", socket, "shared_buffers", "16MB", "max_connections", 40,
			"fsync", "off", "wal_log_hints", "on", "log_min_messages", "info"),
		PgHBA: []string{"local all all scram-sha-256", "local replication all scram-sha-256",
			"host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"},
		Bootstrap: postgres.BootstrapSettings{Initdb: []any{
			cluster.NewObject("encoding", "UTF8"), cluster.NewObject("locale", "C"), cluster.NewObject("auth", "scram-sha-256"),
			"data-checksums", "no-sync"}},
		BaseBackup: cluster.NewObject("checkpoint", "fast"),
	}
	for _, c := range change {
		c(&s)
	}
	state := filepath.Join(root, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	sv := &Server{Settings: s, StateDir: state, Log: &Log{}, Journal: &Journal{}}
	sv.Instance = sv.Again(t)
	t.Cleanup(func() { sv.end(t) })
	return sv
}

// Again makes a second, fresh instance on the same folder, as a restarted agent
// would.
func (s *Server) Again(t testing.TB) *postgres.Instance {
	log := slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return postgres.New(s.Settings, postgres.Deps{Log: log, StateDir: s.StateDir, Journal: s.Journal})
}

func (s *Server) end(t testing.TB) {
	s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := proc.KillAll(ctx, s.Settings.DataDir, 5*time.Second); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", s.Settings.Name, s.Log)
		if text, err := os.ReadFile(filepath.Join(s.StateDir, "postmaster.log")); err == nil {
			t.Logf("PostgreSQL's log of %s:\n%s", s.Settings.Name, text[max(0, len(text)-8<<10):])
		}
	}
}

// NewPrimary makes a new cluster and starts it.
func NewPrimary(t testing.TB, name string, change ...func(*postgres.Settings)) *Server {
	t.Helper()
	s := New(t, name, change...)
	ctx := Context(t)
	if err := s.Bootstrap(ctx); err != nil {
		t.Fatal(err)
	}
	s.StartRole(t, cluster.RolePrimary, nil)
	if _, err := s.PostBootstrap(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// NewReplica clones a replica, starts it and waits until it streams.
func NewReplica(t testing.TB, name string, of *Server, change ...func(*postgres.Settings)) *Server {
	t.Helper()
	s := New(t, name, change...)
	ctx := Context(t)
	if s.Settings.UseSlots {
		if err := of.CreatePhysicalSlot(ctx, cluster.SlotName(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Clone(ctx, postgres.CloneOptions{From: of.Upstream()}); err != nil {
		t.Fatal(err)
	}
	s.StartRole(t, cluster.RoleReplica, of.Upstream())
	Eventually(t, name+" streams", func() bool {
		o, err := s.Observe(ctx, postgres.ObserveOptions{})
		return err == nil && o.ReplicationState() == "streaming"
	})
	return s
}

// Upstream is how to replicate from the server.
func (s *Server) Upstream() *postgres.Upstream {
	return &postgres.Upstream{Name: s.Settings.Name, Host: "127.0.0.1", Port: strconv.Itoa(s.Settings.Port)}
}

// StartRole starts and expects to find it running.
func (s *Server) StartRole(t testing.TB, role cluster.Role, up *postgres.Upstream) {
	t.Helper()
	r, err := s.Start(Context(t), postgres.StartOptions{Role: role, Upstream: up})
	if err != nil || r != postgres.StartedRunning {
		t.Fatalf("start %s as %s: %v %v", s.Settings.Name, role, r, err)
	}
}

// SQL runs a statement with psql as superuser and returns its trimmed output.
func (s *Server) SQL(t testing.TB, sql string) string {
	t.Helper()
	out, err := s.TrySQL(t, sql)
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return out
}

// TrySQL is SQL with the error returned.
func (s *Server) TrySQL(t testing.TB, sql string) (string, error) {
	cmd := exec.CommandContext(Context(t), filepath.Join(s.Settings.BinDir, "psql"), "-XAtqc", sql,
		"host=127.0.0.1 port="+strconv.Itoa(s.Settings.Port)+" user=postgres dbname=postgres connect_timeout=3")
	cmd.Env = append(os.Environ(), "PGPASSWORD="+SuperuserPassword)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Context ends with the test, and after a minute at the latest.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until f is true.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
