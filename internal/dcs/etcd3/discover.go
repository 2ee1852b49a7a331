package etcd3

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// lookupSRV finds the servers that a domain names. The services are tried in
// the order of the reference (7.1), the first with records wins. Records of a
// `-server` service name the peers' ports, so these are asked for the clients'.
func lookupSRV(ctx context.Context, domain, suffix string) (hosts []string, protocol string, err error) {
	for _, service := range []string{"etcd-client-ssl", "etcd-client", "etcd-ssl", "etcd", "etcd-server-ssl", "etcd-server"} {
		name := service
		if suffix != "" {
			name += "-" + suffix
		}
		_, records, lookupErr := net.DefaultResolver.LookupSRV(ctx, name, "tcp", domain)
		if lookupErr != nil {
			err = lookupErr
			continue
		}
		protocol := "http"
		if strings.HasSuffix(service, "-ssl") {
			protocol = "https"
		}
		for _, r := range records {
			target := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), fmt.Sprint(r.Port))
			if !strings.HasPrefix(service, "etcd-server") {
				hosts = append(hosts, target)
			} else if h, p := clientAddresses(ctx, protocol+"://"+target); len(h) > 0 {
				hosts, protocol = append(hosts, h...), p
			}
		}
		if len(hosts) > 0 {
			slices.Sort(hosts)
			return slices.Compact(hosts), protocol, nil
		}
	}
	return nil, "", fmt.Errorf("etcd3: no SRV record of %s names a server: %w", domain, err)
}

// clientAddresses asks a peer port for its cluster's client URLs. The
// certificate is not checked here, as the peers' authority may be another one;
// whatever is answered must still pass the check as a client port.
func clientAddresses(ctx context.Context, peer string) (hosts []string, protocol string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peer+"/members", nil)
	if err != nil {
		return nil, ""
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, ""
	}
	defer resp.Body.Close()
	var members []struct {
		ClientURLs []string `json:"clientURLs"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&members) != nil {
		return nil, ""
	}
	for _, m := range members {
		for _, text := range m.ClientURLs {
			if u, err := url.Parse(text); err == nil && u.Host != "" {
				hosts, protocol = append(hosts, u.Host), u.Scheme
			}
		}
	}
	return hosts, protocol
}

// discover asks the cluster for its members and keeps their client addresses
// as nodes to fall back to. They may be duplicated, unreachable or wrong
// (trap 11), so the configured ones stay and come first.
func (s *Store) discover(ctx context.Context) {
	if s.pool.opt.UseProxies {
		return
	}
	members, err := ask(ctx, s.pool, request{name: "list the members"}, func(ctx context.Context, l *link, _ int) ([]string, error) {
		resp, err := pb.NewClusterClient(l.conn).MemberList(ctx, &pb.MemberListRequest{})
		if err != nil {
			return nil, err
		}
		var hosts []string
		for _, m := range resp.Members {
			for _, text := range m.ClientURLs {
				u, err := url.Parse(text)
				if err == nil && u.Scheme == s.pool.opt.Protocol && u.Hostname() != "0.0.0.0" && u.Hostname() != "::" {
					hosts = append(hosts, u.Host)
				}
			}
		}
		hosts, _, err = addresses(hosts, s.pool.opt.Protocol)
		return hosts, err
	})
	if err != nil {
		s.log.Debug("etcd: the list of members is not known", "error", err)
		return
	}
	s.pool.addDiscovered(members)
}
