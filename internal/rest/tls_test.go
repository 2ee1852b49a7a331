package rest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
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
