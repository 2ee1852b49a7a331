// Package testport gives tests ports of 127.0.0.1 that nobody else takes before
// the server they are meant for listens, or while it is down in between: no other
// test, of this process or of another, and no outgoing connection.
package testport

import (
	"net"
	"strconv"
	"sync"
	"testing"
)

// A process owns whole blocks of ports: it listens on the first port of each for
// as long as it lives, and the kernel gives that to one process only. All of them
// are below the range that the kernel takes for outgoing connections (32768 and
// above, ip(7), ip_local_port_range).
const (
	lowest, highest = 20000, 32000
	block           = 250
)

var owned struct {
	sync.Mutex
	guards []net.Listener // of the blocks that are ours; never closed
	next   int            // the port to be given next
	left   int            // how many are left in the newest block
}

// Free gives n ports that nobody listens on.
func Free(t testing.TB, n int) []int {
	t.Helper()
	owned.Lock()
	defer owned.Unlock()
	var ports []int
	for len(ports) < n {
		if owned.left == 0 {
			own(t)
		}
		if unused(owned.next) {
			ports = append(ports, owned.next)
		}
		owned.next++
		owned.left--
	}
	return ports
}

// Range gives the first of n ports in a row that nobody listens on, at most 249.
func Range(t testing.TB, n int) int {
	t.Helper()
	if n >= block {
		t.Fatalf("%d ports in a row: at most %d", n, block-1)
	}
	owned.Lock()
	defer owned.Unlock()
	for run := 0; ; {
		if owned.left == 0 {
			own(t)
			run = 0
		}
		if unused(owned.next) {
			run++
		} else {
			run = 0
		}
		owned.next++
		owned.left--
		if run == n {
			return owned.next - n
		}
	}
}

// own takes one more block. When there is none left, as in a process that runs
// its tests many times, it gives back those of the process and begins anew: what
// still listens there is passed over.
func own(t testing.TB) {
	t.Helper()
	for range 2 {
		for first := lowest; first+block <= highest; first += block {
			if guard, err := listen(first); err == nil {
				owned.guards = append(owned.guards, guard)
				owned.next, owned.left = first+1, block-1
				return
			}
		}
		for _, g := range owned.guards {
			g.Close()
		}
		owned.guards = nil
	}
	t.Fatalf("no block of ports is free between %d and %d", lowest, highest)
}

func unused(port int) bool {
	l, err := listen(port)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
}
