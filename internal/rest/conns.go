package rest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConns is how many connections there may be. One more replaces the one
	// that has waited longest without a request in work: it is an idle one kept
	// alive, or one whose client never sends a whole request.
	maxConns = 400
	// maxPatient is how many requests may wait for something slow (the store, a
	// second try with PostgreSQL) at a time, so that they never take all
	// connections from the health checks.
	maxPatient = 64
)

// A listener accepts connections, keeps their number within the limit and
// speaks TLS on them when that is configured. The handshake is made by the
// connection's own goroutine (trap 18).
type listener struct {
	net.Listener
	limit int
	tls   func() *tls.Config // nil result: plain

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

// A conn is one accepted connection.
type conn struct {
	net.Conn
	l *listener
	// waiting is since when no request is in work, in nanoseconds since the
	// program began; 0 while one is.
	waiting atomic.Int64
}

var begun = time.Now()

func sinceBegun() int64 { return max(1, int64(time.Since(begun))) }

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		setKeepAlive(raw)
		c := &conn{Conn: raw, l: l}
		c.waiting.Store(sinceBegun())
		if !l.admit(c) {
			_ = raw.Close()
			continue
		}
		if config := l.tls(); config != nil {
			return tls.Server(c, config), nil
		}
		return c, nil
	}
}

// admit makes room for a connection; false when every other one has a request
// in work.
func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	var victim *conn
	if len(l.conns) >= l.limit {
		for other := range l.conns {
			if w := other.waiting.Load(); w != 0 && (victim == nil || w < victim.waiting.Load()) {
				victim = other
			}
		}
		if victim == nil {
			l.mu.Unlock()
			return false
		}
		delete(l.conns, victim)
	}
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	if victim != nil {
		_ = victim.Conn.Close()
	}
	return true
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// setKeepAlive finds clients that are gone (section 1, Concurrency).
func setKeepAlive(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	// Failing to set these is no reason to refuse a client.
	_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 3})
	if raw, err := t.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10_000)
		})
	}
}

type connKey struct{}

// withConn lets the handler find the connection of a request.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if own, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, own)
	}
	return ctx
}

// busy marks the connection of a request as not to be replaced, until the
// function that it returns is called.
func busy(r *http.Request) (done func()) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		return func() {}
	}
	c.waiting.Store(0)
	return func() { c.waiting.Store(sinceBegun()) }
}

// patience counts the requests that wait for something slow.
type patience struct{ n atomic.Int32 }

// enter tells whether one more may wait; who was let in must leave.
func (p *patience) enter() bool {
	if p.n.Add(1) > maxPatient {
		p.n.Add(-1)
		return false
	}
	return true
}

func (p *patience) leave() { p.n.Add(-1) }
