package ctl

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/dcs/memory"
)

// edits are recorded runs in chains: each goes on with what the one before left.
var editChains = [][]string{
	{"edit-config-set", "edit-config-set-nested", "edit-config-set-null", "edit-config-not-changed"},
	{"edit-config-confirmed", "edit-config-quiet"},
	{"edit-config-declined", "edit-config-apply-stdin-no-force", "edit-config-invalid", "edit-config-unknown-cluster"},
	{"edit-config-typed", "edit-config-typed-restore"},
	{"edit-config-apply-stdin", "show-config-custom", "edit-config-remove-custom", "show-config"},
	{"edit-config-max-connections"},
}

func TestEditConfigDoesWhatTheReferenceDoes(t *testing.T) {
	t.Parallel()
	for _, chain := range editChains {
		t.Run(chain[0], func(t *testing.T) {
			t.Parallel()
			b := &bench{stores: map[string]*memory.Server{"batman": situation(t, "healthy")}}
			for _, run := range chain {
				c := readCapture(t, run)
				b.stdin = c.stdin
				same(t, b.run(t, c.args...), c)
			}
		})
	}
}

func TestEditedConfigIsWrittenCompact(t *testing.T) {
	t.Parallel()
	b := &bench{stores: map[string]*memory.Server{"batman": made("config", `{"ttl":30,"slots":{"a":{"type":"physical"}},"x":"ä"}`)}}
	for _, args := range [][]string{
		{"-s", "slots.a.type=null"},                 // and its parents, which become empty
		{"-p", "auto_explain.log_min_duration=10s"}, // a name with a dot
		{"-s", "ttl.deep=5"},                        // an object takes the place of a number
		{"-s", "loop_wait=010", "-s", "flag = on"},  // YAML 1.1
		{"--pg", "work_mem=4MB", "--set", "empty=''"},
	} {
		if r := b.run(t, append([]string{"edit-config", "--force", "-q"}, args...)...); r.code != 0 || r.stdout != "Configuration changed\n" {
			t.Fatalf("%v: %+v", args, r)
		}
	}
	want := `{"ttl":{"deep":5},"x":"\u00e4","postgresql":{"parameters":{"auto_explain.log_min_duration":"10s","work_mem":"4MB"}},"loop_wait":8,"flag":true,"empty":""}`
	if got := string(cluster.Compact(stored(t, b.stores["batman"]).Config.Doc)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEditConfigRefusesWhatIsNotYAML(t *testing.T) {
	t.Parallel()
	b := &bench{stores: map[string]*memory.Server{"batman": situation(t, "healthy")}}
	before := stored(t, b.stores["batman"]).Config.Version
	for _, tc := range []struct {
		stdin, want string
		args        []string
	}{
		{"", "Error: value of log_line_prefix:1:1: the YAML cannot be read", []string{"-p", "log_line_prefix=%m"}},
		{"- a\n", "Error: - does not contain a mapping", []string{"--apply", "-"}},
		{"", "Error: - does not contain a mapping", []string{"--replace", "-"}},
		{"a: [", "Error: -:1:1: the YAML cannot be read", []string{"--replace", "-"}},
		{"", "Error: open /does/not/exist", []string{"--apply", "/does/not/exist"}},
	} {
		b.stdin = tc.stdin
		r := b.run(t, append([]string{"edit-config", "--force"}, tc.args...)...)
		if r.code != 1 || !strings.HasPrefix(r.stderr, tc.want) || r.stdout != "" {
			t.Errorf("%v: %+v, want %q", tc.args, r, tc.want)
		}
	}
	if stored(t, b.stores["batman"]).Config.Version != before {
		t.Error("something was written")
	}
}

func TestEditConfigReplacesAndThenApplies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	replace, apply := filepath.Join(dir, "r.yml"), filepath.Join(dir, "a.yml")
	for path, text := range map[string]string{replace: "ttl: 30\nx: {a: 1, b: 2}\n", apply: "x: {a: null, c: 3}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{stores: map[string]*memory.Server{"batman": situation(t, "healthy")}}
	r := b.run(t, "edit-config", "--force", "-q", "--apply", apply, "--replace", replace, "-s", "x.d=4")
	if got := string(cluster.Compact(stored(t, b.stores["batman"]).Config.Doc)); r.code != 0 || got != `{"ttl":30,"x":{"b":2,"c":3,"d":4}}` {
		t.Errorf("%+v, left %s", r, got)
	}
}

// overtaken is a store to which somebody else writes just before we do.
type overtaken struct {
	dcs.Store
	server *memory.Server
}

func (o overtaken) Put(ctx context.Context, key string, value []byte, cond dcs.Condition) (cluster.Version, error) {
	o.server.Set(key, []byte(`{"ttl":99}`))
	return o.Store.Put(ctx, key, value, cond)
}

func TestEditConfigLosesAgainstAnotherWriter(t *testing.T) {
	t.Parallel()
	server := situation(t, "healthy")
	b := &bench{stores: map[string]*memory.Server{"batman": server}, wrap: func(s dcs.Store) dcs.Store { return overtaken{s, server} }}
	r := b.run(t, "edit-config", "--force", "-q", "-s", "ttl=40")
	if r.code != 1 || r.stderr != "Error: Config modification aborted due to concurrent changes\n" {
		t.Errorf("got %+v", r)
	}
	if got := string(cluster.Compact(stored(t, server).Config.Doc)); got != `{"ttl":99}` {
		t.Errorf("left %s", got)
	}
}

func TestEditConfigAsksUntilItIsAnswered(t *testing.T) {
	t.Parallel()
	for stdin, want := range map[string]struct {
		code int
		tail string
	}{
		"maybe\nYES\n": {0, "Apply these changes? [y/N]: Error: invalid input\nApply these changes? [y/N]: Configuration changed\n"},
		"\n":           {0, "Apply these changes? [y/N]: "},
		"":             {1, "Apply these changes? [y/N]: "},
	} {
		b := &bench{stdin: stdin, stores: map[string]*memory.Server{"batman": situation(t, "healthy")}}
		r := b.run(t, "edit-config", "-s", "ttl=40")
		if r.code != want.code || !strings.HasSuffix(r.stdout, want.tail) || (r.code == 1) != (r.stderr == "Aborted!\n") {
			t.Errorf("%q: %+v", stdin, r)
		}
	}
}

func TestEditConfigWithAnEditor(t *testing.T) {
	t.Parallel()
	script := func(body string) string {
		path := filepath.Join(t.TempDir(), "editor")
		syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open: "text file busy"
		err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct{ body, stdout, stderr string }{
		{`sed -i 's/^ttl: 30/ttl: 45/' "$1"; ls -l "$1" | cut -c1-10 | grep -qx -- -rw------- || exit 9`, "Configuration changed\n", ""},
		{"true", "Not changed\n", ""},
		{"exit 3", "", "Error: Editor exited with return code 3\n"},
		{`: > "$1"`, "", "does not contain a mapping of keys to values\n"},
	} {
		b := &bench{environ: []string{"EDITOR=" + script(tc.body)}, stores: map[string]*memory.Server{"batman": situation(t, "healthy")}}
		r := b.run(t, "edit-config", "--force")
		if !strings.HasSuffix(r.stdout, tc.stdout) || !strings.HasSuffix(r.stderr, tc.stderr) || (r.code == 0) != (tc.stderr == "") {
			t.Errorf("%s: %+v", tc.body, r)
		}
	}
}

func TestDiffOfWhatWasNotThere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ a, b, want string }{
		{"", "x\n", "--- |+++ |@@ -0,0 +1 @@|+x"},
		{"x\n", "", "--- |+++ |@@ -1 +0,0 @@|-x"},
		{"x\n", "x\n", ""},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\nc\n4\n5\n6\n7\n8\n9\n", "--- |+++ |@@ -1,6 +1,6 @@| 1| 2|-3|+c| 4| 5| 6"},
		{"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n", "--- |+++ |@@ -1,4 +1,4 @@|-a|+A| 1| 2| 3|@@ -6,4 +6,4 @@| 5| 6| 7|-b|+B"},
	} {
		if got := strings.Join(unifiedDiff(tc.a, tc.b), "|"); got != tc.want {
			t.Errorf("%q to %q: got %s, want %s", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestTypedComparison(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"a: 30", "a: 30", true}, {"a: 30", "a: '30'", false}, {"a: true", "a: 'True'", false}, {"a: [1, 2]", "a: [1, 2]", true}, {"a: [1]", "a: '[1]'", false},
		{"a: 1\nb: {c: null}", "b: {c: null}\na: 1", true}, {"a: {}", "a: []", false}, {"a: null", "b: null", false},
	} {
		a, err1 := config.ParseYAML("a", []byte(tc.a))
		b, err2 := config.ParseYAML("b", []byte(tc.b))
		if err1 != nil || err2 != nil || sameTyped(a, b) != tc.same || sameTyped(b, a) != tc.same {
			t.Errorf("%s and %s: want %v", tc.a, tc.b, tc.same)
		}
	}
}

func TestEditConfigRefusesTimesThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		program, setting string
		code             int
		stderr           string
	}{
		{"tamada", "ttl=20", 1, "Error: The configuration was not changed: ttl: ttl = 20 does not fit: it must be at least loop_wait + 2 × retry_timeout = 3 + 2 × 10 = 23, " +
			"or the leader loses its key while it still tries to keep it (raise ttl to 23, or lower retry_timeout to 8)\n"},
		{"tamada", "ttl=30s", 1, "Error: The configuration was not changed: ttl: found the text \"30s\", expected a whole number of seconds without a unit (agents ignore the whole document while this is wrong)\n"},
		{"tamada", "loop_wait=0", 1, "Error: The configuration was not changed: loop_wait: 0 is below the least value 1\n"},
		{"patronictl", "ttl=20", 0, ""}, // as the reference's tool does
		{"tamada", "ttl=5", 1, "Error: The configuration was not changed: ttl: 5 is below the least value 20 (less is possible only while every member of the cluster has a guardian)\n"},
		{"tamada", "synchronous_mode=on", 1, "Error: The configuration was not changed: synchronous_mode: synchronous replication is not supported yet\n"},
		{"tamada", "slots.a.type=physical", 1, "Error: The configuration was not changed: slots: permanent replication slots are not supported yet (they are left alone, but not made)\n"},
		{"patronictl", "synchronous_mode=on", 0, ""},
		{"tamada", "maximum_lag_on_failover=1MB", 0, "WARNING - maximum_lag_on_failover: found the text \"1MB\", expected an integer\n"},
		{"tamada", "loop_wiat=5", 0, "WARNING - loop_wiat: unknown key (did you mean loop_wait?)\n"},
		{"tamada", "postgresql.listen=a:5", 0, "WARNING - postgresql.listen: is ignored here: it counts only in the node's own file (write it below postgresql)\n"},
	} {
		b := &bench{stores: map[string]*memory.Server{"batman": situation(t, "healthy")}, program: tc.program}
		r := b.run(t, "edit-config", "--force", "-q", "-s", tc.setting)
		if i := strings.Index(r.stderr, "WARNING"); i >= 0 {
			r.stderr = r.stderr[i:] // without the time
		}
		if r.code != tc.code || r.stderr != tc.stderr {
			t.Errorf("%s %s: %+v", tc.program, tc.setting, r)
		}
	}
}
