package ctl

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/dcs/memory"
)

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	const list = "Usage: patronictl list [OPTIONS] [CLUSTER_NAMES]...\nTry 'patronictl list --help' for help.\n\nError: "
	const history = "Usage: patronictl history [OPTIONS] [CLUSTER_NAME]\nTry 'patronictl history --help' for help.\n\nError: "
	for args, want := range map[string]string{
		"list -x":           list + "No such option: -x\n",
		"list --ext":        list + "No such option: --ext Did you mean --extended?\n",
		"list --nothing":    list + "No such option: --nothing\n",
		"list -f":           list + "Option '-f' requires an argument.\n",
		"list --format":     list + "Option '--format' requires an argument.\n",
		"list --extended=x": list + "Option '--extended' does not take a value.\n",
		"list -w soon":      list + "Invalid value for '-w' / '--watch': 'soon' is not a valid float.\n",
		"list --group x":    list + "Invalid value for '--group': 'x' is not a valid integer.\n",
		"list -c x":         list + "No such option: -c\n",
		"history a b":       history + "Got unexpected extra argument (b)\n",
		"history a b c":     history + "Got unexpected extra arguments (b c)\n",
		"help":              "Usage: patronictl [OPTIONS] COMMAND [ARGS]...\nTry 'patronictl --help' for help.\n\nError: No such command 'help'.\n",
		"frobnicate -x":     "Usage: patronictl [OPTIONS] COMMAND [ARGS]...\nTry 'patronictl --help' for help.\n\nError: No such command 'frobnicate'.\n",
		"-y":                "Usage: patronictl [OPTIONS] COMMAND [ARGS]...\nTry 'patronictl --help' for help.\n\nError: No such option: -y\n",
	} {
		b := &bench{}
		if r := b.run(t, strings.Fields(args)...); r.code != 2 || r.stderr != want || r.stdout != "" {
			t.Errorf("%s: exit code %d\n%s%s\nwant\n%s", args, r.code, r.stdout, r.stderr, want)
		}
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	t.Parallel()
	b := &bench{program: "tamada"}
	r := b.run(t, "--help")
	for _, want := range []string{"Usage: tamada [OPTIONS] COMMAND [ARGS]...\n", "-c, --config-file TEXT", "  list ", "  topology ", "  history ", "  show-config ", "  edit-config ", "  version "} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("%q is not in the help:\n%s", want, r.stdout)
		}
	}
	if r := b.run(t, "list", "--help"); r.code != 0 || !strings.HasPrefix(r.stdout, "Usage: tamada list [OPTIONS] [CLUSTER_NAMES]...\n") || !strings.Contains(r.stdout, "-f, --format [pretty|tsv|json|yaml|yml]") {
		t.Errorf("got %+v", r)
	}
}

func TestHelpBeforeACommandDoesNotRunIt(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"patronictl", "tamada"} {
		for _, args := range []string{"--help pause", "-h pause", "--help pause --no-such-option", "--help switchover a b c", "-c /no/such/file --help list"} {
			b := &bench{program: program}
			if r := b.run(t, strings.Fields(args)...); r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "Usage: "+program+" [OPTIONS] COMMAND [ARGS]...\n") {
				t.Errorf("%s %s: %+v", program, args, r)
			}
		}
	}
}

