package sim

import (
	"time"

	"tamada/internal/agent"
	"tamada/internal/guardian"
	"tamada/internal/ha/lease"
	"tamada/internal/watchdog"
)

// guardProc is a guardian's process: the real policy, and a model of what
// carries out its effects.
type guardProc struct {
	m      *machine
	policy guardian.Policy
	dog    *watchdog.Watchdog
	since  time.Duration
	dead   bool
	timer  uint64
	// arrived is when the last message of the agent arrives.
	arrived time.Duration

	frozen   bool
	frozenAt time.Duration
	backlog  []guardian.Event
	thawedAt time.Duration
	ending   bool // was asked to end
	another  bool // it took the place of one that died
}

// newGuardian is a guardian's process that has done nothing yet.
func (m *machine) newGuardian() *guardProc {
	g := &guardProc{m: m, since: m.w.now}
	g.dog = m.newWatchdog(g)
	return g
}

func (m *machine) startGuardian() {
	if m.guard != nil {
		return
	}
	if m.w.opts.NoGuardian {
		if m.agent == nil {
			m.startAgent()
		}
		return
	}
	m.w.logf(m.name, "the guardian starts")
	m.guard = m.newGuardian()
	m.guard.tick()
}

func (g *guardProc) tick() { g.handle(guardian.Tick{}) }

func (g *guardProc) handle(ev guardian.Event) {
	if g.dead {
		return
	}
	if g.frozen {
		g.backlog = append(g.backlog, ev)
		return
	}
	if _, ends := ev.(guardian.Terminate); ends {
		g.ending = true
	}
	if _, died := ev.(guardian.AgentExited); died && g.m.w.mutant("the guardian is disarmed with its agent") {
		g.policy.Handle(g.now(), guardian.Disarmed{})
	}
	for _, e := range g.policy.Handle(g.now(), ev) {
		g.execute(e)
	}
	g.tendDevice()
	g.discardDevice(ev)
	g.timer++
	n := g.timer
	at := g.policy.WakeAt()
	if t := g.dog.WakeAt(); t > 0 && (at == 0 || t < at) {
		at = t
	}
	if at > 0 {
		g.m.later(max(0, g.m.truly(at-g.now()))+time.Microsecond, func() {
			if g.timer == n {
				g.tick()
			}
		})
	}
}

func (g *guardProc) freeze() { g.frozen, g.frozenAt = true, g.m.w.now }

func (g *guardProc) thaw() {
	g.frozen, g.thawedAt = false, g.m.w.now
	for len(g.backlog) > 0 && !g.frozen && !g.dead {
		ev := g.backlog[0]
		g.backlog = g.backlog[1:]
		g.handle(ev)
	}
}

// send delivers a message of the agent. They come over one connection, in order.
func (g *guardProc) send(ev guardian.Event) {
	now := g.m.w.now
	g.arrived = max(g.arrived, now+20*time.Microsecond+g.m.w.upTo(300*time.Microsecond))
	g.m.later(g.arrived-now, func() { g.handle(ev) })
}

func (g *guardProc) execute(e guardian.Effect) {
	m, w := g.m, g.m.w
	switch e := e.(type) {
	case guardian.StartAgent:
		m.later(10*time.Millisecond+w.upTo(60*time.Millisecond), func() {
			if !g.dead {
				g.handle(guardian.AgentStarted{})
				m.startAgent()
			}
		})
	case guardian.StopAgent:
		if p := m.agent; p != nil {
			p.post(func() { p.step(agent.ShutdownRequested{}) })
		}
	case guardian.KillAgent:
		w.logf(m.name, "the guardian kills the agent: %s", e.Why)
		m.later(w.upTo(5*time.Millisecond), func() {
			if p := m.agent; p != nil {
				p.die()
				m.agent = nil
			}
			g.handle(guardian.AgentExited{})
		})
	case guardian.Ack:
		g.tendDevice()
		a := g.policy.Armed()
		m.leaseEnd = a.Deadline + lease.Margin(a.TTL)
		if p := m.agent; p != nil {
			m.unguarded = false
			m.later(20*time.Microsecond+w.upTo(300*time.Microsecond), func() {
				p.post(func() { p.step(agent.Acked{Seq: e.Seq}) })
			})
		}
	case guardian.Fence:
		w.Stats.Fenced++
		w.fenced(m)
		w.logf(m.name, "the guardian fences: deadline %s, now %s", e.Deadline, m.boottime())
		g.fence()
	case guardian.Exit:
		w.logf(m.name, "the guardian ends, code %d", e.Code)
		g.dead = true
		m.guard = nil
		m.later(5*time.Second+w.upTo(10*time.Second), m.startGuardian)
	}
}

// fence kills the server: most obey SIGQUIT at once, some need the SIGKILL.
func (g *guardProc) fence() {
	m, w := g.m, g.m.w
	t := w.upTo(20 * time.Millisecond)
	if w.chance(0.2) {
		t = guardian.KillGrace
	}
	m.later(t, func() {
		m.serverGone()
		g.handle(guardian.Fenced{})
	})
}

// guardianDies is a crash of the guardian. The agent notices at once; without an
// agent, the service manager starts the service again.
func (m *machine) guardianDies() {
	if m.guard == nil {
		return
	}
	m.w.logf(m.name, "the guardian crashes")
	m.loseGuardian()
	if p := m.agent; p != nil {
		p.later(m.w.upTo(5*time.Millisecond), func() { p.step(agent.GuardianLost{}) })
		return
	}
	m.later(100*time.Millisecond+m.w.upTo(2*time.Second), m.startGuardian)
}

// loseGuardian: what it was told is lost with it, and nobody can be blamed for
// that until the agent has told the next one.
func (m *machine) loseGuardian() {
	m.unguarded = m.unguarded || m.guard.policy.Armed() != nil
	m.guard.dead = true
	m.guard = nil
}
