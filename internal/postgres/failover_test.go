//go:build linux

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/rewind"
	"tamada/internal/postgres"
	"tamada/internal/postgres/control"
	"tamada/internal/postgres/pgtest"
	"tamada/internal/postgres/proc"
)

func kill(t *testing.T, s *pgtest.Server) {
	t.Helper()
	h, err := s.Postmaster()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Signal(syscall.SIGKILL); err != nil || !h.WaitFor(5*time.Second) {
		t.Fatal("SIGKILL", err)
	}
}

func verdict(t *testing.T, s *pgtest.Server, leader *pgtest.Server) (rewind.Verdict, string) {
	t.Helper()
	f, err := s.DivergenceFacts(pgtest.Context(t), *leader.Upstream())
	if err != nil {
		t.Fatal(err)
	}
	return rewind.Decide(f)
}

func waitFor(t *testing.T, s *pgtest.Server, sql, want string) {
	t.Helper()
	pgtest.Eventually(t, sql+" = "+want, func() bool { out, err := s.TrySQL(t, sql); return err == nil && out == want })
}

func TestCrashedPrimaryIsRecoveredRewoundAndFollows(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	ctx := pgtest.Context(t)
	a.SQL(t, "create table x as select 1 as a")
	waitFor(t, b, "select a from x", "1")
	if ok, why := a.CanRewind(ctx); !ok {
		t.Fatal(why)
	}
	if err := b.Promote(ctx, 0); err != nil {
		t.Fatal(err)
	}
	a.SQL(t, "insert into x values (2)") // only here: the histories part
	b.SQL(t, "insert into x values (3)")
	kill(t, a)
	d, err := a.ControlData(ctx)
	if err != nil || d.State != control.StateInProduction {
		t.Fatal(d.State, err)
	}
	if v, why := verdict(t, a, b); v != rewind.Unknown {
		t.Errorf("before the recovery: %v, %s", v, why)
	}
	if err := a.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if d, err := a.ControlData(ctx); err != nil || d.State != control.StateShutDown {
		t.Fatal(d.State, err)
	}
	if v, why := verdict(t, a, b); v != rewind.Needed {
		t.Fatalf("after the recovery: %v, %s", v, why)
	}
	if err := b.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Rewind(ctx, *b.Upstream()); err != nil {
		t.Fatal(err)
	}
	if err := b.CreatePhysicalSlot(ctx, "pg_a"); err != nil {
		t.Fatal(err)
	}
	a.StartRole(t, cluster.RoleReplica, b.Upstream())
	waitFor(t, a, "select string_agg(a::text, ',' order by a) from x", "1,3")
	if v, why := verdict(t, a, b); v != rewind.NotNeeded {
		t.Errorf("after the rewind: %v, %s", v, why)
	}
	if !slices.Contains(a.Journal.Lines, "+pg_rewind") || !slices.Contains(a.Journal.Lines, "-single-user recovery") {
		t.Errorf("journal: %v", a.Journal.Lines)
	}
}

