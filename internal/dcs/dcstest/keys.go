package dcstest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

func conditions(s *suite) {
	a, b := s.open("a"), s.open("b")
	conflict := func(what string, err error) {
		s.Helper()
		s.want(err, dcs.ErrConflict, what)
	}
	put := func(c dcs.Store, value string, cond dcs.Condition) error {
		_, err := c.Put(s.call(), cluster.KeyConfig, []byte(value), cond)
		return err
	}
	conflict("a version of an absent key", put(a, `{"ttl":1}`, dcs.IfVersion(7)))
	v1 := s.put(a, cluster.KeyConfig, `{"ttl":30}`, dcs.IfAbsent())
	conflict("absent, but it exists", put(b, `{"ttl":31}`, dcs.IfAbsent()))
	conflict("version 0 is absent", put(b, `{"ttl":31}`, dcs.IfVersion(0)))
	if got := s.load(b).Config.Version; got != v1 || v1 == 0 {
		s.Fatalf("read version %d, put returned %d", got, v1)
	}
	v2 := s.put(b, cluster.KeyConfig, `{"ttl":32}`, dcs.IfVersion(v1))
	if v2 <= v1 {
		s.Fatalf("version went from %d to %d", v1, v2)
	}
	conflict("the version before", put(a, `{"ttl":33}`, dcs.IfVersion(v1)))
	if got := s.load(a).Config; got.Version != v2 || string(cluster.Compact(got.Doc)) != `{"ttl":32}` {
		s.Fatalf("config is %s at %d, want the second one at %d", cluster.Compact(got.Doc), got.Version, v2)
	}
	v3 := s.put(a, cluster.KeyConfig, `{"ttl":34}`, dcs.Any())
	// what one knows from its own write serves the other as condition too
	v4 := s.put(a, cluster.KeyConfig, `{"ttl":35}`, dcs.IfVersion(v3))

	conflict("delete the version before", a.Delete(s.call(), cluster.KeyConfig, dcs.IfVersion(v3)))
	if err := b.Delete(s.call(), cluster.KeyConfig, dcs.IfVersion(v4)); err != nil {
		s.Fatalf("delete: %v", err)
	}
	conflict("delete what is absent", a.Delete(s.call(), cluster.KeyConfig, dcs.IfVersion(v4)))
	if err := a.Delete(s.call(), cluster.KeyConfig, dcs.Any()); err != nil {
		s.Fatalf("delete whatever is there: %v", err)
	}
	if c := s.load(a); c.Config != nil {
		s.Fatalf("config is still there: %+v", c.Config)
	}
	// an empty value is a value
	s.put(a, cluster.KeyInitialize, "", dcs.IfAbsent())
	if i := s.load(b).Initialize; i == nil || i.Value != "" {
		s.Fatalf("initialize is %+v, want an empty text", i)
	}
}

// initializeKey: of two that bootstrap, one after the other had been slow, the
// first can only give up what it made itself.
func initializeKey(s *suite) {
	a, b := s.open("a"), s.open("b")
	alone := func(v cluster.Version) {
		s.Helper()
		s.want(a.Delete(s.call(), cluster.KeyInitialize, dcs.IfVersion(v)), dcs.ErrConflict, "delete of what another made")
	}
	own := s.put(a, cluster.KeyInitialize, "", dcs.IfAbsent())
	taken := s.put(b, cluster.KeyInitialize, "", dcs.IfVersion(own))
	if taken == own {
		s.Fatalf("the same value written again has the same version %d", own)
	}
	alone(own)
	s.put(b, cluster.KeyInitialize, "7000000000000000001", dcs.IfVersion(taken))
	alone(own)
	alone(taken)
	if i := s.load(a).Initialize; i == nil || i.Value != "7000000000000000001" {
		s.Fatalf("initialize is %+v, want what the other published", i)
	}
	if err := b.Delete(s.call(), cluster.KeyInitialize, dcs.Any()); err != nil {
		s.Fatal(err)
	}
	alone(own)
	again := s.put(b, cluster.KeyInitialize, "", dcs.IfAbsent())
	alone(own)
	if err := b.Delete(s.call(), cluster.KeyInitialize, dcs.IfVersion(again)); err != nil {
		s.Fatalf("delete of our own: %v", err)
	}
}

