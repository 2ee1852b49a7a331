package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

var errNoAnswer = errors.New("the store does not answer")

// client is one agent's connection to the store: its session, its cache of the
// keys, its watch.
type client struct {
	s        *store
	p        *agentProc
	session  string
	doubtful bool // an acquisition that was not answered may still be carried out
	touched  string
	touchedS string
	ttl      time.Duration

	cache    map[string]entry
	ready    bool // the cache has been filled and no change was missed
	broken   time.Duration
	lastTold time.Duration // deliveries keep their order
	stalled  time.Duration // the watch delivers nothing until then
	frozen   bool          // connected to the store's frozen leader
	stuck    bool          // and can reach no other server of the store
}

// open connects an agent to the store and begins its watch.
func (s *store) open(p *agentProc, session string, ttl time.Duration) *client {
	c := &client{s: s, p: p, session: session, ttl: ttl, broken: -1}
	s.clients = append(s.clients, c)
	c.read()
	c.mind()
	return c
}

func (s *store) close(c *client) {
	s.clients = slices.DeleteFunc(s.clients, func(x *client) bool { return x == c })
}

// reaches tells whether requests get there and answers get back.
func (c *client) reaches() bool {
	w := c.s.w
	return !c.s.down && !w.cut(c.p.m.idx, w.storeIdx()) && !w.cut(w.storeIdx(), c.p.m.idx)
}

// read fills the cache anew.
func (c *client) read() {
	if c.p.dead {
		return
	}
	if !c.reaches() {
		return // mind tries again
	}
	keys := maps.Clone(c.s.keys)
	c.lastTold = c.s.w.now
	rev := c.s.rev
	c.ready = true
	c.deliver(func() {
		// What the watch told meanwhile, or what we wrote ourselves, may be newer.
		for k, e := range c.cache {
			if e.version > rev {
				keys[k] = e
			}
		}
		c.cache = keys
	})
}

// deliver runs fn on the agent's side after the lag of the watch, in order.
func (c *client) deliver(fn func()) {
	w := c.s.w
	at := max(w.now+w.latency(), c.lastTold, c.stalled)
	c.lastTold = at
	w.at(at, func() {
		c.p.post(func() {
			if !c.ready {
				return
			}
			fn()
			c.show()
		})
	})
}

// show hands the cache to the agent.
func (c *client) show() {
	var b cluster.Builder
	for _, k := range slices.Sorted(maps.Keys(c.cache)) {
		if e := c.cache[k]; !e.deleted {
			b.Add(k, []byte(e.value), e.version, e.created, e.session)
		}
	}
	c.p.step(agent.ClusterSeen{Cluster: b.Cluster()})
}

// told is one change by the watch.
func (c *client) told(key string, e entry) {
	if !c.ready || !c.reaches() {
		c.ready = c.ready && c.reaches()
		return
	}
	c.deliver(func() { c.take(key, e) })
}

func (c *client) take(key string, e entry) {
	if old, ok := c.cache[key]; !ok || e.version > old.version {
		c.cache[key] = e
	}
}

// own puts what we wrote into the cache at once.
func (c *client) own(key string) {
	e, ok := c.s.keys[key]
	if !ok {
		e = entry{version: c.s.rev, deleted: true}
	}
	if c.cache != nil {
		c.take(key, e)
	}
}

// mind notices a broken connection after a while and reads anew when it is back.
func (c *client) mind() {
	w := c.s.w
	if c.p.dead {
		return
	}
	w.after(300*time.Millisecond+w.upTo(400*time.Millisecond), c.mind)
	switch {
	case c.reaches() && c.ready:
		c.broken = -1
	case c.reaches():
		c.broken = -1
		c.read()
	case c.broken < 0:
		c.broken = w.now
	case w.now-c.broken > 1500*time.Millisecond && w.now-c.broken < time.Hour:
		c.broken = w.now - time.Hour // said once
		c.ready = false
		c.p.post(func() { c.p.step(agent.StoreFailed{Err: errNoAnswer.Error()}) })
	}
}

// attempt is one try of a request: which one, and in which term it is answered.
type attempt struct {
	n    int
	term uint64
}

