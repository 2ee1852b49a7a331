package memory_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/memory"
)

// world is a server with a clock that only the test moves.
type world struct {
	*memory.Server
	clock *atomic.Int64
}

func newWorld() *world {
	clock := new(atomic.Int64)
	return &world{memory.New(func() time.Duration { return time.Duration(clock.Load()) }), clock}
}

func (w *world) Elapse(d time.Duration) {
	w.clock.Add(int64(d))
	w.Advance()
}

// factory fits a world to the conformance suite.
type factory struct{ *world }

func (f factory) Open(t testing.TB, name, inherit string) dcs.Store {
	s := f.Server.Open(name, dcs.Times{TTL: f.TTL(), LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second}, inherit)
	t.Cleanup(func() { s.Close() })
	return s
}
func (f factory) TTL() time.Duration                         { return 30 * time.Second }
func (f factory) Set(t testing.TB, key string, value []byte) { f.Server.Set(key, value) }
func (f factory) Freeze(testing.TB)                          { f.Stop() }
func (f factory) Thaw(testing.TB)                            { f.Start() }

func TestConformance(t *testing.T) {
	t.Parallel()
	dcstest.Run(t, func(*testing.T) dcstest.Factory { return factory{newWorld()} })
}

var times = dcs.Times{TTL: 30 * time.Second, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second}

func TestLostAnswersAreDoneAndMissedOnesAreNot(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.Server.Open("a", times, "")
	fate := memory.NotDone
	w.SetFate(func(member, operation string) memory.Fate {
		if member == "a" && operation == "Acquire" {
			return fate
		}
		return memory.Answered
	})
	for _, x := range []struct {
		fate   memory.Fate
		leader string
	}{{memory.NotDone, ""}, {memory.Lost, "a"}} {
		fate = x.fate
		_, err := a.Acquire(t.Context())
		if !errors.Is(err, memory.ErrUnavailable) || dcs.Refused(err) {
			t.Fatalf("fate %v: %v", x.fate, err)
		}
		c, err := a.Load(t.Context())
		if err != nil || c.LeaderName() != x.leader {
			t.Fatalf("fate %v: leader %q, %v", x.fate, c.LeaderName(), err)
		}
	}
}

func TestHeldWatchShowsThePastButOwnWritesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.Server.Open("a", times, "")
	ch := a.Watch(t.Context())
	<-ch
	a.Hold()
	w.Set(cluster.KeyConfig, []byte(`{"ttl":20}`))
	w.Set(cluster.KeyConfig, []byte(`{"ttl":21}`))
	if len(ch) != 0 {
		t.Fatal("a change came through while the watch was held")
	}
	if _, err := a.Put(t.Context(), cluster.KeySync, []byte(`{"leader":"a"}`), dcs.Any()); err != nil {
		t.Fatal(err)
	}
	if c := (<-ch).Cluster; c.Config != nil || !c.Sync.Active() {
		t.Fatalf("want the old config and our new sync, got %+v", c)
	}
	a.Deliver(1)
	if c := (<-ch).Cluster; string(cluster.Compact(c.Config.Doc)) != `{"ttl":20}` || !c.Sync.Active() {
		t.Fatalf("want the first change, got %+v", c)
	}
	a.Deliver(-1)
	if c := (<-ch).Cluster; string(cluster.Compact(c.Config.Doc)) != `{"ttl":21}` {
		t.Fatalf("want the last change, got %+v", c)
	}
}

func TestDisconnectedMemberLosesItsViewAndItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b := w.Server.Open("a", times, ""), w.Server.Open("b", times, "")
	g, err := a.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ch := a.Watch(t.Context())
	<-ch
	a.Disconnect()
	if u := <-ch; u.Err == nil {
		t.Fatal("no error in the view")
	}
	at, ok := w.NextExpiry()
	if !ok || at != times.TTL {
		t.Fatalf("next expiry %v %v", at, ok)
	}
	w.Elapse(at)
	if _, err := b.Acquire(t.Context()); err != nil {
		t.Fatalf("acquire after the expiry: %v", err)
	}
	a.Reconnect()
	if u := <-ch; u.Err != nil || u.Cluster.LeaderName() != "b" {
		t.Fatalf("after the reconnection: %+v", u)
	}
	if _, err := a.Renew(t.Context(), g.Hold); !errors.Is(err, dcs.ErrHeld) {
		t.Fatalf("renew: %v", err)
	}
}

func TestElectionInsideTheStoreChangesTheEpochAndProlongsSessions(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.Server.Open("a", times, "")
	g, err := a.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.Elapse(20 * time.Second)
	w.NewEpoch()
	w.Elapse(20 * time.Second)
	r, err := a.Renew(t.Context(), g.Hold)
	if err != nil || r.Epoch == g.Epoch || r.Hold != g.Hold {
		t.Fatalf("renewal %+v after %+v: %v", r, g, err)
	}
}

func TestEndedContextIsAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newWorld().Server.Open("a", times, "").Acquire(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
