//go:build linux

package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// envCache is the folder for other Debians; each takes 300 MB and a minute to
// make, once.
const envCache = "TAMADA_E2E_CACHE"

var makeRoots sync.Mutex // one after the other: they are many packages each

// debianRoot is a folder with a Debian of another suite and some packages in
// it. It is made by the tool debian-root, which is no part of this repository.
func debianRoot(t testing.TB, suite, name string, packages ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("%s in another Debian needs root", name)
	}
	cache := os.Getenv(envCache)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("%s: no folder for it: set %s", name, envCache)
		}
		cache = filepath.Join(user, "tamada-e2e")
	}
	dir := filepath.Join(cache, name)
	tool := findTool()
	if tool == "" {
		t.Skipf("%s is not there: it needs the tool ../shared/tools/debian-root beside the repository", name)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	makeRoots.Lock()
	defer makeRoots.Unlock()
	if out, err := exec.Command(tool, append([]string{suite, dir}, packages...)...).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be installed: %v: %s", name, err, lastLine(out))
	}
	return dir
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// findTool looks for the tool in the folders above the repository.
func findTool() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return ""
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		path := filepath.Join(dir, "shared", "tools", "debian-root")
		if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// inRoot is a place in such a folder, with the program under test in it.
func inRoot(t testing.TB, root, postgres string) *place {
	t.Helper()
	dir := filepath.Join(root, "e2e", filepath.Base(workDir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.RemoveAll(filepath.Join(dir, t.Name()))
		_ = os.Remove(dir) // the last test's turn
	})
	path := filepath.Join(dir, t.Name(), "tamada")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(builtProgram(t), path); err != nil {
		t.Fatal(err)
	}
	p := &place{address: "127.0.0.1", root: root, binDir: filepath.Join("/usr/lib/postgresql", postgres, "bin")}
	p.tamada = p.inside(path)
	return p
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open: "text file busy"
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// postgresOf are the ids of the user postgres in another Debian.
func postgresOf(t testing.TB, root string) (uid, gid int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, ":")
		if f[0] == "postgres" && len(f) > 3 {
			uid, _ = strconv.Atoi(f[2])
			gid, _ = strconv.Atoi(f[3])
			return uid, gid
		}
	}
	t.Fatalf("no user postgres in %s", root)
	return 0, 0
}

// The Debians that tests use.
func postgres13(t testing.TB) *place {
	return inRoot(t, debianRoot(t, "bullseye", "postgresql-13", "postgresql-13"), "13")
}

func postgres17(t testing.TB) *place {
	return inRoot(t, debianRoot(t, "trixie", "postgresql-17", "postgresql-17"), "17")
}

// patroni41 has PostgreSQL 18 too.
func patroni41(t testing.TB) *place {
	return inRoot(t, debianRoot(t, "sid", "patroni-4.1", "patroni", "postgresql-18", "python3-etcd"), "18")
}
