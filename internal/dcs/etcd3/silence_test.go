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
	mu     sync.Mutex // guards what follows
	epoch  int        // connections of earlier ones are silent
	deaf   int        // to connections of earlier ones answers are lost
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

func (r *relay) now() (epoch, deaf int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.deaf
}

// swallow makes the connections that are open now silent for ever.
func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
}

// swallowAnswers lets requests pass on the connections that are open now, but
// no answer ever.
func (r *relay) swallowAnswers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf++
}

func (r *relay) serve(c net.Conn) {
	epoch, deaf := r.now()
	up, err := net.Dial("tcp", r.target)
	if err != nil {
		c.Close()
		return
	}
	pipe := func(dst io.WriteCloser, src io.Reader, answers bool) {
		defer dst.Close()
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			if e, d := r.now(); e == epoch && (!answers || d == deaf) {
				if _, err := dst.Write(buf[:n]); err != nil {
					return
				}
			}
		}
	}
	go pipe(up, c, false)
	pipe(c, up, true)
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

// A release whose answer is lost is asked for again, and then finds the next
// leader's key. That one must not disappear from the view as if it were ours.
func TestReleaseAskedTwiceDoesNotHideTheNextLeader(t *testing.T) {
	t.Parallel()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	r := newRelay(t, e.Client)
	long := dcs.Times{TTL: 30 * time.Second, LoopWait: times.LoopWait, RetryTimeout: times.RetryTimeout} // nothing expires
	s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{r.Addr().String()}, UseProxies: true, Times: long})
	heir := open(t, etcd3.Options{Scope: "batman", Name: "b", Hosts: []string{e.Client}, Times: long})
	g, err := s.Acquire(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	views := s.Watch(t.Context())
	leads := func(name string) func(dcs.Update) bool {
		return func(u dcs.Update) bool {
			return u.Cluster != nil && u.Cluster.Leader != nil && u.Cluster.Leader.Name == name
		}
	}
	nextView(t, views, 5*time.Second, "we lead", leads("a"))
	theirs := heir.Watch(t.Context())
	nextView(t, theirs, 5*time.Second, "a leads", leads("a"))

	r.swallowAnswers()
	released := make(chan error, 1)
	go func() { released <- s.Release(within(t, 5*time.Second), g.Hold) }()
	nextView(t, theirs, 5*time.Second, "nobody leads", func(u dcs.Update) bool { return u.Cluster != nil && u.Cluster.Leader == nil })
	if _, err := heir.Acquire(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	// The store goes on, so that the second answer is younger than b's key.
	if _, err := heir.Put(within(t, 5*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	nextView(t, views, 5*time.Second, "b leads", func(u dcs.Update) bool {
		if u.Cluster != nil && u.Cluster.Leader == nil {
			t.Error("a view without a leader, although b leads")
		}
		return leads("b")(u)
	})
	if err := <-released; err != nil {
		t.Fatalf("release: %v", err)
	}
	select {
	case u := <-views:
		if u.Cluster != nil && !leads("b")(u) {
			t.Errorf("after the release the view shows the leader %+v", u.Cluster.Leader)
		}
	case <-time.After(time.Second): // a view that hides the key would have been delivered by the release itself
	}
}
