//go:build linux

package guardian

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logbook is a log that a test reads while others write.
type logbook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bystander is a guardian that only listens.
func bystander(t *testing.T) (*process, *logbook) {
	t.Helper()
	log := &logbook{}
	p := &process{Options: Options{Log: slog.New(slog.NewTextHandler(log, nil)), StateDir: t.TempDir(), DataDir: "/data"}, inbox: make(chan inbound, 8)}
	var err error
	if p.lock, err = p.takeLock(); err != nil {
		t.Fatal(err)
	}
	if p.socket, err = listenSocket(p.StateDir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.socket.Close(); p.lock.Close() })
	go p.accept()
	return p, log
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// still makes sure that a guardian takes connections.
func still(t *testing.T, p *process) {
	t.Helper()
	c, err := dial(p.StateDir)
	if err != nil {
		t.Fatalf("it does not go on: %v", err)
	}
	defer c.Close()
	if err := send(c, message{Type: msgSign}, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-p.inbox:
		if in.msg.Type != msgSign && !in.closed {
			t.Errorf("heard %q", in.msg.Type)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not hear us")
	}
}

func TestAnotherProtocolVersionIsNamedOnBothSides(t *testing.T) {
	t.Parallel()
	p, log := bystander(t)
	c, err := dial(p.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, _ := json.Marshal(message{Version: Protocol + 1, Type: msgHello})
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	// The answer carries the guardian's version: a program of version 2 reads it as we
	// read its messages.
	var answer message
	buf := make([]byte, maxMessage)
	n, err := c.Read(buf)
	if err != nil || json.Unmarshal(buf[:n], &answer) != nil || answer.Version != Protocol || answer.Type != msgVersion {
		t.Errorf("answer %s, %v", buf[:n], err)
	}
	const want = "the other side speaks version 2, this program speaks 1; bring both to one version"
	waitFor(t, "the guardian says so", func() bool { return strings.Contains(log.String(), want) })
	if _, err := decode([]byte(`{"v":2,"t":"welcome"}`)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the agent says %v", err)
	}
	for len(p.inbox) > 0 {
		<-p.inbox
	}
	still(t, p)
}

func TestNonsenseOnTheSocketIsRefused(t *testing.T) {
	t.Parallel()
	p, log := bystander(t)
	for _, text := range []string{"hello", "{}", `{"v":1,"t":7}`, strings.Repeat("x", 3*maxMessage)} {
		c, err := dial(p.StateDir)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text))
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		for err == nil {
			_, err = c.Read(make([]byte, maxMessage))
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%.20q: the connection stays open", text)
		}
		c.Close()
	}
	if n := strings.Count(log.String(), "a connection to the guardian's socket is closed"); n != 4 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	for len(p.inbox) > 0 {
		<-p.inbox
	}
	still(t, p)
}

// A process of another user is refused even if it gets as far as the socket.
func TestSocketOfAnotherUserIsRefusedOnBothSides(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	t.Parallel()
	// The test's own binary plays the two others (TestMain is not needed: a test by
	// name is run in it).
	dir, err := os.MkdirTemp("", "tamada-guardian-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, path := range []string{dir, filepath.Join(dir, "state")} {
		_ = os.Mkdir(path, 0o777)
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self := filepath.Join(dir, "test")
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(self, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	as := func(uid uint32, role string) (*exec.Cmd, *logbook) {
		cmd := exec.Command(self, "-test.run=TestPlayedByAnotherUser", "-test.v")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TAMADA_TEST_ROLE="+role, "TAMADA_TEST_STATE="+filepath.Join(dir, "state"), "TMPDIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out := &logbook{}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	guardian, heard := as(65533, "guardian")
	if err := guardian.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guardian.Process.Kill(); _ = guardian.Wait() })
	waitFor(t, "the guardian listens: "+heard.String(), func() bool { return strings.Contains(heard.String(), "listening") })
	stranger, said := as(65534, "stranger")
	if err := stranger.Run(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if !strings.Contains(said.String(), "the socket of the guardian belongs to user 65533, not to 65534") {
		t.Errorf("the stranger says:\n%s", said)
	}
	waitFor(t, "the guardian refuses", func() bool { return strings.Contains(heard.String(), "refused a connection to the guardian's socket") })
	friend, said := as(65533, "friend")
	if err := friend.Run(); err != nil || !strings.Contains(said.String(), "connected") {
		t.Errorf("the guardian does not go on: %v\n%s\n%s", err, said, heard)
	}
}

// TestPlayedByAnotherUser is run by the test above in processes of other users.
func TestPlayedByAnotherUser(t *testing.T) {
	state := os.Getenv("TAMADA_TEST_STATE")
	switch os.Getenv("TAMADA_TEST_ROLE") {
	case "guardian":
		p := &process{Options: Options{Log: slog.New(slog.NewTextHandler(os.Stdout, nil)), StateDir: state}, inbox: make(chan inbound, 64)}
		var err error
		if p.socket, err = listenSocket(state); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(filepath.Join(state, socketName), 0o777)
		os.Stdout.WriteString("listening\n")
		p.accept()
	case "stranger", "friend":
		c, err := dial(state)
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			// Whatever it believes, it must not be heard either.
			raw, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: filepath.Join(state, socketName), Net: "unixpacket"})
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := raw.Read(make([]byte, 64)); n > 0 || err == nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
			return
		}
		c.Close()
		os.Stdout.WriteString("connected\n")
	default:
		t.Skip("is run by another test")
	}
}

func TestLockFileLeftBehindDoesNotMatter(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "nonsense", "1 2\n", "999999 77\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, lockName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p := &process{Options: Options{Log: slog.New(slog.DiscardHandler), StateDir: dir, DataDir: "/data"}}
		f, err := p.takeLock()
		if err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		if b, _ := os.ReadFile(f.Name()); !strings.HasPrefix(string(b), strconv.Itoa(os.Getpid())+" ") {
			t.Errorf("%q became %q", content, b)
		}
		f.Close()
	}
}

// A lock that is held, by somebody whom the file does not name: nobody is killed
// on a guess.
func TestLockHeldByAnUnknownProcessIsRefused(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ content, want string }{
		{"nonsense", `cannot be read: unexpected content "nonsense"`},
		{"999999 77\n", "does not make room: end it first"},
	} {
		dir := t.TempDir()
		held, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		if _, err := held.WriteString(x.content); err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		p := &process{Options: Options{Log: slog.New(slog.DiscardHandler), StateDir: dir, DataDir: "/data"}}
		f, err := p.takeLock()
		if err == nil {
			f.Close()
			t.Errorf("%q: the lock was taken", x.content)
		} else if !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: %v", x.content, err)
		}
	}
}

func TestUsableProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, x := range []struct{ path, want string }{
		{"tamada", "whole path"}, {filepath.Join(dir, "not-there"), "no such file"}, {dir, "is not a file"},
		{write("plain", 0o644), "cannot be executed"}, {write("program", 0o755), ""},
	} {
		err := usable(x.path)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.path, err, x.want)
		}
	}
}
