//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/config"
	"tamada/internal/guardian"
	"tamada/internal/rest/peer"
)

// The socket of the REST API belongs to the guardian, so that an agent can be
// replaced without refusing a connection. It was opened once, at the address of
// that time. When `restapi.listen` changes, the agent opens a socket of its own
// and shuts the guardian's down; later agents of this guardian do so too. Until
// the whole node is restarted the API is therefore away for the moment in which
// an agent is replaced, as any port is whose process ends.

const resolveTimeout = 2 * time.Second

// inheritedSocket is the guardian's socket if it is the one to serve on: it
// still accepts connections, at the address of the configuration.
func inheritedSocket(l net.Listener, cfg *config.Config) (net.Listener, error) {
	if l != nil && accepts(l) && sameAddress(l.Addr(), cfg.RestAPI.Listen) {
		return l, nil
	}
	if l != nil {
		retireSocket(l, func() { _ = l.Close() })
	}
	return guardian.Listen(cfg.RestAPI.Listen.String())
}

// accepts tells whether a socket listens: one that was shut down does not.
func accepts(l net.Listener) bool {
	c, ok := l.(syscall.Conn)
	if !ok {
		return true
	}
	listens := 1
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { listens, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) })
	}
	return listens != 0
}

// retireSocket closes a socket and ends listening on it in all processes that
// have it: closing alone is not enough, the guardian's copy would go on taking
// connections that nobody serves.
func retireSocket(l net.Listener, closeIt func()) {
	var copied *os.File
	if t, ok := l.(*net.TCPListener); ok {
		copied, _ = t.File()
	}
	closeIt()
	if copied != nil {
		_ = unix.Shutdown(int(copied.Fd()), unix.SHUT_RDWR)
		_ = copied.Close()
	}
}

// sameAddress tells whether a socket is bound to an address of the
// configuration. When a name cannot be resolved now it is taken for the same:
// the guardian resolved it when it opened the socket.
func sameAddress(bound net.Addr, want config.Address) bool {
	have, ok := bound.(*net.TCPAddr)
	if !ok || have.Port != want.Port || len(want.Hosts) != 1 {
		return false
	}
	host := want.Hosts[0]
	if host == "" || host == "*" {
		return have.IP.IsUnspecified()
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return true
	}
	for _, ip := range found {
		if ip.IP.Equal(have.IP) {
			return true
		}
	}
	return false
}

// serve answers the REST API on a socket until the node ends or the socket is
// replaced.
func (n *node) serve(l net.Listener) {
	if err := n.rest.Serve(l); err != nil {
		n.log.Error("the REST API has ended", "error", err)
	}
}

// reloadAPI puts the sections restapi and ctl of a new configuration in force.
// When the new address cannot be opened the old one stays, also in what is
// published: cfg is changed to say so. The caller stores cfg.
func (n *node) reloadAPI(cfg *config.Config) {
	if err := n.moveAPI(cfg.RestAPI.Listen); err != nil {
		old := n.cfg.Load().RestAPI
		n.log.Error("the REST API stays where it is", "address", old.Listen.String(), "error", err)
		cfg.RestAPI.Listen, cfg.RestAPI.ConnectAddress = old.Listen, old.ConnectAddress
	}
}

// reloadRest does what may take a while: files are read and names looked up.
func (n *node) reloadRest(cfg *config.Config) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	if cfg != n.cfg.Load() {
		return // a newer one is on its way
	}
	if err := n.rest.Reload(restOptions(cfg, n.meters.registry)); err != nil {
		n.log.Error("Failed to reload the REST API", "error", err)
	}
	switch client, err := peer.New(peerOptions(cfg)); {
	case err != nil:
		n.log.Error("Failed to reload the settings for requests to other members", "error", err)
	default:
		n.peers.Store(client)
	}
}

// moveAPI serves at another address. The new socket is opened before the old one
// is given up, except where both want the same port.
func (n *node) moveAPI(to config.Address) error {
	from := n.cfg.Load().RestAPI.Listen
	if to.String() == from.String() {
		return nil
	}
	old := n.listener
	l, err := guardian.Listen(to.String())
	if err != nil && to.Port == from.Port {
		n.retireAPI(old)
		if l, err = guardian.Listen(to.String()); err != nil {
			again, backErr := guardian.Listen(from.String())
			if backErr != nil {
				return errors.Join(err, fmt.Errorf("and the old address cannot be opened any more: %w", backErr))
			}
			n.listener = again
			go n.serve(again)
			return err
		}
	}
	if err != nil {
		return err
	}
	n.listener = l
	go n.serve(l)
	n.retireAPI(old)
	n.log.Info("the REST API listens at another address", "from", from.String(), "to", to.String())
	return nil
}

func (n *node) retireAPI(l net.Listener) { retireSocket(l, func() { n.rest.Retire(l) }) }
