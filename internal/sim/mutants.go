package sim

import (
	"tamada/internal/agent"
	"tamada/internal/ha"
)

// Mutant is an agent, or what carries out its effects, broken on purpose.
type Mutant struct {
	Name      string
	Breaks    string
	Invariant string // the one that notices
	Seed      uint64 // of a history in which it does
	Shape     func(*Options)
	decide    func(w *World, m *machine, v *ha.View) ha.Outcome
	bend      func(w *World, p *agentProc, ev agent.Event) agent.Event
}

// Mutants are all of them.
func Mutants() []Mutant { return mutants }

var mutants []Mutant

func mutantByName(name string) *Mutant {
	for i := range mutants {
		if mutants[i].Name == name {
			return &mutants[i]
		}
	}
	if name != "" {
		panic("no such mutant: " + name)
	}
	return nil
}

func (w *World) mutant(name string) bool { return w.opts.Mutant == name }

// decide is the decision core that an agent gets; nil for the real one.
func (w *World) decide(m *machine) func(*ha.View) ha.Outcome {
	if w.mutants == nil || w.mutants.decide == nil {
		return nil
	}
	return func(v *ha.View) ha.Outcome { return w.mutants.decide(w, m, v) }
}

// bend changes an event on its way to the agent.
func (w *World) bend(p *agentProc, ev agent.Event) agent.Event {
	if w.mutants == nil || w.mutants.bend == nil {
		return ev
	}
	return w.mutants.bend(w, p, ev)
}

// lockUntil is what health checks go by.
func (w *World) lockUntil(p *agentProc) ha.Instant {
	l := p.a.Picture().LockUntil
	if w.mutant("health checks ignore the demotion") {
		p.held = max(p.held, l)
		return p.held
	}
	return l
}
