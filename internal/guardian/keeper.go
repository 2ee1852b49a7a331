//go:build linux

package guardian

import (
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// Manager is the service manager, if there is one: it hears what sd_notify(3)
// would tell it.
type Manager struct {
	log  *slog.Logger
	conn *net.UnixConn // nil without a service manager
}

// notifyTimeout is how long a service manager may take: one that does not read
// must keep nobody from fencing, nor an agent from renewing.
const notifyTimeout = 100 * time.Millisecond

// ServiceManager finds the service manager by $NOTIFY_SOCKET.
func ServiceManager(log *slog.Logger) *Manager {
	m := &Manager{log: log}
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return m
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		log.Warn("could not reach the service manager", "error", err)
		return m
	}
	m.conn = conn
	return m
}

// Tell tells the state: assignments, one in a line. It may be called by several
// goroutines at the same time.
func (m *Manager) Tell(state string) {
	if m.conn == nil {
		return
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(notifyTimeout))
	if _, err := m.conn.Write([]byte(state)); err != nil {
		m.log.Debug("could not tell the service manager", "state", state, "error", err)
	}
}

// keeper gives the service manager the keepalive of WatchdogSec.
//
// The keepalive says that the guardian works. An agent that does not is the
// guardian's own business: a service manager that killed the guardian for it would
// take the only one who can act. What the guardian cannot do, and says so by
// silence, is to kill a PostgreSQL that does not die.
type keeper struct {
	*Manager
	limit   time.Duration // WatchdogSec; 0: no keepalive is expected
	inForce time.Duration // the limit that the service manager knows
	next    Instant
}

func newKeeper(log *slog.Logger) *keeper {
	k := &keeper{Manager: ServiceManager(log)}
	if k.conn == nil {
		return k
	}
	// WATCHDOG_PID is another's when the agent has started this guardian: the
	// service manager starts one of its own, which takes over.
	pid := os.Getenv("WATCHDOG_PID")
	if usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		k.limit = time.Duration(usec) * time.Microsecond
		k.inForce = k.limit
	}
	return k
}

// tend gives the keepalive when it is due: twice within the limit. With a lease
// that is shorter than two limits the limit is lowered too, because the service
// manager's kill, and `tamada fence` after it, have to come before the lease ends.
func (k *keeper) tend(now Instant, well bool, armed *Armed) {
	if k.limit == 0 {
		return
	}
	limit := k.limit
	if armed != nil && armed.TTL > 0 {
		limit = min(limit, armed.TTL/2)
	}
	if limit == k.inForce && now < k.next {
		return
	}
	k.next = now + limit/2
	if !well {
		return
	}
	text := "WATCHDOG=1"
	if limit != k.inForce {
		text = "WATCHDOG_USEC=" + strconv.FormatInt(limit.Microseconds(), 10) + "\n" + text
		k.inForce = limit
	}
	k.Tell(text)
}

// wakeAt is when tend is wanted at the latest; 0 for never.
func (k *keeper) wakeAt() Instant {
	if k.limit == 0 {
		return 0
	}
	return max(k.next, 1)
}
