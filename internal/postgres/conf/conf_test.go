package conf

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
)

func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func captured() Input {
	return Input{Version: 150000, Scope: "batman", ListenAddresses: "127.0.0.1", Port: 22431, Parameters: cluster.NewObject(
		"max_connections", 40, "shared_buffers", "16MB", "wal_keep_size", "64MB", "unix_socket_directories", "$WORK")}
}

func TestFilesAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	params, warnings := Compute(captured())
	if len(warnings) > 0 {
		t.Error(warnings)
	}
	m := Main{Include: "postgresql.base.conf", Params: params, HBAFile: "$DATA/pg-a/pg_hba.conf", IdentFile: "$DATA/pg-a/pg_ident.conf"}
	if got := MainFile(m); got != golden(t, "primary.conf") {
		t.Errorf("primary:\n%s", got)
	}
	opts := golden(t, "postmaster.opts")
	_, want, _ := strings.Cut(strings.TrimSpace(opts), `postgresql.conf" `)
	if got := `"` + strings.Join(Arguments(params), `" "`) + `"`; got != want {
		t.Errorf("arguments:\n%s\n%s", got, want)
	}
	in := captured()
	in.Port = 22432
	m.Params, _ = Compute(in)
	m.HBAFile, m.IdentFile = "$DATA/pg-b/pg_hba.conf", "$DATA/pg-b/pg_ident.conf"
	m.Recovery = Recovery(nil, 150000)
	conn := map[string]string{"user": "replicator", "password": "x", "passfile": "$WORK/pgpass-pg-b", "host": "127.0.0.1",
		"port": "22431", "dbname": "postgres", "application_name": "pg-b"}
	Defaults(conn, 150000)
	m.Recovery.Set("primary_conninfo", Conninfo(conn, 150000))
	m.Recovery.Set("primary_slot_name", "pg_b")
	if got := MainFile(m); got != golden(t, "replica.conf") {
		t.Errorf("replica:\n%s", got)
	}
	params, recovery, ok := ReadGenerated(golden(t, "replica.conf"))
	if v, _ := params.Get("port"); !ok || v != "22432" || !slices.Equal(recovery, m.Recovery) {
		t.Errorf("read back: %v %v", params, recovery)
	}
	if got := ListFile([]string{"local all all trust", "host replication replicator 127.0.0.1/32 scram-sha-256",
		"host all all 127.0.0.1/32 scram-sha-256"}); got != golden(t, "pg_hba.conf") {
		t.Errorf("pg_hba.conf:\n%s", got)
	}
}

func TestControlledParameters(t *testing.T) {
	t.Parallel()
	sync := "a"
	in := Input{Version: 150000, Scope: "s", ListenAddresses: "*", Parameters: cluster.NewObject(
		"Max_Connections", "200", "max_wal_senders", 1, "wal_level", "HOT_STANDBY", "hot_standby", false, "port", 1,
		"wal_keep_segments", "100", "restore_command", "x", "TimeZone", "UTC", "work_mem", nil, "synchronous_standby_names", "user"),
		SyncNames: &sync, HotStandbyFeedback: true}
	params, warnings := Compute(in)
	for name, want := range map[string]string{"max_connections": "200", "max_wal_senders": "10", "wal_level": "replica",
		"hot_standby": "on", "port": "5432", "wal_keep_size": "1600MB", "timezone": "UTC", "synchronous_standby_names": "a",
		"hot_standby_feedback": "on"} {
		if got, _ := params.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"wal_keep_segments", "restore_command", "work_mem"} {
		if v, ok := params.Get(name); ok {
			t.Errorf("%s = %q", name, v)
		}
	}
	want := []string{"postgresql parameter hot_standby=False failed validation, defaulting to on",
		"postgresql parameter max_wal_senders=1 failed validation, defaulting to 10"}
	slices.Sort(warnings)
	if !slices.Equal(warnings, want) {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestRaise(t *testing.T) {
	t.Parallel()
	params := Params{{"max_connections", "40"}, {"max_worker_processes", "8"}}
	lifted := Raise(&params, map[string]int{"max_connections": 100, "max_worker_processes": 4, "max_wal_senders": 9})
	if v, _ := params.Get("max_connections"); v != "100" || len(lifted) != 1 || lifted[0] != (Lifted{"max_connections", 100, 40}) {
		t.Errorf("%v %v", params, lifted)
	}
}

func TestValuesCannotLeaveTheirLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.String().Draw(t, "value")
		text := MainFile(Main{Include: "x", Params: Params{{"work_mem", v}}})
		params, _, _ := ReadGenerated(text)
		got, _ := params.Get("work_mem")
		if want := strings.NewReplacer("\n", " ", "\r", " ").Replace(v); got != want || len(params) != 1 {
			t.Fatalf("%q became %q", v, got)
		}
	})
}