// call makes a request until it is answered or its time is over. do runs in the
// store; done runs in the agent.
func (c *client) call(timeout time.Duration, do func(a attempt) (dcs.Grant, error), done func(g dcs.Grant, err error)) {
	w := c.s.w
	m := c.p.m
	limit := w.now + m.truly(timeout)
	over := false
	finish := func(g dcs.Grant, err error) {
		if !over {
			over = true
			c.p.post(func() { done(g, err) })
		}
	}
	w.at(limit, func() { finish(dcs.Grant{}, fmt.Errorf("%w within %s", errNoAnswer, timeout)) })
	var try func(n int)
	again := func(n int) {
		w.after(300*time.Millisecond+w.upTo(700*time.Millisecond), func() {
			if !over && !c.p.dead {
				try(n + 1)
			}
		})
	}
	try = func(n int) {
		lag := w.latency()
		if w.opts.Loss > 0 && w.chance(w.opts.Loss/4) {
			lag += w.upTo(12 * time.Second) // held up somewhere, and carried out all the same
			again(n)
		}
		w.after(lag, func() {
			if c.s.down || w.cut(m.idx, w.storeIdx()) || w.chance(w.opts.Loss/2) {
				again(n)
				return
			}
			g, err := do(attempt{n, c.s.term})
			back := w.latency()
			if w.now < m.slowAnswers {
				back += timeout * 9 / 10
			}
			w.after(back, func() {
				if w.cut(w.storeIdx(), m.idx) || w.chance(w.opts.Loss/2) {
					again(n)
					return
				}
				finish(g, err)
			})
		})
	}
	try(0)
}

// extend extends the session, or begins one.
func (c *client) extend() *session {
	x := c.s.sessions[c.session]
	if x == nil {
		x = c.s.begin(c.ttl)
		c.session = x.id
		return x
	}
	c.s.extend(x)
	return x
}

func (c *client) grant(x *session, e entry, term uint64) dcs.Grant {
	return dcs.Grant{Hold: dcs.Hold{Session: x.id, Created: e.created}, TTL: x.ttl, Epoch: term}
}

func (c *client) acquire(done func(dcs.Grant, error)) {
	c.call(c.p.budget(), func(a attempt) (dcs.Grant, error) {
		x := c.extend()
		if e, ok := c.s.keys[cluster.KeyLeader]; ok {
			if a.n > 0 && e.value == c.p.m.name && e.session == x.id {
				return c.grant(x, e, a.term), nil
			}
			return dcs.Grant{}, dcs.Held(e.value, c.p.m.name)
		}
		e := c.s.write(cluster.KeyLeader, c.p.m.name, x.id)
		c.s.w.leaderMade(c.p.m)
		return c.grant(x, e, a.term), nil
	}, func(g dcs.Grant, err error) {
		c.doubtful = c.doubtful || err != nil && !dcs.Refused(err)
		if err == nil {
			c.own(cluster.KeyLeader)
		}
		done(g, err)
	})
}

func (c *client) reclaim(seen cluster.Leader, done func(dcs.Grant, error)) {
	c.call(c.p.budget(), func(a attempt) (dcs.Grant, error) {
		x := c.extend()
		e, ok := c.s.keys[cluster.KeyLeader]
		switch {
		case !ok:
			return dcs.Grant{}, dcs.ErrAbsent
		case a.n > 0 && e.value == c.p.m.name && e.session == x.id && e.created == seen.Created:
			return c.grant(x, e, a.term), nil
		case e.value != c.p.m.name || e.version != seen.Version || e.created != seen.Created:
			return dcs.Grant{}, dcs.Held(e.value, c.p.m.name)
		}
		e = c.s.write(cluster.KeyLeader, c.p.m.name, x.id)
		return c.grant(x, e, a.term), nil
	}, func(g dcs.Grant, err error) {
		if err == nil {
			c.own(cluster.KeyLeader)
		}
		done(g, err)
	})
}

