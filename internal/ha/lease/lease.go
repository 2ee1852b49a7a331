package lease

import (
	"time"
)

// Instant is a moment on CLOCK_BOOTTIME, which goes on while the machine is
// suspended: the time since boot.
type Instant = time.Duration

// Terms are the times that the lease is kept by.
type Terms struct {
	TTL      time.Duration // what the store is asked for
	LoopWait time.Duration
}

// Margin is what a deadline lies before the end of the lease: one tenth of it
// and at least one second. It contains the 500 ms between SIGQUIT and SIGKILL
// and the drift between our clock and the store's.
func Margin(ttl time.Duration) time.Duration { return max(time.Second, ttl/10) }

// Interval is how often a primary renews.
func (t Terms) Interval() time.Duration { return min(t.LoopWait, t.TTL/6) }

// PermitFor is how long a permit of the loop is good for.
func (t Terms) PermitFor() time.Duration { return t.TTL / 3 }

// headStart is how long before the deadline the agent begins to stop
// PostgreSQL, so that it refuses writes before the guardian has to act. A fast
// shutdown ends every session within milliseconds. It is kept short, because
// each millisecond of it is one in which a healthy primary writes nothing
// during an outage of the store.
func headStart(ttl time.Duration) time.Duration { return Margin(ttl) / 10 }

// retryAfter is the pause after a renewal that failed at once; one that timed
// out is repeated without a pause.
const retryAfter = 200 * time.Millisecond

// Reason tells why a lease ended.
type Reason string

// The ends of a lease.
const (
	TakenByOther Reason = "another member holds the leader key"
	Expired      Reason = "the lease could not be renewed before its deadline"
	GivenUp      Reason = "the leader key was released"
)

// State is where a lease stands.
type State int

// The states: without a lease; acquired, but the guardian has not acknowledged
// the first deadline; held.
const (
	None State = iota
	Arming
	Held
)

// Lease is one member's side of the leader's lease. The zero value holds none.
// It is not safe for use by several goroutines: the agent's loop owns it.
type Lease struct {
	Terms Terms

	state    State
	keyGone  bool // the store said that the key is absent
	deadline Instant
	ttl      time.Duration // of the grant that deadline comes from

	epoch   uint64 // term of the last answer
	permit  Instant
	starved bool    // at the last tick the permit was over
	nextAt  Instant // when the next renewal is due
	attempt uint64  // number of the renewal that is under way, 0 for none
	sent    Instant
	count   uint64

	arming  []armed // deadlines told to the guardian, not acknowledged yet
	armSeq  uint64
	lastAck Instant
}

type armed struct {
	seq      uint64
	deadline Instant
	ttl      time.Duration
}

// Event is one thing that happened to the lease.
type Event interface{ event() }

// Acquired: the leader key was made, or taken over from our predecessor.
type Acquired struct {
	Sent  Instant // when the request was sent
	TTL   time.Duration
	Epoch uint64
}

// Inherited: the guardian vouches for a lease that the previous agent of this
// node held; its deadline is in force already.
type Inherited struct {
	Deadline Instant
	TTL      time.Duration
}

// Renewed: the store proved the renewal of that number.
type Renewed struct {
	Attempt uint64
	TTL     time.Duration
	Epoch   uint64
}

// Refused: the store answered that the key is not ours. ByOther tells that
// somebody else holds it; otherwise nobody does, or it is one of our own that we
// have not heard of.
type Refused struct {
	Attempt uint64
	ByOther bool
}

// Failed: the renewal of that number got no usable answer.
type Failed struct{ Attempt uint64 }

// Confirmed: every member has promised not to race, although the store cannot
// be reached (failsafe mode). It counts from the moment the questions were sent,
// like a renewal.
type Confirmed struct{ Sent Instant }

// Acked: the guardian knows the deadline of that number.
type Acked struct{ Seq uint64 }

// Permit: the loop is alive and PostgreSQL is what it should be.
type Permit struct{}

// Cycle: the loop begins a cycle. A renewal that is due within half an interval
// is sent along with it: what an idle node costs is waking up, not what it does
// when it is awake, and two periods of their own would wake it twice.
type Cycle struct{}

// Rearm: the guardian has to know the deadline in force, because it was told
// that there is nothing to guard.
type Rearm struct{}

// Released: the key was given up on purpose.
type Released struct{}

// Taken: a view of the cluster, newer than our acquisition, names another
// holder.
type Taken struct{}

// ClockJumped: the wall clock moved by more than a second against BOOTTIME. A
// virtual machine that was paused looks like this, and BOOTTIME of its guest
// may not have counted the pause: what the deadline says cannot be trusted
// until the store has confirmed it.
type ClockJumped struct{}

// Tick: time has passed. Send one no later than [Lease.WakeAt].
type Tick struct{}