func TestRecoveryOfAStandby(t *testing.T) {
	t.Parallel()
	section := cluster.NewObject("restore_command", "cp %f %p", "recovery_target_time", "now", "recovery_target_timeline", "3",
		"standby_mode", "on", "primary_conninfo", "x", "recovery_min_apply_delay", "5min", "trigger_file", "/t")
	p := Recovery(section, 150000)
	for name, want := range map[string]string{"restore_command": "cp %f %p", "recovery_target_time": "", "recovery_target": "",
		"recovery_target_timeline": "latest", "recovery_min_apply_delay": "5min", "promote_trigger_file": "/t"} {
		if got, ok := p.Get(name); !ok || got != want {
			t.Errorf("%s = %q %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"primary_conninfo", "standby_mode", "trigger_file"} {
		if _, ok := p.Get(name); ok {
			t.Errorf("%s is there", name)
		}
	}
	if _, ok := Recovery(section, 160000).Get("promote_trigger_file"); ok {
		t.Error("promote_trigger_file in 16")
	}
	pitr, standby := PointInTime(cluster.NewObject("recovery_target_time", "t", "pause_at_recovery_target", false), 150000)
	if v, _ := pitr.Get("recovery_target_action"); v != "promote" || standby {
		t.Errorf("%v %v", pitr, standby)
	}
}

func TestEqualUnderstandsUnits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s      Setting
		wanted string
		want   bool
	}{
		{Setting{Value: "16384", Unit: "8kB", Type: "integer"}, "128MB", true},
		{Setting{Value: "16384", Unit: "8kB", Type: "integer"}, "16384", true},
		{Setting{Value: "16384", Unit: "8kB", Type: "integer"}, "127MB", false},
		{Setting{Value: "300", Unit: "s", Type: "integer"}, "5min", true},
		{Setting{Value: "0.5", Type: "real"}, "0.50", true},
		{Setting{Value: "on", Type: "bool"}, "True", true},
		{Setting{Value: "on", Type: "bool"}, "maybe", false},
		{Setting{Value: "replica", Type: "enum"}, "REPLICA", true},
		{Setting{Value: "a", Type: "string"}, "A", false},
	} {
		if got := Equal(c.s, c.wanted); got != c.want {
			t.Errorf("%+v, %s: %v", c.s, c.wanted, got)
		}
	}
	if got := AutoWALBuffers(16384, 16<<20); got != "512" {
		t.Error(got)
	}
}

func TestConninfoRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := map[string]string{}
		for _, k := range []string{"host", "user", "dbname", "passfile", "application_name"} {
			if v := rapid.StringN(0, 20, -1).Draw(t, k); v != "" && !strings.ContainsRune(v, 0) {
				m[k] = v
			}
		}
		got, err := ParseConninfo(Conninfo(m, 180000))
		if err != nil || !maps.Equal(got, m) {
			t.Fatalf("%q became %q, %v", m, got, err)
		}
	})
}

