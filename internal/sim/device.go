package sim

import (
	"errors"
	"log/slog"
	"time"

	"tamada/internal/guardian"
	"tamada/internal/watchdog"
)

// device is a machine's watchdog: hardware, which resets the machine when it was
// not fed in time, whoever is frozen or dead by then. While the machine is
// suspended it stands still.
type device struct {
	m       *machine
	armed   bool
	timeout time.Duration
	expires time.Duration // true time
	stood   bool          // it stood still since it was last fed
	owner   *guardProc    // who opened it last
}

// covers tells whether the machine will be reset before its lease ends.
func (d *device) covers() bool { return d.armed && !d.stood }

// newWatchdog is the guardian's end of the machine's device: the real thing, on
// a modelled device.
func (m *machine) newWatchdog(g *guardProc) *watchdog.Watchdog {
	return watchdog.New(slog.New(slog.DiscardHandler), func(watchdog.Settings) (watchdog.Device, error) {
		if !m.w.opts.Watchdog {
			return nil, errors.New("no such device")
		}
		if m.device.timeout == 0 {
			m.device.timeout = 60 * time.Second
		}
		m.device.owner = g
		return &m.device, m.device.Keepalive()
	})
}

// watchdogSettings are those of the configuration.
func (o *Options) watchdogSettings() watchdog.Settings {
	if !o.Watchdog {
		return watchdog.Settings{}
	}
	return watchdog.Settings{Mode: watchdog.Automatic, Device: "/dev/watchdog", SafetyMargin: 5, LoopWait: time.Duration(o.LoopWait) * time.Second}
}

func (d *device) CanSetTimeout() bool             { return true }
func (d *device) CanDisable() bool                { return true }
func (d *device) Timeout() (time.Duration, error) { return d.timeout, nil }

func (d *device) SetTimeout(t time.Duration) error {
	d.timeout = t
	return d.Keepalive()
}

func (d *device) Keepalive() error {
	w := d.m.w
	t := d.timeout
	if w.mutant("the watchdog counts twice as long") {
		t *= 2
	}
	d.armed, d.stood, d.expires = true, false, w.now+d.m.truly(t)
	d.plan()
	return nil
}

func (d *device) Close(disable bool) error {
	d.armed = d.armed && !disable
	return nil
}

func (d *device) plan() { d.m.w.at(d.expires, d.fire) }

// suspended moves the end by the time for which the machine stood still.
func (d *device) suspended(t time.Duration) {
	if d.armed {
		d.expires, d.stood = d.expires+t, true
		d.plan()
	}
}

func (d *device) fire() {
	m, w := d.m, d.m.w
	if !d.armed || w.now < d.expires || !m.up || m.frozen {
		return
	}
	w.checkReset(m)
	w.Stats.Resets++
	w.logf(m.name, "the watchdog resets the machine")
	w.crash(m, 5*time.Second+w.upTo(20*time.Second))
}

// tendDevice does what guardian.tendDevice does.
func (g *guardProc) tendDevice() {
	var guarded *watchdog.Guarded
	if a := g.policy.Armed(); a != nil {
		guarded = &watchdog.Guarded{Deadline: a.Deadline, TTL: a.TTL, Settings: a.Watchdog}
	}
	g.dog.Tend(g.now(), guarded)
}

// discardDevice does what guardian.discardDevice does.
func (g *guardProc) discardDevice(ev guardian.Event) {
	if _, ok := ev.(guardian.Disarmed); ok && g.m.device.armed && !g.dog.InUse() && g.policy.Armed() == nil {
		g.dog.Discard(g.m.w.opts.watchdogSettings())
	}
}

// now is the guardian's clock.
func (g *guardProc) now() guardian.Instant {
	if g.m.w.mutant("the guardian's clock stops in a suspend") {
		return g.m.boottime() - g.m.stood
	}
	return g.m.boottime()
}

// checkReset: a guardian that lives feeds its device until the deadline, and is
// quicker than that. One that has died left its device running: unless another
// opens it, to guard a primary again, that resets the machine.
func (w *World) checkReset(m *machine) {
	g := m.guard
	if g == nil || g.frozen || w.now < g.thawedAt+5*time.Second || w.now < m.thawedAt+5*time.Second || w.now < g.since+5*time.Second || m.unguarded || m.device.owner != g {
		return
	}
	w.violate("nobody is reset without a cause", "the watchdog resets %s although its guardian lives", m.name)
}
