package guardian

import (
	"time"

	"tamada/internal/ha/lease"
	"tamada/internal/watchdog"
)

// Instant is a moment on CLOCK_BOOTTIME.
type Instant = lease.Instant

// KillGrace is the time between SIGQUIT and SIGKILL. The margin of every
// deadline contains it.
const KillGrace = 500 * time.Millisecond

// StableLife is how long an agent has to live to count as one that works: the
// crashes before it are forgotten.
const StableLife = 30 * time.Second

const (
	firstPause = 250 * time.Millisecond // before the second agent in a row that crashed; the first is replaced at once
	longPause  = 10 * time.Second       // at most

	// signGrace is added to the time within which an agent promised its next sign
	// of life, before it counts as hung.
	signGrace = 1500 * time.Millisecond
	// firstSign is how long a new agent may take to greet.
	firstSign = 15 * time.Second
	// corpseWait is how long the end of a killed process is waited for. One that
	// hangs in the kernel does not return to its program any more once it was
	// killed, so the next may be started beside it.
	corpseWait = 2 * time.Second
	// handoverWait is how long an agent may take to let go when it is to be
	// replaced by another version.
	handoverWait = 5 * time.Second
	// probation is how long a new version has to show that it works.
	probation = 15 * time.Second
)

// Armed is what the agent told: until when PostgreSQL may accept writes, and the
// lease that a successor may go on with.
type Armed struct {
	Deadline Instant
	Session  string // of the store
	Created  int64  // version at which the leader key was made
	TTL      time.Duration
	Watchdog watchdog.Settings // the device that guards it too
}

// Policy is the guardian's state machine. The zero value has started nothing.
type Policy struct {
	armed    *Armed
	fencing  bool
	agent    bool // an agent runs, or is being started
	greeted  bool // it said hello
	started  Instant
	crashes  int
	startAt  Instant // when to start the next agent, while none runs
	signBy   Instant // when the agent counts as hung; 0: never
	killedAt Instant // when it was killed; 0: it was not
	ending   bool    // asked to end
	leaving  bool    // the agent said goodbye
	exitCode int
	done     bool

	binary  string // program of the agents to start; "": the one at hand
	upgrade *upgrade
	waiting *waitingUpgrade
}

// upgrade is the replacement of the agent by another version in progress.
type upgrade struct {
	binary string // the new one
	before string // the one to go back to
	letGo  Instant
	begun  bool    // the new agent was started
	since  Instant // when
	by     Instant // when it must have shown that it works
}

// Event is one thing that happened to the guardian.
type Event interface{ event() }

// AgentStarted: the agent's process was made.
type AgentStarted struct{}

// AgentExited: the agent's process has ended.
type AgentExited struct{}

// AgentStopped: the agent's process was stopped by a signal (SIGSTOP, Ctrl-Z). It
// will not renew anything.
type AgentStopped struct{}

// Hello: an agent has connected. Adopted is one that this guardian did not
// start: its own guardian is gone. Armed is then what it holds.
type Hello struct {
	Adopted bool
	Armed   *Armed
}

// Sign: the agent lives, and will give the next sign within Next.
type Sign struct{ Next time.Duration }

// Works: the agent has completed a cycle in which all was as it should be; a
// leader has renewed its lease.
type Works struct{}

// ArmedMsg: the agent told a deadline and waits for the acknowledgement.
type ArmedMsg struct {
	Seq uint64
	Armed
}

// Disarmed: no primary accepts writes any more.
type Disarmed struct{}

// Goodbye: the agent ends on purpose, with that code.
type Goodbye struct {
	Code int
	// LeavePostgres: PostgreSQL runs on and nothing is to be enforced (maintenance
	// mode).
	LeavePostgres bool
	// Handover: it makes room for its successor.
	Handover bool
}

// Terminate: the service is to stop.
type Terminate struct{}

// Upgrade: agents shall run another program from now on.
type Upgrade struct{ Binary string }

// Fenced: no process of the instance is left.
type Fenced struct{}

// Tick: time has passed. Send one no later than [Policy.WakeAt].
type Tick struct{}

