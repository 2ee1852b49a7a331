package watchdog

import (
	"time"

	"tamada/internal/ha/lease"
)

// Instant is a moment on CLOCK_BOOTTIME.
type Instant = lease.Instant

// Feeder decides when a keepalive may be given. The zero value has given none.
//
// The device resets the machine one time-out after the last keepalive, whoever
// is frozen by then. So a keepalive is right only as long as that reset comes
// before the lease ends in the store; and the only thing that moves the end of a
// lease is a renewal, which the owner of the Feeder knows by its deadline. What
// if a renewal took so long that its keepalive would come too late? Then it is
// not given; the one before counts, and the next renewal has its chance.
//
// When the store is away the primary may go on until its deadline. The last
// keepalive is therefore given as late as it may be: the owner, who is alive, kills
// PostgreSQL at the deadline, and the device must not reset the machine before.
//
// An owner that stood still at that moment, and goes on later, is alive again and
// will do the same; but with the usual time-out no keepalive would be safe any
// more. It is then given with the longest that is: see [Feeder.Missed].
type Feeder struct {
	fed      Instant // when the last keepalive was given, 0 for never
	deadline Instant // in force then
}

// Due tells whether a keepalive is to be given now, and when to ask again; 0 for
// not before the deadline has moved. timeout is the device's; deadline and ttl
// are the lease's in force.
func (f *Feeder) Due(now, deadline Instant, ttl, timeout time.Duration) (due bool, again Instant) {
	last := latest(deadline, ttl, timeout)
	switch {
	case now > last:
		return false, 0
	case deadline > f.deadline || f.fed == 0:
		return true, f.next(now, last, timeout)
	}
	next := f.next(f.fed, last, timeout)
	return next > 0 && now >= next, f.next(now, last, timeout)
}

// Missed tells that the last keepalive for the deadline was not given when it
// should have been: the device would reset the machine although there is time
// for another one, with a shorter time-out.
//
// What if we are wrong, and its owner stops again right afterwards? The reset then
// comes later than it would have, but before the lease ends, as ever: nobody else
// can have been promoted. Not to give it costs a machine whose guardian lives, and
// would have killed PostgreSQL alone, or nothing had the store come back.
func (f *Feeder) Missed(now, deadline Instant, ttl, timeout time.Duration) bool {
	return f.fed > 0 && now > latest(deadline, ttl, timeout) && f.fed+timeout < safeEnd(deadline, ttl)-wakeLate
}

// Fed notes a keepalive, given at now for that deadline.
func (f *Feeder) Fed(now, deadline Instant) { f.fed, f.deadline = now, deadline }

// wakeLate is how late the owner may be when it is woken for a keepalive.
const wakeLate = 200 * time.Millisecond

// next is when the keepalive after one at fed is due. The last one is planned
// with time to spare: given a microsecond too late it would not be given at all,
// and the machine would be reset before its deadline.
func (f *Feeder) next(fed, last Instant, timeout time.Duration) Instant {
	if next := min(fed+timeout/2, last-wakeLate); next > fed {
		return next
	}
	return 0
}

// latest is when the last keepalive for a deadline may be given.
//
// A device that cannot be set low enough, or a safety margin that leaves a
// renewal no time, would never be fed by the end of the lease alone, and would
// reset a machine on which all is well: such a one is fed within one margin of the
// moment at which the renewal was sent, and comes late by as much.
func latest(deadline Instant, ttl, timeout time.Duration) Instant {
	end := safeEnd(deadline, ttl)
	if ttl-timeout < lease.Margin(ttl)+ttl/50 {
		return end - ttl + ttl/50 + lease.Margin(ttl)
	}
	return end - timeout
}

// safeEnd is the end of a lease, one margin after its deadline, less a fiftieth
// of it, for clocks that do not run alike.
func safeEnd(deadline Instant, ttl time.Duration) Instant {
	return deadline + lease.Margin(ttl) - ttl/50
}