// renew is a keepalive and a proof. A keepalive that reaches the frozen leader is
// answered when that thaws, and extends nothing; the proof is always the true
// leader's, and it is its term that is reported.
func (c *client) renew(timeout time.Duration, h dcs.Hold, done func(dcs.Grant, error)) {
	s, w := c.s, c.s.w
	prove := func(x *session, a attempt) (dcs.Grant, error) {
		e, ok := s.keys[cluster.KeyLeader]
		if !ok {
			return dcs.Grant{}, dcs.ErrAbsent
		}
		mine := e.value == c.p.m.name && e.session == h.Session && e.created == h.Created
		if !mine {
			return dcs.Grant{}, dcs.Held(e.value, c.p.m.name)
		}
		return c.grant(x, e, s.term), nil
	}
	if c.frozen && s.frozenTerm != 0 && w.now < s.thawsAt && s.thawsAt-w.now < timeout {
		// It waits in the frozen leader's socket.
		at := s.thawsAt
		x := s.sessions[h.Session]
		w.at(at, func() {
			c.frozen = false
			if x == nil {
				c.p.post(func() { done(dcs.Grant{}, errNoAnswer) })
				return
			}
			g, err := prove(x, attempt{0, s.term})
			c.p.post(func() { done(g, err) })
		})
		return
	}
	if c.frozen && w.now < s.thawsAt {
		c.frozen = c.stuck || w.chance(0.5) // the next try may go to another server
		w.after(c.p.m.truly(timeout), func() { c.p.post(func() { done(dcs.Grant{}, errNoAnswer) }) })
		return
	}
	c.call(timeout, func(a attempt) (dcs.Grant, error) {
		x := s.sessions[h.Session]
		if x == nil {
			if _, ok := s.keys[cluster.KeyLeader]; ok {
				return dcs.Grant{}, dcs.Held(s.leader(), c.p.m.name)
			}
			return dcs.Grant{}, dcs.ErrAbsent
		}
		g, err := prove(x, a)
		// The keepalive comes first, whatever the proof says.
		s.extend(x)
		return g, err
	}, done)
}

func (c *client) release(h dcs.Hold, status []byte, done func(error)) {
	c.call(c.p.budget(), func(a attempt) (dcs.Grant, error) {
		s := c.s
		if status != nil && a.n == 0 {
			s.write(cluster.KeyStatus, string(status), "")
		}
		e, ok := s.keys[cluster.KeyLeader]
		mine := ok && e.value == c.p.m.name && e.session == h.Session && e.created == h.Created
		if s.w.mutant("releases what is there") {
			mine = ok
		}
		switch {
		case mine:
			s.w.leaderReleased(c.p.m)
			s.remove(cluster.KeyLeader)
			return dcs.Grant{}, nil
		case a.n > 0 && (!ok || e.created != h.Created):
			return dcs.Grant{}, nil
		case !ok:
			return dcs.Grant{}, dcs.ErrAbsent
		}
		return dcs.Grant{}, dcs.Held(e.value, c.p.m.name)
	}, func(_ dcs.Grant, err error) {
		if err == nil {
			c.own(cluster.KeyLeader)
			if c.doubtful {
				c.doubtful = false
				c.s.revoke(c.session)
				c.session = ""
			}
		}
		done(err)
	})
}

func (c *client) touch(value string, done func(error)) {
	key := cluster.KeyMembers + c.p.m.name
	c.call(c.p.budget(), func(attempt) (dcs.Grant, error) {
		x := c.extend()
		_, there := c.s.keys[key]
		if !there || c.touched != value || c.touchedS != x.id {
			c.s.write(key, value, x.id)
			c.touched, c.touchedS = value, x.id
		}
		return dcs.Grant{}, nil
	}, func(_ dcs.Grant, err error) {
		if err == nil {
			c.own(key)
		}
		done(err)
	})
}

func (c *client) put(key, value string, cond dcs.Condition, done func(error)) {
	c.putVersion(key, value, cond, func(_ cluster.Version, err error) { done(err) })
}

// putVersion is put, and tells the version that it made.
func (c *client) putVersion(key, value string, cond dcs.Condition, done func(cluster.Version, error)) {
	var made cluster.Version
	c.call(c.p.budget(), func(a attempt) (dcs.Grant, error) {
		if err := c.s.check(key, cond); err != nil {
			return dcs.Grant{}, err
		}
		made = c.s.write(key, value, "").version
		return dcs.Grant{}, nil
	}, func(_ dcs.Grant, err error) {
		if err == nil {
			c.own(key)
		}
		done(made, err)
	})
}

func (c *client) remove(key string, cond dcs.Condition, done func(error)) {
	c.call(c.p.budget(), func(attempt) (dcs.Grant, error) {
		if err := c.s.check(key, cond); err != nil {
			return dcs.Grant{}, err
		}
		c.s.remove(key)
		return dcs.Grant{}, nil
	}, func(_ dcs.Grant, err error) { done(err) })
}