func (AgentStarted) event() {}
func (AgentExited) event()  {}
func (AgentStopped) event() {}
func (Hello) event()        {}
func (Sign) event()         {}
func (Works) event()        {}
func (ArmedMsg) event()     {}
func (Disarmed) event()     {}
func (Goodbye) event()      {}
func (Terminate) event()    {}
func (Upgrade) event()      {}
func (Fenced) event()       {}
func (Tick) event()         {}

// Effect is one thing for the guardian to do.
type Effect interface{ effect() }

// StartAgent starts an agent of that program, "" for the one at hand.
type StartAgent struct{ Binary string }

// StopAgent asks the agent to end (SIGTERM).
type StopAgent struct{}

// KillAgent ends the agent at once (SIGKILL). Why is for the log.
type KillAgent struct{ Why string }

// LetGo asks the agent to make room for its successor and to leave everything
// else as it is.
type LetGo struct{}

// Upgraded says how the replacement of the agent by another version ended. Err
// is "" when the new one works; otherwise the old one runs again.
type Upgraded struct{ Binary, Err string }

// Ack acknowledges the deadline of that number.
type Ack struct{ Seq uint64 }

// Fence kills every process of the instance: [Fenced] when none is left.
type Fence struct{ Deadline Instant }

// Exit ends the guardian.
type Exit struct{ Code int }

func (StartAgent) effect() {}
func (StopAgent) effect()  {}
func (KillAgent) effect()  {}
func (LetGo) effect()      {}
func (Upgraded) effect()   {}
func (Ack) effect()        {}
func (Fence) effect()      {}
func (Exit) effect()       {}

// Armed is the deadline in force, nil when there is none.
func (p *Policy) Armed() *Armed { return p.armed }

// stuckAfter is how long after the deadline fencing counts as failed.
const stuckAfter = 5 * time.Second

// Stuck tells that PostgreSQL could not be killed although its deadline has
// passed.
func (p *Policy) Stuck(now Instant) bool {
	return p.fencing && p.armed != nil && now >= p.armed.Deadline+stuckAfter
}

// Crashes is how many agents in a row ended without a goodbye.
func (p *Policy) Crashes() int { return p.crashes }

// Handle takes one event that happened at now.
func (p *Policy) Handle(now Instant, ev Event) []Effect {
	var effects []Effect
	switch ev := ev.(type) {
	case AgentStarted:
		p.agent, p.greeted, p.started, p.leaving, p.killedAt = true, false, now, false, 0
		p.signBy = now + firstSign
		if p.ending {
			effects = append(effects, StopAgent{})
		}
	case Hello:
		effects = p.hello(now, ev)
	case Sign:
		p.signed(now, ev.Next)
	case Works:
		effects = p.works()
	case AgentStopped:
		effects = p.kill(now, "it was stopped by a signal")
	case AgentExited:
		p.agentExited(now)
	case ArmedMsg:
		effects = p.arm(now, ev)
	case Disarmed:
		p.armed = nil
	case Goodbye:
		p.goodbye(ev)
	case Terminate:
		if !p.ending && p.agent {
			effects = append(effects, StopAgent{})
		}
		p.ending = true
		p.signBy = 0 // stopping PostgreSQL may take long
	case Upgrade:
		effects = p.beginUpgrade(now, ev.Binary)
	case Fenced:
		p.fencing, p.armed = false, nil
	}
	return append(effects, p.tick(now)...)
}

// hello greets an agent; one that was not started here is taken over with what
// it holds.
func (p *Policy) hello(now Instant, ev Hello) []Effect {
	p.greeted = true
	p.signed(now, firstSign)
	p.limitUpgrade()
	if !ev.Adopted {
		return p.greetedWhileWaiting(now)
	}
	p.agent, p.started, p.leaving, p.killedAt = true, now, false, 0
	if ev.Armed != nil && now < ev.Armed.Deadline && !p.fencing {
		a := *ev.Armed
		p.armed = &a
	}
	if p.ending {
		return []Effect{StopAgent{}}
	}
	return p.greetedWhileWaiting(now)
}

// signed notes a sign of life. While the service stops there is no limit.
func (p *Policy) signed(now Instant, next time.Duration) {
	if p.ending {
		p.signBy = 0
		return
	}
	p.signBy = now + next + signGrace
}