func touch(s *suite) {
	a, b := s.open("a"), s.open("b")
	v := s.watch(b)
	v.until("first view", 5*time.Second, (*cluster.Cluster).Empty)
	s.touch(a, `{"state":"running"}`)
	v.until("the member", 5*time.Second, func(c *cluster.Cluster) bool { return c.Member("a") != nil })
	session := v.last.Cluster.Member("a").Session
	read := v.read
	for range 10 {
		s.Elapse(s.TTL() / 4)
		s.touch(a, `{"state":"running"}`)
		v.poll()
	}
	if v.read != read {
		s.Fatalf("an unchanged member was written: %d new views", v.read-read)
	}
	if m := s.load(b).Member("a"); m == nil || m.Session != session {
		s.Fatalf("after two and a half ttl of touching: %+v, session at first %q", m, session)
	}
	s.touch(a, `{"state":"stopped"}`)
	v.until("the change", 5*time.Second, func(c *cluster.Cluster) bool { return string(c.Member("a").State) == "stopped" })

	// somebody removes our key; we see it and write it again
	va := s.watch(a)
	va.until("own view", 5*time.Second, func(c *cluster.Cluster) bool { return c.Member("a") != nil })
	s.Set(s.T, cluster.KeyMembers+"a", nil)
	va.until("own member key is gone", 5*time.Second, func(c *cluster.Cluster) bool { return c.Member("a") == nil })
	s.touch(a, `{"state":"stopped"}`)
	if s.load(b).Member("a") == nil {
		s.Fatal("touch did not write the key that had vanished")
	}
}

func watch(s *suite) {
	a, b := s.open("a"), s.open("b")
	s.put(a, cluster.KeyInitialize, "7000000000000000001", dcs.Any())
	s.touch(a, `{}`)
	v := s.watch(b)
	c := v.until("first view", 5*time.Second, func(*cluster.Cluster) bool { return true })
	if c.Initialize == nil || c.Initialize.Value != "7000000000000000001" || c.Member("a") == nil {
		s.Fatalf("the first view is not complete: %+v", c)
	}
	// what is seen of one key never goes back, and of two keys written in turn the
	// second never runs ahead
	const rounds = 50
	var config, status, views int
	check := func(c *cluster.Cluster) {
		newConfig, newStatus := 0, int(c.Status.LSN)
		if c.Config != nil {
			newConfig = number(c.Config.Doc)
		}
		if newConfig < config || newStatus < status || newStatus > newConfig {
			s.Fatalf("view out of order: config %d after %d, status %d after %d", newConfig, config, newStatus, status)
		}
		config, status = newConfig, newStatus
	}
	for i := 1; i <= rounds; i++ {
		s.put(a, cluster.KeyConfig, fmt.Sprintf(`{"n":%d}`, i), dcs.Any())
		s.put(a, cluster.KeyStatus, fmt.Sprintf(`{"optime":%d}`, i), dcs.Any())
		if v.poll(); v.last.Cluster != nil {
			check(v.last.Cluster)
			views++
		}
	}
	v.until("the last change", 5*time.Second, func(c *cluster.Cluster) bool {
		check(c)
		return config == rounds && status == rounds
	})
	if err := a.Delete(s.call(), cluster.KeyConfig, dcs.Any()); err != nil {
		s.Fatal(err)
	}
	v.until("the deletion", 5*time.Second, func(c *cluster.Cluster) bool { return c.Config == nil })

	ctx, cancel := context.WithCancel(s.ctx)
	ch := s.open("c").Watch(ctx)
	cancel()
	for range 2 { // at most one view, then the end
		select {
		case _, open := <-ch:
			if !open {
				return
			}
		case <-time.After(5 * time.Second):
			s.Fatal("the channel is not closed when the context ends")
		}
	}
	s.Fatal("views after the context ended")
}

func number(o *cluster.Object) int {
	var n int
	_, _ = fmt.Sscan(fmt.Sprint(o.Value("n")), &n)
	return n
}

