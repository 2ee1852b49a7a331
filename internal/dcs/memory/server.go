package memory

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// ErrUnavailable is every outage of this store.
var ErrUnavailable = errors.New("the store is not available")

// Fate is what becomes of one call.
type Fate byte

// The fates of a call.
const (
	Answered Fate = iota // done and answered
	NotDone              // never reached the store
	Lost                 // done, but the answer was lost
)

// Server is a store in memory. All methods may be called at the same time.
type Server struct {
	mu       sync.Mutex // guards everything below and the state of all clients
	now      func() time.Duration
	revision cluster.Version
	epoch    uint64
	keys     map[string]dcs.Entry
	sessions map[string]*session
	number   int // of the last session
	clients  []*Store
	fate     func(member, operation string) Fate
	stopped  bool
}

type session struct {
	id      string
	ttl     time.Duration
	expires time.Duration
}

// New makes an empty store. now is the time since any fixed moment and must
// never go back.
func New(now func() time.Duration) *Server {
	return &Server{now: now, epoch: 1, keys: map[string]dcs.Entry{}, sessions: map[string]*session{}}
}

// Open makes the client of one member. inherit is the session to go on with,
// empty for none.
func (s *Server) Open(name string, times dcs.Times, inherit string) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Store{server: s, name: name, times: times, session: inherit, origin: map[string]string{}}
	if x := s.sessions[inherit]; x != nil {
		c.ttl = x.ttl
	}
	s.clients = append(s.clients, c)
	return c
}

// SetFate installs the function that decides about each call; nil means that
// all are answered. The operations are the names of the methods of dcs.Store.
func (s *Server) SetFate(fate func(member, operation string) Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fate = fate
}

// Stop makes the store unavailable to everybody. Time, and with it the life of
// sessions, goes on.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, c := range s.clients {
		c.cache.Fail(ErrUnavailable)
	}
}

// Start ends what Stop began.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = false
	s.expire()
	for _, c := range s.clients {
		c.resume()
	}
}

// NewEpoch is an election inside the store: as in etcd, it gives every session
// its full time anew.
func (s *Server) NewEpoch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	s.epoch++
	for _, x := range s.sessions {
		x.expires = s.now() + x.ttl
	}
}

// Advance ends the sessions whose time has passed and tells the watches.
func (s *Server) Advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
}

// NextExpiry is the moment at which the next session ends if nobody extends
// it; ok is false when there is none.
func (s *Server) NextExpiry() (at time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.sessions {
		if !ok || x.expires < at {
			at, ok = x.expires, true
		}
	}
	return at, ok
}

// Expire ends a session at once.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(id)
}

// Set writes a key as another program would; nil deletes it.
func (s *Server) Set(key string, value []byte) cluster.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if value == nil {
		s.remove(key)
	} else {
		s.write(key, value, "")
	}
	return s.revision
}

// Revision is the version of the last change.
func (s *Server) Revision() cluster.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// expire ends what is due, in an order that does not depend on a map. The
// mutex is held, here and below.
func (s *Server) expire() {
	if s.stopped {
		return // a frozen server ends sessions when it goes on, not before
	}
	var due []*session
	for _, x := range s.sessions {
		if x.expires <= s.now() {
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(a, b *session) int {
		if a.expires != b.expires {
			return int(a.expires - b.expires)
		}
		return slices.Compare([]byte(a.id), []byte(b.id))
	})
	for _, x := range due {
		s.end(x.id)
	}
}

func (s *Server) end(id string) {
	delete(s.sessions, id)
	var keys []string
	for k, e := range s.keys {
		if e.Session == id {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		s.remove(k)
	}
}

func (s *Server) begin(ttl time.Duration) *session {
	s.number++
	x := &session{id: fmt.Sprintf("s%d", s.number), ttl: ttl, expires: s.now() + ttl}
	s.sessions[x.id] = x
	return x
}

func (s *Server) write(key string, value []byte, session string) dcs.Entry {
	s.revision++
	e := dcs.Entry{Value: slices.Clone(value), Version: s.revision, Created: s.revision, Session: session}
	if old, ok := s.keys[key]; ok {
		e.Created = old.Created
	}
	s.keys[key] = e
	s.tell(key, e)
	return e
}

func (s *Server) remove(key string) {
	if _, ok := s.keys[key]; !ok {
		return
	}
	s.revision++
	delete(s.keys, key)
	s.tell(key, dcs.Entry{Version: s.revision, Deleted: true})
}

func (s *Server) tell(key string, e dcs.Entry) {
	for _, c := range s.clients {
		c.change(change{key, e})
	}
}

// read is the whole scope as a cluster.
func (s *Server) read() *cluster.Cluster {
	var b cluster.Builder
	for k, e := range s.keys {
		b.Add(k, e.Value, e.Version, e.Created, e.Session)
	}
	return b.Cluster()
}
