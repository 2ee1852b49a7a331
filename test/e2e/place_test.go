//go:build linux

package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"tamada/internal/testport"
)

// A place is where the processes of a node live and how they are reached.
type place struct {
	address string     // IP address of the node
	root    string     // folder that is / for the processes; empty: ours
	tamada  string     // path of the program, as the processes see it
	binDir  string     // PostgreSQL's programs, as the processes see them
	net     *namespace // of the processes; nil: ours
	eyes    *namespace // where the test's own connections begin; nil: ours
}

// here is this machine.
func here(t testing.TB) *place {
	t.Helper()
	return &place{address: "127.0.0.1", tamada: builtProgram(t), binDir: hostBinDir(t)}
}

var buildOnce = sync.OnceValue(build)

func builtProgram(t testing.TB) string {
	t.Helper()
	if err := buildOnce(); err != nil {
		t.Fatal(err)
	}
	return tamada
}

func hostBinDir(t testing.TB) string {
	if d := os.Getenv("PG_BINDIR"); d != "" {
		return d
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(dirs) == 0 {
		if p, err := exec.LookPath("postgres"); err == nil {
			return filepath.Dir(p)
		}
		t.Skip("PostgreSQL is not installed (scripts/setup installs it)")
	}
	version := func(d string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(d)))
		return n
	}
	return slices.MaxFunc(dirs, func(a, b string) int { return version(a) - version(b) })
}

// An account is who the processes of nodes run as.
type account struct {
	uid, gid int
	switched bool // we are root and they are not
}

var runAs = sync.OnceValues(func() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Getuid(), gid: os.Getgid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return account{}, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return account{uid, gid, true}, nil
})

func owner(t testing.TB) account {
	t.Helper()
	a, err := runAs()
	if err != nil {
		t.Fatalf("tests that run as root need the user postgres: %v", err)
	}
	return a
}

// give makes a path belong to who the nodes run as.
func (p *place) give(t testing.TB, path string) {
	t.Helper()
	a := owner(t)
	if !a.switched {
		return
	}
	uid, gid := a.uid, a.gid
	if p.root != "" {
		uid, gid = postgresOf(t, p.root)
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// inside is a path as the processes of the place see it.
func (p *place) inside(path string) string {
	if p.root == "" {
		return path
	}
	rel, err := filepath.Rel(p.root, path)
	if err != nil {
		panic(err)
	}
	return "/" + rel
}

// asPostgres, run by a shell, becomes the user postgres in a folder that has a
// Debian in it; the mounts are gone with the processes.
const asPostgres = `mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --make-rslave "$0/dev" &&
exec chroot "$0" setpriv --reuid=postgres --regid=postgres --init-groups "$@"`

// command prepares a command that runs in the place as the nodes' user; the pid
// of the started process is that of argv.
func (p *place) command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	a := owner(t)
	var cmd *exec.Cmd
	switch {
	case p.root != "":
		cmd = exec.Command("unshare", slices.Concat([]string{"--mount", "sh", "-c", asPostgres, p.root}, argv)...)
	case p.net != nil:
		cmd = exec.Command("nsenter", slices.Concat([]string{"--net=" + p.net.path(), "setpriv", "--reuid=postgres",
			"--regid=postgres", "--init-groups"}, argv)...)
	default:
		cmd = exec.Command(argv[0], argv[1:]...)
	}
	cmd.Dir = "/"
	cmd.Env = append(cleanEnvironment(), "LC_ALL=C.UTF-8")
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.switched && p.root == "" && p.net == nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	cmd.SysProcAttr = attr
	return cmd
}

// cleanEnvironment is what a service manager would give.
func cleanEnvironment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "TMPDIR=/tmp"}
}

// dial connects the test to an address of the place.
func (p *place) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if p.eyes != nil {
		return p.eyes.dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func freePort(t testing.TB) int {
	t.Helper()
	return testport.Free(t, 1)[0]
}
