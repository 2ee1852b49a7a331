package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// checksGoOn asks for a health check on a new connection over and over until
// the function that it returns is called; each answer must be 200 and prompt.
func checksGoOn(t *testing.T, addr string) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	var worst time.Duration
	count := 0
	go func() {
		defer close(ended)
		for {
			begun := time.Now()
			code, err := checkOnce(addr)
			took := time.Since(begun)
			worst = max(worst, took)
			if err != nil || code != 200 || took > promptly {
				t.Errorf("a health check got %d after %v (%v)", code, took, err)
			}
			count++
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		t.Logf("%d health checks, the slowest took %v", count, worst)
	}
}

func checkOnce(addr string) (code int, err error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(2 * promptly))
	if _, err := io.WriteString(c, get("/primary")); err != nil {
		return 0, err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	return r.StatusCode, nil
}

// TestTenThousandIdleConnections: half of them never say anything, a quarter
// stays after a request, a quarter never ends its request.
func TestTenThousandIdleConnections(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Descriptors of both sides are in this process.
	count := int(min(10_000, limit.Cur-2*maxConns-100))
	if count < 10_000 {
		t.Logf("only %d connections, because of the limit of open files", count)
	}
	_, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	stop := checksGoOn(t, addr)
	conns := make([]net.Conn, 0, count)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range count {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		switch i % 4 {
		case 0:
			_, _ = io.WriteString(c, "GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n")
		case 1:
			_, _ = io.WriteString(c, "GET /primary HTTP/1.1\r\nHost: x\r\n")
		}
	}
	stop()
}

// TestSlowAndHugeRequests: clients that send a byte now and then, and headers
// and bodies without end.
func TestSlowAndHugeRequests(t *testing.T) {
	_, addr := startWith(t, healthyPrimary(t), captureOptions("pg-a"), usualLimits)
	stop := checksGoOn(t, addr)
	var wg sync.WaitGroup
	var sent atomic.Int64
	until := time.Now().Add(2 * time.Second)
	for i := range 600 { // more than there may be
		wg.Go(func() {
			c, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(until.Add(time.Second))
			if i%20 == 0 {
				flood(c, i%40 == 0, &sent)
				return
			}
			for _, b := range []byte("POST /config HTTP/1.1\r\nHost: somebody\r\nX-Slow: yes\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return // replaced by another one
				}
				if time.Sleep(50 * time.Millisecond); time.Now().After(until) {
					return
				}
			}
		})
	}
	wg.Wait()
	stop()
	if taken := sent.Load(); taken > 600<<20 {
		t.Errorf("the server took %d bytes", taken)
	}
}

// flood sends a header or a body that does not end, until the server has had
// enough.
func flood(c net.Conn, header bool, sent *atomic.Int64) {
	begin := "PUT /config HTTP/1.1\r\nHost: x\r\n" + authorized + "Content-Length: 1000000000\r\n\r\n"
	if header {
		begin = "GET /primary HTTP/1.1\r\nHost: x\r\nX: "
	}
	if _, err := io.WriteString(c, begin); err != nil {
		return
	}
	chunk := strings.Repeat("x", 64<<10)
	for range 300 {
		n, err := io.WriteString(c, chunk)
		sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// TestChangesShowAtOnceUnderLoad: 16 clients ask without a pause. A lock that
// is given up, and a state that changes because the postmaster was killed, show
// in the answers at once, although PostgreSQL still has an answer at hand.
func TestChangesShowAtOnceUnderLoad(t *testing.T) {
	agent := healthyPrimary(t)
	_, addr := start(t, agent, captureOptions("pg-a"))
	var lock, state atomic.Int64 // when the first answer that knew of the change was sent for
	var late atomic.Int64
	begun := time.Now()
	stop := make(chan struct{})
	var changed [2]atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			c := dial(t, addr, "")
			r := bufio.NewReader(c)
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked := int64(time.Since(begun))
				fmt.Fprint(c, "GET /primary HTTP/1.1\r\nHost: x\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Error(err)
					return
				}
				unlocked, crashed := resp.StatusCode == 503, strings.Contains(string(body), `"state": "crashed"`)
				for i, known := range []bool{unlocked, crashed} {
					if at := changed[i].Load(); at > 0 && asked > at && !known {
						late.Store(max(late.Load(), int64(time.Since(begun))-at))
					}
				}
				if unlocked {
					lock.CompareAndSwap(0, int64(time.Since(begun)))
				}
				if crashed {
					state.CompareAndSwap(0, int64(time.Since(begun)))
				}
			}
		})
	}
	wait := func(what string, v *atomic.Int64, i int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); v.Load() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s never showed", what)
			}
		}
		took := time.Duration(v.Load() - changed[i].Load())
		t.Logf("%s showed after %v", what, took)
		if took > 100*time.Millisecond {
			t.Errorf("%s showed after %v", what, took)
		}
	}
	time.Sleep(50 * time.Millisecond) // load before the first change
	changed[0].Store(int64(time.Since(begun)))
	agent.change(func(s *Snapshot) { s.LockUntil = 0 })
	wait("the lost lock", &lock, 0)
	changed[1].Store(int64(time.Since(begun)))
	agent.change(func(s *Snapshot) { s.State, s.Generation = cluster.StateCrashed, s.Generation+1 })
	wait("the crash", &state, 1)
	close(stop)
	wg.Wait()
	if l := time.Duration(late.Load()); l > 100*time.Millisecond {
		t.Errorf("an answer was %v behind", l)
	}
}
