package ctl

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs/memory"
	"tamada/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// querying are the recorded runs of query that a real PostgreSQL is needed for.
var querying = []string{"query-delimiter", "query-json", "query-member", "query-no-result", "query-pretty", "query-role-replica", "query-sql-error",
	"query-standby-leader", "query-tsv", "query-unknown-format", "query-wrong-password", "query-yaml"}

// servers are a primary and its replica as members of two clusters: batman with
// pg-a leading, and standby, whose leader is the replica.
type servers struct {
	batman, standby *memory.Server
	port            int
}

func startServers(t *testing.T) servers {
	t.Helper()
	primary := pgtest.NewPrimary(t, "pg-a")
	replica := pgtest.NewReplica(t, "pg-b", primary)
	key := func(s *pgtest.Server, role string) string {
		return fmt.Sprintf(`{"conn_url":"postgres://127.0.0.1:%d/postgres","state":"running","role":"%s"}`, s.Settings.Port, role)
	}
	return servers{port: primary.Settings.Port,
		batman: made("leader", "pg-a", "members/pg-a", key(primary, "primary"), "members/pg-b", key(replica, "replica"), "members/pg-c", key(replica, "replica")),
		standby: made("leader", "pg-b", "members/pg-b", key(replica, "standby_leader"), "config",
			`{"standby_cluster":{"host":"x"}}`)}
}

// Not parallel: the password comes from the environment of the process, where
// libpq's variables are looked for.
func TestQuery(t *testing.T) {
	s := startServers(t)
	t.Setenv("PGPASSFILE", "/dev/null")
	for _, name := range querying {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PGPASSWORD", pgtest.SuperuserPassword)
			c := readCapture(t, name)
			b := &bench{stores: map[string]*memory.Server{"batman": s.batman}, now: clockOf(t, c)}
			if name == "query-standby-leader" {
				b.stores["batman"] = s.standby
			}
			if name == "query-wrong-password" {
				t.Setenv("PGPASSWORD", "bad")
				c.stdout = strings.Replace(c.stdout, "22431", fmt.Sprint(s.port), 1)
			}
			same(t, b.run(t, c.args...), c)
		})
	}
	t.Setenv("PGPASSWORD", pgtest.SuperuserPassword)
	t.Run("others", func(t *testing.T) { s.others(t) })
	t.Run("watch", func(t *testing.T) { s.watch(t) })
	t.Run("interrupt", func(t *testing.T) { s.interrupt(t) })
}

