//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A namespace is a network of its own. It has no name and lives as long as a
// process in it, so nothing of it outlives the tests.
type namespace struct {
	holder *program
}

// A network is a switch in a namespace of its own, the hub, to which the
// namespaces of nodes are connected. Nothing of it reaches this machine's own
// interfaces.
type network struct {
	t     *testing.T
	hub   *namespace
	nodes int
}

const hubAddress = "10.77.0.1"

// newNetwork makes the hub.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, p := range []string{"ip", "unshare", "nsenter", "setpriv"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed (scripts/setup installs it)", p)
		}
	}
	w := &network{t: t, hub: newNamespace(t)}
	w.hub.ip(t, "link add br0 type bridge")
	w.hub.ip(t, "addr add "+hubAddress+"/24 dev br0")
	w.hub.ip(t, "link set br0 up")
	return w
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{holder: startProgram(t, "namespace", os.DevNull, exec.Command("unshare", "--net", "sleep", "infinity"))}
	t.Cleanup(n.holder.kill)
	// Not /proc/self: that is the first thread, which may have ended its life in
	// dial, in another namespace.
	ours, _ := os.Readlink("/proc/thread-self/ns/net")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		theirs, err := os.Readlink(n.path())
		if err == nil && theirs != ours {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no namespace: %v", err)
		}
	}
	n.ip(t, "link set lo up")
	return n
}

func (n *namespace) path() string { return "/proc/" + strconv.Itoa(n.holder.pid()) + "/ns/net" }

// ip runs the command of that name in the namespace.
func (n *namespace) ip(t testing.TB, args string) {
	t.Helper()
	argv := append([]string{"--net=" + n.path(), "ip"}, strings.Fields(args)...)
	if out, err := exec.Command("nsenter", argv...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// place adds a node's namespace, with an address of its own, and returns it and
// the name of its plug at the hub.
func (w *network) place() (p *place, plug string) {
	w.t.Helper()
	w.nodes++
	p = here(w.t)
	p.net, p.eyes = newNamespace(w.t), w.hub
	p.address = fmt.Sprintf("10.77.0.%d", 10+w.nodes)
	plug = fmt.Sprintf("plug%d", w.nodes)
	w.hub.ip(w.t, fmt.Sprintf("link add %s type veth peer name eth0 netns %d", plug, p.net.holder.pid()))
	w.hub.ip(w.t, "link set "+plug+" master br0 up")
	p.net.ip(w.t, "addr add "+p.address+"/24 dev eth0")
	p.net.ip(w.t, "link set eth0 up")
	return p, plug
}

// lose makes packets of a place to an address vanish on their way, those that
// come from there do not: they are sent to a card that nobody has.
func (p *place) lose(t testing.TB, to string) {
	t.Helper()
	p.net.ip(t, "neigh replace "+to+" lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
}

// find ends what lose began.
func (p *place) find(t testing.TB, to string) {
	t.Helper()
	p.net.ip(t, "neigh del "+to+" dev eth0")
}

// cut makes packets between two places vanish; mend lets them through again.
func cut(t testing.TB, a, b *place) {
	t.Helper()
	a.lose(t, b.address)
	b.lose(t, a.address)
}

func mend(t testing.TB, a, b *place) {
	t.Helper()
	a.find(t, b.address)
	b.find(t, a.address)
}

// dial connects from within the namespace: a socket belongs for ever to the one
// in which it was made.
func (n *namespace) dial(ctx context.Context, proto, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine instead of carrying the namespace elsewhere.
		runtime.LockOSThread()
		fd, err := unix.Open(n.path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, proto, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
