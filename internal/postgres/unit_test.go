//go:build linux

package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
	"tamada/internal/postgres/control"
)

func TestClientTitle(t *testing.T) {
	t.Parallel()
	for title, want := range map[string]bool{
		"postgres: batman: postgres postgres 127.0.0.1(5000) idle": true,
		"postgres: alice db [local] SELECT":                        true,
		"postgres: batman: walwriter ":                             false,
		"postgres: batman: walsender replicator 127.0.0.1(1)":      false,
		"postgres: checkpointer ":                                  false,
		"postgres: batman: io worker 1":                            false,
		"postgres: batman: autovacuum worker postgres":             false,
		"/usr/lib/postgresql/15/bin/postgres -D /x":                false,
		"sh -c cp": false,
	} {
		if got := clientTitle(title, "batman: "); got != want {
			t.Errorf("%s: %v", title, got)
		}
	}
}

func TestHuman(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{{"16384", "8kB", "128MB"}, {"64", "MB", "64MB"}, {"300", "s", "5min"}, {"100", "", "100"},
		{"1048576", "kB", "1GB"}, {"-1", "kB", "-1"}, {"on", "", "on"}, {"1500", "ms", "1500ms"}} {
		if got := conf.Human(c[0], c[1]); got != c[2] {
			t.Errorf("%v: %s", c, got)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": 150018, "postgres (PostgreSQL) 19beta1": 190000,
		"postgres (PostgreSQL) 9.6.24": 90624, "postgres (PostgreSQL) 18.1": 180001} {
		if got, ok := parseVersion(text); got != want || !ok {
			t.Errorf("%s: %d", text, got)
		}
	}
	p := New(Settings{DataDir: t.TempDir()}, Deps{})
	for version, ok := range map[int]bool{90600: false, 120000: false, 130000: true, 180001: true, 190000: true, 200000: false} {
		err := p.checkVersion(version)
		if (err == nil) != ok {
			t.Errorf("%d: %v", version, err)
		}
		if err != nil && (!errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), versionText(version)) || !strings.Contains(err.Error(), "13 to 18")) {
			t.Errorf("%v", err)
		}
	}
}

func TestDataDirState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := New(Settings{DataDir: filepath.Join(dir, "data")}, Deps{})
	expect := func(want DirState) {
		t.Helper()
		if got, err := p.DataDir(); got != want || (err != nil) != (want == DirInaccessible) {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	expect(DirEmpty)
	for _, d := range []string{"data/lost+found", "data/.snapshot"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	expect(DirEmpty)
	if err := os.Mkdir(filepath.Join(dir, "data/base"), 0o700); err != nil {
		t.Fatal(err)
	}
	expect(DirPresent)
	if os.Geteuid() != 0 {
		_ = os.Chmod(filepath.Join(dir, "data"), 0)
		expect(DirInaccessible)
		_ = os.Chmod(filepath.Join(dir, "data"), 0o700)
	}
}

func TestCheckFolderRefusals(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root is refused before anything else")
	}
	dir := t.TempDir()
	check := func(data, want string) {
		t.Helper()
		err := New(Settings{DataDir: data}, Deps{}).CheckFolder()
		switch {
		case want == "" && err != nil, want != "" && (!errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", data, err, want)
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("more than a line: %v", err)
		}
	}
	check(filepath.Join(dir, "a", "b"), "")
	check("/proc/nothing/data", "/proc")
	check("/usr", "belongs to user root")
	file := filepath.Join(dir, "file")
	_ = os.WriteFile(file, nil, 0o600)
	check(file, "is not a folder")
	open := filepath.Join(dir, "open")
	_ = os.MkdirAll(filepath.Join(open, "base"), 0o755)
	_ = os.Chmod(open, 0o755)
	check(open, "chmod 0700")
}

func TestMissingProgramNamesFolderAndKey(t *testing.T) {
	t.Parallel()
	s := Settings{BinDir: "/nowhere", BinName: map[string]string{"initdb": "my-initdb"}}
	_, err := s.program("initdb")
	if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), "/nowhere") || !strings.Contains(err.Error(), "my-initdb") ||
		!strings.Contains(err.Error(), "postgresql.bin_dir") {
		t.Errorf("%v", err)
	}
}

