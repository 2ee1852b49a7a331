// Package open makes the store that a configuration names.
package open

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/dcs/etcd3"
)

// Store opens the store that the configuration names. session is the one to go
// on with, "" for a new one. The network is not touched unless a login is
// configured.
func Store(ctx context.Context, cfg *config.Config, times dcs.Times, session string, log *slog.Logger) (dcs.Store, error) {
	o := options(cfg)
	o.Times, o.Session, o.Logger = times, session, log
	if len(o.Hosts) == 0 && o.Proxy == "" && o.SRV == "" {
		return nil, errors.New("the configuration names no etcd server: set etcd3.hosts or etcd3.embedded")
	}
	return etcd3.Open(ctx, o)
}

// options are what the configuration says of etcd.
func options(cfg *config.Config) etcd3.Options {
	e := &cfg.Etcd3
	o := etcd3.Options{Namespace: cfg.Namespace, Scope: cfg.Scope, Name: cfg.Name, Hosts: Hosts(e, cfg.Name), Proxy: e.Proxy,
		UseProxies: e.UseProxies, SRV: e.SRV, SRVSuffix: e.SRVSuffix, Protocol: e.Protocol, Username: e.Username,
		Password: string(e.Password), CACert: e.CACert, Cert: e.Cert, Key: e.Key}
	if e.Embedded != nil && len(e.Hosts) == 0 && e.Embedded.Cert != "" {
		o.Protocol = "https" // the embedded members speak nothing else then
		if o.CACert == "" {
			o.CACert = e.Embedded.CACert
		}
		if o.Cert == "" && e.Embedded.CACert != "" { // they ask for a certificate
			o.Cert, o.Key = e.Embedded.Cert, e.Embedded.Key
		}
	}
	return o
}

// Hosts are the servers to ask: those configured, or else the clients of all
// embedded members, this node's own first. The configuration names the others'
// peer addresses only; their clients are taken to be as far from these as ours
// is from our own (2379 and 2380, usually). What etcd itself says of its members
// replaces this as soon as one has answered.
func Hosts(e *config.Etcd3, name string) []string {
	if len(e.Hosts) > 0 || e.Embedded == nil {
		return e.Hosts
	}
	own := e.Embedded.Client
	hosts := []string{net.JoinHostPort(own.LocalHost(), strconv.Itoa(own.Port))}
	for _, p := range e.Embedded.InitialCluster {
		if p.Name == name {
			continue
		}
		address := strings.TrimPrefix(strings.TrimPrefix(p.Address, "http://"), "https://")
		if host, port, err := net.SplitHostPort(address); err == nil {
			if n, err := strconv.Atoi(port); err == nil {
				hosts = append(hosts, net.JoinHostPort(host, strconv.Itoa(n-e.Embedded.Peer.Port+own.Port)))
			}
		}
	}
	return hosts
}