func (Acquired) event()    {}
func (Inherited) event()   {}
func (Renewed) event()     {}
func (Refused) event()     {}
func (Failed) event()      {}
func (Confirmed) event()   {}
func (Acked) event()       {}
func (Permit) event()      {}
func (Cycle) event()       {}
func (Rearm) event()       {}
func (Released) event()    {}
func (Taken) event()       {}
func (ClockJumped) event() {}
func (Tick) event()        {}

// Effect is one thing to do for the lease.
type Effect interface{ effect() }

// Renew asks to extend the lease and prove it, and to report with [Renewed],
// [Refused] or [Failed]. It is given up after Timeout.
type Renew struct {
	Attempt uint64
	Timeout time.Duration
}

// Arm asks to tell the guardian the deadline and to report [Acked].
type Arm struct {
	Seq      uint64
	Deadline Instant
	TTL      time.Duration // of the grant that the deadline comes from
}

// Lost says that the lease has ended: PostgreSQL must not accept writes any
// more.
type Lost struct{ Reason Reason }

func (Renew) effect() {}
func (Arm) effect()   {}
func (Lost) effect()  {}

// State tells where the lease stands.
func (l *Lease) State() State { return l.state }

// Holds tells whether we may run the primary: the lease was acknowledged and
// its deadline has not passed.
func (l *Lease) Holds(now Instant) bool { return l.state == Held && now < l.deadline }

// KeyGone tells that the store has no leader key although the deadline of our
// lease has not passed: it should be acquired anew.
func (l *Lease) KeyGone() bool { return l.state != None && l.keyGone }

// Deadline is the moment until which a primary may accept writes; zero without
// an acknowledged lease.
func (l *Lease) Deadline() Instant {
	if l.state != Held {
		return 0
	}
	return l.deadline
}

// LastAck is when the guardian last acknowledged a deadline.
func (l *Lease) LastAck() Instant { return l.lastAck }

// Unacknowledged tells whether a deadline waits for the guardian's answer.
func (l *Lease) Unacknowledged() bool { return len(l.arming) > 0 }

// Renewing tells whether a renewal is under way.
func (l *Lease) Renewing() bool { return l.attempt != 0 }

// Handle takes one event that happened at now and returns what to do.
func (l *Lease) Handle(now Instant, ev Event) []Effect {
	var effects []Effect
	switch ev := ev.(type) {
	case Acquired:
		*l = Lease{Terms: l.Terms, state: l.stateWhileAcquiring(now), deadline: l.deadline, ttl: l.ttl,
			permit: l.permit, count: l.count, armSeq: l.armSeq, lastAck: l.lastAck, epoch: ev.Epoch}
		l.permit = max(l.permit, now+l.Terms.PermitFor())
		effects = l.granted(ev.Sent, ev.TTL)
		l.nextAt = ev.Sent + l.Terms.Interval()
	case Inherited:
		*l = Lease{Terms: l.Terms, state: Held, deadline: ev.Deadline, ttl: ev.TTL, count: l.count, armSeq: l.armSeq,
			permit: now + l.Terms.PermitFor(), nextAt: now, lastAck: now}
	case Renewed:
		effects = l.renewed(now, ev)
	case Refused:
		effects = l.refused(ev)
	case Failed:
		if l.attempt != 0 && l.attempt == ev.Attempt {
			l.attempt = 0
			l.nextAt = max(now, l.sent+retryAfter)
		}
	case Confirmed:
		if l.Holds(now) {
			effects = l.granted(ev.Sent, l.Terms.TTL)
		}
	case Acked:
		l.acked(now, ev.Seq)
	case Permit:
		l.permit = max(l.permit, now+l.Terms.PermitFor())
	case Cycle:
		if now >= l.nextAt-l.Terms.Interval()/2 {
			l.nextAt = min(l.nextAt, now)
		}
	case Rearm:
		effects = l.rearm(now)
	case Released:
		l.end()
	case Taken:
		effects = l.lose(TakenByOther)
	case ClockJumped:
		effects = l.distrust(now)
	}
	return append(effects, l.tick(now)...)
}

// stateWhileAcquiring: acquiring anew under a deadline that still runs keeps
// the right to write; a first acquisition waits for the guardian.
func (l *Lease) stateWhileAcquiring(now Instant) State {
	if l.Holds(now) {
		return Held
	}
	return Arming
}

// granted tells the guardian the deadline that a grant allows.
func (l *Lease) granted(sent Instant, ttl time.Duration) []Effect {
	ttl = min(ttl, l.Terms.TTL)
	l.armSeq++
	a := armed{seq: l.armSeq, deadline: sent + ttl - Margin(ttl), ttl: ttl}
	l.arming = append(l.arming, a)
	// A guardian that answers nothing must not make this grow: only the newest
	// deadlines are of interest.
	if len(l.arming) > 16 {
		l.arming = l.arming[1:]
	}
	return []Effect{Arm{Seq: a.seq, Deadline: a.deadline, TTL: ttl}}
}

