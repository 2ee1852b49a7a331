package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tamada/internal/cluster"
	"tamada/internal/rest/tlsfile"
)

// Options are the settings of a server, from `restapi` in the configuration
// (configuration.md 2.6). The listener's address and backlog belong to whoever
// opens it.
type Options struct {
	Name, Scope string
	// Version is the level of compatibility that is shown, 4.1.4.
	Version string

	// Username and Password protect the endpoints that change something; both
	// empty: no authentication.
	Username, Password string
	// Allowlist are the addresses, networks and names that may use them; empty:
	// all.
	Allowlist               []string
	AllowlistIncludeMembers bool

	HTTPExtraHeaders  map[string]string
	HTTPSExtraHeaders map[string]string // with TLS, over the others
	ServerTokens      string

	TLS tlsfile.Server // no certificate: plain HTTP

	// Metrics is what GET /metrics shows after the compatible metrics; may be nil.
	Metrics prometheus.Gatherer
}

// settled are options with everything worked out that requests need. They are
// replaced as a whole and never changed.
type settled struct {
	Options
	tls         *tls.Config // nil: plain HTTP
	credentials *credentials
	networks    []netip.Prefix // nil: all
	headers     map[string][]string
	server      []string
}

func (o *settled) verifiesClients() bool { return o.tls != nil && o.tls.ClientAuth != tls.NoClientCert }

// Server is the API of one node.
type Server struct {
	source Source
	log    *slog.Logger
	limits limits
	opts   atomic.Pointer[settled]
	http   *http.Server
	pool   *pool

	mu        sync.Mutex // guards listeners
	listeners map[net.Listener]*listener

	// life ends with the server; calls that several requests share live in it.
	life context.Context
	end  context.CancelFunc
	// leaving ends before, when the server begins to stop: what waits for an event
	// answers then, as long as there is time to.
	leaving context.Context
	leave   context.CancelFunc

	sql      shared[*SQLStatus]
	loads    shared[*cluster.Cluster]
	patience patience
	document atomic.Pointer[rendered]
	wrote    atomic.Pointer[written]
}

// limits are what one client may take.
type limits struct {
	header, body, idle, write time.Duration
	headerBytes, conns, young int
}

var usualLimits = limits{header: 5 * time.Second, body: 5 * time.Second, idle: time.Minute, write: 30 * time.Second,
	headerBytes: 16 << 10, conns: maxConns, young: youngConns}

// New makes a server. Errors are about the certificate's files or an option
// that makes no sense, and name it.
func New(source Source, o Options, log *slog.Logger) (*Server, error) {
	return newServer(source, o, log, usualLimits)
}

func newServer(source Source, o Options, log *slog.Logger, limits limits) (*Server, error) {
	s := &Server{source: source, log: log, limits: limits, listeners: map[net.Listener]*listener{},
		pool: &pool{limit: limits.conns, young: limits.young, conns: map[*conn]struct{}{}}}
	s.life, s.end = context.WithCancel(context.Background())
	s.leaving, s.leave = context.WithCancel(s.life)
	if err := s.Reload(o); err != nil {
		s.end()
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           s,
		Protocols:         &protocols,
		ReadHeaderTimeout: limits.header,
		IdleTimeout:       limits.idle,
		WriteTimeout:      limits.write,
		MaxHeaderBytes:    limits.headerBytes,
		ConnContext:       withConn,
		// What goes wrong with a single client, a failed handshake among it, is no
		// event for the operator.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// OPTIONS * is a health check like any other.
		DisableGeneralOptionsHandler: true,
	}
	s.http.RegisterOnShutdown(s.leave)
	return s, nil
}

// Reload puts new options in force for the next requests and reads the
// certificate's files again. If they changed anything about TLS, connections
// that wait without a request are closed. On an error the old options stay.
func (s *Server) Reload(o Options) error {
	n := &settled{Options: o, headers: map[string][]string{}}
	if o.Username != "" || o.Password != "" {
		if o.Username == "" || o.Password == "" {
			return errors.New("restapi.authentication: username and password must both be set, or none of them")
		}
		c := credentials(sha256.Sum256([]byte("Basic " + base64.StdEncoding.EncodeToString([]byte(o.Username+":"+o.Password)))))
		n.credentials = &c
	}
	var err error
	if n.tls, err = o.TLS.Config(s.log); err != nil {
		return fmt.Errorf("restapi: %w", err)
	}
	for k, v := range o.HTTPExtraHeaders {
		n.headers[http.CanonicalHeaderKey(k)] = []string{v}
	}
	if n.tls != nil {
		for k, v := range o.HTTPSExtraHeaders {
			n.headers[http.CanonicalHeaderKey(k)] = []string{v}
		}
	}
	n.networks = resolve(o.Allowlist, s.log)
	n.server = []string{s.serverName(o)}
	if old := s.opts.Load(); old != nil && sameTLS(old.tls, n.tls) {
		n.tls = old.tls
	}
	s.opts.Store(n)
	s.pool.closeOld(n.tls)
	return nil
}

// sameTLS tells whether two settings make no difference to a client.
func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.EqualFunc(a.Certificates[0].Certificate, b.Certificates[0].Certificate, bytes.Equal) &&
		a.ClientAuth == b.ClientAuth && a.ClientCAs.Equal(b.ClientCAs) && slices.Equal(a.CipherSuites, b.CipherSuites)
}

// serverName is the value of the header Server.
func (s *Server) serverName(o Options) string {
	switch strings.ToLower(o.ServerTokens) {
	case "", "original":
	case "productonly":
		return "Patroni"
	case "minimal":
		return "Patroni/" + o.Version
	default:
		s.log.Warn("restapi.server_tokens is not one of Original, Minimal, ProductOnly; Original is used", "value", o.ServerTokens)
	}
	return "Tamada"
}

// Serve answers on a listener until [Server.Retire] or [Server.Shutdown], then
// returns nil.
func (s *Server) Serve(l net.Listener) error {
	own := &listener{Listener: l, pool: s.pool, header: s.limits.header, tls: func() *tls.Config { return s.opts.Load().tls }}
	s.mu.Lock()
	s.listeners[l] = own
	s.mu.Unlock()
	err := s.http.Serve(own)
	if errors.Is(err, http.ErrServerClosed) || own.retired.Load() {
		return nil
	}
	return fmt.Errorf("serve the REST API on %s: %w", l.Addr(), err)
}

// Retire stops accepting on a listener that was given to Serve. Requests that
// came by it are answered; the others go on.
func (s *Server) Retire(l net.Listener) {
	s.mu.Lock()
	own := s.listeners[l]
	delete(s.listeners, l)
	s.mu.Unlock()
	if own != nil {
		own.retired.Store(true)
		_ = own.Close()
	}
}

// Shutdown closes the listener and idle connections, waits for requests in work
// until ctx ends and closes the rest.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.end()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop the REST API: %w", err), s.http.Close())
	}
	return nil
}
