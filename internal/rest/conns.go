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
	// youngConns is how many there may be for a moment: a connection that was
	// accepted within the last breath has not had its chance to say anything, and
	// may be a load balancer's in the middle of a flood. Beyond this it goes too.
	youngConns = 4 * maxConns
	breath     = 500 * time.Millisecond
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
	pool    *pool
	tls     func() *tls.Config // nil result: plain
	header  time.Duration      // how long a handshake may take
	retired atomic.Bool        // it was closed on purpose
}

// A pool holds the connections of all listeners.
type pool struct {
	// limit is the usual number, young the one for a moment.
	limit, young int

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

// A conn is one accepted connection.
type conn struct {
	net.Conn
	pool *pool
	// settings are the TLS settings that it was made with; nil: plain.
	settings *tls.Config
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
		c := &conn{Conn: raw, pool: l.pool, settings: l.tls()}
		c.waiting.Store(sinceBegun())
		if !l.pool.admit(c) {
			_ = raw.Close()
			continue
		}
		if c.settings != nil {
			secure := tls.Server(c, c.settings)
			return secureConn{&heads{Conn: secure}, secure, l.header}, nil
		}
		return &heads{Conn: c}, nil
	}
}

// admit makes room for a connection; false when every other one has a request
// in work.
func (p *pool) admit(c *conn) bool {
	var victims []*conn
	p.mu.Lock()
	admitted := len(p.conns) < p.limit
	for range 2 { // one for the newcomer, one to get back to the limit after a flood
		if len(p.conns) < p.limit {
			break
		}
		victim := p.longestWaiting()
		if victim == nil {
			break
		}
		admitted = true
		young := sinceBegun()-victim.waiting.Load() < int64(breath)
		if young && (len(victims) > 0 || len(p.conns) < p.young) {
			break
		}
		delete(p.conns, victim)
		victims = append(victims, victim)
	}
	if admitted {
		p.conns[c] = struct{}{}
	}
	p.mu.Unlock()
	for _, v := range victims {
		_ = v.Conn.Close()
	}
	return admitted
}

// longestWaiting is nil when every connection has a request in work.
func (p *pool) longestWaiting() (victim *conn) {
	since := int64(0)
	for c := range p.conns {
		if w := c.waiting.Load(); w != 0 && (victim == nil || w < since) {
			victim, since = c, w
		}
	}
	return victim
}

// closeOld closes the connections without a request in work that were made with
// other TLS settings than those in force: a client that stays connected must
// not keep what the operator has just taken back.
func (p *pool) closeOld(settings *tls.Config) {
	p.mu.Lock()
	var old []*conn
	for c := range p.conns {
		if c.settings != settings && c.waiting.Load() != 0 {
			old = append(old, c)
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.pool.mu.Lock()
	delete(c.pool.conns, c)
	c.pool.mu.Unlock()
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
	switch outer := c.(type) {
	case secureConn:
		c = outer.tls.NetConn()
	case *heads:
		c = outer.Conn
	}
	if own, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, own)
	}
	return ctx
}

// busy marks the connection of a request as not to be replaced, until the
// function that it returns is called. old tells that it was made with other TLS
// settings than those in force.
func busy(r *http.Request, settings *tls.Config) (old bool, done func()) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		return false, func() {}
	}
	c.waiting.Store(0)
	return c.settings != settings, func() { c.waiting.Store(sinceBegun()) }
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
