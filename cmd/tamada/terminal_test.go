//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/etcd3"
	"tamada/internal/testport"
)

// asProgram is set for a test binary that shall be the program.
const asProgram = "TAMADA_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args))
	}
	os.Exit(m.Run())
}

// program is the program by a name, with arguments and an environment.
func program(t *testing.T, name string, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = name
	cmd.Env = append([]string{asProgram + "=1", "HOME=/nowhere", "PATH=" + os.Getenv("PATH"), "TERM=xterm", "PGPASSFILE=/dev/null"}, environ...)
	return cmd
}

// startStore starts etcd with two clusters in it and returns its address.
func startStore(t *testing.T) string {
	t.Helper()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, scope := range []string{"orders", "billing"} {
		for _, name := range []string{"pg-a", "pg-b"} {
			s, err := etcd3.Open(ctx, etcd3.Options{Scope: scope, Name: name, Hosts: []string{e.Client}, Times: dcs.Times{TTL: 2 * time.Minute}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Touch(ctx, []byte(`{"conn_url":"postgres://127.0.0.1:1/postgres","state":"running","role":"replica","timeline":1}`)); err != nil {
				t.Fatal(err)
			}
			if name == "pg-a" {
				_, err = s.Acquire(ctx)
			} else {
				_, err = s.Put(ctx, cluster.KeyConfig, []byte(`{"pause":true}`), dcs.Any())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return e.Client
}

// onTerminal is a program on a pseudo terminal.
type onTerminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex // guards out
	out    bytes.Buffer
	done   chan error
}

func openTerminal(t *testing.T, cmd *exec.Cmd) *onTerminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x := &onTerminal{t: t, master: master, cmd: cmd, done: make(chan error, 1)}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			x.mu.Lock()
			x.out.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() { x.done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return x
}

func (x *onTerminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.ReplaceAll(x.out.String(), "\r\n", "\n")
}

// see waits until something is on the terminal so often.
func (x *onTerminal) see(what string, times int) {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Count(x.text(), what) >= times {
			return
		}
	}
	x.t.Fatalf("%q does not come %d times; the terminal shows\n%s", what, times, x.text())
}

func (x *onTerminal) enter(keys string) {
	x.t.Helper()
	if _, err := x.master.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// shows tells whether the terminal shows what is typed.
func (x *onTerminal) shows() bool {
	x.t.Helper()
	settings, err := unix.IoctlGetTermios(int(x.master.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return settings.Lflag&unix.ECHO != 0
}

// code waits for the end and returns the exit code.
func (x *onTerminal) code() int {
	x.t.Helper()
	select {
	case err := <-x.done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			x.t.Fatal(err)
		}
		return x.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		x.t.Fatalf("it does not end; the terminal shows\n%s", x.text())
		return 0
	}
}

func TestOnATerminal(t *testing.T) {
	t.Parallel()
	store := startStore(t)
	start := func(t *testing.T, name string, environ []string, args ...string) *onTerminal {
		t.Helper()
		return openTerminal(t, program(t, name, environ, append([]string{"-d", "etcd3://" + store}, args...)...))
	}
	t.Run("colours", func(t *testing.T) {
		t.Parallel()
		for _, tc := range []struct {
			name     string
			environ  []string
			coloured bool
		}{{"tamada", nil, true}, {"tamada", []string{"NO_COLOR=1"}, false}, {"patronictl", nil, false}} {
			x := start(t, tc.name, tc.environ, "list", "orders")
			x.see("Maintenance mode: on", 1)
			code := x.code()
			plain := strings.NewReplacer("\033[1m", "", "\033[31m", "", "\033[32m", "", "\033[33m", "", "\033[0m", "").Replace(x.text())
			if got := strings.Contains(x.text(), "| \033[1mLeader\033[0m  | \033[32mrunning\033[0m |"); got != tc.coloured || code != 0 || tc.coloured == (plain == x.text()) {
				t.Errorf("%v: exit code %d\n%s", tc, code, x.text())
			}
			if !strings.Contains(plain, "\n| pg-a   | 127.0.0.1:1 | Leader  | running |  1 |             |     |            |     |\n") {
				t.Errorf("the columns are not aligned:\n%s", plain)
			}
		}
	})
	t.Run("watch until Ctrl-C", func(t *testing.T) {
		t.Parallel()
		x := start(t, "patronictl", nil, "list", "orders", "-w", "0.05")
		x.see("\033[2J\033[1;1H+ Cluster: orders", 3)
		x.enter("\x03")
		if code := x.code(); code != 1 {
			t.Errorf("exit code %d", code)
		}
		x.see("Aborted!\n", 1)
	})
	t.Run("prompts", func(t *testing.T) {
		t.Parallel()
		x := start(t, "patronictl", nil, "switchover", "orders")
		x.see("Primary [pg-a]: ", 1)
		x.enter("\n")
		x.see("Candidate ['pg-b'] []: ", 1)
		x.enter("pg-b\n")
		x.see("When should the switchover take place (e.g. ", 1)
		x.enter("\n")
		x.see("Are you sure you want to switchover cluster orders, demoting current leader pg-a? [y/N]: ", 1)
		x.enter("n\n")
		if code := x.code(); code != 1 {
			t.Errorf("exit code %d", code)
		}
		x.see("Error: Aborting switchover\n", 1)
	})
	for what, key := range map[string]string{"Ctrl-C": "\x03", "Ctrl-D": "\x04"} {
		t.Run(what+" at a prompt", func(t *testing.T) {
			t.Parallel()
			x := start(t, "tamada", nil, "remove", "orders")
			x.see("Please confirm the cluster name to remove: ", 1)
			x.enter(key)
			if code := x.code(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			x.see("Aborted!\n", 1)
		})
	}
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		x := start(t, "tamada", nil, "query", "orders", "-U", "u", "--password", "-c", "select 1")
		x.see("Password: ", 1)
		x.enter("hunter2\n")
		x.see("ERROR, SQLSTATE: connection to server at \"127.0.0.1\", port 1 failed: Connection refused", 1)
		if code := x.code(); code != 0 || strings.Contains(x.text(), "hunter2") {
			t.Errorf("exit code %d, the terminal shows\n%s", code, x.text())
		}
	})
	t.Run("password for a configuration", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"tamada", "patroni"} {
			args := []string{"generate-config"}
			if name == "patroni" {
				args = []string{"--generate-config"}
			}
			args = append(args, "--dsn", "host=127.0.0.1 port=1 user=u")
			x := openTerminal(t, program(t, name, nil, args...))
			x.see("Please enter the user password:", 1)
			x.enter("hunter2\n")
			if code := x.code(); code != 1 || strings.Contains(x.text(), "hunter2") {
				t.Errorf("exit code %d, the terminal shows\n%s", code, x.text())
			}
			x = openTerminal(t, program(t, name, nil, args...))
			x.see("Please enter the user password:", 1)
			if x.shows() {
				t.Error("the terminal shows what is typed")
			}
			x.enter("\x03")
			if code := x.code(); code != 1 || !x.shows() {
				t.Errorf("exit code %d, what is typed is shown: %t\n%s", code, x.shows(), x.text())
			}
			x.see("no password was given: aborted", 1)
		}
	})
}

// host:port alone is etcd's present API to us and its old one to the reference.
func TestStoreURLWithoutAScheme(t *testing.T) {
	t.Parallel()
	store := startStore(t)
	out, err := program(t, "tamada", nil, "-d", store, "dsn", "orders").CombinedOutput()
	if err != nil || string(out) != "host=127.0.0.1 port=1\n" {
		t.Errorf("%s%v", out, err)
	}
	out, err = program(t, "patronictl", nil, "-d", store, "dsn", "orders").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "etcd: this store is not supported yet; use etcd3") {
		t.Errorf("%s%v", out, err)
	}
}

// completions asks as the scripts of all three shells do.
func completions(t *testing.T, environ []string, line ...string) []string {
	t.Helper()
	out, err := program(t, "tamada", environ, append([]string{"__complete"}, line...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for l := range strings.SplitSeq(string(out), "\n") {
		if w, _, _ := strings.Cut(l, "\t"); w != "" && !strings.HasPrefix(w, ":") {
			words = append(words, w)
		}
	}
	return words
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	store := startStore(t)
	environ := []string{"DCS_URL=etcd3://" + store}
	for _, tc := range []struct {
		line string
		want string
	}{
		{"list |", "billing orders"},
		{"list orders |", "billing"},
		{"restart |", "billing orders"},
		{"restart orders |", "pg-a pg-b"},
		{"restart orders pg-a |", "pg-b"},
		{"flush orders |", "pg-a pg-b restart switchover"},
		{"flush orders pg-a restart |", ""},
		{"switchover orders --candidate |", "pg-a pg-b"},
		{"switchover orders |", ""},
		{"reload orders -r s|", "standby-leader standby"},
		{"list -f j|", "json"},
		{"swi|", "switchover"},
		{"completion |", "bash zsh fish"},
	} {
		line, typed := strings.Fields(strings.ReplaceAll(tc.line, "|", " |")), ""
		if i := strings.IndexByte(tc.line, '|'); tc.line[i-1] != ' ' {
			words := strings.Fields(tc.line)
			typed = strings.TrimSuffix(words[len(words)-1], "|")
			line = append(words[:len(words)-1:len(words)-1], "|")
		}
		line[len(line)-1] = typed
		if got := strings.Join(completions(t, environ, line...), " "); got != tc.want {
			t.Errorf("%s completes to %q, want %q", tc.line, got, tc.want)
		}
	}
	if got := completions(t, []string{"DCS_URL=etcd3://" + store}, "edit-config", "--"); !slices.Contains(got, "--dry-run") || !slices.Contains(got, "--apply") {
		t.Errorf("options: %q", got)
	}
}

func TestCompletionDoesNotKeepTheShellWaiting(t *testing.T) {
	t.Parallel()
	port := testport.Free(t, 1)[0]
	begun := time.Now()
	got := completions(t, []string{fmt.Sprintf("DCS_URL=etcd3://127.0.0.1:%d", port), "PATRONI_SCOPE=orders"}, "list", "")
	if took := time.Since(begun); took > 5*time.Second || !slices.Equal(got, []string{"orders"}) {
		t.Errorf("%q after %s", got, took)
	}
}

// The script for bash is sourced and asked for real; the other shells are not
// everywhere.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	store, dir := startStore(t), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "tamada")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "--norc", "-c", `source <(tamada completion bash)
COMP_WORDS=(tamada restart orders pg-b ""); COMP_CWORD=4; COMP_LINE="tamada restart orders pg-b "; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9
__start_tamada; printf '%s\n' "${COMPREPLY[@]}"`)
	cmd.Env = []string{asProgram + "=1", "HOME=/nowhere", "PATH=" + dir + ":" + os.Getenv("PATH"), "DCS_URL=etcd3://" + store}
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "pg-a" {
		t.Errorf("got %q, %v", out, err)
	}
	for _, shell := range []string{"zsh", "fish"} {
		out, err := program(t, "tamada", nil, "completion", shell).Output()
		if err != nil || !strings.Contains(string(out), "__complete") || !strings.Contains(string(out), "tamada") {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	if out, err := program(t, "tamada", nil, "completion", "tcsh").CombinedOutput(); err == nil || !strings.HasSuffix(string(out), "'tcsh' is not one of 'bash', 'zsh', 'fish'.\n") {
		t.Errorf("%s", out)
	}
}
