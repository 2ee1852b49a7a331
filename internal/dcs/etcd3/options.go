package etcd3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"tamada/internal/dcs"
)

// Options say which scope of which etcd is meant, and who we are. Of the ways
// to name the servers the first that is set counts: Proxy, SRV, Hosts, URL
// (reference configuration.md 2.4).
type Options struct {
	Namespace string // default "service"
	Scope     string
	Name      string // our member name; a reader may leave it empty

	Hosts      []string // host, host:port or a URL; default port 2379
	URL        string   // also sets protocol, user and password
	Proxy      string   // as URL; implies UseProxies
	UseProxies bool     // take the addresses as they are and discover no others
	SRV        string   // domain whose SRV records name the servers
	SRVSuffix  string
	Protocol   string // "http" (default) or "https"

	Username, Password string
	CACert, Cert, Key  string // PEM files

	Times   dcs.Times
	Session string // lease to go on with, as a Hold of a predecessor has it
	Logger  *slog.Logger
}

const defaultPort = "2379"

// normalize resolves what one option says about another. It touches neither
// network nor files.
func (o Options) normalize() (Options, error) {
	if o.Scope == "" {
		return o, errors.New("etcd3: no scope given")
	}
	if o.Namespace == "" {
		o.Namespace = "service"
	}
	if o.Protocol == "" {
		o.Protocol = "http"
	}
	if o.Proxy != "" {
		o.UseProxies, o.SRV, o.Hosts = true, "", nil
		o.URL = o.Proxy
	}
	if o.URL != "" && o.SRV == "" && len(o.Hosts) == 0 {
		u, err := url.Parse(o.URL)
		if err != nil || u.Host == "" {
			return o, errors.New("etcd3: the url is not of the form http://host:port") // not quoted: it may hold a password
		}
		if u.User.Username() != "" {
			o.Username = u.User.Username()
			o.Password, _ = u.User.Password()
		}
		o.Hosts = []string{u.Scheme + "://" + u.Host}
	}
	var err error
	if o.Hosts, o.Protocol, err = addresses(o.Hosts, o.Protocol); err != nil {
		return o, err
	}
	if len(o.Hosts) == 0 && o.SRV == "" {
		return o, errors.New("etcd3: no server given: set host, hosts, url, proxy or srv")
	}
	if o.Protocol != "http" && o.Protocol != "https" {
		return o, fmt.Errorf("etcd3: protocol %q is neither http nor https", o.Protocol)
	}
	if (o.Cert == "") != (o.Key == "") {
		return o, errors.New("etcd3: of cert and key both or none must be given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Times = withDefaults(o.Times)
	return o, nil
}

// addresses brings hosts to the form host:port, without duplicates, and takes
// the protocol from those that are URLs.
func addresses(hosts []string, protocol string) ([]string, string, error) {
	var list []string
	for _, h := range hosts {
		h = strings.TrimSpace(h)
		if scheme, rest, ok := strings.Cut(h, "://"); ok {
			protocol, h = scheme, strings.TrimRight(rest, "/")
		}
		if h == "" {
			continue
		}
		host, port, err := net.SplitHostPort(h)
		if err != nil { // no port, or a bare IPv6 address
			host, port = strings.Trim(h, "[]"), defaultPort
			if i := strings.LastIndexByte(h, ':'); i > 0 && net.ParseIP(host) == nil {
				host, port = strings.Trim(h[:i], "[]"), h[i+1:]
			}
		}
		if strings.ContainsAny(host, "/ @") || strings.Trim(port, "0123456789") != "" {
			return nil, "", fmt.Errorf("etcd3: host %q is not of the form host:port", h)
		}
		if a := net.JoinHostPort(host, port); !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list, protocol, nil
}

// tls is the configuration for https, nil for http. The client certificate is
// read for each connection, so that a renewed one is used.
func (o Options) tls() (*tls.Config, error) {
	if o.Protocol != "https" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, fmt.Errorf("etcd3: read cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("etcd3: cacert %s holds no PEM certificate", o.CACert)
		}
	}
	if o.Cert != "" {
		load := func() (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(o.Cert, o.Key)
			if err != nil {
				return nil, fmt.Errorf("etcd3: load cert %s and key %s: %w", o.Cert, o.Key, err)
			}
			return &c, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return cfg, nil
}
