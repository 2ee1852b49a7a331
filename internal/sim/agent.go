package sim

import (
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// agentProc is an agent's process: the real state machine, and a model of the
// node that carries out its effects.
type agentProc struct {
	m       *machine
	a       *agent.Agent
	c       *client
	dead    bool
	ready   bool
	frozen  bool
	backlog []func()
	timer   uint64
	task    *task
	ttl     time.Duration
	retry   time.Duration
	held    ha.Instant // for the mutant that does not clear the lock
	steps   int        // in the present second
	second  time.Duration
	since   time.Duration // it runs
	took    time.Duration // by the last renewal
	lastTry string
	asks    uint64
	asked   map[uint64]func(code int) // questions in failsafe mode without an answer
	// received is the highest timeline that it has seen receivedBy receive.
	receivedBy *server
	received   cluster.Timeline
	// frozenAt and thawedAt bracket the last time it stood still.
	frozenAt, thawedAt time.Duration
}

// task is a running long action.
type task struct {
	id        uint64
	kind      ha.TaskKind
	cancelled bool
	ended     bool
}

// post runs fn in the agent, or when it thaws.
func (p *agentProc) post(fn func()) {
	p.m.post(func() {
		switch {
		case p.dead:
		case p.frozen:
			p.backlog = append(p.backlog, fn)
		default:
			fn()
		}
	})
}

func (p *agentProc) later(d time.Duration, fn func()) { p.m.later(d, func() { p.post(fn) }) }

// die ends the agent at once. A child of its task ends with the clean-up of its
// successor.
func (p *agentProc) die() {
	p.dead = true
	if p.c != nil {
		p.m.w.store.close(p.c)
	}
	if p.m.agent == p {
		p.m.agent = nil
	}
}

func (p *agentProc) crash() {
	p.m.w.logf(p.m.name, "the agent crashes")
	g := p.m.guard
	p.die()
	if g == nil { // the service manager starts the service again
		p.m.later(time.Second+p.m.w.upTo(2*time.Second), p.m.startGuardian)
		return
	}
	p.m.later(p.m.w.upTo(5*time.Millisecond), func() { g.handle(guardian.AgentExited{}) })
}

func (p *agentProc) freeze() { p.frozen, p.frozenAt = true, p.m.w.now }

func (p *agentProc) thaw() {
	p.frozen, p.thawedAt = false, p.m.w.now
	for len(p.backlog) > 0 && !p.frozen && !p.dead {
		fn := p.backlog[0]
		p.backlog = p.backlog[1:]
		fn()
	}
}

// startAgent is the start of a new agent: it cleans up what its predecessor left
// half-made and goes on with its lease.
func (m *machine) startAgent() {
	w := m.w
	p := &agentProc{m: m, asked: map[uint64]func(int){}, ttl: time.Duration(w.opts.TTL) * time.Second, retry: time.Duration(w.opts.RetryTimeout) * time.Second}
	m.agent, p.since = p, w.now
	w.logf(m.name, "the agent starts")
	cfg := w.opts.agentConfig(m)
	cfg.Decide = w.decide(m)
	cfg.Promise = m.promised(p.ttl)
	var session string
	var armed *guardian.Armed
	if m.guard != nil {
		armed = m.guard.policy.Armed()
	}
	if armed != nil {
		session = armed.Session
	}
	begin := func() {
		if m.guard != nil {
			m.guard.send(guardian.Hello{})
		}
		p.a = agent.New(cfg)
		p.c = w.store.open(p, session, p.ttl)
		p.ready = true
		if armed != nil && armed.Deadline > m.boottime() {
			w.logf(m.name, "goes on with the lease of its predecessor until %s, now %s", armed.Deadline, m.boottime())
			w.Stats.Inherited++
			p.step(agent.Inherited{Hold: dcs.Hold{Session: armed.Session, Created: cluster.Version(armed.Created)},
				Lease: agent.InheritedLease(armed.Deadline, armed.TTL)})
		}
		p.step(agent.Timer{})
	}
	p.later(w.upTo(50*time.Millisecond), func() { p.cleanUp(&cfg, begin) })
}

// cleanUp does what node.cleanUp does.
func (p *agentProc) cleanUp(cfg *agent.Config, begin func()) {
	m, w := p.m, p.m.w
	if m.journal == "" {
		begin()
		return
	}
	w.logf(m.name, "cleans up after %q", m.journal)
	switch m.journal {
	case ha.TaskClone, ha.TaskReinitialize:
		if w.mutant("half-made clone kept") {
			m.disk.present = true
			m.journal = ""
			break
		}
		m.removeData("an interrupted clone")
		m.journal = ""
	case ha.TaskRewind:
		cfg.Broken = !w.mutant("half-done rewind forgotten")
	case ha.TaskBootstrap, ha.TaskPostBootstrap:
		p.cleanUpBootstrap(cfg, begin)
		return
	default:
		m.journal = ""
	}
	begin()
}

func (p *agentProc) cleanUpBootstrap(cfg *agent.Config, begin func()) {
	m, w := p.m, p.m.w
	if w.store.down || w.cut(m.idx, w.storeIdx()) || w.cut(w.storeIdx(), m.idx) {
		p.later(time.Second, func() { p.cleanUpBootstrap(cfg, begin) })
		return
	}
	e, there := w.store.keys[cluster.KeyInitialize]
	if there && m.disk.present && e.value == m.disk.sysid && e.value != "" {
		w.logf(m.name, "the bootstrap had been completed")
		m.journal = ""
		begin()
		return
	}
	m.stop(false, nil, nil, func() {
		if p.dead {
			return
		}
		m.disk = disk{} // moved aside
		if there && e.value == "" && e.version == m.initialized {
			cfg.Bootstrapping = e.version
		}
		m.journal = ""
		begin()
	})
}

func (p *agentProc) budget() time.Duration { return p.retry }

// step feeds one event to the agent and executes its effects.
func (p *agentProc) step(ev agent.Event) {
	w := p.m.w
	if p.dead || !p.ready {
		return
	}
	if w.now-p.second > time.Second {
		p.second, p.steps = w.now, 0
	}
	if p.steps++; p.steps == 3000 {
		w.violate("no busy loop", "%s makes more than 3000 steps within a second; the last status line: %s", p.m.name, p.lastTry)
	}
	ev = w.bend(p, ev)
	if ev == nil {
		return
	}
	for _, e := range p.a.Step(p.m.boottime(), p.m.wall(), w.rng.Uint32(), ev) {
		p.execute(e)
		if p.dead {
			return
		}
	}
	p.setTimer()
}

func (p *agentProc) setTimer() {
	p.timer++
	n := p.timer
	if at := p.a.WakeAt(); at > 0 {
		p.later(max(0, p.m.truly(at-p.m.boottime()))+50*time.Microsecond, func() {
			if p.timer == n {
				p.step(agent.Timer{})
			}
		})
	}
}

func (p *agentProc) execute(e agent.Effect) {
	m, w := p.m, p.m.w
	switch e := e.(type) {
	case agent.Log:
		p.lastTry = e.Text
		switch e.Text {
		case "The lease has ended: " + string(lease.Expired):
			w.leaseEnded(p)
			w.leaseEndedInOutage(p)
		case "The lease has ended: " + string(lease.TakenByOther):
			w.leaseTaken(p)
		}
		if e.Level > ha.Debug {
			w.logf(m.name, "| %s", e.Text)
		}
	case agent.Exit:
		p.exit(e)
	case agent.ArmGuardian:
		p.arm(e)
	case agent.Alive:
		p.alive(e)
	case agent.Works:
		if m.guard != nil {
			m.guard.send(guardian.Works{})
		}
	case agent.ReplaceGuardian:
		p.replaceGuardian(e)
	case agent.DisarmGuardian:
		if m.guard != nil {
			m.guard.send(guardian.Disarmed{})
		}
	case agent.StartTask:
		p.startTask(e)
	case agent.StopTask:
		p.stopTask(e.ID)
	case agent.ApplyConfig:
		p.ttl, p.retry = e.Settings.TTL, e.Settings.RetryTimeout
		p.c.ttl = p.ttl
	case agent.Observe:
		p.observe(e)
	case agent.AskFailsafe:
		p.askFailsafe(e)
	case agent.KeepPromise:
		p.keepPromise(e)
	case agent.Answer:
		p.answered(e.ID, e.Code)
	case agent.AskPeers:
		for i := range e.Members {
			p.ask(e.Members[i], e.Timeout)
		}
	case agent.Operate:
		p.operate(e)
	case agent.Compare:
		p.compare(e)
	case agent.Touch:
		p.c.touch(string(e.Value), func(err error) { p.step(agent.Touched{Err: err}) })
	case agent.RenewLease:
		p.renew(e)
	case agent.Publish:
		w.checkPublish(m, e.Key)
		p.c.put(e.Key, string(e.Value), e.Condition, func(err error) { p.step(agent.Published{Key: e.Key, Err: err}) })
	case agent.ReadHistory:
		p.later(w.upTo(3*time.Millisecond), func() {
			p.step(agent.HistoryRead{Local: ha.LocalHistory{Timeline: e.Timeline, Lines: m.disk.at.history(), Written: m.disk.promotedAt}})
		})
	case agent.ArrangeSlots:
		p.later(w.upTo(10*time.Millisecond), func() { p.step(agent.SlotsDone{Err: m.arrangeSlots(e.Plan)}) })
	case agent.Checkpoint:
		p.checkpoint()
	}
}

// renew carries out a renewal.
func (p *agentProc) renew(e agent.RenewLease) {
	if p.m.w.mutant("renewal behind a task") && p.task != nil {
		p.later(50*time.Millisecond, func() { p.renew(e) })
		return
	}
	sent := p.m.boottime()
	p.c.renew(e.Timeout, e.Hold, func(g dcs.Grant, err error) {
		p.took = p.m.boottime() - sent
		p.step(agent.Renewed{Attempt: e.Attempt, Grant: g, Err: err})
	})
}

func (p *agentProc) exit(e agent.Exit) {
	m, w := p.m, p.m.w
	w.logf(m.name, "the agent ends, code %d, leaves postgres: %v", e.Code, e.LeavePostgres)
	if !e.LeavePostgres && w.store.sessions[p.c.session] != nil && p.c.reaches() {
		w.store.write(cluster.KeyMembers+m.name, string(p.a.Farewell()), p.c.session)
	}
	g := m.guard
	p.die()
	if w.opts.NoGuardian {
		m.later(5*time.Second+w.upTo(10*time.Second), m.startGuardian)
	}
	if g != nil {
		g.send(guardian.Goodbye{Code: e.Code, LeavePostgres: e.LeavePostgres})
		m.later(2*time.Millisecond, func() { g.handle(guardian.AgentExited{}) })
	}
}

func (p *agentProc) alive(e agent.Alive) {
	g := p.m.guard
	if g == nil {
		return
	}
	next := e.Next
	if p.m.w.mutant("a hung agent is left alone") {
		next = time.Hour
	}
	g.send(guardian.Sign{Next: next})
	if e.Answer {
		p.m.later(100*time.Microsecond+p.m.w.upTo(time.Millisecond), func() {
			if !g.dead && !g.frozen {
				p.post(func() { p.step(agent.GuardianAnswered{}) })
			}
		})
	}
}

// replaceGuardian ends a guardian that does not answer and starts another, which
// takes the agent over as it is.
func (p *agentProc) replaceGuardian(e agent.ReplaceGuardian) {
	m := p.m
	if e.Kill && m.guard != nil {
		m.w.logf(m.name, "the agent kills its guardian")
		m.loseGuardian()
	}
	p.later(20*time.Millisecond+m.w.upTo(200*time.Millisecond), func() {
		if m.guard == nil {
			m.w.logf(m.name, "the agent starts another guardian")
			m.guard = m.newGuardian()
			m.guard.another = true
			m.guard.policy.Handle(m.boottime(), guardian.Hello{Adopted: true})
		}
		p.later(m.w.upTo(5*time.Millisecond), func() { p.step(agent.GuardianBack{}) })
	})
}

func (p *agentProc) arm(e agent.ArmGuardian) {
	m, w := p.m, p.m.w
	if w.opts.NoGuardian {
		m.deadline = max(m.deadline, e.Deadline)
		p.later(10*time.Microsecond, func() { p.step(agent.Acked{Seq: e.Seq}) })
		return
	}
	if w.mutant("renewals wait for no acknowledgement") {
		p.later(100*time.Microsecond, func() { p.step(agent.Acked{Seq: e.Seq}) })
	}
	if m.guard == nil {
		return
	}
	if w.mutant("guardian not told") || m.guard.another && w.mutant("another guardian is told nothing") {
		p.later(100*time.Microsecond, func() { p.step(agent.Acked{Seq: e.Seq}) })
		return
	}
	g := m.guard
	switch {
	case w.mutant("the margin is forgotten"):
		e.Deadline += lease.Margin(e.TTL)
	case w.mutant("guardian forgets to fence"):
		e.Deadline += time.Hour
	case w.mutant("deadline counted from the answer"):
		e.Deadline += p.took
	}
	g.send(guardian.ArmedMsg{Seq: e.Seq, Armed: guardian.Armed{Deadline: e.Deadline, Session: e.Hold.Session,
		Created: int64(e.Hold.Created), TTL: e.TTL, Watchdog: w.opts.watchdogSettings()}})
}
