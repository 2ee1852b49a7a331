package dcs

import (
	"context"
	"strings"
	"sync"

	"tamada/internal/cluster"
)

// Entry is one key as a store holds it.
type Entry struct {
	Value   []byte
	Version cluster.Version // of the last change; of the deletion when Deleted
	Created cluster.Version
	Session string
	Deleted bool
}

// Cache is a backend's picture of the scope. A watch feeds it; our own writes
// are put in at once and outlive older news of the watch, so that a view never
// goes back behind what we wrote ourselves (reference dcs-layout.md, trap 5).
//
// Versions must come from one counter for the whole store, as etcd's revisions
// do. The zero value is an empty cache.
type Cache struct {
	mu      sync.Mutex
	watched map[string]Entry // as the watch told last
	own     map[string]own   // our writes that the watch has not told yet
	writes  uint64           // own writes so far
	ready   bool             // the watch has delivered and not failed since
	box     *mailbox
}

// own is a write of ours; number orders it against the start of a Reset.
type own struct {
	Entry
	number uint64
}

// Known tells whether a key, relative to the scope, belongs to the model.
func Known(key string) bool {
	switch key {
	case cluster.KeyInitialize, cluster.KeyConfig, cluster.KeyLeader, cluster.KeyFailover, cluster.KeySync,
		cluster.KeyStatus, cluster.KeyOptime, cluster.KeyHistory, cluster.KeyFailsafe:
		return true
	}
	name, ok := strings.CutPrefix(key, cluster.KeyMembers)
	return ok && name != "" && !strings.Contains(name, "/")
}

// Open makes the channel on which the views of the cache are delivered, newest
// only, and closes it when ctx ends.
func (c *Cache) Open(ctx context.Context) <-chan Update {
	box := &mailbox{ch: make(chan Update, 1)}
	c.mu.Lock()
	c.box = box
	c.mu.Unlock()
	context.AfterFunc(ctx, box.close)
	return box.ch
}

// Mark must be taken before the read whose result is given to Reset.
func (c *Cache) Mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// Reset replaces everything by a complete read of the scope as of version at,
// and delivers it. Own writes that were answered before mark are part of the
// read; only later ones that it does not contain are kept.
func (c *Cache) Reset(mark uint64, keys map[string]Entry, at cluster.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = make(map[string]Entry, len(keys))
	for k, e := range keys {
		if Known(k) {
			c.watched[k] = e
		}
	}
	for k, o := range c.own {
		if o.number <= mark || o.Version <= at {
			delete(c.own, k)
		}
	}
	c.ready = true
	c.deliver()
}

// Apply takes over changes of the watch, complete up to version at, and
// delivers a view if they show anything new.
func (c *Cache) Apply(keys []string, entries []Entry, at cluster.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched == nil {
		c.watched = map[string]Entry{}
	}
	changed := false
	for i, k := range keys {
		if !Known(k) {
			continue
		}
		before := c.visible(k)
		if entries[i].Deleted {
			delete(c.watched, k)
		} else {
			c.watched[k] = entries[i]
		}
		if o, ok := c.own[k]; ok && o.Version <= entries[i].Version {
			delete(c.own, k)
		}
		after := c.visible(k)
		changed = changed || before.Version != after.Version || before.Deleted != after.Deleted
	}
	for k, o := range c.own {
		if o.Version <= at {
			delete(c.own, k)
		}
	}
	if changed || !c.ready {
		c.ready = true
		c.deliver()
	}
}

// Own takes over a write of ours that the store has confirmed.
func (c *Cache) Own(key string, e Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !Known(key) || c.box == nil {
		return
	}
	before := c.visible(key)
	c.writes++
	if e.Version <= before.Version {
		return // the watch was faster
	}
	if c.own == nil {
		c.own = map[string]own{}
	}
	c.own[key] = own{e, c.writes}
	if c.ready {
		c.deliver()
	}
}

// Fail tells the reader that the view is unknown.
func (c *Cache) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = false
	if c.box != nil {
		c.box.put(Update{Err: err})
	}
}

// Get is the entry of a key as the view shows it; known is false when the view
// itself is unknown.
func (c *Cache) Get(key string) (e Entry, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.visible(key), c.ready
}

// visible is the newer of what the watch told and what we wrote. An absent key
// is an entry that is Deleted. The mutex is held.
func (c *Cache) visible(key string) Entry {
	e, ok := c.watched[key]
	if !ok {
		e = Entry{Deleted: true}
	}
	if o, ok := c.own[key]; ok && o.Version > e.Version {
		e = o.Entry
	}
	return e
}

// deliver builds the view and hands it over. The mutex is held.
func (c *Cache) deliver() {
	if c.box == nil {
		return
	}
	var b cluster.Builder
	add := func(k string) {
		if e := c.visible(k); !e.Deleted {
			b.Add(k, e.Value, e.Version, e.Created, e.Session)
		}
	}
	for k := range c.watched {
		add(k)
	}
	for k := range c.own {
		if _, ok := c.watched[k]; !ok {
			add(k)
		}
	}
	c.box.put(Update{Cluster: b.Cluster()})
}

// mailbox is a channel that keeps only the newest update. The mutex makes put
// and close exclude each other.
type mailbox struct {
	mu     sync.Mutex
	ch     chan Update
	closed bool
}

func (m *mailbox) put(u Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	select {
	case <-m.ch: // nobody has read it, and now nobody needs to
	default:
	}
	m.ch <- u
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.ch)
	}
}