// arm takes over a deadline. One that has passed is not acknowledged: the agent
// must not believe that it may write.
func (p *Policy) arm(now Instant, ev ArmedMsg) []Effect {
	if p.fencing || now >= ev.Deadline || p.killedAt > 0 {
		return nil
	}
	a := ev.Armed
	if p.armed != nil && p.armed.Session == a.Session && p.armed.Created == a.Created {
		a.Deadline = max(a.Deadline, p.armed.Deadline)
	}
	p.armed = &a
	p.limitUpgrade()
	return []Effect{Ack{ev.Seq}}
}

func (p *Policy) goodbye(ev Goodbye) {
	if ev.Handover {
		return
	}
	p.leaving, p.exitCode = true, ev.Code
	if ev.LeavePostgres && ev.Code == 0 {
		p.armed = nil
	}
}

// kill ends an agent that does not do its work. PostgreSQL goes on: the next
// agent inherits the lease, if it comes before the deadline.
func (p *Policy) kill(now Instant, why string) []Effect {
	if !p.agent || p.killedAt > 0 || p.leaving {
		return nil
	}
	p.killedAt, p.signBy = now, 0
	return []Effect{KillAgent{why}}
}

// agentExited plans the next agent: at once after a first crash, later and later
// when it keeps crashing. PostgreSQL runs on meanwhile, until the deadline.
func (p *Policy) agentExited(now Instant) {
	if !p.agent {
		return
	}
	p.agent, p.killedAt, p.signBy = false, 0, 0
	if p.upgrade != nil && !p.upgrade.begun {
		p.startAt = now // it made room
		return
	}
	if now-p.started > StableLife {
		p.crashes = 0
	}
	pause := min(firstPause<<min(max(p.crashes-1, 0), 10), longPause)
	if p.crashes == 0 || p.upgrade != nil {
		pause = 0
	}
	p.crashes++
	p.startAt = now + pause
}

func (p *Policy) tick(now Instant) []Effect {
	if p.done {
		return nil
	}
	var effects []Effect
	if p.armed != nil && now >= p.armed.Deadline && !p.fencing {
		p.fencing = true
		effects = append(effects, Fence{p.armed.Deadline})
	}
	if p.killedAt > 0 && now >= p.killedAt+corpseWait {
		p.agentExited(now)
	}
	if p.agent && p.signBy > 0 && now >= p.signBy {
		effects = append(effects, p.kill(now, "it gave no sign of life")...)
	}
	effects = append(effects, p.tickUpgrade(now)...)
	switch {
	case p.agent:
	case p.leaving || p.ending && p.armed == nil && p.crashes == 0:
		// While a deadline is in force somebody must be there to enforce it.
		if p.armed == nil && !p.fencing {
			p.done = true
			effects = append(effects, Exit{p.exitCode})
		}
	case now >= p.startAt:
		p.agent = true // until AgentStarted confirms or AgentExited denies it
		p.started, p.greeted = now, false
		if p.upgrade != nil && !p.upgrade.begun {
			p.upgrade.begun, p.upgrade.since = true, now
			p.limitUpgrade() // it has not greeted
			p.binary = p.upgrade.binary
		}
		effects = append(effects, StartAgent{p.binary})
	}
	return effects
}

// WakeAt is when the policy wants its next [Tick]; zero when it needs none.
func (p *Policy) WakeAt() Instant {
	var at Instant
	sooner := func(t Instant) {
		if t > 0 && (at == 0 || t < at) {
			at = t
		}
	}
	if p.armed != nil && !p.fencing {
		sooner(p.armed.Deadline)
	}
	if !p.agent && !p.leaving {
		sooner(max(p.startAt, 1))
	}
	if p.agent && p.killedAt > 0 {
		sooner(p.killedAt + corpseWait)
	}
	if p.agent && p.killedAt == 0 {
		sooner(p.signBy)
	}
	if p.waiting != nil {
		sooner(p.waiting.until)
	}
	if u := p.upgrade; u != nil {
		switch {
		case u.begun:
			sooner(u.by)
		case p.killedAt == 0:
			sooner(u.letGo)
		}
	}
	return at
}
