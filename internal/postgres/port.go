//go:build linux

package postgres

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"tamada/internal/postgres/proc"
)

// ErrPort: another program listens where PostgreSQL shall.
var ErrPort = errors.New("PostgreSQL's port is in use by another process")

// CheckPort finds out whether the server could listen, unless it runs already.
// Only a port that is taken is an error: an address that is not there yet may
// come, a virtual one for instance, and PostgreSQL will say so itself.
func (p *Instance) CheckPort() error {
	// Any other answer than "does not run" leaves the port alone: it may be ours.
	if _, err := p.Postmaster(); !errors.Is(err, proc.ErrNotRunning) {
		return nil
	}
	s := p.Settings()
	for host := range strings.SplitSeq(s.ListenAddresses, ",") {
		if host = strings.TrimSpace(host); host == "*" {
			host = ""
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(s.Port)))
		if err == nil {
			l.Close()
		} else if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: postgresql.listen %s:%d; free it or choose another", ErrPort, s.ListenAddresses, s.Port)
		}
	}
	return nil
}
