package memory

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// Store is one member's client. The server's mutex guards its state.
type Store struct {
	server  *Server
	name    string
	times   dcs.Times
	session string            // the one in use, empty for none
	ttl     time.Duration     // that the session was asked for
	origin  map[string]string // session -> the one from which our leader key was moved to it
	touched []byte            // last member value written
	on      string            // session on which it was written
	written []change          // by the call that runs; the view learns it with the answer

	cut     bool
	watches bool
	lag     bool
	queue   []change // not told yet because the watch lags
	cache   dcs.Cache
}

var _ dcs.Store = (*Store)(nil)

type change struct {
	key   string
	entry dcs.Entry
}

// Disconnect cuts this member off from the store.
func (c *Store) Disconnect() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.cut = true
	c.cache.Fail(ErrUnavailable)
}

// Reconnect ends what Disconnect began.
func (c *Store) Reconnect() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.cut = false
	c.server.expire()
	c.resume()
}

// Hold makes the watch lag: changes are kept back until Deliver. What this
// member writes itself is seen at once all the same.
func (c *Store) Hold() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.lag = true
}

// Deliver tells up to n of the changes kept back; n below 0 tells all and ends
// the lag.
func (c *Store) Deliver(n int) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if n < 0 {
		c.lag, n = false, len(c.queue)
	}
	for ; n > 0 && len(c.queue) > 0; n-- {
		c.apply(c.queue[0])
		c.queue = c.queue[1:]
	}
}

// change is told by the server, whose mutex is held.
func (c *Store) change(x change) {
	switch {
	case !c.watches || c.cut || c.server.stopped:
	case c.lag:
		c.queue = append(c.queue, x)
	default:
		c.apply(x)
	}
}

func (c *Store) apply(x change) {
	c.cache.Apply([]string{x.key}, []dcs.Entry{x.entry}, x.entry.Version)
}

// resume begins the watch anew with the whole picture.
func (c *Store) resume() {
	if !c.watches || c.cut || c.server.stopped {
		return
	}
	c.queue = nil
	c.cache.Reset(c.cache.Mark(), maps.Clone(c.server.keys), c.server.revision)
}

// call runs one operation as the fates will.
func call[T any](ctx context.Context, c *Store, operation string, do func() (T, error)) (T, error) {
	var none T
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%s: %w", operation, err)
	}
	fate := Answered
	if s.fate != nil {
		fate = s.fate(c.name, operation)
	}
	if c.cut || s.stopped || fate == NotDone {
		return none, fmt.Errorf("%s: %w", operation, ErrUnavailable)
	}
	s.expire()
	v, err := do()
	written := c.written
	c.written = nil
	if fate == Lost {
		c.touched, c.on = nil, "" // as after any failure: not known to be written
		return none, fmt.Errorf("%s: the answer was lost: %w", operation, ErrUnavailable)
	}
	if err != nil {
		return none, fmt.Errorf("%s: %w", operation, err)
	}
	for _, w := range written {
		c.cache.Own(w.key, w.entry)
	}
	return v, nil
}

func (c *Store) wrote(key string, e dcs.Entry) { c.written = append(c.written, change{key, e}) }

// Load implements dcs.Store.
func (c *Store) Load(ctx context.Context) (*cluster.Cluster, error) {
	return call(ctx, c, "Load", func() (*cluster.Cluster, error) { return c.server.read(), nil })
}

// Watch implements dcs.Store.
func (c *Store) Watch(ctx context.Context) <-chan dcs.Update {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	ch := c.cache.Open(ctx)
	c.watches = true
	if c.cut || c.server.stopped {
		c.cache.Fail(ErrUnavailable)
	} else {
		c.server.expire()
		c.resume()
	}
	return ch
}

// extend extends the session in use. It begins a new one if there is none or
// if the ttl has changed.
func (c *Store) extend() *session {
	s := c.server
	x := s.sessions[c.session]
	if x == nil || c.ttl != c.times.TTL {
		x = s.begin(c.times.TTL)
		c.session, c.ttl = x.id, x.ttl
	}
	x.expires = s.now() + x.ttl
	return x
}

// Reclaim implements dcs.Store.
func (c *Store) Reclaim(ctx context.Context, seen cluster.Leader) (dcs.Grant, error) {
	return call(ctx, c, "Reclaim", func() (dcs.Grant, error) {
		s := c.server
		x := c.extend()
		e, ok := s.keys[cluster.KeyLeader]
		switch {
		case !ok:
			return dcs.Grant{}, dcs.ErrAbsent
		case string(e.Value) != c.name || e.Version != seen.Version || e.Created != seen.Created:
			return dcs.Grant{}, dcs.Held(string(e.Value), c.name)
		}
		e = s.write(cluster.KeyLeader, []byte(c.name), x.id)
		c.wrote(cluster.KeyLeader, e)
		return c.grant(x, e), nil
	})
}

