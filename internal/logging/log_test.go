package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// buffer is a place to write to that tests can read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// section is `log` with its defaults, as a configuration gives it.
func section(t *testing.T, text string) config.Log {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.yml")
	if err := os.WriteFile(file, []byte("log: "+text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadClient(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Log
}

// logged is what a log writes.
func logged(t *testing.T, text string, do func(*Log)) string {
	t.Helper()
	var out buffer
	l := Open(section(t, text), &out, false)
	do(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPlainLinesHaveTheKnownLayout(t *testing.T) {
	t.Parallel()
	got := logged(t, "{}", func(l *Log) {
		l.Debug("not shown")
		l.Info("no action. I am (a), the leader with the lock")
		l.Warn("two\nlines", "error", errors.New("a b"), "n", 3, "empty", "")
		Named(l.Logger, "patroni.postmaster").With("x", "y").Log(t.Context(), LevelCritical, "the end")
	})
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	want := []string{"INFO: no action. I am (a), the leader with the lock", `WARNING: two | lines error="a b" n=3 empty=""`, "CRITICAL: the end x=y"}
	if len(lines) != len(want) {
		t.Fatalf("%q", lines)
	}
	for i, l := range lines {
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} `).MatchString(l) || l[24:] != want[i] {
			t.Errorf("%q, want %q", l, want[i])
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	at := time.Date(2031, 5, 6, 7, 8, 9, 123e6, time.UTC)
	r := &record{time: at, level: LevelCritical, name: "patroni.ha", message: "hello"}
	for _, c := range [][2]string{
		{"{}", "2031-05-06 07:08:09,123 CRITICAL: hello\n"},
		{"{format: '%(levelname)-8s|%(levelno)5d|%(name)s %% %(message).3s'}", "CRITICAL|   50|patroni.ha % hel\n"},
		{"{dateformat: '%d.%m.%y %H:%M:%S %z %j %Q', format: '%(asctime)s'}", "06.05.31 07:08:09 +0000 126 %Q\n"},
		{"{type: json}", `{"asctime": "2031-05-06 07:08:09,123", "levelname": "CRITICAL", "message": "hello"}` + "\n"},
		{"{type: json, format: [message, {levelname: severity}], static_fields: {app: db}}", `{"message": "hello", "severity": "CRITICAL", "app": "db"}` + "\n"},
		{"{type: json, format: '%(created)s %(message)s'}", `{"created": "1935817689.123", "message": "hello"}` + "\n"},
	} {
		f, problem := newFormatter(section(t, c[0]))
		if got := f.line(r); got != c[1] || problem != "" {
			t.Errorf("%s: %q %s", c[0], got, problem)
		}
	}
	for _, c := range []config.Log{{Format: []any{"message"}}, {Format: 5}, {Type: "json", Format: []any{true}}} {
		f, problem := newFormatter(c)
		if got := f.line(r); problem == "" || !strings.Contains(got, "hello") {
			t.Errorf("%v: %q %q", c, got, problem)
		}
	}
}

func TestAttributesAreFieldsInJSON(t *testing.T) {
	t.Parallel()
	got := logged(t, "{type: json}", func(l *Log) { l.Info("text", "file", "a b", "message", "not twice") })
	var o map[string]any
	if err := json.Unmarshal([]byte(got), &o); err != nil || o["message"] != "text" || o["file"] != "a b" {
		t.Errorf("%s %v", got, err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	got := logged(t, "{level: WARNING, loggers: {patroni.postmaster: DEBUG, patroni: ERROR}}", func(l *Log) {
		l.Warn("1")
		l.Info("no")
		Named(l.Logger, "patroni.ha").Warn("no")
		Named(l.Logger, "patroni.ha").Error("2")
		Named(l.Logger, "patroni.postmaster").Debug("3")
		Named(l.Logger, "patroni.postmaster.child").Debug("4")
		Named(l.Logger, "other").Warn("5")
	})
	var digits strings.Builder
	for line := range strings.Lines(got) {
		digits.WriteString(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]))
	}
	if digits.String() != "12345" {
		t.Errorf("%s", got)
	}
}

func TestLockOwnerIsShownUnlessAHeartbeatFollows(t *testing.T) {
	t.Parallel()
	lines := func(l *Log) {
		ha := Named(l.Logger, "patroni.ha")
		ha.Info("Lock owner: a; I am b")
		l.Info("of another part") // does not count
		ha.Info("no action. I am (b), a secondary, and following a leader (a)")
		ha.Info("Lock owner: a; I am b")
		ha.Info("starting as a secondary")
		ha.Info("Lock owner: a; I am b")
		ha.Info("no action. I am (b), a secondary, and following a leader (a)")
		ha.Info("no action. I am (b), a secondary, and following a leader (a)")
		ha.Info("Lock owner: None; I am b")
	}
	short := func(text string) (words []string) {
		for line := range strings.Lines(text) {
			words = append(words, strings.Fields(line)[3])
		}
		return words
	}
	for _, c := range [][2]string{
		{"{}", "of no Lock starting no no Lock"},
		{"{deduplicate_heartbeat_logs: true}", "of no Lock starting no Lock"},
		{"{level: DEBUG}", "Lock of no Lock starting Lock no no Lock"},
		{"{level: DEBUG, deduplicate_heartbeat_logs: true}", "Lock of no Lock starting Lock no Lock"},
	} {
		if got := strings.Join(short(logged(t, c[0], lines)), " "); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

// stuck is a place to write to that hangs until it is let go.
type stuck struct {
	buffer
	entered, free chan struct{}
	once          sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.free
	return s.buffer.Write(p)
}

func TestAWriterThatHangsDoesNotStopTheProgram(t *testing.T) {
	t.Parallel()
	out := &stuck{entered: make(chan struct{}), free: make(chan struct{})}
	l := Open(section(t, "{max_queue_size: 5}"), out, false)
	l.Info("first")
	<-out.entered
	for i := range 10 {
		l.Info(fmt.Sprintf("line %d", i)) // must return
	}
	if err := l.Close(); !errors.Is(err, ErrQueueFull) {
		t.Errorf("end with a full queue: %v", err)
	}
	close(out.free)
	<-l.done
	got := out.String()
	if !strings.Contains(got, "WARNING: QueueHandler has lost 5 log records") || !strings.Contains(got, "line 4") || strings.Contains(got, "line 5") {
		t.Errorf("%s", got)
	}
}

func TestFilesAreRotated(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by us")
	c := section(t, fmt.Sprintf("{dir: '%s', file_size: 300, file_num: 2, mode: 0640}", dir))
	l := Open(c, nil, false)
	guardian := Open(c, nil, true) // writes to the same file and never rotates
	for i := range 40 {
		l.Info(fmt.Sprintf("a line of the agent, number %02d", i))
		guardian.Info("of the guardian")
	}
	if err := errors.Join(l.Close(), guardian.Close()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v %v", entries, err)
	}
	for i, name := range []string{"patroni.log", "patroni.log.1", "patroni.log.2"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if entries[i].Name() != name || err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	last, err := os.ReadFile(filepath.Join(dir, "patroni.log"))
	if err != nil || !strings.Contains(string(last), "number 39") {
		t.Errorf("%s %v", last, err)
	}
}

func TestReloadPutsANewSectionInForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out buffer
	l := Open(section(t, "{}"), &out, false)
	l.Info("before")
	l.Reload(section(t, fmt.Sprintf("{dir: '%s', level: ERROR, type: json}", dir)))
	l.Info("not shown")
	l.Error("after")
	l.Reload(section(t, "{dir: /proc/nowhere}")) // a folder that cannot be
	l.Info("still somewhere")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil || !strings.Contains(string(file), `"message": "after"`) || strings.Contains(string(file), "before") {
		t.Errorf("%s %v", file, err)
	}
	if got := out.String(); !strings.Contains(got, "before") || !strings.Contains(got, "still somewhere") || strings.Contains(got, "after") {
		t.Errorf("%s", got)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("%(asctime)s %(levelname)-10.3s %(message)s", "%Y-%m")
	f.Add("%(", "%")
	f.Fuzz(func(t *testing.T, format, date string) {
		l, _ := newFormatter(config.Log{Format: format, DateFormat: date, StaticFields: &cluster.Object{}})
		if line := l.line(&record{time: time.Unix(0, 0), message: "m"}); strings.Count(line, "\n") != 1 {
			t.Errorf("%q", line)
		}
	})
}