func ownWrites(s *suite) {
	a, b := s.open("a"), s.open("b")
	v := s.watch(a)
	v.until("first view", 5*time.Second, func(*cluster.Cluster) bool { return true })
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { // noise that keeps the watch busy
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.Put(s.call(), cluster.KeyHistory, fmt.Appendf(nil, `[[%d,1,"x"]]`, i+1), dcs.Any()); err != nil {
				s.Errorf("put: %v", err)
				return
			}
		}
	})
	var version cluster.Version
	for i := range 60 {
		// odd rounds write, even rounds delete; a view from before must never return
		if i%2 == 0 {
			version = s.put(a, cluster.KeySync, fmt.Sprintf(`{"leader":"a","quorum":0,"sync_standby":"n%d"}`, i), dcs.IfAbsent())
		} else if err := a.Delete(s.call(), cluster.KeySync, dcs.IfVersion(version)); err != nil {
			s.Fatalf("delete: %v", err)
		}
		for range 3 {
			read := v.read
			if v.poll(); v.read == read {
				continue
			}
			sync := v.last.Cluster.Sync
			if i%2 == 0 && (sync == nil || sync.Version != version) || i%2 == 1 && sync != nil {
				s.Fatalf("round %d: the view shows %+v, our last write was %d", i, sync, version)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func unknownKeys(s *suite) {
	a := s.open("a")
	v := s.watch(a)
	v.until("first view", 5*time.Second, (*cluster.Cluster).Empty)
	read := v.read
	for _, k := range []string{"something", "members/a/b", "optime/other", "configuration"} {
		s.Set(s.T, k, []byte("{}"))
	}
	s.Set(s.T, cluster.KeyStatus, []byte(`{"optime":5}`))
	v.until("the known key", 5*time.Second, func(c *cluster.Cluster) bool { return c.Status.LSN == 5 })
	if v.read != read+1 {
		s.Fatalf("%d views for one known key", v.read-read)
	}
	if c := s.load(a); len(c.Members) != 0 || c.Config != nil {
		s.Fatalf("unknown keys were taken for known ones: %+v", c)
	}
}

func outage(s *suite) {
	a, b := s.open("a"), s.open("b")
	// a session long enough to survive the outage
	a.SetTimes(dcs.Times{TTL: time.Minute, LoopWait: time.Second, RetryTimeout: 2 * time.Second})
	b.SetTimes(dcs.Times{TTL: time.Minute, LoopWait: time.Second, RetryTimeout: 2 * time.Second})
	s.touch(a, `{}`)
	g := s.acquire(a)
	v := s.watch(a)
	v.until("first view", 5*time.Second, func(c *cluster.Cluster) bool { return c.LeaderName() == "a" })
	s.Freeze(s.T)
	calls := map[string]func(context.Context) error{
		"renew":   func(ctx context.Context) error { _, err := a.Renew(ctx, g.Hold); return err },
		"release": func(ctx context.Context) error { return b.Release(ctx, g.Hold) },
		"acquire": func(ctx context.Context) error { _, err := b.Acquire(ctx); return err },
		"touch":   func(ctx context.Context) error { return a.Touch(ctx, []byte(`{"state":"running"}`)) },
		"load":    func(ctx context.Context) error { _, err := b.Load(ctx); return err },
		"put": func(ctx context.Context) error {
			_, err := a.Put(ctx, cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent())
			return err
		},
		"delete": func(ctx context.Context) error { return a.Delete(ctx, cluster.KeyFailover, dcs.IfVersion(1)) },
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			began := time.Now()
			ctx, cancel := context.WithTimeout(s.ctx, 3*time.Second)
			defer cancel()
			err := call(ctx)
			// on a busy machine the goroutine may be late itself
			if took := time.Since(began); err == nil || dcs.Refused(err) || took > 3300*time.Millisecond {
				s.Errorf("%s of a frozen store: %v, after %v", name, err, took)
			}
		})
	}
	wg.Wait()
	s.eventually("the watch reports the outage", 10*time.Second, func() bool { v.poll(); return v.last.Err != nil })
	s.Thaw(s.T)
	v.until("a view after the outage", 10*time.Second, func(c *cluster.Cluster) bool { return c.LeaderName() == "a" })
	if r, err := a.Renew(s.call(), g.Hold); err != nil || r.Created != g.Created {
		s.Fatalf("renew after the outage: %+v, %v", r, err)
	}
	s.touch(a, `{"state":"stopped"}`)
	v.until("changes after the outage", 5*time.Second, func(c *cluster.Cluster) bool {
		return c.Member("a") != nil && string(c.Member("a").State) == "stopped"
	})
}

func removal(s *suite) {
	a := s.open("a")
	s.touch(a, `{}`)
	g := s.acquire(a)
	s.put(a, cluster.KeyConfig, `{}`, dcs.Any())
	s.Set(s.T, "something", []byte("else"))
	if err := a.RemoveCluster(s.call()); err != nil {
		s.Fatalf("remove: %v", err)
	}
	if c := s.load(a); !c.Empty() {
		s.Fatalf("left over: %+v", c)
	}
	_, err := a.Renew(s.call(), g.Hold)
	s.want(err, dcs.ErrAbsent, "renew after the removal")
}