func TestConninfoOfVersions(t *testing.T) {
	t.Parallel()
	m := map[string]string{"host": "a b", "sslnegotiation": "postgres", "sslcrldir": "/c", "password": "it's", "nonsense": "x"}
	if got, want := Conninfo(m, 130000), `password=it\'s host=a\ b`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := Conninfo(m, 170000), `password=it\'s host=a\ b sslcrldir=/c sslnegotiation=postgres`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseConninfo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		`host = 'a b' user=x\ y`: {"host": "a b", "user": "x y"},
		`dbname=''`:              {"dbname": ""},
		`postgres://u:p%40@[::1]:5433,h2:1/db?sslmode=require`: {"user": "u", "password": "p@", "host": "::1,h2", "port": "5433,1",
			"dbname": "db", "sslmode": "require"},
		`postgresql://h`: {"host": "h"},
	} {
		if got, err := ParseConninfo(text); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"host", "host=a x", "host='a", `host=a\`, "postgres://%zz@h"} {
		if got, err := ParseConninfo(text); err == nil {
			t.Errorf("%s: %v", text, got)
		} else if strings.Contains(err.Error(), text) {
			t.Errorf("the error quotes the text: %v", err)
		}
	}
}

func TestSameConninfo(t *testing.T) {
	t.Parallel()
	wanted := map[string]string{"host": "a", "sslmode": "prefer", "dbname": "x", "password": "p"}
	current := map[string]string{"host": "a", "krbsrvname": "postgres", "dbname": "replication"}
	if !SameConninfo(current, wanted, 150000) || SameConninfo(current, wanted, 170000) {
		t.Error("dbname counts from 17")
	}
	if SameConninfo(map[string]string{"host": "b"}, wanted, 150000) {
		t.Error("another host is the same")
	}
}

func TestPasswordLines(t *testing.T) {
	t.Parallel()
	got := PasswordLines(map[string]string{"host": "h1,/run/x", "port": "1,2", "user": "u:s", "password": `p\w:d`})
	want := []string{`h1:1:*:u\:s:p\\w\:d`, `/run/x:2:*:u\:s:p\\w\:d`, `localhost:2:*:u\:s:p\\w\:d`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := PasswordLines(map[string]string{"password": "x"}); !slices.Equal(got, []string{"*:*:*:*:x"}) {
		t.Errorf("%q", got)
	}
	if got := PasswordLines(map[string]string{"host": "h"}); got != nil {
		t.Errorf("%q", got)
	}
	if !SameLines("a\nb\n", []string{"b", "a"}) || SameLines("a\nb\nc\n", []string{"a", "b"}) || SameLines("a\n", []string{"a", "b"}) {
		t.Error("SameLines")
	}
}

func TestSanitizeAutoRemovesRecoveryParametersOnly(t *testing.T) {
	t.Parallel()
	got, changed := SanitizeAuto("# primary_conninfo\nPrimary_conninfo = 'x'\nwork_mem = '1MB'\nrestore_command='y'\n")
	if got != "# primary_conninfo\nwork_mem = '1MB'\n" || !changed {
		t.Errorf("%q", got)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	deny := Forbid("pgdata", "version")
	list := []any{"data-checksums", cluster.NewObject("encoding", "UTF8"), cluster.NewObject("label", "'a b'"), "pgdata=/x", "version",
		cluster.NewObject("a", "b", "c", "d"), cluster.NewObject("n", 1)}
	args, refused := Options(list, deny)
	if want := []string{"--data-checksums", "--encoding=UTF8", "--label=a b"}; !slices.Equal(args, want) || len(refused) != 4 {
		t.Errorf("%q %q", args, refused)
	}
	args, refused = Options(cluster.NewObject("max-rate", 100, "verbose", false, "pgdata", "x", "checkpoint", "fast"), deny)
	if want := []string{"--max-rate=100", "--checkpoint=fast"}; !slices.Equal(args, want) || len(refused) != 1 {
		t.Errorf("%q %q", args, refused)
	}
	if _, refused := Options("text", deny); len(refused) != 1 {
		t.Errorf("%q", refused)
	}
}

func TestShellSplit(t *testing.T) {
	t.Parallel()
	got, err := ShellSplit(`a 'b c'  "d \"e\" \n" f\ g '' --x="y z"`)
	want := []string{"a", "b c", `d "e" \n`, "f g", "", "--x=y z"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{`a "b`, `a 'b`, `a \`} {
		if _, err := ShellSplit(bad); err == nil {
			t.Errorf("%s", bad)
		}
	}
}

func FuzzConninfo(f *testing.F) {
	f.Add(`host='a b' user=x`)
	f.Add(`postgres://u:p@h:1/d?a=b`)
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseConninfo(s)
		if err != nil {
			return
		}
		if again, err := ParseConninfo(Conninfo(m, 180000)); err != nil || again["host"] != m["host"] {
			t.Errorf("%q: %v %v", s, again, err)
		}
	})
}

func FuzzFiles(f *testing.F) {
	f.Add("work_mem = '1'\n# x\nprimary_conninfo = 'y'\n")
	f.Fuzz(func(t *testing.T, s string) {
		clean, _ := SanitizeAuto(s)
		if _, changed := SanitizeAuto(clean); changed {
			t.Errorf("%q is not clean", clean)
		}
		ReadGenerated(header + s)
		_, _ = ShellSplit(s)
	})
}
