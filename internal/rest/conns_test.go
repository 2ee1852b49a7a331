package rest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// short are limits that a test can wait for.
var short = limits{header: 200 * time.Millisecond, body: 200 * time.Millisecond, idle: 200 * time.Millisecond,
	write: time.Second, headerBytes: 4 << 10, conns: 8, young: 8}

func dial(t *testing.T, addr, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantClosed waits until the server closes a connection.
func wantClosed(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was left open")
	}
	return string(b)
}

func TestSlowClientsAreClosed(t *testing.T) {
	t.Parallel()
	_, addr := startWith(t, healthyPrimary(t), captureOptions("pg-a"), short)
	for name, test := range map[string]struct{ send, want string }{
		"says nothing":                       {"", ""},
		"half a header":                      {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"idle after a request":               {"GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"},
		"a body that does not come":          {"PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + authorized + "\r\n", "400 Bad Request"},
		"the same without credentials":       {"PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "401 Unauthorized"},
		"a body for a health check":          {"GET /primary HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "200 OK"},
		"a header that is too long":          {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n", "431"},
		"no HTTP at all":                     {"\x16\x03\x01\x02\x00\x01", ""},
		"chunks for a request without a use": {"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "501"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := wantClosed(t, dial(t, addr, test.send)); !strings.Contains(got, test.want) {
				t.Errorf("answered %q, want %q", got, test.want)
			}
		})
	}
}

func TestSilentConnectionsDoNotStopHealthChecks(t *testing.T) {
	t.Parallel()
	patient := short
	patient.header, patient.idle = time.Minute, time.Minute
	_, addr := startWith(t, healthyPrimary(t), captureOptions("pg-a"), patient)
	for i := range 5 * patient.conns {
		send := ""
		if i%2 == 0 {
			send = "GET / HTTP/1.1\r\n" // never ends
		}
		dial(t, addr, send)
		if i%5 == 0 {
			if code := codeOf(t, addr, get("/primary")); code != 200 {
				t.Fatalf("after %d silent connections a health check answered %d", i+1, code)
			}
		}
	}
}

func TestOldestIdleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	patient := short
	patient.idle = time.Minute
	_, addr := startWith(t, healthyPrimary(t), captureOptions("pg-a"), patient)
	const ask = "GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n"
	var conns []net.Conn
	for range patient.conns {
		c := dial(t, addr, ask)
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	again := func(c net.Conn) error {
		if _, err := io.WriteString(c, ask); err != nil {
			return err
		}
		_, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err
	}
	if err := again(conns[0]); err != nil { // now it is the youngest
		t.Fatal(err)
	}
	if code := codeOf(t, addr, get("/liveness")); code != 200 {
		t.Fatalf("one more connection: %d", code)
	}
	wantClosed(t, conns[1])
	if err := again(conns[0]); err != nil {
		t.Errorf("the youngest connection was closed: %v", err)
	}
}

// A connection that was accepted a moment ago stays while its pool is not too
// full even for a flood; afterwards the pool gets back to its usual number.
func TestYoungConnectionsStayInAFlood(t *testing.T) {
	t.Parallel()
	p := &pool{limit: 2, young: 4, conns: map[*conn]struct{}{}}
	list := make([]*conn, 8)
	add := func(i int) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		list[i] = &conn{Conn: near, pool: p}
		list[i].waiting.Store(sinceBegun() + int64(i))
		if !p.admit(list[i]) {
			t.Fatalf("connection %d was refused", i)
		}
	}
	want := func(kept ...int) {
		t.Helper()
		var got []int
		for i, c := range list {
			if _, in := p.conns[c]; in {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, kept) {
			t.Fatalf("kept %v, want %v", got, kept)
		}
	}
	for i := range 5 {
		add(i)
	}
	want(1, 2, 3, 4) // the fifth was one too many even for a flood
	for _, c := range list[1:5] {
		c.waiting.Add(-int64(breath))
	}
	add(5)
	want(3, 4, 5)
	add(6)
	want(5, 6)
	list[5].waiting.Store(0)
	list[6].waiting.Store(0)
	if p.admit(&conn{Conn: list[0].Conn, pool: p}) {
		t.Error("admitted although all others have a request in work")
	}
}

func TestConnectionsWithARequestInWorkAreKept(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	known, _ := agent.sql(t.Context())
	release, asked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	agent.sql = func(ctxT) (*SQLStatus, error) {
		once.Do(func() { close(asked) })
		<-release
		return known, nil
	}
	_, addr := startWith(t, agent, captureOptions("pg-a"), short)
	working := dial(t, addr, get("/primary"))
	<-asked
	for range 3 * short.conns {
		dial(t, addr, "")
	}
	if code := codeOf(t, addr, get("/liveness")); code != 200 {
		t.Errorf("beside a request in work: %d", code)
	}
	close(release)
	if got := wantClosed(t, working); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("the request in work got %q", got)
	}
}

func TestHalfClosedClientGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	known, _ := agent.sql(t.Context())
	agent.sql = func(ctx ctxT) (*SQLStatus, error) {
		select { // long enough for the end of the client's side to be seen
		case <-time.After(100 * time.Millisecond):
			return known, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	_, addr := start(t, agent, captureOptions("pg-b"))
	if code := codeOf(t, addr, get("/replica")); code != 200 { // codeOf closes its side at once
		t.Errorf("answered %d", code)
	}
}

func TestKeepAliveServesManyRequests(t *testing.T) {
	t.Parallel()
	_, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	c := dial(t, addr, "")
	r := bufio.NewReader(c)
	for i := range 20 {
		for _, path := range []string{"/primary", "/liveness", "/metrics", "/config"} {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("request %d of %s: %v", i, path, err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || resp.ContentLength != int64(len(body)) || len(resp.TransferEncoding) != 0 {
				t.Fatalf("%s: %d, length %d of %d, %v", path, resp.StatusCode, resp.ContentLength, len(body), err)
			}
		}
	}
}
