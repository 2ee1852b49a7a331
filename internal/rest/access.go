package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"tamada/internal/cluster"
)

// resolveTimeout bounds one look-up of a name.
const resolveTimeout = 2 * time.Second

// admit tells whether a request may use a protected endpoint (section 2); if
// not, it has been answered. open leaves the members' part of the allowlist out.
func (s *Server) admit(a *answer, open bool) bool {
	switch {
	case !s.allowed(a, open):
		a.text(403, "Access is denied")
	case a.o.verifiesClients() && (a.r.TLS == nil || len(a.r.TLS.PeerCertificates) == 0):
		a.text(403, "client certificate required")
	case a.o.credentials == nil:
		return true
	case a.r.Header.Get("Authorization") == "":
		a.unauthorized("no auth header received")
	case !a.o.credentials.match(a.r.Header):
		a.unauthorized("not authenticated")
	default:
		return true
	}
	return false
}

func (a *answer) unauthorized(message string) {
	a.w.Header()["WWW-Authenticate"] = []string{`Basic realm="Patroni"`}
	a.text(401, message)
}

// credentials are the digest of the only good Authorization header. Digests are
// compared so that the time taken tells nothing, not even a length.
type credentials [sha256.Size]byte

func (c *credentials) match(h http.Header) bool {
	got := sha256.Sum256([]byte(h.Get("Authorization")))
	return subtle.ConstantTimeCompare(got[:], c[:]) == 1
}

// allowed is the check of the source address.
func (s *Server) allowed(a *answer, open bool) bool {
	if a.o.networks == nil && (open || !a.o.AllowlistIncludeMembers) {
		return true
	}
	from, err := netip.ParseAddrPort(a.r.RemoteAddr)
	if err != nil {
		return false
	}
	// On a dual-stack listener IPv4 clients come as ::ffff:a.b.c.d (trap 16).
	addr := from.Addr().Unmap().WithZone("")
	for _, n := range a.o.networks {
		if n.Contains(addr) {
			return true
		}
	}
	if open || !a.o.AllowlistIncludeMembers {
		return false
	}
	st := s.look()
	return st.cached != nil && isMember(a.ctx, st.cached.Members, addr)
}

// isMember tells whether an address is that of a member's API. Names are looked
// up on each request, because members move; addresses first, they cost nothing.
func isMember(ctx context.Context, members []cluster.Member, addr netip.Addr) bool {
	var names []string
	for i := range members {
		u, err := url.Parse(members[i].APIURL)
		if err != nil || u.Hostname() == "" {
			continue
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err != nil {
			names = append(names, u.Hostname())
		} else if ip.Unmap() == addr {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, name := range names {
		found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name) // a name that fails admits nobody
		for _, ip := range found {
			if ip.Unmap() == addr {
				return true
			}
		}
	}
	return false
}

// resolve turns an allowlist into networks: nil for an empty list. What cannot
// be resolved is skipped; if that is all of it the result is empty and not nil,
// so that nobody is admitted instead of everybody (trap 16).
func resolve(list []string, log *slog.Logger) []netip.Prefix {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	networks := []netip.Prefix{}
	for _, entry := range list {
		if p, err := netip.ParsePrefix(entry); err == nil {
			networks = append(networks, unmapPrefix(p).Masked())
			continue
		}
		if ip, err := netip.ParseAddr(entry); err == nil {
			networks = append(networks, single(ip))
			continue
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", entry)
		if err != nil {
			log.Error("an entry of restapi.allowlist cannot be resolved and admits nobody", "entry", entry, "error", err)
		}
		for _, ip := range found {
			networks = append(networks, single(ip))
		}
	}
	return networks
}

func single(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen())
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
