package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is one or more hosts with one port.
type Address struct {
	Hosts []string // IPv6 addresses without brackets
	Port  int
}

// String is HOST[,HOST…]:PORT.
func (a Address) String() string {
	if len(a.Hosts) == 1 {
		return net.JoinHostPort(a.Hosts[0], strconv.Itoa(a.Port))
	}
	return strings.Join(a.Hosts, ",") + ":" + strconv.Itoa(a.Port)
}

// ParseAddress splits HOST[,HOST…][:PORT] at its last colon; brackets around
// IPv6 hosts are optional when a port follows (reference configuration.md
// 0.3). defaultPort is taken when there is no port; 0 makes a port necessary.
func ParseAddress(s string, defaultPort int) (Address, error) {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "@/") {
		// Not repeated: a URL may hold a password.
		return Address{}, errors.New("looks like a URL")
	}
	hosts, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		hosts, port = s[:i], s[i+1:]
	}
	a := Address{Port: defaultPort}
	if port != "" || hosts != s {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			hint := ""
			if strings.Contains(port, "]") {
				hint = "; an IPv6 address needs a port behind its brackets"
			}
			return Address{}, fmt.Errorf("%q has no port between 1 and 65535%s", s, hint)
		}
		a.Port = n
	}
	if a.Port == 0 {
		return Address{}, fmt.Errorf("%q has no port", s)
	}
	for h := range strings.SplitSeq(hosts, ",") {
		h = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(h), "["), "]")
		if strings.ContainsAny(h, " \t[]") {
			return Address{}, fmt.Errorf("%q is not a host name or address", h)
		}
		a.Hosts = append(a.Hosts, h)
	}
	return a, nil
}

// CheckConnectAddress tells what is wrong with an address that other nodes
// shall connect to: it must not mean "this machine" (reference
// configuration.md 5.3). Only a full validation asks for it: tests and demos
// run on one machine.
func CheckConnectAddress(s string) error {
	a, err := ParseAddress(s, 1)
	if err != nil || len(a.Hosts) != 1 || a.Hosts[0] == "" {
		return errors.New("contains a wrong value")
	}
	switch a.Hosts[0] {
	case "127.0.0.1", "0.0.0.0", "*", "::1", "localhost":
		return errors.New(`must not contain "127.0.0.1", "0.0.0.0", "*", "::1", "localhost"`)
	}
	return nil
}

// LocalHost is the host by which the node itself connects to a server that
// listens on these addresses (reference configuration.md 4.7).
func (a Address) LocalHost() string {
	for _, h := range a.Hosts {
		switch h {
		case "*", "localhost", "0.0.0.0", "127.0.0.1", "":
			return "localhost"
		}
	}
	if len(a.Hosts) == 0 {
		return "localhost"
	}
	return a.Hosts[0]
}
