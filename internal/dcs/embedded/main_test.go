package embedded_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tamada/internal/dcs/embedded"
	"tamada/internal/testport"
)

// TestMain makes the test binary a member when it is started as
// "BINARY etcd-member CONFIG".
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "etcd-member" {
		var c embedded.Config
		if err := json.Unmarshal([]byte(os.Args[2]), &c); err != nil {
			panic(err)
		}
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := embedded.Run(ctx, c); err != nil {
			fmt.Fprintln(os.Stderr, "FAILED:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// member is one member in a process of its own.
type member struct {
	t *testing.T
	embedded.Config

	mu   sync.Mutex // guards out
	out  bytes.Buffer
	cmd  *exec.Cmd
	done chan struct{}
}

func (m *member) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(p)
}

func (m *member) log() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}

// newMembers are n members of a cluster that does not run yet.
func newMembers(t *testing.T, n int) []*member {
	t.Helper()
	ports := testport.Free(t, 2*n)
	initial := map[string]string{}
	var list []*member
	for i := range n {
		name := fmt.Sprintf("n%d", i)
		m := &member{t: t, Config: embedded.Config{Name: name, Cluster: "batman", DataDir: filepath.Join(t.TempDir(), "etcd"), InitialCluster: initial,
			Peer: fmt.Sprintf("127.0.0.1:%d", ports[2*i]), Client: fmt.Sprintf("127.0.0.1:%d", ports[2*i+1])}}
		initial[name] = m.Peer
		list = append(list, m)
	}
	t.Cleanup(func() {
		for _, m := range list {
			if t.Failed() {
				t.Logf("%s:\n%s", m.Name, m.log())
			}
		}
	})
	return list
}

func (m *member) start() {
	m.t.Helper()
	config, err := json.Marshal(m.Config)
	if err != nil {
		m.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(self, "etcd-member", string(config))
	cmd.Stdout, cmd.Stderr = m, m
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	m.cmd, m.done = cmd, done
	m.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
}

// stop ends the member and waits.
func (m *member) stop(sig os.Signal) {
	m.t.Helper()
	_ = m.cmd.Process.Signal(sig)
	select {
	case <-m.done:
	case <-time.After(10 * time.Second):
		m.t.Fatalf("%s does not stop", m.Name)
	}
}

// failsWith starts the member and waits until it has failed with a text.
func (m *member) failsWith(text string) {
	m.t.Helper()
	m.start()
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		m.t.Fatalf("%s did not fail", m.Name)
	}
	if log := m.log(); !strings.Contains(log, "FAILED:") || !strings.Contains(log, text) {
		m.t.Fatalf("%s failed without %q:\n%s", m.Name, text, log)
	}
}

func admin(list []*member) embedded.Admin {
	var a embedded.Admin
	for _, m := range list {
		a.Endpoints = append(a.Endpoints, m.Client)
		a.TLS = m.TLS
	}
	return a
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// await waits until all members are voters, answer, and one of them leads.
func await(t *testing.T, list []*member) []embedded.Member {
	t.Helper()
	var got []embedded.Member
	var err error
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		got, err = admin(list).Members(within(t, 5*time.Second))
		healthy, leaders := 0, 0
		for _, m := range got {
			if m.Err == nil && !m.Learner {
				healthy++
			}
			if m.Leader {
				leaders++
			}
		}
		if err == nil && healthy == len(list) && len(got) == len(list) && leaders == 1 {
			return got
		}
	}
	t.Fatalf("the cluster does not become whole: %+v, %v", got, err)
	return nil
}