func TestCleanlyStoppedPrimaryNeedsNoRewind(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	ctx := pgtest.Context(t)
	a.SQL(t, "create table x as select 1 as a")
	waitFor(t, b, "select a from x", "1")
	if _, err := a.Stop(ctx, postgres.StopOptions{Checkpoint: true}); err != nil {
		t.Fatal(err)
	}
	if v, _ := verdict(t, a, b); v != rewind.Unknown {
		t.Errorf("while the leader is in recovery: %v", v)
	}
	if err := b.Promote(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if v, why := verdict(t, a, b); v != rewind.NotNeeded {
		t.Errorf("%v, %s", v, why)
	}
	if err := b.CreatePhysicalSlot(ctx, "pg_a"); err != nil {
		t.Fatal(err)
	}
	a.StartRole(t, cluster.RoleReplica, b.Upstream())
	b.SQL(t, "insert into x values (2)")
	waitFor(t, a, "select count(*) from x", "2")
}

// A standby that was stopped cleanly after a clean stop of its primary has
// everything, and goes on as a primary without a new timeline.
func TestCleanStandbyBecomesPrimaryOnTheSameTimeline(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	ctx := pgtest.Context(t)
	a.SQL(t, "create table x as select generate_series(1, 1000) as a")
	waitFor(t, b, "select count(*) from x", "1000") // it is connected: what comes last reaches it too
	if _, err := a.Stop(ctx, postgres.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	da, _ := a.ControlData(ctx)
	pgtest.Eventually(t, "pg-b has the shutdown checkpoint", func() bool {
		o, err := b.Observe(ctx, postgres.ObserveOptions{})
		return err == nil && o.ReplayLSN > da.Checkpoint
	})
	if _, err := b.Stop(ctx, postgres.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StartAsPrimaryAgain(ctx, postgres.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	b.SQL(t, "insert into x values (0)")
	if got := b.SQL(t, "select count(*) from x"); got != "1001" {
		t.Errorf("rows: %s", got)
	}
	o, err := b.Observe(ctx, postgres.ObserveOptions{})
	if err != nil || o.Timeline != 1 || o.InRecovery {
		t.Errorf("%+v %v", o, err)
	}
}

func TestStandbyThatKnowsALaterTimelineIsNotOpenedAgain(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	c := pgtest.NewReplica(t, "pg-c", a)
	ctx := pgtest.Context(t)
	if _, err := c.StartAsPrimaryAgain(ctx, postgres.StartOptions{}); err == nil {
		t.Fatal("a running standby was opened")
	}
	if _, err := c.Stop(ctx, postgres.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Promote(ctx, 0); err != nil {
		t.Fatal(err)
	}
	history, err := os.ReadFile(filepath.Join(b.Settings.DataDir, "pg_wal", "00000002.history"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Settings.DataDir, "pg_wal", "00000002.history"), history, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartAsPrimaryAgain(ctx, postgres.StartOptions{}); err == nil || !strings.Contains(err.Error(), "timeline 2") {
		t.Errorf("opened: %v", err)
	}
	if f, err := c.SignalFiles(); err != nil || !f.Standby {
		t.Errorf("a refusal changed the folder: %+v %v", f, err)
	}
}

func TestDivergedReplicaIsSeenWhileItRuns(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	c := pgtest.NewReplica(t, "pg-c", a)
	ctx := pgtest.Context(t)
	a.SQL(t, "create table x as select 1 as a")
	waitFor(t, b, "select a from x", "1")
	waitFor(t, c, "select a from x", "1")
	if v, why := verdict(t, c, a); v != rewind.NotNeeded {
		t.Errorf("a replica of the leader: %v, %s", v, why)
	}
	if err := b.Promote(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if v, why := verdict(t, c, b); v != rewind.NotNeeded {
		t.Errorf("a replica that is not ahead: %v, %s", v, why)
	}
	a.SQL(t, "insert into x values (2)") // c goes on with the old primary
	waitFor(t, c, "select count(*) from x", "2")
	if v, why := verdict(t, c, b); v != rewind.Needed {
		t.Errorf("a replica that is ahead: %v, %s", v, why)
	}
}

// Promotions must not wait for wal_retrieve_retry_interval; TAMADA_PROMOTIONS
// sets how many are measured.
func TestPromotionsAreFast(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("TAMADA_PROMOTIONS"))
	if n == 0 {
		n = 5
	}
	nodes := []*pgtest.Server{pgtest.NewPrimary(t, "pg-a")}
	nodes = append(nodes, pgtest.NewReplica(t, "pg-b", nodes[0]))
	var times []time.Duration
	for range n {
		old, next := nodes[0], nodes[1]
		ctx := pgtest.Context(t)
		pgtest.Eventually(t, "it streams the present timeline", func() bool {
			po, err1 := old.Observe(ctx, postgres.ObserveOptions{})
			o, err2 := next.Observe(ctx, postgres.ObserveOptions{})
			return err1 == nil && err2 == nil && o.Receiver != nil && o.Receiver.Timeline == po.Timeline && o.ReplayLSN == po.FlushLSN
		})
		if _, err := old.Stop(ctx, postgres.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := next.Promote(ctx, 0); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began))
		next.SQL(t, "checkpoint")
		if err := next.CreatePhysicalSlot(ctx, cluster.SlotName(old.Settings.Name)); err != nil {
			t.Fatal(err)
		}
		if v, why := verdict(t, old, next); v != rewind.NotNeeded {
			t.Fatal(v, why)
		}
		old.StartRole(t, cluster.RoleReplica, next.Upstream())
		nodes[0], nodes[1] = next, old
	}
	slices.Sort(times)
	t.Logf("%d promotions: median %v, longest %v", n, times[n/2], times[n-1])
	if times[n-1] > 3*time.Second {
		t.Errorf("a promotion took %v", times[n-1])
	}
}

// postmaster.pid of a killed server may name a process id that exists again:
// here that of a zombie, as when nobody reaps our children.
func TestUnreapedChildDoesNotBlockTheNextStart(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	kill(t, a)
	zombie := exec.Command("/bin/true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait()
	pgtest.Eventually(t, "it is a zombie", func() bool { s, err := proc.ReadStat(zombie.Process.Pid); return err == nil && s.Dead() })
	file := filepath.Join(a.Settings.DataDir, "postmaster.pid")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(file, []byte(strconv.Itoa(zombie.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	a.StartRole(t, cluster.RolePrimary, nil)
}

func TestStalePidFileOfAnotherProgramIsNotAPostmaster(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	kill(t, a)
	other := exec.Command("sleep", "100")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	file := filepath.Join(a.Settings.DataDir, "postmaster.pid")
	text, _ := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	lines[0], lines[2] = strconv.Itoa(other.Process.Pid), "1000000000"
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Postmaster(); !errors.Is(err, proc.ErrNotRunning) {
		t.Fatalf("sleep is taken for a postmaster: %v", err)
	}
	a.StartRole(t, cluster.RolePrimary, nil)
	if other.ProcessState != nil {
		t.Error("the other program was hit")
	}
}

func TestFailedStartShowsTheServersOwnWords(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	ctx := pgtest.Context(t)
	if _, err := a.Stop(ctx, postgres.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	s := a.Settings
	s.Parameters = s.Parameters.Clone()
	s.Parameters.Set("shared_preload_libraries", "nosuchlibrary")
	a.SetSettings(s)
	_, err := a.Start(ctx, postgres.StartOptions{Role: cluster.RolePrimary})
	if !errors.Is(err, postgres.ErrStartFailed) || !strings.Contains(err.Error(), "nosuchlibrary") {
		t.Errorf("%v", err)
	}
	cancelled := errors.New("cancelled")
	_, err = a.Start(ctx, postgres.StartOptions{Role: cluster.RolePrimary, BeforeSpawn: func(context.Context) error { return cancelled }})
	if !errors.Is(err, cancelled) {
		t.Errorf("%v", err)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	ctx := pgtest.Context(t)
	if r, err := a.Ready(ctx); r != postgres.Accepting {
		t.Errorf("running: %v %v", r, err)
	}
	go a.TrySQL(t, "select pg_sleep(100)")
	pgtest.Eventually(t, "the client is connected", func() bool {
		return a.SQL(t, "select count(*) from pg_stat_activity where query like 'select pg_sleep%'") == "1"
	})
	h, _ := a.Postmaster()
	_ = h.Signal(syscall.SIGTERM) // smart: waits for the client
	pgtest.Eventually(t, "it rejects", func() bool { r, _ := a.Ready(ctx); return r == postgres.Rejecting })
	_ = h.Signal(syscall.SIGQUIT)
	if err := h.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err := a.Ready(ctx); r != postgres.NoResponse || err == nil {
		t.Errorf("stopped: %v %v", r, err)
	}
}

// Only a server that serves has the data that a copy would replace.
func TestSourceThatAnswersIsToldFromOneThatDoesNot(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	asker := func(user string) *pgtest.Server {
		return pgtest.New(t, "pg-"+user, func(s *postgres.Settings) { s.Replication.Username = user })
	}
	b, stranger := asker("replicator"), asker("nobody")
	// What keeps us from asking at all says nothing about the source.
	hindered := pgtest.New(t, "pg-hindered", func(s *postgres.Settings) {
		s.Replication.SSLMode, s.Replication.SSLRootCert = "verify-full", "/no/such/file"
	})
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	nobody := *a.Upstream()
	nobody.Port = strconv.Itoa(deaf.Addr().(*net.TCPAddr).Port)
	closed := nobody
	closed.Port = "1"
	signal := func(sig syscall.Signal) {
		t.Helper()
		h, err := a.Postmaster()
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		name   string
		who    *pgtest.Server
		from   postgres.Upstream
		before func()
		silent bool
	}{
		{"a primary", b, *a.Upstream(), nil, false},
		{"one that does not let us in", stranger, *a.Upstream(), nil, false},
		{"one that we cannot ask", hindered, *a.Upstream(), nil, false},
		{"nobody listens", b, closed, nil, true},
		{"nobody listens, and we could not ask", hindered, closed, nil, true},
		{"no answer", b, nobody, nil, true},
		{"a frozen postmaster", b, *a.Upstream(), func() { signal(syscall.SIGSTOP) }, true},
	} {
		if x.before != nil {
			x.before()
		}
		if err := x.who.SourceAnswers(pgtest.Context(t), x.from); errors.Is(err, postgres.ErrSourceSilent) != x.silent || !x.silent && err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	signal(syscall.SIGCONT)
	kill(t, a)
	if err := b.SourceAnswers(pgtest.Context(t), *a.Upstream()); !errors.Is(err, postgres.ErrSourceSilent) {
		t.Errorf("after its end: %v", err)
	}
}

// What is in the folder is removed when a method begins, after its journal entry, and
// only by one without keep_data.
func TestDataIsRemovedWhenAMethodBegins(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.New(t, "pg-b")
	if err := os.MkdirAll(b.Settings.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(b.Settings.DataDir, "PG_VERSION")
	if err := os.WriteFile(marker, []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var begun []string
	clone := func(refuse error, methods ...string) error {
		begun = nil
		s := b.Settings
		s.CreateReplicaMethods = methods
		s.Methods = map[string]*cluster.Object{"keeper": cluster.NewObject("command", "false", "keep_data", true), "wiper": cluster.NewObject("command", "false")}
		b.SetSettings(s)
		_, err := b.Clone(pgtest.Context(t), postgres.CloneOptions{From: a.Upstream(), Begins: func(keeps bool) error {
			_, gone := os.Stat(marker)
			begun = append(begun, fmt.Sprintf("keeps %v, there %v", keeps, gone == nil))
			return refuse
		}})
		return err
	}
	is := func(what string, err error, there bool, want ...string) {
		t.Helper()
		if _, gone := os.Stat(marker); err == nil || !slices.Equal(begun, want) || (gone == nil) != there {
			t.Errorf("%s: %v; begun %q, want %q; the data: %v", what, err, begun, want, gone)
		}
	}
	is("no program", clone(nil, "no-such-program"), true)
	full := errors.New("the journal cannot be written")
	is("no journal", clone(full, "wiper"), true, "keeps false, there true")
	is("keep_data fails", clone(nil, "keeper"), true, "keeps true, there true")
	is("both fail", clone(nil, "keeper", "wiper"), false, "keeps true, there true", "keeps false, there true")
}

func TestFailedMethodIsNamedWithItsExitCode(t *testing.T) {
	t.Parallel()
	b := pgtest.New(t, "pg-b", func(s *postgres.Settings) {
		s.CreateReplicaMethods = []string{"scripted", "false"}
		s.Methods = map[string]*cluster.Object{"false": cluster.NewObject("no_leader", true),
			"scripted": cluster.NewObject("command", "sh -c 'echo no space left; exit 3'", "no_leader", true)}
	})
	if _, err := b.Clone(pgtest.Context(t), postgres.CloneOptions{}); err == nil {
		t.Error("it succeeded")
	}
	for _, want := range []string{"Error creating replica using method scripted: sh -c 'echo no space left; exit 3' exited with code=3", `"no space left"`,
		"Error creating replica using method false: false exited with code=1"} {
		if !strings.Contains(b.Log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, b.Log)
		}
	}
}

func TestCancelledCloneLeavesNothing(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.New(t, "pg-b", func(s *postgres.Settings) { s.BaseBackup = cluster.NewObject("max-rate", "32k", "checkpoint", "fast") })
	ctx, cancel := context.WithCancel(pgtest.Context(t))
	done := make(chan error, 1)
	go func() {
		_, err := b.Clone(ctx, postgres.CloneOptions{From: a.Upstream()})
		done <- err
	}()
	pgtest.Eventually(t, "the backup has begun", func() bool { st, _ := b.DataDir(); return st == postgres.DirPresent })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(b.Settings.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	waitFor(t, a, "select count(*) from pg_stat_replication", "0")
}

func TestCustomMethodsAndPointInTimeBootstrap(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	a.SQL(t, "create table x as select 1 as a")
	dir := t.TempDir()
	script := filepath.Join(dir, "restore")
	copyCmd := "#!/bin/bash\necho \"$@\" >> " + dir + "/args\nfor a in \"$@\"; do case $a in --datadir=*) d=${a#*=};; esac; done\n" +
		"exec " + filepath.Join(a.Settings.BinDir, "pg_basebackup") + " -c fast -D $d -d 'host=127.0.0.1 port=" +
		strconv.Itoa(a.Settings.Port) + " user=replicator'\n"
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open: "text file busy"
	err := os.WriteFile(script, []byte(copyCmd), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	passfile := filepath.Join(dir, "pass")
	if err := os.WriteFile(passfile, []byte("*:*:*:replicator:rep\\:sec\\\\ret '\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := pgtest.New(t, "pg-c", func(s *postgres.Settings) {
		s.Superuser.Password, s.Replication.Password = "other", "another"
		s.Bootstrap.Method = "copy"
		s.Bootstrap.Section = cluster.NewObject("command", "env PGPASSFILE="+passfile+" "+script, "extra", "it is",
			"recovery_conf", cluster.NewObject("restore_command", "false", "recovery_target", "immediate", "recovery_target_action", "promote"))
	})
	ctx := pgtest.Context(t)
	if err := c.Bootstrap(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Start(ctx, postgres.StartOptions{Role: cluster.RolePrimary}); err != nil || r != postgres.StartedRunning {
		t.Fatal(r, err)
	}
	pgtest.Eventually(t, "the recovery has ended", func() bool {
		o, err := c.Observe(ctx, postgres.ObserveOptions{})
		return err == nil && !o.InRecovery
	})
	restart, err := c.PostBootstrap(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if restart {
		if _, err := c.Restart(ctx, postgres.StopOptions{}, postgres.StartOptions{Role: cluster.RolePrimary}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := c.TrySQL(t, "select 1"); err == nil {
		t.Errorf("the old password still works: %s", out)
	}
	o, err := c.Observe(ctx, postgres.ObserveOptions{})
	if err != nil || o.Timeline != 2 {
		t.Errorf("%+v %v", o, err)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "args"))
	if want := "--scope=batman --datadir=" + c.Settings.DataDir + " --extra=it is\n"; string(args) != want {
		t.Errorf("arguments %q, want %q", args, want)
	}
}

func TestStandbyFolderIsNotStartedAsPrimary(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	ctx := pgtest.Context(t)
	if _, err := b.Stop(ctx, postgres.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Start(ctx, postgres.StartOptions{Role: cluster.RolePrimary}); err == nil || !strings.Contains(err.Error(), "standby") {
		t.Errorf("started: %v", err)
	}
	cancelled := errors.New("cancelled")
	_, err := b.StartAsPrimaryAgain(ctx, postgres.StartOptions{BeforeSpawn: func(context.Context) error { return cancelled }})
	if !errors.Is(err, cancelled) {
		t.Errorf("%v", err)
	}
	if f, err := b.SignalFiles(); err != nil || !f.Standby {
		t.Errorf("after a cancelled start: %+v %v", f, err)
	}
}

// Backends outlive a killed postmaster and can still commit.
func TestStopEndsBackendsOfADeadPostmaster(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	go a.TrySQL(t, "do 'begin loop end loop; end'")
	pgtest.Eventually(t, "a backend is busy", func() bool {
		return a.SQL(t, "select count(*) from pg_stat_activity where query like 'do %' and state = 'active'") == "1"
	})
	kill(t, a)
	safe := false
	if signalled, err := a.Stop(pgtest.Context(t), postgres.StopOptions{OnSafepoint: func() { safe = true }}); err != nil || signalled {
		t.Fatal(signalled, err)
	}
	if list, err := proc.Processes(a.Settings.DataDir); err != nil || len(list) != 0 || !safe {
		t.Errorf("%d processes left, safepoint %v, %v", len(list), safe, err)
	}
}