func TestConfigurationOfTheTool(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file := filepath.Join(home, "patroni", "patronictl.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("scope: from-home\netcd3: {host: h}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	healthy := map[string]*memory.Server{"from-home": made("initialize", "7711128838665492352"), "from-env": made("initialize", "7711128838665492353")}
	for _, tc := range []struct {
		what    string
		environ []string
		args    []string
		code    int
		want    string
	}{
		{"default file", []string{"XDG_CONFIG_HOME=" + home}, []string{"-c", "", "list"}, 0, "+ Cluster: from-home (7711128838665492352)"},
		{"environment over file", []string{"XDG_CONFIG_HOME=" + home, "PATRONI_SCOPE=from-env"}, []string{"-c", "", "list"}, 0, "+ Cluster: from-env (7711128838665492353)"},
		{"no file", []string{"HOME=/nowhere"}, []string{"-c", "", "list", "x"}, 1,
			"Error: Can not find suitable configuration of distributed configuration store\nAvailable implementations: etcd3\n"},
		{"missing file", nil, []string{"-c", "/nowhere/x.yml", "list"}, 1, "Error: Provided config file /nowhere/x.yml not existing or no read rights. Check the -c/--config-file parameter\n"},
		{"store by URL", []string{"HOME=/nowhere", "DCS_URL=etcd3://h"}, []string{"-c", "", "list", "from-env"}, 0, "+ Cluster: from-env (7711128838665492353)"},
		{"option over environment", []string{"DCS_URL=etcd3://h"}, []string{"--dcs", "foo://x", "list"}, 1, "Error: Unknown dcs scheme: foo\n"},
		{"store not supported", nil, []string{"-d", "h:8500", "list"}, 1, "Error: option --dcs-url: consul: this store is not supported yet; use etcd3\n"},
		{"no cluster", []string{"HOME=/nowhere", "DCS_URL=etcd3://h"}, []string{"-c", "", "list"}, 0, "2026-11-22 22:38:31,005 - WARNING - Listing members: No cluster names were provided\n"},
		{"no cluster, quiet", []string{"HOME=/nowhere", "DCS_URL=etcd3://h", "LOGLEVEL=DEBUG", "PATRONI_LOG_LEVEL=ERROR"}, []string{"-c", "", "list"}, 0, ""},
		{"no cluster for one", []string{"HOME=/nowhere", "DCS_URL=etcd3://h"}, []string{"-c", "", "history"}, 1, "Error: No cluster name was provided"},
		{"Citus", nil, []string{"list", "--group", "0"}, 1, "Error: Citus is not supported yet"},
		{"broken file", []string{"PATRONI_CONFIGURATION=a: ["}, []string{"-c", "", "list"}, 1, "Error: environment variable PATRONI_CONFIGURATION:1:1: the YAML cannot be read"},
	} {
		if tc.environ == nil {
			tc.environ = []string{"HOME=/nowhere"}
		}
		b := &bench{environ: tc.environ, stores: healthy}
		if r := b.run(t, tc.args...); r.code != tc.code || !strings.HasPrefix(r.stdout+r.stderr, tc.want) || tc.want == "" && r.stderr != "" {
			t.Errorf("%s: %+v\nwant %d %s", tc.what, r, tc.code, tc.want)
		}
	}
}

func TestSeveralClustersAreListedOneAfterAnother(t *testing.T) {
	t.Parallel()
	b := &bench{stores: map[string]*memory.Server{"a": made("initialize", "7711128838665492352")}}
	r := b.run(t, "list", "a", "b", "-f", "json")
	if r.code != 0 || r.stdout != "[]\n[]\n" {
		t.Errorf("got %+v", r)
	}
}

// stopAfter ends a run once something was printed so often.
type stopAfter struct {
	bytes.Buffer
	what string
	n    int
	stop func()
}

func (s *stopAfter) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if strings.Count(s.String(), s.what) >= s.n {
		s.stop()
	}
	return n, err
}

func TestWatchRepeatsOnOneStoreUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stdout, stderr := &stopAfter{what: "+ Cluster: batman", n: 3, stop: cancel}, &bytes.Buffer{}
	server, opened := situation(t, "healthy"), 0
	deps := Deps{Program: "patronictl", Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Terminal: true, Now: time.Now,
		Environ: []string{"PATRONI_ETCD3_HOST=h", "HOME=/nowhere"},
		Open:    func(*config.Config) (dcs.Store, error) { opened++; return server.Open("ctl", dcs.Times{}, ""), nil }}
	if code := Execute(ctx, Root(deps), []string{"list", "-W", "-w", "0.01", "batman"}); code != 1 || stderr.String() != "Aborted!\n" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if opened != 1 || strings.Count(stdout.String(), "\033[2J\033[1;1H+ Cluster: batman") != 3 {
		t.Errorf("%d stores opened, printed\n%s", opened, stdout)
	}
}

func TestStoreThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	server := situation(t, "healthy")
	server.Stop()
	b := &bench{stores: map[string]*memory.Server{"batman": server}}
	for _, command := range []string{"list", "topology", "history", "show-config", "edit-config"} {
		if r := b.run(t, command); r.code != 1 || !strings.HasPrefix(r.stderr, "Error: read cluster batman from etcd3: ") || !strings.HasSuffix(r.stderr, "ctl.yml says?)\n") || r.stdout != "" {
			t.Errorf("%s: %+v", command, r)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	b := &bench{}
	same(t, b.run(t, "version"), readCapture(t, "version"))
	b.program = "tamada"
	if r := b.run(t, "version"); r.stdout != "Tamada "+cluster.ProgramVersion+", compatible with Patroni "+cluster.CompatVersion+"\n" {
		t.Errorf("got %+v", r)
	}
}

func TestVersionOfMembers(t *testing.T) {
	t.Parallel()
	api := func(code int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			if r.URL.Path != "/patroni" || user != "u" || password != "p" {
				code = http.StatusUnauthorized
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL + "/patroni"
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	member := func(api, more string) string { return `{"api_url":"` + api + `","state":"running"` + more + `}` }
	status := `{"state":"running","server_version":150018,"patroni":{"version":"4.1.4","scope":"batman","name":"x"}}`
	b := &bench{config: "scope: batman\netcd3: {host: h}\nrestapi: {authentication: {username: u, password: p}}\n", stores: map[string]*memory.Server{"batman": made(
		"members/pg-a", member(api(200, status), ""),
		"members/pg-b", member(api(503, strings.Replace(status, `"server_version":150018,`, "", 1)), `,"tamada":{"version":"0.1.0","guardian":true}`),
		"members/pg-c", member(gone.URL, ""),
		"members/pg-d", `{"state":"running"}`,
		"members/pg-e", member(api(200, "<html>"), ""),
	)}}
	r := b.run(t, "version", "batman")
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	want := []string{"patronictl version 4.1.4", "", "pg-a: Patroni 4.1.4 PostgreSQL 15.18", "pg-b: Patroni 4.1.4", "pg-c: failed to get version: ", "pg-e: failed to get version: the answer with status 200"}
	if len(lines) != len(want) || r.code != 0 {
		t.Fatalf("got %+v", r)
	}
	for i := range want {
		if lines[i] != want[i] && (i < 4 || !strings.HasPrefix(lines[i], want[i])) {
			t.Errorf("got %q, want %q", lines[i], want[i])
		}
	}
	if r := b.run(t, "version", "batman", "pg-b"); r.stdout != "patronictl version 4.1.4\n\npg-b: Patroni 4.1.4\n" {
		t.Errorf("got %+v", r)
	}
	b.program = "tamada"
	if r := b.run(t, "version", "batman", "pg-b"); !strings.HasSuffix(r.stdout, "\npg-b: Tamada 0.1.0 (Patroni 4.1.4)\n") {
		t.Errorf("got %+v", r)
	}
	if serverVersion(90624) != "9.6.24" || serverVersion(160004) != "16.4" {
		t.Error("versions of PostgreSQL")
	}
}

func TestMembersAreVerifiedUnlessInsecure(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"patroni":{"version":"4.1.4"}}`))
	}))
	defer s.Close()
	b := &bench{stores: map[string]*memory.Server{"batman": made("members/a", `{"api_url":"`+s.URL+`"}`)}}
	if r := b.run(t, "version", "batman"); !strings.Contains(r.stdout, "a: failed to get version: ") || !strings.Contains(r.stdout, "certificate") {
		t.Errorf("an unknown certificate is accepted: %+v", r)
	}
	if r := b.run(t, "-k", "version", "batman"); !strings.HasSuffix(r.stdout, "a: Patroni 4.1.4\n") {
		t.Errorf("-k does not help: %+v", r)
	}
}
