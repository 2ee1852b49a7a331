//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// certify writes a certificate with its key that is its own authority.
func (c *cluster) certify(path string, serial int64) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "e2e"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	here(c.t).give(c.t, path)
}

// TestRequestsWithClientCertificates: the nodes ask each other and are asked
// with certificates, and a renewed one is taken up without a restart.
func TestRequestsWithClientCertificates(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	pair := filepath.Join(c.dir, "pair.pem")
	c.certify(pair, 1)
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	with := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}
	client := func(n *node, config *tls.Config) *http.Client {
		return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: n.at.dial, DisableKeepAlives: true, TLSClientConfig: config}}
	}
	secured := func(n *node) {
		n.scheme = "https"
		n.http = client(n, with)
		for k, v := range map[string]any{"certfile": n.file("server.pem"), "cafile": pair, "verify_client": "required"} {
			n.set("restapi."+k, v)
		}
		n.set("ctl.certfile", pair)
		n.set("ctl.cacert", pair)
		// The servers' certificates are by the same authority as the clients'.
		b, err := os.ReadFile(pair)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.file("server.pem"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		n.at.give(t, n.file("server.pem"))
	}
	leader := c.bringUp(2, secured)
	if resp, err := client(leader, &tls.Config{InsecureSkipVerify: true}).Get(leader.restURL() + "/primary"); err == nil {
		resp.Body.Close()
		t.Errorf("a client without a certificate got %d", resp.StatusCode)
	}
	leader.want(200, `Successfully switched over to "n2"`, "POST", "/switchover", `{"leader": "n1", "candidate": "n2"}`)
	leader = c.nodes[1]
	c.waitHealthy(patience, leader)

	serial := func() string {
		resp, err := leader.http.Get(leader.restURL() + "/primary")
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		return fmt.Sprint(resp.TLS.PeerCertificates[0].SerialNumber)
	}
	postmaster := leader.postmasterPID()
	c.certify(leader.file("server.pem"), 2)
	leader.kill(leader.main.pid(), syscall.SIGHUP, "guardian")
	c.eventually(patience, "the certificate is renewed by SIGHUP", func() (bool, string) { s := serial(); return s == "2", s })
	c.certify(leader.file("server.pem"), 3)
	leader.want(202, "reload scheduled", "POST", "/reload", "")
	c.eventually(patience, "the certificate is renewed by request", func() (bool, string) { s := serial(); return s == "3", s })
	if now := leader.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
}
