package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// BenchmarkKeepAlive measures GET /primary as load balancers ask it: 16
// connections that stay. Client and server share the machine.
func BenchmarkKeepAlive(b *testing.B) {
	snap := &Snapshot{State: cluster.StateRunning, Role: cluster.RolePrimary, LockUntil: fakeNow + time.Hour, SystemID: "7400112233445566778"}
	agent := clocked{newFakeAgent(snap, &SQLStatus{ServerVersion: 150018, PostmasterStart: time.Unix(1, 1000), Flushed: 1, Timeline: 1,
		Replication: make([]WALSender, 2)}), time.Now()}
	s, err := New(agent, captureOptions("pg-a"), quiet())
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.http.Close() })
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := askUntil(l.Addr().String(), &left); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// askUntil asks over one connection until none of the requests are left.
func askUntil(addr string, left *atomic.Int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	r := textproto.NewReader(bufio.NewReader(c))
	for left.Add(-1) >= 0 {
		if _, err := io.WriteString(c, "GET /primary HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		status, err := r.ReadLine()
		if err != nil || status != "HTTP/1.1 200 OK" {
			return fmt.Errorf("%q: %w", status, err)
		}
		h, err := r.ReadMIMEHeader()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(h.Get("Content-Length"))
		if err != nil {
			return err
		}
		if _, err := r.R.Discard(n); err != nil {
			return err
		}
	}
	return nil
}