func TestSettingsDoNotPrintSecrets(t *testing.T) {
	t.Parallel()
	s := Settings{Superuser: Credentials{Username: "u", Password: "secret", SSLPassword: "secret"}}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%v", &s.Superuser)} {
		if strings.Contains(text, "secret") {
			t.Errorf("%s", text)
		}
	}
}

func TestEnvironmentKeepsSecretsAndSystemdAway(t *testing.T) {
	for _, kv := range [][2]string{{"PATRONI_X", "1"}, {"TAMADA_X", "1"}, {"KUBERNETES_X", "1"}, {"NOTIFY_SOCKET", "1"}, {"PG_MALLOC_ARENA_MAX", "3"}} {
		t.Setenv(kv[0], kv[1])
	}
	s := Settings{DataDir: t.TempDir()}
	env := New(s, Deps{}).serverEnvironment(&s)
	if !slices.Contains(env, "MALLOC_ARENA_MAX=3") || !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }) {
		t.Errorf("%q", env)
	}
	for _, kv := range env {
		for _, bad := range []string{"PATRONI_", "TAMADA_", "KUBERNETES_", "NOTIFY_SOCKET", "PG_MALLOC"} {
			if strings.HasPrefix(kv, bad) {
				t.Errorf("%s", kv)
			}
		}
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	if got := placeholders("cp %p /a/%f %% %x %", map[byte]string{'p': "P%f", 'f': "F"}); got != "cp P%f /a/F % %x %" {
		t.Error(got)
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	got := parseOptions(`/bin/postgres "-D" "/d" "--config-file=/d/p.conf" "--port=1" "--cut`)
	if !slices.Equal(got, []string{"config_file=/d/p.conf", "port=1"}) {
		t.Errorf("%q", got)
	}
}

func TestRoleSQLQuotes(t *testing.T) {
	t.Parallel()
	sql := roleSQL(Credentials{Username: `a"b'c`, Password: `$tamada$ it's 100% \`}, []string{"REPLICATION"})
	for _, want := range []string{`ROLE "a""b'c"`, `rolname = 'a"b''c'`, `E'$tamada$ it''s 100% \\'`, "DO $tamada0$"} {
		if !strings.Contains(sql, want) {
			t.Errorf("%s is not in %s", want, sql)
		}
	}
}

func TestPositionOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    control.Data
		want string
	}{
		{control.Data{State: control.StateShutDown, Checkpoint: 5, CheckpointTLI: 2}, "primary 2 0/5"},
		{control.Data{State: control.StateShutDownInRecovery, Checkpoint: 5, CheckpointTLI: 2, MinRecoveryEnd: 7, MinRecoveryEndTLI: 3}, "standby 3 0/7"},
		{control.Data{State: control.StateInArchiveRecovery, Checkpoint: 5, CheckpointTLI: 2}, "primary 2 0/5"},
		{control.Data{State: control.StateInProduction, Checkpoint: 5, CheckpointTLI: 2}, ""},
		{control.Data{State: control.StateShutDown}, ""},
		{control.Data{}, ""},
	} {
		pos, _ := positionOf(c.d)
		got := ""
		if pos != nil {
			got = fmt.Sprintf("%s %d %s", map[bool]string{true: "standby", false: "primary"}[pos.InRecovery], pos.Timeline, pos.LSN)
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.d, got, c.want)
		}
	}
}

func TestCloneArguments(t *testing.T) {
	t.Parallel()
	s := &Settings{Scope: "batman", DataDir: "/d"}
	section := cluster.NewObject("command", "x", "no_leader", 1, "rate", "10", "role", "mine")
	if got, want := strings.Join(cloneArguments(s, section, "host=a"), " "),
		"--no_leader=1 --rate=10 --scope=batman --role=replica --datadir=/d --connstring=host=a"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	section.Set("no_params", true)
	if got, want := strings.Join(cloneArguments(s, section, "host=a"), " "), "--rate=10 --role=mine"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRemoveAndMoveFollowOnlyOurLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	make := func() *Instance {
		for _, d := range []string{"wal", "ts", "other", "data/global", "data/pg_tblspc"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, d, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for link, to := range map[string]string{"data/pg_wal": "wal", "data/pg_tblspc/16384": "ts", "data/pg_tblspc/x": "other"} {
			if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		return New(Settings{DataDir: filepath.Join(dir, "data")}, Deps{})
	}
	there := func(want string) {
		t.Helper()
		entries, _ := os.ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("left: %s, want %s", got, want)
		}
	}
	if err := make().MoveAside(); err != nil {
		t.Fatal(err)
	}
	there("data.failed other ts.failed wal.failed")
	if to, err := os.Readlink(filepath.Join(dir, "data.failed/pg_wal")); err != nil || to != filepath.Join(dir, "wal.failed") {
		t.Errorf("%s %v", to, err)
	}
	if err := make().RemoveData(); err != nil {
		t.Fatal(err)
	}
	there("data.failed other ts.failed wal.failed")
	p := make()
	pid := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(pid, []byte("not a number\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.RemoveData(); err == nil {
		t.Error("removed although it is not known whether a server runs")
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		want         Readiness
	}{
		{"wants a password", "R\x00\x00\x00\x08\x00\x00\x00\x0a", Accepting},
		{"let in", "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I", Accepting},
		{"starting", "E\x00\x00\x00\x11SFATAL\x00C57P03\x00", Rejecting},
		{"no such database", "E\x00\x00\x00\x11SFATAL\x00C3D000\x00", Accepting},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n", NoResponse},
		{"silence", "", NoResponse},
	} {
		client, server := net.Pipe()
		go func() {
			buf := make([]byte, 1024)
			_, _ = server.Read(buf)
			_, _ = server.Write([]byte(c.answer))
			_, _ = server.Read(buf[:5])
			server.Close()
		}()
		if c.answer == "" {
			server.Close()
		}
		if got, err := probe(client, "u", "d"); got != c.want {
			t.Errorf("%s: %v %v", c.name, got, err)
		}
		client.Close()
	}
}

func TestLocalHost(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{"*": "localhost", "10.0.0.1, 127.0.0.1": "localhost", "10.0.0.1,10.0.0.2": "10.0.0.1",
		"": "localhost", "::1": "::1"} {
		if got := localHost(listen); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
	p := New(Settings{DataDir: t.TempDir(), ListenAddresses: "::1", Port: 5433}, Deps{})
	if got := p.ConnURL(); got != "postgres://[::1]:5433/postgres" {
		t.Error(got)
	}
}

func FuzzOptionsFile(f *testing.F) {
	f.Add(`x "-D" "--a=b"`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, o := range parseOptions(s) {
			if name, _, ok := strings.Cut(o, "="); !ok || name == "" {
				t.Errorf("%q", o)
			}
		}
		_, _ = parseVersion(s)
	})
}

func TestOnlyWholeDataIsOpenedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wal := filepath.Join(dir, "pg_wal")
	if err := os.Mkdir(wal, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(wal, "00000002.history"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := New(Settings{DataDir: dir}, Deps{})
	whole := control.Data{State: control.StateShutDownInRecovery, CheckpointTLI: 2, MinRecoveryEndTLI: 2}
	if why := p.notWhole(whole, SignalFiles{Standby: true}); why != "" {
		t.Error(why)
	}
	for name, change := range map[string]func(*control.Data, *SignalFiles){
		"crashed":                       func(d *control.Data, f *SignalFiles) { d.State = control.StateInProduction },
		"killed standby":                func(d *control.Data, f *SignalFiles) { d.State = control.StateInArchiveRecovery },
		"base backup":                   func(d *control.Data, f *SignalFiles) { f.BackupLabel = true },
		"base backup without end":       func(d *control.Data, f *SignalFiles) { d.BackupPending = true },
		"replayed a later timeline":     func(d *control.Data, f *SignalFiles) { d.MinRecoveryEndTLI = 3 },
		"knows a later timeline":        func(d *control.Data, f *SignalFiles) { d.CheckpointTLI, d.MinRecoveryEndTLI = 1, 1 },
		"control data that say nothing": func(d *control.Data, f *SignalFiles) { *d = control.Data{} },
	} {
		d, f := whole, SignalFiles{}
		change(&d, &f)
		if p.notWhole(d, f) == "" {
			t.Errorf("%s: opened", name)
		}
	}
}
