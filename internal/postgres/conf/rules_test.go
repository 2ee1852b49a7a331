package conf

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
)

func TestTableFollowsTheVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		has  []int // of 13 to 18
	}{
		{"max_connections", []int{13, 14, 15, 16, 17, 18}},
		{"operator_precedence_warning", []int{13}},
		{"stats_temp_directory", []int{13, 14}},
		{"ssl_crl_dir", []int{14, 15, 16, 17, 18}},
		{"recovery_prefetch", []int{15, 16, 17, 18}},
		{"promote_trigger_file", []int{13, 14, 15}},
		{"scram_iterations", []int{16, 17, 18}},
		{"old_snapshot_threshold", []int{13, 14, 15, 16}},
		{"summarize_wal", []int{17, 18}},
		{"io_method", []int{18}},
		{"server_version", nil}, // cannot be set
	} {
		var has []int
		for v := 13; v <= 18; v++ {
			if _, ok := RulesOf(v*10000 + 2).Get(strings.ToUpper(c.name)); ok {
				has = append(has, v)
			}
		}
		if !slices.Equal(has, c.has) {
			t.Errorf("%s is in %v, want %v", c.name, has, c.has)
		}
	}
	// What changed its type, and an old spelling.
	for v, want := range map[int]string{130000: "bool", 140000: "bool", 150000: "enum", 180000: "enum"} {
		if r, _ := RulesOf(v).Get("wal_compression"); r.Type != want {
			t.Errorf("wal_compression of %d: %s", v, r.Type)
		}
	}
	if r, _ := RulesOf(180000).Get("log_connections"); r.Type != "string" {
		t.Error("log_connections of 18 is a list")
	}
	if r, ok := RulesOf(170000).Get("force_parallel_mode"); !ok || r.Name != "debug_parallel_query" {
		t.Error("17 still takes force_parallel_mode")
	}
	if n := len(RulesOf(190000)); n != len(RulesOf(180000)) || n < 350 {
		t.Errorf("19 has %d rules", n)
	}
}

func TestValuesAreCorrectedOrDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version           int
		name, value, want string // "-": dropped
		warning           string
	}{
		{150000, "work_mem", "64MB", "64MB", ""},
		{150000, "Work_Mem", "1", "64", "Value=1 of parameter=Work_Mem is too low, increasing to 64kB"},
		{150000, "work_mem", "9999TB", "2147483647", "Value=9999TB of parameter=work_mem is too big, decreasing to 2147483647kB"},
		{150000, "shared_buffers", "8kB", "16", "Value=8kB of parameter=shared_buffers is too low, increasing to 128kB"},
		{150000, "work_mem", "64mb", "-", "Removing integer parameter=work_mem from the config due to the invalid value=64mb"},
		{150000, "autovacuum_naptime", "0", "1", "Value=0 of parameter=autovacuum_naptime is too low, increasing to 1s"},
		{150000, "bgwriter_delay", "20000", "10000", "Value=20000 of parameter=bgwriter_delay is too big, decreasing to 10000ms"},
		{150000, "autovacuum_vacuum_scale_factor", "0.05", "0.05", ""},
		{150000, "autovacuum_vacuum_scale_factor", "lots", "-", "Removing real parameter=autovacuum_vacuum_scale_factor from the config due to the invalid value=lots"},
		{150000, "vacuum_cost_delay", "1500us", "1500us", ""},
		{150000, "autovacuum", "perhaps", "-", "Removing bool parameter=autovacuum from the config due to the invalid value=perhaps"},
		{150000, "autovacuum", "True", "True", ""},
		{150000, "archive_mode", "True", "True", ""},
		{150000, "archive_mode", "ALWAYS", "ALWAYS", ""},
		{150000, "archive_mode", "never", "-", "Removing enum parameter=archive_mode from the config due to the invalid value=never"},
		{130000, "wal_compression", "lz4", "-", "Removing bool parameter=wal_compression from the config due to the invalid value=lz4"},
		{150000, "wal_compression", "lz4", "lz4", ""},
		{150000, "client_min_messages", "debug", "debug", ""},
		{150000, "promote_trigger_file", "x", "x", ""}, // of recovery: not checked here
		{150000, "pg_stat_statements.max", "anything", "anything", ""},
		{150000, "shared_bufers", "1", "-", "Removing unexpected parameter=shared_bufers value=1 from the config"},
		{150000, "jit_expressions", "off", "off", ""}, // --describe-config does not list it
		{150000, "local_invention", "1", "1", ""},     // but it lists this one
	} {
		kept, warnings := Validate(Params{{c.name, c.value}}, RulesOf(c.version), map[string]bool{"local_invention": true}, false)
		got := "-"
		if len(kept) == 1 {
			got = kept[0].Value
		}
		if got != c.want || strings.Join(warnings, "|") != c.warning {
			t.Errorf("%d %s=%s: %s %q, want %s %q", c.version, c.name, c.value, got, warnings, c.want, c.warning)
		}
	}
	kept, warnings := Validate(Params{{"nonsense", "1"}}, RulesOf(150000), nil, true)
	if len(kept) != 0 || warnings[0] != "Removing invalid parameter `nonsense` from postgresql.parameters" {
		t.Errorf("%v %q", kept, warnings)
	}
}

// What is kept is in range: checking it again changes nothing.
func TestValidateIsStable(t *testing.T) {
	t.Parallel()
	rules := RulesOf(160000)
	var names []string
	for name := range rules {
		if !IsRecovery(name) { // those are ours to set, and pass as they are
			names = append(names, name)
		}
	}
	slices.Sort(names)
	values := rapid.OneOf(rapid.String(), rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]+)?(e[0-9])? ?(kB|MB|GB|ms|s|min|h|d|us|B)?`))
	rapid.Check(t, func(t *rapid.T) {
		p := Params{{rapid.SampledFrom(names).Draw(t, "name"), values.Draw(t, "value")}}
		once, _ := Validate(p, rules, nil, false)
		twice, warnings := Validate(once, rules, nil, false)
		if !slices.Equal(once, twice) || len(warnings) > 0 {
			t.Fatalf("%v became %v and then %v: %q", p, once, twice, warnings)
		}
		if len(once) == 1 && once[0].Value == p[0].Value && rules[p[0].Name].Type == "integer" {
			r := rules[p[0].Name]
			n, ok := cluster.ParseInt(once[0].Value, r.Unit)
			low, _ := cluster.ParseInt(r.Min, "")
			high, _ := cluster.ParseInt(r.Max, "")
			if !ok || n < low || n > high {
				t.Fatalf("%v is not within %d and %d", once, low, high)
			}
		}
	})
}

func FuzzValidate(f *testing.F) {
	f.Add("work_mem", "64MB")
	f.Add("autovacuum_naptime", "0x1e 3")
	f.Add("wal_compression", "on")
	rules := RulesOf(150000)
	f.Fuzz(func(t *testing.T, name, value string) {
		kept, warnings := Validate(Params{{name, value}}, rules, map[string]bool{}, false)
		if len(kept) == 0 && len(warnings) == 0 {
			t.Errorf("%q=%q vanished without a word", name, value)
		}
	})
}
