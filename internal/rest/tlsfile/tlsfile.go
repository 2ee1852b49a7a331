package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Server are the TLS settings of a server. Without CertFile there is no TLS.
type Server struct {
	CertFile    string
	KeyFile     string // "": the key is in CertFile
	KeyPassword string
	CAFile      string // authorities of clients; "": the system's
	Ciphers     string // OpenSSL's notation; "": Go's choice
	// VerifyClient is none (also ""), optional or required, in any case.
	VerifyClient string
}

// Config reads the files; nil when there is no certificate.
func (s Server) Config(log *slog.Logger) (*tls.Config, error) {
	if s.CertFile == "" {
		return nil, nil
	}
	cert, err := loadPair(s.CertFile, s.KeyFile, s.KeyPassword)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if s.CAFile != "" {
		if c.ClientCAs, err = loadAuthorities(s.CAFile); err != nil {
			return nil, err
		}
	}
	if s.Ciphers != "" {
		if c.CipherSuites, err = parseCiphers(s.Ciphers); err != nil {
			return nil, err
		}
	}
	switch strings.ToLower(s.VerifyClient) {
	case "", "none":
	case "optional":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case "required":
		c.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		log.Error("restapi.verify_client is not one of none, optional, required; no client certificate is asked for",
			"value", s.VerifyClient)
	}
	return c, nil
}

// Client are the TLS settings of a client of the REST API.
type Client struct {
	CertFile    string
	KeyFile     string // "": the key is in CertFile
	KeyPassword string
	CAFile      string
}

// Config reads the files. Agents trust any certificate of a peer unless they
// have one themselves; then the chain is verified, but not the host's name
// (rest-api.md 12).
func (c Client) Config() (*tls.Config, error) {
	// The name is not verified in any case, so verification is our own.
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if c.CertFile == "" {
		return config, nil
	}
	cert, err := loadPair(c.CertFile, c.KeyFile, c.KeyPassword)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{cert}
	var roots *x509.CertPool // nil: the system's
	if c.CAFile != "" {
		if roots, err = loadAuthorities(c.CAFile); err != nil {
			return nil, err
		}
	}
	config.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	return config, nil
}

func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

func loadPair(certFile, keyFile, password string) (tls.Certificate, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certfile: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keyfile: %w", err)
	}
	if key, err = decryptKey(key, password); err != nil {
		return tls.Certificate{}, fmt.Errorf("keyfile %s: %w", keyFile, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certfile %s with keyfile %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

func loadAuthorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cafile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("cafile %s: no certificate in it, expected PEM", file)
	}
	return pool, nil
}