func (s servers) others(t *testing.T) {
	b := &bench{stores: map[string]*memory.Server{"batman": s.batman}}
	const types = `select 1.50 as num, timestamptz '2031-01-01 00:00:00.25+00' as ts, date '2031-01-01' as d, 1e20::float8 as f, 100::float8 as g, 'nan'::float4 as nan,
		array[[1,null],[3,4]] as a, array['x y','"',null] as s, '{"k": [1, true]}'::jsonb as j, '\x01'::bytea as b, time '04:05:06.5' as t, timestamp 'infinity' as i, '{}'::int[] as e, interval '1 day' as v`
	for _, tc := range []struct{ args, want string }{
		// The reference ends in a stack trace for most of these.
		{"--format json -c " + types, `[{"num": 1.50, "ts": "2031-01-01 00:00:00.250000+00:00", "d": "2031-01-01", "f": 1e+20, "g": 100.0, "nan": "nan", "a": [[1, null], [3, 4]], "s": ["x y", "\"", null], ` +
			`"j": {"k": [1, true]}, "b": "\\x01", "t": "04:05:06.500000", "i": "infinity", "e": [], "v": "1 day"}]` + "\n"},
		{"-c select 1.5 as num, array['x', null], '{\"k\": null}'::json as j", "num\tarray\tj\n1.5\t['x', None]\t{'k': None}\n"},
		{"-c select 1; select 2 as two", "two\n2\n"},
		{"-c select 1; set x.y to 1", "2026-11-22 22:38:31\tERROR, SQLSTATE: no results to fetch\n"},
		{"-c select 1 where false", "?column?\n"},
		{"-r primary -c select pg_is_in_recovery()", "pg_is_in_recovery\nFalse\n"},
		{"-r standby-leader -c select 1", "2026-11-22 22:38:31\tNo connection to role 'standby-leader' is available\n"},
		{"-m pg-x --format pretty -c select 1", `+---------------------+-------------------------------------------+
| 2026-11-22 22:38:31 | No connection to member pg-x is available |
+---------------------+-------------------------------------------+
`},
		{"-m pg-x --format json -c select 1", `[{"Time": "2026-11-22 22:38:31", "Error": "No connection to member pg-x is available"}]` + "\n"},
	} {
		options, sql, _ := strings.Cut(tc.args, "-c ")
		args := append([]string{"query", "-U", "postgres", "-d", "postgres", "-c", sql}, strings.Fields(options)...)
		if r := b.run(t, args...); r.code != 0 || r.stderr != "" || r.stdout != tc.want {
			t.Errorf("%s: %+v\nwant %s", tc.args, r, tc.want)
		}
	}
	// The role of the store is not believed.
	s.batman.Set(cluster.KeyLeader, []byte("pg-b"))
	if r := b.run(t, "query", "-U", "postgres", "-d", "postgres", "-r", "primary", "-c", "select 1"); r.stdout != "2026-11-22 22:38:31\tNo connection to role 'primary' is available\n" {
		t.Errorf("a primary in recovery: %+v", r)
	}
	s.batman.Set(cluster.KeyLeader, []byte("pg-a"))
	t.Setenv("PGPASSWORD", "bad")
	b.stdin = pgtest.SuperuserPassword + "\n"
	if r := b.run(t, "query", "-U", "postgres", "-d", "postgres", "--password", "-c", "select 1 as x"); r.stdout != "x\n1\n" || r.stderr != "Password: " {
		t.Errorf("asked for the password: %+v", r)
	}
	if r := b.run(t, "query", "-c", "select 1", "-r", "replica", "-m", "pg-a"); r.stderr != "Error: --role and --member are mutually exclusive options\n" {
		t.Errorf("got %+v", r)
	}
	if r := b.run(t, "query", "-f", "/does/not/exist"); r.code != 1 || !strings.HasPrefix(r.stderr, "Error: read the SQL: open /does/not/exist") {
		t.Errorf("got %+v", r)
	}
}

// watch: each time a new connection, and no clearing of the screen.
func (s servers) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stdout, stderr := &stopAfter{what: "pid\n", n: 3, stop: cancel}, &strings.Builder{}
	deps := Deps{Program: "tamada", Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Terminal: true, Now: time.Now,
		Environ: []string{"PATRONI_ETCD3_HOST=h", "HOME=/nowhere"}, Open: openOne(s.batman)}
	code := Execute(ctx, Root(deps), []string{"query", "-w", "0.01", "-U", "postgres", "-d", "postgres", "-c", "select pg_backend_pid() as pid", "batman"})
	lines := strings.Split(stdout.String(), "\n")
	if code != 1 || stderr.String() != "Aborted!\n" || len(lines) < 5 || lines[1] == lines[3] || strings.Contains(stdout.String(), "\033") {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
}

// interrupt: Ctrl-C ends the statement on the server too.
func (s servers) interrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	deps := Deps{Program: "tamada", Stdin: strings.NewReader(""), Stdout: &strings.Builder{}, Stderr: &strings.Builder{}, Now: time.Now,
		Environ: []string{"PATRONI_ETCD3_HOST=h", "HOME=/nowhere"}, Open: openOne(s.batman)}
	sleepers := func() string {
		b := &bench{stores: map[string]*memory.Server{"batman": s.batman}}
		return b.run(t, "query", "-U", "postgres", "-d", "postgres", "-c", "select count(*) as n from pg_stat_activity where query like 'select pg_sleep(600%'").stdout
	}
	done := make(chan int)
	go func() {
		done <- Execute(ctx, Root(deps), []string{"query", "-U", "postgres", "-d", "postgres", "-c", "select pg_sleep(600)", "batman"})
	}()
	pgtest.Eventually(t, "the statement runs", func() bool { return sleepers() == "n\n1\n" })
	cancel()
	if code := <-done; code != 1 {
		t.Errorf("exit code %d", code)
	}
	pgtest.Eventually(t, "the statement is cancelled", func() bool { return sleepers() == "n\n0\n" })
}

func TestConnectionStringsAreQuoted(t *testing.T) {
	t.Parallel()
	got := conninfo("host", `a' b\`, "user", "", "dbname", "x host=evil")
	if want := `host='a\' b\\' dbname='x host=evil' `; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
