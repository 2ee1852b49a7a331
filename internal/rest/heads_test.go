package rest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"tamada/internal/rest/tlsfile"
)

// spoken is a connection on which a client has said something, in pieces as a
// reader gives them.
type spoken struct {
	net.Conn
	io.Reader
}

func (s spoken) Read(p []byte) (int, error) { return s.Reader.Read(p) }

// handedOn is what net/http gets to read.
func handedOn(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(&heads{Conn: spoken{Reader: r}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHeadsAreMended(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ in, want string }{
		"a host":                      {"GET / HTTP/1.1\r\nhost: x\r\n\r\n", ""},
		"HTTP/1.0":                    {"GET / HTTP/1.0\r\n\r\n", ""},
		"CONNECT":                     {"CONNECT a:1 HTTP/1.1\r\n\r\n", ""},
		"no host":                     {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
		"no host, bare line feeds":    {"GET / HTTP/1.1\nA: b\n\n", "GET / HTTP/1.1\nA: b\nHost:\r\n\n"},
		"a host in a body only":       {"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nHost: x\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\nHost:\r\n\r\nHost: x\r\n"},
		"a body like a head":          {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		"the second of two":           {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\nHost:\r\n\r\n"},
		"empty lines after a POST":    {"POST / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n"},
		"nothing after chunks":        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost:\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"},
		"nothing after an upgrade":    {"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: y\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		"nothing after a long line":   {"GET / HTTP/1.1\r\nA: " + strings.Repeat("a", maxLine) + "\r\n\r\nGET / HTTP/1.1\r\n\r\n", ""},
		"a length said twice":         {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\n", ""},
		"a length that is none":       {"PUT / HTTP/1.1\r\nHost: x\r\ncontent-length: abc\r\n\r\n{}", "PUT / HTTP/1.1\r\nHost: x\r\n" + badLength + ": abc\r\n\r\n"},
		"nothing after a bad length":  {"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\n" + badLength + ": -1\r\nHost:\r\n\r\n"},
		"neither of a bad and a good": {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\nContent-Length: 2\r\n\r\n{}", "PUT / HTTP/1.1\r\nHost: x\r\n" + badLength + ":\r\n" + badLength + ": 2\r\n\r\n"},
	} {
		if test.want == "" {
			test.want = test.in
		}
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(test.in), "by bytes": iotest.OneByteReader(strings.NewReader(test.in))} {
			if got := handedOn(t, r); got != test.want {
				t.Errorf("%s, %s: handed on\n%.300q, want\n%.300q", name, how, got, test.want)
			}
		}
	}
}

// What is needed of the beginning of a head is handed on at once, and a read
// that is given up for a deadline loses nothing.
func TestHeadsDoNotWaitForMore(t *testing.T) {
	t.Parallel()
	h := &heads{Conn: spoken{Reader: io.MultiReader(strings.NewReader("GET / HT"), strings.NewReader("TP/1.1\r\nHo"),
		iotest.ErrReader(os.ErrDeadlineExceeded))}}
	p := make([]byte, 100)
	for _, want := range []string{"GET / HT", "TP/1.1\r\n"} {
		if n, err := h.Read(p); err != nil || string(p[:n]) != want {
			t.Fatalf("read %q, %v, want %q", p[:n], err, want)
		}
	}
	if _, err := h.Read(p); err != os.ErrDeadlineExceeded {
		t.Fatalf("error %v", err)
	}
	h.Conn = spoken{Reader: strings.NewReader("st: x\r\n\r\n")}
	if n, err := h.Read(p); err != nil || string(p[:n]) != "Host: x\r\n\r\n" {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

// FuzzHeads: requests that net/http takes reach it as they came, however they
// are cut up, and what it gets to read does not depend on the cuts.
func FuzzHeads(f *testing.F) {
	f.Add([]byte("GET /primary HTTP/1.1\r\nHost: x\r\n\r\n"), byte(7))
	f.Add([]byte("PUT /config HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.0\r\n\r\n"), byte(1))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"), byte(3))
	f.Add([]byte("POST / HTTP/1.1\r\nA: b\r\n Host: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n\r\n\r\n"), byte(100))
	f.Fuzz(func(t *testing.T, in []byte, cut byte) {
		whole := handedOn(t, bytes.NewReader(in))
		if got := handedOn(t, &cutter{in, int(cut)%64 + 1}); got != whole {
			t.Fatalf("cut up %q, whole %q", got, whole)
		}
		r := bufio.NewReader(bytes.NewReader(in))
		taken := 0 // bytes of requests that net/http takes
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				break
			}
			// The server asks for a host of its own accord.
			if req.ProtoAtLeast(1, 1) && req.Host == "" {
				break
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				break
			}
			if req.Method == "CONNECT" || req.Method == "PRI" {
				break
			}
			taken = len(in) - r.Buffered()
		}
		if len(in) < 4096 && !strings.HasPrefix(whole, string(in[:taken])) {
			t.Errorf("%q became %q", in[:taken], whole)
		}
	})
}

// A cutter reads in pieces of one length.
type cutter struct {
	left []byte
	n    int
}

func (c *cutter) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[:min(c.n, len(c.left))])
	c.left = c.left[n:]
	return n, nil
}

// HAProxy's `http-check send meth GET uri /primary ver HTTP/1.1` names no host.
func TestHostIsNotNeeded(t *testing.T) {
	t.Parallel()
	const ask = "GET /primary HTTP/1.1\r\n\r\n"
	_, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	c := dial(t, addr, "")
	r := bufio.NewReader(c)
	for i := range 3 { // on a connection that stays
		fmt.Fprint(c, ask)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatalf("check %d: %d, %v", i, resp.StatusCode, err)
		}
	}
	o := captureOptions("pg-a")
	o.TLS = tlsfile.Server{CertFile: selfSigned(t, 1)}
	_, addr = start(t, healthyPrimary(t), o)
	if got, _ := secure(t, addr, "GET /primary HTTP/1.1\r\nConnection: close\r\n\r\n", &tls.Config{}); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("with TLS: %q", got)
	}
}

// A Content-Length that is no number matters where a body does, and there after
// the authentication; the connection is at its end in any case.
func TestUnreadableContentLength(t *testing.T) {
	t.Parallel()
	_, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	for _, length := range []string{"abc", "-1", "", "1 2", "99999999999999999999"} {
		for target, want := range map[string]string{
			"PATCH /config":      "400 Bad Request",
			"POST /restart":      "400 Bad Request",
			"POST /reload":       "202 Accepted",
			"GET /primary":       "200 OK",
			"DELETE /switchover": "404 Not Found",
		} {
			ask := target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + "\r\n" + authorized + "\r\n"
			got := wantClosed(t, dial(t, addr, ask+"GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n"))
			if !strings.HasPrefix(got, "HTTP/1.1 "+want) || strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "Connection: close\r\n") {
				t.Errorf("%s with %q: %q, want %s", target, length, got, want)
			}
			if strings.HasPrefix(want, "400") && !strings.Contains(got, "<p>Error code: 400</p>") {
				t.Errorf("%s with %q: no page: %q", target, length, got)
			}
		}
		if got := wantClosed(t, dial(t, addr, "PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: "+length+"\r\n\r\n")); !strings.HasPrefix(got, "HTTP/1.1 401") {
			t.Errorf("without credentials: %q", got)
		}
	}
}
