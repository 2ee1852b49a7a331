package tlsfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// The keys in testdata were made by OpenSSL 3.0 with the password "test".
func TestEncryptedKeysOfOpenSSL(t *testing.T) {
	t.Parallel()
	cert := filepath.Join("testdata", "cert.pem")
	for _, name := range []string{"aes256", "aes128-sha1", "aes192-sha512", "des3", "traditional"} {
		key := filepath.Join("testdata", name+".pem")
		c, err := Server{CertFile: cert, KeyFile: key, KeyPassword: "test"}.Config(quiet())
		if err != nil || len(c.Certificates) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		for password, hint := range map[string]string{"": "set keyfile_password", "wrong1": "check keyfile_password"} {
			_, err := Server{CertFile: cert, KeyFile: key, KeyPassword: password}.Config(quiet())
			if err == nil || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s with password %q: %v", name, password, err)
			}
			if err != nil && password != "" && strings.Contains(err.Error(), password) {
				t.Errorf("%s: the error shows the password: %v", name, err)
			}
		}
	}
	_, err := Server{CertFile: cert, KeyFile: filepath.Join("testdata", "scrypt.pem"), KeyPassword: "test"}.Config(quiet())
	if err == nil || !strings.Contains(err.Error(), "openssl pkcs8") {
		t.Errorf("an unknown form: %v", err)
	}
}

func FuzzPKCS8(f *testing.F) {
	for _, name := range []string{"aes256", "des3", "scrypt"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".pem"))
		if err != nil {
			f.Fatal(err)
		}
		b, _ := pem.Decode(data)
		f.Add(b.Bytes)
	}
	f.Fuzz(func(_ *testing.T, der []byte) {
		if len(der) < 400 { // iterations cost time, and only they
			_, _ = decryptPKCS8(der, "test")
		}
	})
}

func TestCiphers(t *testing.T) {
	t.Parallel()
	const gcm128, gcm256 = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
	for list, want := range map[string]struct{ in, out []uint16 }{
		"ECDHE-RSA-AES128-GCM-SHA256":                             {[]uint16{gcm128}, []uint16{gcm256}},
		"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384": {[]uint16{gcm128, gcm256}, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
		"EECDH+AESGCM:EDH+AESGCM":                                 {[]uint16{gcm128, gcm256}, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
		"HIGH:!aNULL:!MD5:@STRENGTH":                              {[]uint16{gcm128, gcm256, tls.TLS_RSA_WITH_AES_128_CBC_SHA}, nil},
		"HIGH:!RSA:!SHA1":                                         {[]uint16{gcm128, gcm256}, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
		"!AES128:ALL":                                             {[]uint16{gcm256}, []uint16{gcm128}},
		"ALL:-AES128:ECDHE-RSA-AES128-GCM-SHA256":                 {[]uint16{gcm128, gcm256}, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
	} {
		ids, err := parseCiphers(list)
		if err != nil {
			t.Errorf("%s: %v", list, err)
		}
		for _, id := range want.in {
			if !slices.Contains(ids, id) {
				t.Errorf("%s lacks %s", list, tls.CipherSuiteName(id))
			}
		}
		for _, id := range want.out {
			if slices.Contains(ids, id) {
				t.Errorf("%s has %s", list, tls.CipherSuiteName(id))
			}
		}
	}
	for _, list := range []string{"NULL", "RC4", "!ALL", "nonsense", "+"} {
		if _, err := parseCiphers(list); err == nil {
			t.Errorf("%s is accepted", list)
		}
	}
}

// An authority makes certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = writePEM(t, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// pair makes a certificate and its key in one file, for a name that is nobody's.
func (a *authority) pair() string {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "nobody"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return writePEM(a.t, &pem.Block{Type: "CERTIFICATE", Bytes: der}, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, blocks ...*pem.Block) string {
	t.Helper()
	var data []byte
	for _, b := range blocks {
		data = append(data, pem.EncodeToMemory(b)...)
	}
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// shake tries a handshake; an error on either side counts.
func shake(t *testing.T, server Server, client Client) error {
	t.Helper()
	sc, err := server.Config(quiet())
	if err != nil {
		t.Fatal(err)
	}
	cc, err := client.Config()
	if err != nil {
		t.Fatal(err)
	}
	left, right := net.Pipe()
	defer func() { _, _ = left.Close(), right.Close() }()
	deadline := time.Now().Add(5 * time.Second)
	_, _ = left.SetDeadline(deadline), right.SetDeadline(deadline)
	ended := make(chan error, 1)
	go func() {
		c := tls.Server(left, sc)
		err := c.Handshake()
		if err == nil {
			_, err = c.Write([]byte("x")) // with TLS 1.3 the client learns of a refusal only now
		}
		_ = c.Close()
		ended <- err
	}()
	c := tls.Client(right, cc)
	err = c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	_ = right.Close()
	if serverErr := <-ended; err == nil {
		err = serverErr
	}
	return err
}

func TestWhoTrustsWhom(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	for name, test := range map[string]struct {
		server Server
		client Client
		ok     bool
	}{
		"any server is trusted without an own certificate": {Server{CertFile: theirs.pair()}, Client{CAFile: ours.file}, true},
		"with one the chain is verified, not the name":     {Server{CertFile: ours.pair()}, Client{CertFile: ours.pair(), CAFile: ours.file}, true},
		"with one a foreign chain is refused":              {Server{CertFile: theirs.pair()}, Client{CertFile: ours.pair(), CAFile: ours.file}, false},
		"required and shown": {Server{CertFile: ours.pair(), CAFile: ours.file, VerifyClient: "Required"},
			Client{CertFile: ours.pair(), CAFile: ours.file}, true},
		"required and not shown":  {Server{CertFile: ours.pair(), CAFile: ours.file, VerifyClient: "required"}, Client{}, false},
		"optional and not shown":  {Server{CertFile: ours.pair(), CAFile: ours.file, VerifyClient: "optional"}, Client{}, true},
		"optional and of another": {Server{CertFile: ours.pair(), CAFile: ours.file, VerifyClient: "optional"}, Client{CertFile: theirs.pair(), CAFile: ours.file}, false},
		"none, of another":        {Server{CertFile: ours.pair(), CAFile: ours.file}, Client{CertFile: theirs.pair(), CAFile: ours.file}, true},
		"an unknown word is none": {Server{CertFile: ours.pair(), CAFile: ours.file, VerifyClient: "sometimes"}, Client{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := shake(t, test.server, test.client); (err == nil) != test.ok {
				t.Errorf("handshake: %v", err)
			}
		})
	}
}

func TestFilesThatAreWrong(t *testing.T) {
	t.Parallel()
	good := newAuthority(t).pair()
	empty := writePEM(t)
	for name, test := range map[string]struct {
		server Server
		want   string
	}{
		"no certificate file": {Server{CertFile: "/nonexistent"}, "certfile"},
		"no key file":         {Server{CertFile: good, KeyFile: "/nonexistent"}, "keyfile"},
		"key of another":      {Server{CertFile: good, KeyFile: newAuthority(t).pair()}, "certfile"},
		"empty authorities":   {Server{CertFile: good, CAFile: empty}, "cafile"},
		"ciphers":             {Server{CertFile: good, Ciphers: "RC4"}, "ciphers"},
	} {
		if _, err := test.server.Config(quiet()); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := (Server{CAFile: "/nonexistent"}).Config(quiet()); c != nil || err != nil {
		t.Errorf("without a certificate there is no TLS: %v %v", c, err)
	}
}
