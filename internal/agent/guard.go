package agent

import (
	"time"

	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// guardianPatience is how long a guardian may take to answer before it counts as
// frozen.
const guardianPatience = time.Second

// signLate is how long after the promised moment a sign of life may come when it
// can go along with the deadline that a renewal under way is about to bring: the
// guardian then wakes once for both. It is a sixth of what the guardian allows
// beyond the promise.
const signLate = 250 * time.Millisecond

// guard is what the agent knows of its guardian.
type guard struct {
	promised  ha.Instant // when the next sign of life is due by our own word
	askedAt   ha.Instant // since when an answer is awaited; 0: none is
	heard     ha.Instant // when the last answer came
	replacing bool
	cycled    bool // a cycle was completed since the agent began
	works     bool // it was told that we do our work
}

// asked notes that an answer is awaited, unless an older one is.
func (g *guard) asked(now ha.Instant) {
	if g.askedAt == 0 {
		g.askedAt = now
	}
}

func (g *guard) answered(now ha.Instant) { g.askedAt, g.heard = 0, now }

func (a *Agent) guardianWake() ha.Instant {
	g := &a.guard
	switch {
	case g.replacing:
		return 0
	case g.askedAt > 0:
		return g.askedAt + guardianPatience
	case a.cfg.Guarded && g.heard > 0 && a.lease.State() != lease.None:
		return g.heard + a.lease.Terms.Interval() + guardianPatience
	}
	return 0
}

// signWake is when the sign of life is due that waits for a renewal under way;
// zero when none does.
func (a *Agent) signWake() ha.Instant {
	g := &a.guard
	if !a.cfg.Guarded || g.replacing || !a.lease.Renewing() || a.workAt() <= g.promised {
		return 0
	}
	return g.promised + signLate
}

// watchGuardian gives signs of life, and replaces a guardian that gives none.
// Without one nothing would enforce the lease, so it is not counted as renewed
// any more, and the primary would have to stop at its deadline.
func (a *Agent) watchGuardian(ev Event) {
	g := &a.guard
	if !a.cfg.Guarded || a.ended {
		return
	}
	if g.heard == 0 {
		g.heard = a.now
	}
	if g.askedAt > 0 && !g.replacing && a.now >= g.askedAt+guardianPatience {
		g.replacing, g.askedAt = true, 0
		a.log(ha.Error, "the guardian does not answer; replacing it")
		a.happened(ha.RecordGuardian, "frozen", "")
		a.emit(ReplaceGuardian{Kill: true})
		return
	}
	if g.replacing {
		return
	}
	if g.cycled && !g.works && a.doesItsWork() {
		g.works = true
		a.emit(Works{})
	}
	// A leader hears of its guardian with every renewal. Not so while the store is
	// away, nor in maintenance mode: a guardian that is frozen then would not be there
	// at the deadline.
	_, timer := ev.(Timer)
	ask := timer && (a.lease.State() == lease.None || g.askedAt == 0 && a.now >= a.guardianWake())
	next := a.workAt()
	if a.lease.Renewing() {
		// When the next one is due is not known yet.
		next = min(next, a.now+a.lease.Terms.Interval()+guardianPatience)
	}
	switch {
	case ask:
		g.asked(a.now)
	case a.now < g.promised && next <= g.promised, a.now < a.signWake():
		return
	}
	g.promised = next
	a.emit(Alive{Next: max(next-a.now, 0), Answer: ask})
}

// doesItsWork: a cycle with the store was completed; a leader has had a deadline
// acknowledged since this agent began.
func (a *Agent) doesItsWork() bool {
	if a.store.view == nil || a.store.watchErr != "" || a.store.touchErr != "" {
		return false
	}
	if a.lease.State() == lease.None {
		return a.store.view.LeaderName() != a.cfg.Name
	}
	return a.lease.State() == lease.Held && a.lease.LastAck() > 0 && !a.lease.Unacknowledged()
}

func (a *Agent) guardianLost() {
	if !a.cfg.Guarded || a.guard.replacing {
		return
	}
	a.guard.replacing, a.guard.askedAt = true, 0
	a.log(ha.Warning, "the connection to the guardian has ended; looking for another guardian, or starting one")
	a.happened(ha.RecordGuardian, "lost", "")
	a.emit(ReplaceGuardian{})
}

// guardianBack tells a new guardian what it has to enforce. Until it has
// acknowledged that, no renewal counts.
func (a *Agent) guardianBack() {
	a.guard = guard{works: a.guard.works, cycled: a.guard.cycled, heard: a.now}
	a.log(ha.Info, "there is a guardian again")
	a.happened(ha.RecordGuardian, "back", "")
	a.emit(Alive{Next: signNow})
	if !a.settings.Pause {
		a.leaseEvent(lease.Rearm{})
	}
}

// signNow is the promise of an agent that has only just connected.
const signNow = 15 * time.Second
