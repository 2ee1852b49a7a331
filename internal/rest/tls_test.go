package rest

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/rest/peer"
	"tamada/internal/rest/tlsfile"
)

// selfSigned writes a certificate with its key, which is its own authority.
func selfSigned(t *testing.T, serial int64) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "pair.pem")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// secure sends a request over TLS and returns the answer and the server's
// certificate.
func secure(t *testing.T, addr, request string, config *tls.Config) (string, *x509.Certificate) {
	t.Helper()
	config.InsecureSkipVerify = true
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c) // fails without a close_notify
	if err != nil {
		t.Fatal(err)
	}
	return string(b), c.ConnectionState().PeerCertificates[0]
}

func TestTLS(t *testing.T) {
	t.Parallel()
	pair := selfSigned(t, 1)
	o := captureOptions("pg-a")
	o.TLS = tlsfile.Server{CertFile: pair, CAFile: pair, VerifyClient: "optional"}
	o.HTTPExtraHeaders = map[string]string{"X-One": "http"}
	o.HTTPSExtraHeaders = map[string]string{"x-one": "https"}
	s, addr := startWith(t, healthyPrimary(t), o, short)

	t.Run("health checks need no certificate", func(t *testing.T) {
		if got, _ := secure(t, addr, get("/primary"), &tls.Config{}); !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.Contains(got, "X-One: https\r\n") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("unsupported methods are closed in order", func(t *testing.T) {
		const want = "HTTP/1.1 501 Unsupported method ('PUT')\r\n"
		if got, _ := secure(t, addr, request("PUT", "/x", "", "{}"), &tls.Config{}); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "</html>\n") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("protected endpoints do", func(t *testing.T) {
		reload := request("POST", "/reload", authorized, "")
		if got, _ := secure(t, addr, reload, &tls.Config{}); !strings.HasPrefix(got, "HTTP/1.1 403") || !strings.HasSuffix(got, "client certificate required") {
			t.Errorf("without: %q", got)
		}
		cert, err := tls.LoadX509KeyPair(pair, pair)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := secure(t, addr, reload, &tls.Config{Certificates: []tls.Certificate{cert}}); !strings.HasPrefix(got, "HTTP/1.1 202") {
			t.Errorf("with: %q", got)
		}
	})
	t.Run("silent clients do not stop it", func(t *testing.T) {
		silent := dial(t, addr, "")
		for range 2 * short.conns {
			dial(t, addr, "")
		}
		if got, _ := secure(t, addr, get("/primary"), &tls.Config{}); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("got %q", got)
		}
		wantClosed(t, silent)
	})
	t.Run("a peer is understood", func(t *testing.T) {
		c, err := peer.New(peer.Options{TLS: tlsfile.Client{CertFile: pair, CAFile: pair}})
		if err != nil {
			t.Fatal(err)
		}
		a := c.Poll(t.Context(), &cluster.Member{Name: "pg-a", APIURL: "https://" + addr + "/patroni"})
		if a.Err != nil || !a.Primary || a.Timeline != 1 {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("a new certificate is taken without a new listener", func(t *testing.T) {
		o.TLS.CertFile = selfSigned(t, 2)
		if err := s.Reload(o); err != nil {
			t.Fatal(err)
		}
		if _, cert := secure(t, addr, get("/primary"), &tls.Config{}); cert.SerialNumber.Int64() != 2 {
			t.Errorf("serial number %d", cert.SerialNumber)
		}
	})
	t.Run("TLS can be switched off", func(t *testing.T) {
		o.TLS = tlsfile.Server{}
		if err := s.Reload(o); err != nil {
			t.Fatal(err)
		}
		if code := codeOf(t, addr, get("/primary")); code != 200 {
			t.Errorf("answered %d", code)
		}
	})
}

func TestRequiredClientCertificate(t *testing.T) {
	t.Parallel()
	pair, stranger := selfSigned(t, 1), selfSigned(t, 2)
	o := captureOptions("pg-a")
	o.TLS = tlsfile.Server{CertFile: pair, CAFile: pair, VerifyClient: "REQUIRED"}
	_, addr := startWith(t, healthyPrimary(t), o, short)
	load := func(file string) tls.Certificate {
		cert, err := tls.LoadX509KeyPair(file, file)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	for name, test := range map[string]struct {
		certs  []tls.Certificate
		served bool
	}{"none": {nil, false}, "a stranger's": {[]tls.Certificate{load(stranger)}, false}, "a good one": {[]tls.Certificate{load(pair)}, true}} {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: test.certs})
		var answer []byte
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(c, get("/primary"))
			answer, _ = io.ReadAll(c)
			_ = c.Close()
		}
		if served := strings.HasPrefix(string(answer), "HTTP/1.1 200"); served != test.served {
			t.Errorf("certificate: %s: served %v, want %v (%v)", name, served, test.served, err)
		}
	}
}

func TestTLSThatIsSwitchedOnEndsPlainConnections(t *testing.T) {
	t.Parallel()
	o := captureOptions("pg-a")
	s, addr := start(t, healthyPrimary(t), o)
	const ask = "GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n"
	plain := dial(t, addr, ask)
	r := bufio.NewReader(plain)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(o); err != nil { // nothing changed: it stays
		t.Fatal(err)
	}
	_, _ = io.WriteString(plain, ask)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatalf("closed by a reload that changed nothing: %v", err)
	}
	o.TLS = tlsfile.Server{CertFile: selfSigned(t, 1)}
	if err := s.Reload(o); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the plain connection stays: %v", err)
	}
	// The same pair under another name is no change.
	before := s.opts.Load().tls
	copied := filepath.Join(t.TempDir(), "copy.pem")
	b, err := os.ReadFile(o.TLS.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	o.TLS.CertFile = copied
	if err := s.Reload(o); err != nil || s.opts.Load().tls != before {
		t.Errorf("new settings for the same certificate (%v)", err)
	}
}

func TestBadCertificateLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	o := captureOptions("pg-a")
	o.TLS = tlsfile.Server{CertFile: selfSigned(t, 7)}
	s, addr := start(t, healthyPrimary(t), o)
	if err := os.WriteFile(o.TLS.CertFile, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(o); err == nil || !strings.Contains(err.Error(), o.TLS.CertFile) {
		t.Errorf("error %v does not name the file", err)
	}
	if got, cert := secure(t, addr, get("/primary"), &tls.Config{}); !strings.HasPrefix(got, "HTTP/1.1 200") || cert.SerialNumber.Int64() != 7 {
		t.Errorf("serial number %d, %.40q", cert.SerialNumber, got)
	}
}

func TestListenerIsReplaced(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	known, _ := agent.sql(t.Context())
	release, asked := make(chan struct{}), make(chan struct{}, 100)
	agent.sql = func(ctxT) (*SQLStatus, error) { asked <- struct{}{}; <-release; return known, nil }
	s, err := New(agent, captureOptions("pg-a"), quiet())
	if err != nil {
		t.Fatal(err)
	}
	listen := func() (net.Listener, chan error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		return l, ended
	}
	first, firstEnded := listen()
	working := dial(t, first.Addr().String(), get("/primary"))
	<-asked
	second, secondEnded := listen()
	s.Retire(first)
	if err := <-firstEnded; err != nil {
		t.Errorf("Serve on the retired listener: %v", err)
	}
	if c, err := net.Dial("tcp", first.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the old address accepts connections")
	}
	if code := codeOf(t, second.Addr().String(), get("/liveness")); code != 200 {
		t.Errorf("the new address answers %d", code)
	}
	close(release)
	if got := wantClosed(t, working); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("the request in work got %.40q", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-secondEnded; err != nil {
		t.Error(err)
	}
}
