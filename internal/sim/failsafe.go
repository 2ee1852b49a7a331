package sim

import (
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// promise is what a machine's agent has written down in failsafe mode. It is
// read by the agents after it; a reboot makes its moment mean nothing.
type promise struct {
	ha.Promise
	wall time.Time // its end by the wall clock
	boot int
	// given is when it was given, in true time, and tenure the leader key of then.
	given  time.Duration
	tenure cluster.Version
}

// promised is what node.promised does.
func (m *machine) promised(ttl time.Duration) *ha.Promise {
	p, w := m.promise, m.w
	if p == nil || w.mutant("the next agent forgets the promise") {
		return nil
	}
	left := p.Until - m.boottime()
	if p.boot != m.boots || w.mutant("a promise ends by the wall clock") {
		left = p.wall.Sub(m.wall())
	}
	if left = min(left, ttl); left <= 0 {
		return nil
	}
	q := p.Promise
	q.Until = m.boottime() + left
	w.logf(m.name, "keeps the promise that the previous agent gave to %s", q.Name)
	return &q
}

// askFailsafe does what node.askFailsafe does: every member is asked, twice if
// need be, and the moment counts at which the first question was sent.
func (p *agentProc) askFailsafe(e agent.AskFailsafe) {
	m, w := p.m, p.m.w
	end := agent.FailsafeAnswered{ID: e.ID, Sent: m.boottime(), OK: true}
	open, agreed := 0, 1
	finish := func() {
		if w.mutant("failsafe asks for a majority") {
			end.OK = agreed*2 > e.Members.Len()+1
		}
		if w.mutant("failsafe counts from the answer") {
			end.Sent = m.boottime()
		}
		p.post(func() { p.step(end) })
	}
	name, _ := e.Body.String("name")
	for who := range e.Members.All() {
		open++
		var ask func(tries int)
		ask = func(tries int) {
			p.askMember(who, name, e.Timeout, func(ok bool) {
				switch {
				case !ok && tries > 1:
					ask(tries - 1)
					return
				case ok:
					agreed++
				default:
					end.OK, end.Why = false, who
				}
				if open--; open == 0 {
					finish()
				}
			})
		}
		ask(2)
	}
	if open == 0 {
		finish()
	}
}

// askMember asks one member for its promise.
func (p *agentProc) askMember(who, name string, timeout time.Duration, done func(ok bool)) {
	m, w := p.m, p.m.w
	over := false
	finish := func(ok bool) {
		if !over && !p.dead {
			over = true
			done(ok)
		}
	}
	w.after(m.truly(timeout), func() { finish(false) })
	to := w.machine(who)
	lag := w.latency()
	if w.now < m.slowAnswers {
		lag += timeout * 9 / 10
	}
	w.after(w.latency(), func() {
		if to == nil || !to.up || w.cut(m.idx, to.idx) {
			return
		}
		to.post(func() {
			q := to.agent
			if q == nil {
				return // it waits in the guardian's socket, or is refused
			}
			q.post(func() {
				if !q.ready {
					return
				}
				q.asks++
				id := q.asks
				q.asked[id] = func(code int) {
					delete(q.asked, id)
					w.after(lag, func() {
						if !w.cut(to.idx, m.idx) {
							finish(code == 200)
						}
					})
				}
				q.step(agent.FailsafeAsked{ID: id, Name: name, ConnURL: "postgres://" + name, APIURL: "http://" + name})
			})
		})
	})
}

// keepPromise writes a promise down, which takes its time, and gives it then.
func (p *agentProc) keepPromise(e agent.KeepPromise) {
	m, w := p.m, p.m.w
	took := 500*time.Microsecond + w.upTo(10*time.Millisecond)
	if w.chance(0.05) {
		took += w.upTo(time.Second)
	}
	var tenure cluster.Version
	if l, ok := w.store.keys[cluster.KeyLeader]; ok {
		tenure = l.created
	}
	p.later(took, func() {
		if m.promise == nil || m.promise.boot != m.boots || e.Promise.Until >= m.promise.Until {
			m.promise = &promise{Promise: e.Promise, wall: m.wall().Add(e.Promise.Until - m.boottime()), boot: m.boots, given: w.now, tenure: tenure}
		}
		p.answered(e.ID, 200)
	})
}

func (p *agentProc) answered(id uint64, code int) {
	if reply := p.asked[id]; reply != nil {
		reply(code)
	}
}

// checkPromised: who has promised not to race does not take the key, unless it
// was made anew since.
func (w *World) checkPromised(m *machine) {
	p := m.promise
	if p == nil || p.Name == m.name || p.boot != m.boots || m.boottime() >= p.Until || w.store.made > p.given {
		return
	}
	w.violate("promises are kept", "%s took the leader key, and had promised %s not to until %s, now %s", m.name, p.Name, p.Until, m.boottime())
}

// topology tells who is in the key of failsafe mode: whom a primary without the
// store asks for a promise, and who races when the leader key is gone. Nobody
// else does either.
func (w *World) topology() func(*machine) bool {
	if text := w.store.keys[cluster.KeyFailsafe].value; text != w.failsafe.text || w.failsafe.members == nil {
		var b cluster.Builder
		b.Add(cluster.KeyFailsafe, []byte(text), 1, 1, "")
		w.failsafe.text, w.failsafe.members = text, b.Cluster().Failsafe
	}
	return func(m *machine) bool {
		_, in := w.failsafe.members.Get(m.name)
		return in
	}
}

// leaseEndedInOutage: while the store is away and every member of the topology
// is well and in reach, failsafe mode keeps the primary.
func (w *World) leaseEndedInOutage(p *agentProc) {
	o := &w.opts
	ttl := time.Duration(o.TTL) * time.Second
	if !o.Failsafe || !w.store.down || o.Loss > 0 || w.line == nil {
		return
	}
	mayRace := w.topology()
	for i, m := range w.machines {
		if !mayRace(m) || !m.up || m.frozen || w.now-m.hurtAt < 2*ttl || m.agent == nil || m.agent.frozen || w.now-m.agent.since < 2*ttl ||
			m.pg == nil || !m.pg.ready || w.now-m.pg.readyAt < 2*ttl || m.guard == nil || m.guard.frozen {
			return
		}
		for j := range w.cuts {
			if w.cuts[i][j] || w.cuts[j][i] {
				return
			}
		}
	}
	w.violate("failsafe keeps the primary", "%s lost its lease in an outage of the store, although all members are well", p.m.name)
}
