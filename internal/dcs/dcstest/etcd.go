package dcstest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tamada/internal/testport"
)

// Etcd is one etcd server in a process of its own, for tests.
type Etcd struct {
	Name   string
	Client string // host:port
	Peer   string // host:port

	t      testing.TB
	binary []string
	args   []string
	log    *safeBuffer
	mu     sync.Mutex // guards cmd
	cmd    *exec.Cmd
	done   chan struct{}
}

// EtcdOptions are for servers that are not the plain ones.
type EtcdOptions struct {
	// Command starts a server that understands etcd's flags; empty: /usr/bin/etcd.
	Command []string
	// Extra are more flags.
	Extra []string
	// Protocol is "http" (default) or "https" for the client port; with https the
	// certificate flags belong to Extra.
	Protocol string
}

// StartEtcd starts a cluster of n servers with their data in temporary folders
// and waits until each serves. They are killed when the test ends. Without the
// binary the test is skipped.
func StartEtcd(t testing.TB, n int, o EtcdOptions) []*Etcd {
	t.Helper()
	if len(o.Command) == 0 {
		path, err := exec.LookPath("etcd")
		if err != nil {
			t.Skip("etcd is not installed")
		}
		o.Command = []string{path}
	}
	if o.Protocol == "" {
		o.Protocol = "http"
	}
	ports := testport.Free(t, 2*n)
	var servers []*Etcd
	var initial []string
	for i := range n {
		e := &Etcd{t: t, Name: fmt.Sprintf("etcd%d", i), binary: o.Command, log: &safeBuffer{}}
		e.Client, e.Peer = fmt.Sprintf("127.0.0.1:%d", ports[2*i]), fmt.Sprintf("127.0.0.1:%d", ports[2*i+1])
		initial = append(initial, e.Name+"=http://"+e.Peer)
		servers = append(servers, e)
	}
	for _, e := range servers {
		e.args = append([]string{
			"--name=" + e.Name, "--data-dir=" + filepath.Join(t.TempDir(), e.Name),
			"--listen-client-urls=" + o.Protocol + "://" + e.Client, "--advertise-client-urls=" + o.Protocol + "://" + e.Client,
			"--listen-peer-urls=http://" + e.Peer, "--initial-advertise-peer-urls=http://" + e.Peer,
			"--initial-cluster=" + strings.Join(initial, ","), "--unsafe-no-fsync",
		}, o.Extra...)
		e.Start()
	}
	if o.Protocol == "http" {
		for _, e := range servers {
			e.WaitHealthy()
		}
	}
	return servers
}

// Start starts the server, again with the data it has.
func (e *Etcd) Start() {
	e.t.Helper()
	cmd := exec.Command(e.binary[0], append(e.binary[1:], e.args...)...)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+os.Getenv("GOARCH"))
	if err := cmd.Start(); err != nil {
		e.t.Fatalf("start %s: %v", e.Name, err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	e.mu.Lock()
	e.cmd, e.done = cmd, done
	e.mu.Unlock()
	e.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		if e.t.Failed() {
			e.t.Logf("log of %s:\n%s", e.Name, e.log.tail(4000))
			e.log.reset()
		}
	})
}

// WaitHealthy waits until the server has a leader.
func (e *Etcd) WaitHealthy() {
	e.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Client+"/health", nil)
		resp, err := http.DefaultClient.Do(req)
		ok := err == nil && resp.StatusCode == http.StatusOK
		if err == nil {
			resp.Body.Close()
		}
		cancel()
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	e.t.Fatalf("%s does not become healthy:\n%s", e.Name, e.log.tail(4000))
}

// Kill kills the server and waits for its end.
func (e *Etcd) Kill() {
	e.mu.Lock()
	cmd, done := e.cmd, e.done
	e.mu.Unlock()
	_ = cmd.Process.Kill()
	<-done
}

// Freeze stops the process as it is and waits until no thread of it runs; its
// sockets stay open.
func (e *Etcd) Freeze() {
	e.t.Helper()
	e.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(10 * time.Second); !stopped(e.Pid()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("%s does not freeze", e.Name)
		}
	}
}

func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range threads {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // this thread has ended
		}
		// "PID (NAME) STATE ...": the name may hold anything
		_, rest, _ := strings.Cut(string(data[bytes.LastIndexByte(data, ')')+1:]), " ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// Thaw lets a frozen process go on.
func (e *Etcd) Thaw() { e.signal(syscall.SIGCONT) }

func (e *Etcd) signal(sig os.Signal) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.cmd.Process.Signal(sig); err != nil {
		e.t.Fatalf("signal %v to %s: %v", sig, e.Name, err)
	}
}

// Pid is the server's process.
func (e *Etcd) Pid() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cmd.Process.Pid
}

// safeBuffer is a log that can be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.b.Bytes()
	return string(b[max(0, len(b)-n):])
}

func (s *safeBuffer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}
