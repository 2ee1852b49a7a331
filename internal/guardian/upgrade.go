package guardian

// beginUpgrade replaces the agent by one of another program: the present one
// makes room, the new one inherits the lease and has to show that it works, and
// if it does not the old program is started again. PostgreSQL does not notice.
func (p *Policy) beginUpgrade(now Instant, binary string) []Effect {
	switch {
	case p.ending || p.leaving:
		return []Effect{Upgraded{binary, "the service is about to stop"}}
	case p.upgrade != nil:
		return []Effect{Upgraded{binary, "another upgrade is in progress"}}
	case !p.agent || !p.greeted:
		return []Effect{Upgraded{binary, "the present agent is only just starting; try again in a moment"}}
	}
	p.upgrade = &upgrade{binary: binary, before: p.binary, letGo: now + handoverWait}
	return []Effect{LetGo{}}
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

// goBack makes the next agent one of the old program.
func (p *Policy) goBack(why string) []Effect {
	u := p.upgrade
	p.upgrade, p.binary, p.crashes, p.leaving = nil, u.before, 0, false
	return []Effect{Upgraded{u.binary, why + "; the version before it runs again"}}
}
