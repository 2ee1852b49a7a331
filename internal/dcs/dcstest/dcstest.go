package dcstest

import (
	"context"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// Factory is one empty scope in one store, and what a test may do to it.
type Factory interface {
	// Open makes a client for one more member; inherit is the session to go on
	// with, empty for none. The client is closed when the test ends.
	Open(t testing.TB, name, inherit string) dcs.Store
	// TTL is the time to live of the sessions that Open's clients begin with, at
	// least 2 s. A short one makes the suite fast.
	TTL() time.Duration
	// Elapse lets time pass.
	Elapse(d time.Duration)
	// Set writes a key below the scope as another program would, without a
	// session; nil deletes it.
	Set(t testing.TB, key string, value []byte)
	// Freeze makes the store stop answering without closing connections; Thaw lets
	// it go on.
	Freeze(t testing.TB)
	Thaw(t testing.TB)
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Factory) {
	tests := []struct {
		name string
		test func(*suite)
	}{
		{"put and delete happen only under their condition", conditions},
		{"a node alone does not delete another's initialize key", initializeKey},
		{"of many that acquire one wins", acquireRace},
		{"renewal proves exactly our hold and never creates", renewal},
		{"release deletes exactly our hold", release},
		{"leader and member key share a session and vanish with it", expiry},
		{"a new client goes on with an inherited session", inheritance},
		{"touch writes on change and extends always", touch},
		{"a changed ttl moves both keys to a new session", ttlChange},
		{"watch delivers the whole view and then every change", watch},
		{"views never go back behind our own writes", ownWrites},
		{"unknown keys are ignored", unknownKeys},
		{"an outage is an error in time and never a refusal", outage},
		{"removing the cluster leaves nothing", removal},
		{"concurrent tenures never overlap", history},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			t.Cleanup(cancel)
			x.test(&suite{T: t, Factory: open(t), ctx: ctx})
		})
	}
}

// suite is one running test.
type suite struct {
	*testing.T
	Factory
	ctx context.Context
}

// within is a context for one call.
func (s *suite) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	s.Cleanup(cancel)
	return ctx
}

func (s *suite) call() context.Context { return s.within(5 * time.Second) }

func (s *suite) open(name string) dcs.Store { return s.Open(s.T, name, "") }

func (s *suite) load(c dcs.Store) *cluster.Cluster {
	s.Helper()
	v, err := c.Load(s.call())
	if err != nil {
		s.Fatalf("load: %v", err)
	}
	return v
}

func (s *suite) acquire(c dcs.Store) dcs.Grant {
	s.Helper()
	g, err := c.Acquire(s.call())
	if err != nil {
		s.Fatalf("acquire: %v", err)
	}
	return g
}

func (s *suite) touch(c dcs.Store, value string) {
	s.Helper()
	if err := c.Touch(s.call(), []byte(value)); err != nil {
		s.Fatalf("touch: %v", err)
	}
}

func (s *suite) put(c dcs.Store, key, value string, cond dcs.Condition) cluster.Version {
	s.Helper()
	v, err := c.Put(s.call(), key, []byte(value), cond)
	if err != nil {
		s.Fatalf("put %s: %v", key, err)
	}
	return v
}

// eventually lets time pass in small steps until the condition holds.
func (s *suite) eventually(what string, limit time.Duration, cond func() bool) {
	s.Helper()
	const step = 20 * time.Millisecond
	for passed := time.Duration(0); ; passed += step {
		if cond() {
			return
		}
		if passed > limit {
			s.Fatalf("%s: not within %v", what, limit)
		}
		s.Elapse(step)
	}
}

// viewer reads a watch.
type viewer struct {
	s    *suite
	ch   <-chan dcs.Update
	last dcs.Update
	read int // updates taken from the channel
}

func (s *suite) watch(c dcs.Store) *viewer {
	ctx, cancel := context.WithCancel(s.ctx)
	s.Cleanup(cancel)
	return &viewer{s: s, ch: c.Watch(ctx)}
}

// poll takes what is there.
func (v *viewer) poll() {
	v.s.Helper()
	select {
	case u, open := <-v.ch:
		if !open {
			v.s.Fatal("the watch was closed")
		}
		if (u.Cluster == nil) == (u.Err == nil) {
			v.s.Fatalf("an update must have either a view or an error: %+v", u)
		}
		v.last = u
		v.read++
	default:
	}
}

// until reads until the newest update is a view that fulfils the condition.
func (v *viewer) until(what string, limit time.Duration, cond func(*cluster.Cluster) bool) *cluster.Cluster {
	v.s.Helper()
	v.s.eventually(what, limit, func() bool {
		v.poll()
		return v.last.Cluster != nil && cond(v.last.Cluster)
	})
	return v.last.Cluster
}
