package etcd3_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/etcd3"
)

// relay forwards connections, until it is told to swallow what the open ones
// say: as a firewall does that forgets them.
type relay struct {
	net.Listener
	target string
	mu     sync.Mutex // guards epoch
	epoch  int
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &relay{Listener: l, target: target}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

func (r *relay) now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// swallow makes the connections that are open now silent for ever.
func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
}

func (r *relay) serve(c net.Conn) {
	epoch := r.now()
	up, err := net.Dial("tcp", r.target)
	if err != nil {
		c.Close()
		return
	}
	pipe := func(dst io.WriteCloser, src io.Reader) {
		defer dst.Close()
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			if r.now() == epoch {
				if _, err := dst.Write(buf[:n]); err != nil {
					return
				}
			}
		}
	}
	go pipe(up, c)
	pipe(c, up)
}

// nextView waits for an update that fulfils the condition.
func nextView(t *testing.T, ch <-chan dcs.Update, limit time.Duration, what string, cond func(dcs.Update) bool) {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case u := <-ch:
			if cond(u) {
				return
			}
		case <-deadline:
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// A connection that dies without a word must not leave an old view standing,
// even when this member has nothing to ask for a while.
func TestViewRecoversFromAConnectionThatDiedSilently(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for HTTP/2 pings, at least 10 s apart")
	}
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	r := newRelay(t, e.Client)
	s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{r.Addr().String()}, UseProxies: true, Times: times})
	views := s.Watch(t.Context())
	nextView(t, views, 5*time.Second, "first view", func(u dcs.Update) bool { return u.Err == nil })
	r.swallow()
	direct := open(t, etcd3.Options{Scope: "batman", Name: "b", Hosts: []string{e.Client}, Times: times})
	if _, err := direct.Put(within(t, 5*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	nextView(t, views, 25*time.Second, "the change", func(u dcs.Update) bool { return u.Cluster != nil && u.Cluster.Config != nil })
}

// A request without an answer condemns the connection, and the view with it.
func TestRequestWithoutAnAnswerMakesTheViewMoveOn(t *testing.T) {
	t.Parallel()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	r := newRelay(t, e.Client)
	s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{r.Addr().String()}, UseProxies: true, Times: times})
	views := s.Watch(t.Context())
	nextView(t, views, 5*time.Second, "first view", func(u dcs.Update) bool { return u.Err == nil })
	r.swallow()
	// the first try is swallowed, a later one goes through on a new connection
	if err := s.Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
		t.Fatalf("touch: %v", err)
	}
	nextView(t, views, 3*time.Second, "our member", func(u dcs.Update) bool { return u.Cluster != nil && u.Cluster.Member("a") != nil })
	direct := open(t, etcd3.Options{Scope: "batman", Name: "b", Hosts: []string{e.Client}, Times: times})
	if _, err := direct.Put(within(t, 5*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	nextView(t, views, 3*time.Second, "the change", func(u dcs.Update) bool { return u.Cluster != nil && u.Cluster.Config != nil })
}
