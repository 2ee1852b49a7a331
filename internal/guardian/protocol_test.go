//go:build linux

package guardian

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// packetPair are the two ends of a connection as there is between a guardian and
// its agent.
func packetPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return ends[0], ends[1]
}

func TestAfterAnOtherSideThatStoodStillMessagesGoThroughAgain(t *testing.T) {
	t.Parallel()
	a, b := packetPair(t)
	sent := 0
	for send(a, message{Type: msgSign, Seq: uint64(sent)}, nil) == nil {
		if sent++; sent > 1_000_000 {
			t.Fatal("a side that reads nothing takes everything")
		}
	}
	for i := range sent {
		if m, _, err := receive(b); err != nil || m.Seq != uint64(i) {
			t.Fatalf("message %d of %d is %+v, %v", i, sent, m, err)
		}
	}
	if err := send(a, message{Type: msgSign, Seq: 7}, nil); err != nil {
		t.Fatalf("the other side reads again: %v", err)
	}
	if m, _, err := receive(b); err != nil || m.Seq != 7 {
		t.Fatalf("it received %+v, %v", m, err)
	}
}
