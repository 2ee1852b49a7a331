//go:build linux

package demo

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// someDemo is a demo of the present user in dir; nothing is started.
func someDemo(t *testing.T, dir string) *demo {
	t.Helper()
	d := &demo{Options: Options{Dir: dir, Nodes: 1, Port: 15432}, shown: dir, out: &screen{w: io.Discard},
		owner: owner{name: "me", uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}}
	d.dir = dir
	return d
}

func TestFolderOfSomethingElseIsNeitherUsedNorRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.tex")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := someDemo(t, dir)
	if err := d.takeFolder(); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("used: %v", err)
	}
	d.discard()
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestOnlyOneDemoRunsInAFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	first := someDemo(t, dir)
	if err := first.takeFolder(); err != nil {
		t.Fatal(err)
	}
	if err := someDemo(t, dir).takeFolder(); err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second: %v", err)
	}
	first.discard()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a start that failed left its folder: %v", err)
	}
}

func TestRemoveLeavesWhatIsNotTheDemos(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	d := someDemo(t, dir)
	if err := d.takeFolder(); err != nil {
		t.Fatal(err)
	}
	d.plan = examplePlan(t, dir)
	if err := d.writeFiles(); err != nil {
		t.Fatal(err)
	}
	for _, n := range d.nodes() {
		if st, err := os.Stat(n.config()); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s holds passwords: %v, %v", n.config(), st.Mode(), err)
		}
	}
	mine := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.remove(); err == nil || !strings.Contains(err.Error(), "not the demo's") {
		t.Errorf("nothing was said: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	err = free(use{port, "REST API of n2"})
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) || !strings.Contains(err.Error(), "REST API of n2") || !strings.Contains(err.Error(), "--port") {
		t.Errorf("got %v", err)
	}
}

func TestFolderThatTheOwnerCannotReachIsFound(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("", "demo-test-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(root, "home")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for p := root; p != "/"; p = filepath.Dir(p) {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm()&0o001 == 0 {
			t.Skipf("%s is closed to others", p)
		}
	}
	st, err := os.Stat(closed)
	if err != nil {
		t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	other := owner{name: "other", uid: sys.Uid + 1, gid: sys.Gid + 1, switched: true}
	if got := other.barrier(filepath.Join(closed, "demo", "x")); got != closed {
		t.Errorf("barrier %q, want %q", got, closed)
	}
	other.uid = sys.Uid
	if got := other.barrier(filepath.Join(closed, "demo", "x")); got != "" {
		t.Errorf("its own folder is a barrier: %q", got)
	}
}

func TestCommandWithoutADemoSaysSo(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), "/does/not/exist"} {
		if err := Inject(t.Context(), dir, "crash", "n1", false, io.Discard); err == nil || !strings.Contains(err.Error(), "no demo runs in "+dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
