package guardian

import "time"

// beginUpgrade replaces the agent by one of another program: the present one
// makes room, the new one inherits the lease and has to show that it works, and
// if it does not the old program is started again. PostgreSQL does not notice.
func (p *Policy) beginUpgrade(now Instant, binary string) []Effect {
	switch {
	case p.ending || p.leaving:
		return []Effect{Upgraded{binary, "the service is about to stop"}}
	case p.upgrade != nil || p.waiting != nil:
		return []Effect{Upgraded{binary, "another upgrade is in progress"}}
	case !p.agent || !p.greeted:
		// It is only just starting, or connecting again after the guardian has replaced
		// its own program.
		p.waiting = &waitingUpgrade{binary, now + handoverWait}
		return nil
	}
	p.upgrade = &upgrade{binary: binary, before: p.binary, letGo: now + handoverWait}
	return []Effect{LetGo{}}
}

// waitingUpgrade waits for the present agent's greeting.
type waitingUpgrade struct {
	binary string
	until  Instant
}

// greetedWhileWaiting begins an upgrade that waited for the agent's greeting.
func (p *Policy) greetedWhileWaiting(now Instant) []Effect {
	w := p.waiting
	if w == nil {
		return nil
	}
	p.waiting = nil
	return p.beginUpgrade(now, w.binary)
}

// makingRoom tells whether the present agent ends because it is asked to.
func (p *Policy) makingRoom() bool { return p.upgrade != nil && !p.upgrade.begun && p.killedAt == 0 }

// works notes that the agent does its work; of a new version that is what was
// waited for.
func (p *Policy) works() []Effect {
	u := p.upgrade
	if u == nil || !u.begun || !p.agent {
		return nil
	}
	p.upgrade, p.crashes = nil, 0
	return []Effect{Upgraded{Binary: u.binary}}
}

// tickUpgrade ends the patience with an old agent that does not make room, and
// with a new one that does not work.
func (p *Policy) tickUpgrade(now Instant) []Effect {
	if w := p.waiting; w != nil && now >= w.until {
		p.waiting = nil
		return []Effect{Upgraded{w.binary, "the present agent does not come up; nothing was changed"}}
	}
	u := p.upgrade
	switch {
	case u == nil:
		return nil
	case !u.begun && p.agent && now >= u.letGo:
		return p.kill(now, "it did not make room for its successor")
	case u.begun && p.leaving:
		return p.goBack("it ended by itself")
	case u.begun && !p.agent:
		return p.goBack("it crashed")
	case u.begun && now >= u.by:
		return append(p.goBack("it did not complete a cycle in time"), p.kill(now, "the new version does not work")...)
	}
	return nil
}

// comeBack is what the old version needs to start and to renew the lease, where
// that much is left of it.
const comeBack = 5 * time.Second

// greetWithin is how long a new version may take to greet, which is the first
// thing that an agent does. Meanwhile nobody answers the health checks.
const greetWithin = 3 * time.Second

// limitUpgrade bounds the time in which a new version must show that it works.
// One that hangs does not renew: the old version must be back before the lease
// ends, or PostgreSQL would be killed for a bad upgrade.
func (p *Policy) limitUpgrade() {
	u := p.upgrade
	if u == nil || !u.begun {
		return
	}
	u.by = u.since + probation
	if !p.greeted {
		u.by = u.since + greetWithin
	}
	if p.armed != nil {
		left := max(p.armed.Deadline-u.since, 0)
		u.by = min(u.by, p.armed.Deadline-min(comeBack, left/2))
	}
}

// goBack makes the next agent one of the old program.
func (p *Policy) goBack(why string) []Effect {
	u := p.upgrade
	p.upgrade, p.binary, p.crashes, p.leaving = nil, u.before, 0, false
	return []Effect{Upgraded{u.binary, why + "; the version before it runs again"}}
}
