package guardian

import (
	"time"

	"tamada/internal/ha/lease"
)

// Instant is a moment on CLOCK_BOOTTIME.
type Instant = lease.Instant

// KillGrace is the time between SIGQUIT and SIGKILL. The margin of every
// deadline contains it.
const KillGrace = 500 * time.Millisecond

const (
	firstPause = 250 * time.Millisecond // between the death of an agent and the next, at its first crash
	longPause  = 10 * time.Second       // at most
	stableLife = 30 * time.Second       // an agent that lived this long has not crashed at its start
)

// Armed is what the agent told: until when PostgreSQL may accept writes, and the
// lease that a successor may go on with.
type Armed struct {
	Deadline Instant
	Session  string // of the store
	Created  int64  // version at which the leader key was made
	TTL      time.Duration
}

// Policy is the guardian's state machine. The zero value has started nothing.
type Policy struct {
	armed    *Armed
	fencing  bool
	agent    bool // an agent runs
	started  Instant
	crashes  int
	startAt  Instant // when to start the next agent, while none runs
	ending   bool    // asked to end
	leaving  bool    // the agent said goodbye
	exitCode int
	done     bool
}

// Event is one thing that happened to the guardian.
type Event interface{ event() }

// AgentStarted: the agent's process was made.
type AgentStarted struct{}

// AgentExited: the agent's process has ended.
type AgentExited struct{}

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
}

// Terminate: the service is to stop.
type Terminate struct{}

// Fenced: no process of the instance is left.
type Fenced struct{}

// Tick: time has passed. Send one no later than [Policy.WakeAt].
type Tick struct{}

func (AgentStarted) event() {}
func (AgentExited) event()  {}
func (ArmedMsg) event()     {}
func (Disarmed) event()     {}
func (Goodbye) event()      {}
func (Terminate) event()    {}
func (Fenced) event()       {}
func (Tick) event()         {}

// Effect is one thing for the guardian to do.
type Effect interface{ effect() }

// StartAgent starts an agent.
type StartAgent struct{}

// StopAgent asks the agent to end (SIGTERM).
type StopAgent struct{}

// Ack acknowledges the deadline of that number.
type Ack struct{ Seq uint64 }

// Fence kills every process of the instance: [Fenced] when none is left.
type Fence struct{ Deadline Instant }

// Exit ends the guardian.
type Exit struct{ Code int }

func (StartAgent) effect() {}
func (StopAgent) effect()  {}
func (Ack) effect()        {}
func (Fence) effect()      {}
func (Exit) effect()       {}

// Armed is the deadline in force, nil when there is none.
func (p *Policy) Armed() *Armed { return p.armed }

// Handle takes one event that happened at now.
func (p *Policy) Handle(now Instant, ev Event) []Effect {
	var effects []Effect
	switch ev := ev.(type) {
	case AgentStarted:
		p.agent, p.started, p.leaving = true, now, false
		if p.ending {
			effects = append(effects, StopAgent{})
		}
	case AgentExited:
		p.agentExited(now)
	case ArmedMsg:
		effects = p.arm(now, ev)
	case Disarmed:
		p.armed = nil
	case Goodbye:
		p.leaving, p.exitCode = true, ev.Code
		if ev.LeavePostgres && ev.Code == 0 {
			p.armed = nil
		}
	case Terminate:
		if !p.ending && p.agent {
			effects = append(effects, StopAgent{})
		}
		p.ending = true
	case Fenced:
		p.fencing, p.armed = false, nil
	}
	return append(effects, p.tick(now)...)
}

// arm takes over a deadline. One that has passed is not acknowledged: the agent
// must not believe that it may write.
func (p *Policy) arm(now Instant, ev ArmedMsg) []Effect {
	if p.fencing || now >= ev.Deadline {
		return nil
	}
	a := ev.Armed
	if p.armed != nil && p.armed.Session == a.Session && p.armed.Created == a.Created {
		a.Deadline = max(a.Deadline, p.armed.Deadline)
	}
	p.armed = &a
	return []Effect{Ack{ev.Seq}}
}

// agentExited plans the next agent: soon after a first crash, later and later
// when it keeps crashing. PostgreSQL runs on meanwhile, until the deadline.
func (p *Policy) agentExited(now Instant) {
	p.agent = false
	if now-p.started > stableLife {
		p.crashes = 0
	}
	pause := min(firstPause<<min(p.crashes, 10), longPause)
	if p.crashes == 0 {
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
		effects = append(effects, StartAgent{})
	}
	return effects
}

// WakeAt is when the policy wants its next [Tick]; zero when it needs none.
func (p *Policy) WakeAt() Instant {
	var at Instant
	if p.armed != nil && !p.fencing {
		at = p.armed.Deadline
	}
	if !p.agent && !p.leaving && (at == 0 || p.startAt < at) {
		at = p.startAt
	}
	return at
}