func (l *Lease) renewed(now Instant, ev Renewed) []Effect {
	if l.attempt == 0 || ev.Attempt != l.attempt || l.state == None {
		return nil
	}
	l.attempt = 0
	if l.epoch != 0 && ev.Epoch != l.epoch {
		// Another term than last time: an old leader of the store may have answered
		// from before it was frozen. Only a second proof in the new term counts.
		l.epoch = ev.Epoch
		l.nextAt = now
		return nil
	}
	l.epoch = ev.Epoch
	l.keyGone = false
	l.nextAt = l.sent + l.Terms.Interval()
	return l.granted(l.sent, ev.TTL)
}

func (l *Lease) refused(ev Refused) []Effect {
	if l.attempt == 0 || ev.Attempt != l.attempt {
		return nil
	}
	l.attempt = 0
	if ev.ByOther {
		return l.lose(TakenByOther)
	}
	l.keyGone = true
	return nil
}

func (l *Lease) acked(now Instant, seq uint64) {
	for i, a := range l.arming {
		if a.seq != seq || l.state == None {
			continue
		}
		l.arming = l.arming[i+1:]
		l.lastAck = now
		// A deadline that has passed before it was acknowledged gives no right.
		if now >= a.deadline {
			return
		}
		if l.state == Arming || a.deadline > l.deadline {
			l.deadline, l.ttl = a.deadline, a.ttl
		}
		l.state = Held
		return
	}
}

// distrust keeps the lease for one margin only, unless the store confirms it.
// One that was never in force is given up: it costs nothing to acquire it anew.
func (l *Lease) distrust(now Instant) []Effect {
	if l.state != Held {
		return l.lose(Expired)
	}
	l.arming = nil // computed before the jump
	l.deadline = min(l.deadline, now+Margin(l.Terms.TTL))
	l.attempt, l.nextAt = 0, now
	l.permit = max(l.permit, now+Margin(l.Terms.TTL))
	return nil
}

// rearm tells the guardian the deadline in force once more and renews at once.
func (l *Lease) rearm(now Instant) []Effect {
	if !l.Holds(now) {
		return nil
	}
	l.armSeq++
	l.arming = append(l.arming, armed{seq: l.armSeq, deadline: l.deadline, ttl: l.ttl})
	l.nextAt = now
	return []Effect{Arm{Seq: l.armSeq, Deadline: l.deadline, TTL: l.ttl}}
}

func (l *Lease) lose(r Reason) []Effect {
	if l.state == None {
		return nil
	}
	l.end()
	return []Effect{Lost{r}}
}

func (l *Lease) end() {
	*l = Lease{Terms: l.Terms, count: l.count, armSeq: l.armSeq, lastAck: l.lastAck}
}

// tick ends a lease whose time is over and sends the renewal that is due.
func (l *Lease) tick(now Instant) []Effect {
	if l.state == None {
		return nil
	}
	l.starved = now >= l.permit
	if at := l.giveWayAt(); at > 0 && now >= at {
		return l.lose(Expired)
	}
	if !l.renewalDue(now) {
		return nil
	}
	l.count++
	l.attempt, l.sent = l.count, now
	return []Effect{Renew{Attempt: l.attempt, Timeout: l.renewTimeout(now)}}
}

// giveWayAt is when the agent begins to stop PostgreSQL. A first deadline that
// the guardian never acknowledged ends the attempt too.
func (l *Lease) giveWayAt() Instant {
	switch l.state {
	case Held:
		return l.deadline - headStart(l.ttl)
	case Arming:
		if len(l.arming) > 0 {
			return l.arming[len(l.arming)-1].deadline
		}
	}
	return 0
}

func (l *Lease) renewalDue(now Instant) bool {
	return !l.keyGone && l.attempt == 0 && now >= l.nextAt && now < l.permit
}

// renewTimeout gives a renewal a fifth of the time to live, so that several fit
// before the deadline: an answer that has not come by then rarely comes at all,
// and another try may reach another server.
func (l *Lease) renewTimeout(now Instant) time.Duration {
	return min(max(l.Terms.TTL/5, time.Second), max(l.giveWayAt()-now, 100*time.Millisecond))
}

// WakeAt is when the lease wants its next [Tick]; zero when it needs none. It
// lies after the last event: a renewal that is overdue for want of a permit waits
// for that, not for the clock.
func (l *Lease) WakeAt() Instant {
	if l.state == None {
		return 0
	}
	at := l.giveWayAt()
	if !l.keyGone && l.attempt == 0 && !l.starved && l.nextAt < l.permit && (at == 0 || l.nextAt < at) {
		at = l.nextAt
	}
	return at
}

// NeedsPermit tells that a renewal is due and only the loop's permit is missing.
func (l *Lease) NeedsPermit(now Instant) bool {
	return l.state != None && !l.keyGone && l.attempt == 0 && now >= l.nextAt && now >= l.permit
}
