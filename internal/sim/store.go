package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// entry is the state of one key.
type entry struct {
	value            string
	version, created cluster.Version
	session          string
	deleted          bool
}

// session is a lease of the store.
type session struct {
	id      string
	ttl     time.Duration
	expires time.Duration
}

// store is a model of etcd: one history of keys, sessions that expire by the
// leader's count of time, terms of leadership, and members that answer late or
// with what has long changed.
type store struct {
	w        *World
	keys     map[string]entry
	rev      cluster.Version
	sessions map[string]*session
	lastID   int
	term     uint64
	made     time.Duration // when the leader key was last made
	down     bool          // no quorum: nothing is answered

	// A frozen leader: clients with frozenFor set were connected to it. Keepalives
	// that wait in its sockets are answered, wrongly, when it thaws.
	frozenTerm uint64
	thawsAt    time.Duration

	clients []*client // of living agents, in order of nodes
}

func newStore(w *World) *store {
	return &store{w: w, keys: map[string]entry{}, sessions: map[string]*session{}, term: 2}
}

func (s *store) begin(ttl time.Duration) *session {
	s.lastID++
	x := &session{id: "s" + strconv.Itoa(s.lastID), ttl: ttl}
	s.sessions[x.id] = x
	s.extend(x)
	return x
}

// extend moves the end of a session and looks again then.
func (s *store) extend(x *session) {
	x.expires = s.w.now + x.ttl
	s.w.at(x.expires, func() { s.expire(x) })
}

func (s *store) expire(x *session) {
	if s.sessions[x.id] != x || s.w.now < x.expires {
		return
	}
	if s.down {
		s.w.after(time.Second, func() { s.expire(x) })
		return
	}
	s.revoke(x.id)
}

func (s *store) revoke(id string) {
	delete(s.sessions, id)
	for _, k := range slices.Sorted(maps.Keys(s.keys)) {
		if s.keys[k].session == id {
			s.w.logf("store", "%s expires", k)
			s.remove(k)
		}
	}
}

func (s *store) write(key, value, session string) entry {
	s.rev++
	e := entry{value: value, version: s.rev, created: s.rev, session: session}
	if old, ok := s.keys[key]; ok {
		e.created = old.created
	}
	s.keys[key] = e
	s.tell(key, e)
	return e
}

func (s *store) remove(key string) {
	s.rev++
	delete(s.keys, key)
	s.tell(key, entry{version: s.rev, deleted: true})
}

// tell delivers a change to every watch.
func (s *store) tell(key string, e entry) {
	for _, c := range s.clients {
		c.told(key, e)
	}
}

// elect makes a new term. Leases are counted anew from now: etcd does so,
// because its new leader does not know how much of them is left.
func (s *store) elect() {
	s.term++
	for _, id := range slices.Sorted(maps.Keys(s.sessions)) {
		s.extend(s.sessions[id])
	}
}

func (s *store) leader() string { return s.keys[cluster.KeyLeader].value }

// status is the position that was published last.
func (s *store) status() cluster.Status {
	e, ok := s.keys[cluster.KeyStatus]
	if !ok {
		return cluster.Status{}
	}
	return cluster.ParseStatus([]byte(e.value))
}

func (s *store) check(key string, cond dcs.Condition) error {
	e, there := s.keys[key]
	anything, absent, version := cond.Want()
	if anything || absent && !there || !absent && there && e.version == version {
		return nil
	}
	return fmt.Errorf("%s: %w", key, dcs.ErrConflict)
}
