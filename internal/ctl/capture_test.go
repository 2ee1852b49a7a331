package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/dcs/memory"
)

// capture is one recorded run of the reference's tool.
type capture struct {
	args           []string
	stdin          string
	code           int
	stdout, stderr string
}

var word = regexp.MustCompile(`'(?:[^']|'"'"')*'|\S+`)

func readCapture(t *testing.T, name string) capture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/cli", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "patronictl.py", "patronictl")
	head, rest, ok1 := strings.Cut(text, "--- stdout ---\n")
	stdout, stderr, ok2 := strings.Cut(rest, "--- stderr ---\n")
	if !ok1 || !ok2 {
		t.Fatalf("%s is not a recording", name)
	}
	c := capture{stdout: stdout, stderr: stderr}
	for line := range strings.SplitSeq(head, "\n") {
		if s, ok := strings.CutPrefix(line, "$ patronictl -c $WORK/ctl.yml "); ok {
			for _, w := range word.FindAllString(s, -1) {
				if strings.HasPrefix(w, "'") {
					w = strings.ReplaceAll(w[1:len(w)-1], `'"'"'`, "'")
				}
				c.args = append(c.args, w)
			}
		}
		if s, ok := strings.CutPrefix(line, "# exit code: "); ok {
			c.code, _ = strconv.Atoi(s)
		}
		if s, ok := strings.CutPrefix(line, "# stdin: "); ok {
			if c.stdin, err = strconv.Unquote(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// situation puts the recorded keys of a situation into a store.
func situation(t *testing.T, name string) *memory.Server {
	t.Helper()
	server := memory.New(func() time.Duration { return 0 })
	for key, value := range keysIn(t, name) {
		server.Set(key, []byte(value))
	}
	return server
}

// keysIn are the recorded keys, below the scope, of a situation; none for "".
func keysIn(t *testing.T, name string) map[string]string {
	t.Helper()
	keys := map[string]string{}
	if name == "" {
		return keys
	}
	data, err := os.ReadFile("../cluster/testdata/etcd3/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Keys []struct{ Key, Value string } }
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Keys {
		keys[strings.SplitN(k.Key, "/", 4)[3]] = k.Value
	}
	return keys
}

// result is what a run did.
type result struct {
	code           int
	stdout, stderr string
}

// bench runs commands on stores by cluster name.
type bench struct {
	stores  map[string]*memory.Server
	program string
	environ []string
	config  string
	stdin   string
	wrap    func(dcs.Store) dcs.Store
	now     func() time.Time // nil: a fixed moment
}

func (b *bench) run(t *testing.T, args ...string) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctl.yml")
	if b.config == "" {
		b.config = "scope: batman\netcd3: {host: '127.0.0.1:1'}\n"
	}
	if err := os.WriteFile(path, []byte(b.config), 0o600); err != nil {
		t.Fatal(err)
	}
	if b.program == "" {
		b.program = "patronictl"
	}
	if b.now == nil {
		b.now = at(time.Date(2026, 11, 22, 22, 38, 31, 5e6, time.UTC))
	}
	var stdout, stderr bytes.Buffer
	deps := Deps{Program: b.program, Stdin: strings.NewReader(b.stdin), Stdout: &stdout, Stderr: &stderr, Environ: b.environ,
		Now: b.now, tick: time.Millisecond,
		Open: func(c *config.Config) (dcs.Store, error) {
			s := b.stores[c.Scope]
			if s == nil {
				s = memory.New(func() time.Duration { return 0 })
			}
			var store dcs.Store = s.Open("ctl", dcs.Times{}, "")
			if b.wrap != nil {
				store = b.wrap(store)
			}
			return store, nil
		}}
	code := Execute(context.Background(), Root(deps), append([]string{"-c", path}, args...))
	return result{code, stdout.String(), stderr.String()}
}

// at is a clock that stands still.
func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// same compares a run with a recording.
func same(t *testing.T, got result, want capture) {
	t.Helper()
	if got.code != want.code || got.stdout != want.stdout || got.stderr != want.stderr {
		t.Errorf("%s\nexit code %d, want %d\n--- stdout\n%s--- want\n%s--- stderr\n%s--- want\n%s", strings.Join(want.args, " "),
			got.code, want.code, got.stdout, want.stdout, got.stderr, want.stderr)
	}
}

func stored(t *testing.T, s *memory.Server) *cluster.Cluster {
	t.Helper()
	c, err := s.Open("x", dcs.Times{}, "").Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openOne opens one store whatever is asked for.
func openOne(s *memory.Server) func(*config.Config) (dcs.Store, error) {
	return func(*config.Config) (dcs.Store, error) { return s.Open("ctl", dcs.Times{}, ""), nil }
}