// Acquire implements dcs.Store.
func (c *Store) Acquire(ctx context.Context) (dcs.Grant, error) {
	return call(ctx, c, "Acquire", func() (dcs.Grant, error) {
		s := c.server
		x := c.extend()
		if l, ok := s.keys[cluster.KeyLeader]; ok {
			return dcs.Grant{}, dcs.Held(string(l.Value), c.name)
		}
		e := s.write(cluster.KeyLeader, []byte(c.name), x.id)
		c.wrote(cluster.KeyLeader, e)
		return c.grant(x, e), nil
	})
}

func (c *Store) grant(x *session, e dcs.Entry) dcs.Grant {
	return dcs.Grant{Hold: dcs.Hold{Session: x.id, Created: e.Created}, TTL: x.ttl, Epoch: c.server.epoch}
}

// holds finds the leader key if it is h's, or was moved from h's session by us.
func (c *Store) holds(h dcs.Hold) (dcs.Entry, error) {
	e, ok := c.server.keys[cluster.KeyLeader]
	if !ok {
		return e, dcs.ErrAbsent
	}
	ours := string(e.Value) == c.name && e.Created == h.Created
	for id := e.Session; ours && id != ""; id = c.origin[id] {
		if id == h.Session {
			return e, nil
		}
	}
	return e, dcs.Held(string(e.Value), c.name)
}

// Renew implements dcs.Store.
func (c *Store) Renew(ctx context.Context, h dcs.Hold) (dcs.Grant, error) {
	return call(ctx, c, "Renew", func() (dcs.Grant, error) {
		e, err := c.holds(h)
		if err != nil {
			return dcs.Grant{}, err
		}
		x := c.server.sessions[e.Session]
		if x == nil {
			return dcs.Grant{}, dcs.ErrAbsent
		}
		x.expires = c.server.now() + x.ttl
		return c.grant(x, e), nil
	})
}

// Release implements dcs.Store.
func (c *Store) Release(ctx context.Context, h dcs.Hold) error {
	_, err := call(ctx, c, "Release", func() (struct{}, error) {
		if _, err := c.holds(h); err != nil {
			return struct{}{}, err
		}
		c.server.remove(cluster.KeyLeader)
		c.wrote(cluster.KeyLeader, dcs.Entry{Version: c.server.revision, Deleted: true})
		return struct{}{}, nil
	})
	return err
}

// Touch implements dcs.Store.
func (c *Store) Touch(ctx context.Context, value []byte) error {
	_, err := call(ctx, c, "Touch", func() (struct{}, error) {
		s := c.server
		before := c.session
		x := c.extend()
		if l, ok := s.keys[cluster.KeyLeader]; ok && before != "" && before != x.id && l.Session == before && string(l.Value) == c.name {
			c.origin[x.id] = before
			c.wrote(cluster.KeyLeader, s.write(cluster.KeyLeader, l.Value, x.id))
		}
		key := cluster.KeyMembers + c.name
		seen, known := c.cache.Get(key)
		if vanished := known && seen.Deleted; !vanished && c.on == x.id && bytes.Equal(c.touched, value) {
			return struct{}{}, nil
		}
		c.wrote(key, s.write(key, value, x.id))
		c.touched, c.on = slices.Clone(value), x.id
		return struct{}{}, nil
	})
	return err
}

// check tells whether a condition holds for a key.
func (c *Store) check(key string, cond dcs.Condition) error {
	e, there := c.server.keys[key]
	anything, absent, version := cond.Want()
	if anything || absent && !there || !absent && there && e.Version == version {
		return nil
	}
	return fmt.Errorf("%s: %w", key, dcs.ErrConflict)
}

// Put implements dcs.Store.
func (c *Store) Put(ctx context.Context, key string, value []byte, cond dcs.Condition) (cluster.Version, error) {
	return call(ctx, c, "Put", func() (cluster.Version, error) {
		if err := c.check(key, cond); err != nil {
			return 0, err
		}
		e := c.server.write(key, value, "")
		c.wrote(key, e)
		return e.Version, nil
	})
}

// Delete implements dcs.Store.
func (c *Store) Delete(ctx context.Context, key string, cond dcs.Condition) error {
	_, err := call(ctx, c, "Delete", func() (struct{}, error) {
		if err := c.check(key, cond); err != nil {
			return struct{}{}, err
		}
		if _, absent, _ := cond.Want(); absent {
			return struct{}{}, fmt.Errorf("%s: %w", key, dcs.ErrConflict)
		}
		c.server.remove(key)
		c.wrote(key, dcs.Entry{Version: c.server.revision, Deleted: true})
		return struct{}{}, nil
	})
	return err
}

// RemoveCluster implements dcs.Store.
func (c *Store) RemoveCluster(ctx context.Context) error {
	_, err := call(ctx, c, "RemoveCluster", func() (struct{}, error) {
		for _, k := range slices.Sorted(maps.Keys(c.server.keys)) {
			c.server.remove(k)
		}
		return struct{}{}, nil
	})
	return err
}

// SetTimes implements dcs.Store.
func (c *Store) SetTimes(t dcs.Times) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.times = t
}

// Close implements dcs.Store: the session is left to expire.
func (c *Store) Close() error {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c.cut = true
	s.clients = slices.DeleteFunc(s.clients, func(x *Store) bool { return x == c })
	return nil
}
