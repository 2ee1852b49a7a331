package watchdog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tamada/internal/ha/lease"
)

// fake is the kernel's side: a timer that is started by opening, and resets the
// machine.
type fake struct {
	now     *Instant
	ops     []string
	opened  bool
	resetAt Instant // 0: the timer does not run

	timeout                  time.Duration // at the opening
	least                    time.Duration // what it can be set to at least
	fixed, noDisable, broken bool
	refuse                   error // to open
}

func (f *fake) open(s Settings) (Device, error) {
	if f.refuse != nil {
		return nil, f.refuse
	}
	if f.opened {
		return nil, errors.New("device or resource busy")
	}
	f.opened = true
	f.op("open " + s.Device)
	f.ping()
	return f, nil
}

func (f *fake) op(text string)      { f.ops = append(f.ops, text) }
func (f *fake) ping()               { f.resetAt = *f.now + f.timeout }
func (f *fake) CanSetTimeout() bool { return !f.fixed }
func (f *fake) CanDisable() bool    { return !f.noDisable }

func (f *fake) SetTimeout(t time.Duration) error {
	f.op("timeout " + t.String())
	f.timeout = max(t, f.least)
	f.ping()
	return nil
}

func (f *fake) Timeout() (time.Duration, error) { return f.timeout, nil }

func (f *fake) Keepalive() error {
	f.op("keepalive")
	if f.broken {
		return errors.New("input/output error")
	}
	f.ping()
	return nil
}

func (f *fake) Close(disable bool) error {
	f.opened = false
	if disable && !f.noDisable {
		f.op("disable")
		f.resetAt = 0
	} else {
		f.op("close")
	}
	return nil
}

func (f *fake) took() string {
	s := strings.Join(f.ops, ", ")
	f.ops = nil
	return s
}

func newFake(f *fake) (*fake, *Watchdog, *bytes.Buffer, *Instant) {
	now := 1000 * time.Second
	f.now = &now
	if f.timeout == 0 {
		f.timeout = 60 * time.Second
	}
	log := &bytes.Buffer{}
	return f, New(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), f.open), log, &now
}

const ttl = 30 * time.Second

func settings(m Mode) Settings {
	return Settings{Mode: m, Device: "/dev/watchdog", SafetyMargin: 5, LoopWait: 10 * time.Second}
}

// renewed is a deadline as a renewal sent at some moment moves it.
func renewed(sent Instant, s Settings) *Guarded {
	return &Guarded{Deadline: sent + ttl - 3*time.Second, TTL: ttl, Settings: s}
}

func TestOpensWithTheFirstDeadlineAndDisablesWithoutOne(t *testing.T) {
	f, w, log, now := newFake(&fake{})
	w.Tend(*now, nil)
	if got := f.took(); got != "" {
		t.Errorf("without a deadline: %s", got)
	}
	w.Tend(*now, renewed(*now, settings(Automatic)))
	if got := f.took(); got != "open /dev/watchdog, timeout 25s, keepalive" {
		t.Errorf("first deadline: %s", got)
	}
	if !strings.Contains(log.String(), "/dev/watchdog activated with 25 second timeout, timing slack 15 seconds") {
		t.Errorf("log: %s", log)
	}
	w.Tend(*now, renewed(*now, settings(Automatic)))
	if got := f.took(); got != "" {
		t.Errorf("the same deadline again: %s", got)
	}
	*now += 5 * time.Second
	w.Tend(*now, renewed(*now, settings(Automatic)))
	if got := f.took(); got != "keepalive" {
		t.Errorf("a renewal: %s", got)
	}
	w.Tend(*now, nil)
	if got := f.took(); got != "disable" || f.resetAt != 0 {
		t.Errorf("disarmed: %s", got)
	}
}

func TestModes(t *testing.T) {
	off := settings(Off)
	for _, x := range []struct {
		name     string
		kernel   fake
		settings func(*Settings)
		status   Status
		ops, log string
		quiet    bool // nothing at WARN
	}{
		{name: "off", settings: func(s *Settings) { *s = off }, quiet: true},
		{name: "automatic without a device", kernel: fake{refuse: errors.New("no such file or directory")},
			settings: func(s *Settings) { s.Mode = Automatic }, log: "no such file or directory", quiet: true},
		{name: "required without a device", kernel: fake{refuse: errors.New("no such file or directory")}, status: Failed, log: "no such file or directory"},
		{name: "no room", settings: func(s *Settings) { s.LoopWait = 26 * time.Second }, status: Failed,
			log: "Watchdog not supported because leader TTL 30 is less than 2x loop_wait 26"},
		{name: "no room, automatic", settings: func(s *Settings) { s.LoopWait, s.Mode = 26*time.Second, Automatic },
			log: "Watchdog not supported because leader TTL 30 is less than 2x loop_wait 26"},
		{name: "a time-out that cannot be set low enough, required", kernel: fake{fixed: true}, status: Failed,
			ops: "open /dev/watchdog, disable", log: "60 seconds is longer than the 25 seconds that are safe"},
		{name: "a time-out that cannot be set low enough, automatic", kernel: fake{fixed: true}, settings: func(s *Settings) { s.Mode = Automatic },
			ops: "open /dev/watchdog, keepalive", log: "Watchdog timeout 60 seconds does not ensure safe termination within 25 seconds"},
		{name: "a device that is coarser than what was asked", kernel: fake{least: 26 * time.Second}, status: Failed,
			ops: "open /dev/watchdog, timeout 25s, disable"},
		{name: "a time-out below loop_wait", kernel: fake{fixed: true, timeout: 9 * time.Second}, settings: func(s *Settings) { s.Mode = Automatic },
			ops: "open /dev/watchdog, disable", log: "9 seconds is shorter than loop_wait", quiet: true},
		{name: "half of the time to live", settings: func(s *Settings) { s.SafetyMargin = -1 }, ops: "open /dev/watchdog, timeout 15s, keepalive",
			log: "activated with 15 second timeout, timing slack 5 seconds", quiet: true},
		{name: "a device that cannot be disabled", kernel: fake{noDisable: true}, ops: "open /dev/watchdog, timeout 25s, keepalive", log: "cannot be disabled"},
	} {
		t.Run(x.name, func(t *testing.T) {
			f, w, log, now := newFake(&x.kernel)
			s := settings(Required)
			if x.settings != nil {
				x.settings(&s)
			}
			w.Tend(*now, renewed(*now, s))
			if got := f.took(); got != x.ops || w.Status() != x.status {
				t.Errorf("%q, status %q; want %q, %q", got, w.Status(), x.ops, x.status)
			}
			if !strings.Contains(log.String(), x.log) || strings.Contains(log.String(), "level=WARN") == x.quiet {
				t.Errorf("log: %s", log)
			}
			before := log.Len()
			*now += 5 * time.Second
			w.Tend(*now, renewed(*now, s))
			if x.status == Failed && log.Len() > before {
				t.Errorf("it says the same again: %s", log.String()[before:])
			}
		})
	}
}

func TestALateOpeningAndASlowRenewalGetAShorterTimeout(t *testing.T) {
	f, w, _, now := newFake(&fake{})
	// Inherited: the renewal that this deadline comes from was sent long ago, and
	// with the usual time-out the reset would come after the end of the lease.
	w.Tend(*now, renewed(*now-20*time.Second, settings(Required)))
	if got := f.took(); got != "open /dev/watchdog, timeout 9s, keepalive" || w.Status() != Fine {
		t.Errorf("%s, %q", got, w.Status())
	}
	w.Tend(*now, renewed(*now, settings(Required)))
	if got := f.took(); got != "timeout 25s, keepalive" {
		t.Errorf("renewed: %s", got)
	}
	*now += 10 * time.Second
	w.Tend(*now, renewed(*now-5*time.Second, settings(Required)))
	if got := f.took(); got != "timeout 24s, keepalive" {
		t.Errorf("renewed slowly: %s", got)
	}
	w.Tend(*now, renewed(*now, settings(Required)))
	if got := f.took(); got != "timeout 25s, keepalive" {
		t.Errorf("renewed again: %s", got)
	}
}

// An owner that stood still when the last keepalive for the deadline was due
// makes up for it: the reset comes after it has fenced, and before the lease ends,
// whenever it goes on and if it stops again. Found by the simulation.
func TestAKeepaliveMissedStandingStillIsMadeUpFor(t *testing.T) {
	for _, terms := range []struct {
		ttl, loopWait time.Duration
		margin        int
	}{{30 * time.Second, 10 * time.Second, 5}, {30 * time.Second, 10 * time.Second, -1}, {20 * time.Second, 5 * time.Second, 5}, {5 * time.Second, time.Second, -1}} {
		for stood := 100 * time.Millisecond; stood < terms.ttl; stood += 37 * time.Millisecond {
			f, w, _, now := newFake(&fake{})
			s := Settings{Mode: Required, Device: "/dev/watchdog", SafetyMargin: terms.margin, LoopWait: terms.loopWait}
			sent := *now
			g := &Guarded{Deadline: sent + terms.ttl - lease.Margin(terms.ttl), TTL: terms.ttl, Settings: s}
			end, fenced := sent+terms.ttl, g.Deadline+500*time.Millisecond
			w.Tend(*now, g)
			// It is due to give the keepalive after which there is no other, and stands still.
			for w.WakeAt() > 0 && w.WakeAt() < latest(g.Deadline, g.TTL, w.timeout)-wakeLate {
				*now = w.WakeAt()
				w.Tend(*now, g)
			}
			*now = max(*now, w.WakeAt()) + stood
			if *now >= min(g.Deadline, f.resetAt) || safeEnd(g.Deadline, g.TTL)-*now < time.Second {
				break // the device has acted, or it goes on and fences, or no time-out is short enough
			}
			w.Tend(*now, g)
			if f.resetAt > end {
				t.Fatalf("ttl %s, margin %d, stood for %s, stops again: reset %s after the end of the lease", terms.ttl, terms.margin, stood, f.resetAt-end)
			}
			for w.WakeAt() > 0 && w.WakeAt() < f.resetAt {
				*now = w.WakeAt()
				w.Tend(*now, g)
				if f.resetAt > end {
					t.Fatalf("ttl %s, margin %d, stood for %s: reset %s after the end of the lease", terms.ttl, terms.margin, stood, f.resetAt-end)
				}
			}
			if f.resetAt < fenced {
				t.Fatalf("ttl %s, margin %d, stood for %s until %s before its deadline: reset %s before it has fenced",
					terms.ttl, terms.margin, stood, g.Deadline-*now, fenced-f.resetAt)
			}
		}
	}
}

// A device of whose steps nobody knows could be set too long.
func TestADeviceThatTakesLongerStepsIsNotSetToMakeUpForAKeepalive(t *testing.T) {
	f, w, _, now := newFake(&fake{least: 26 * time.Second})
	g := renewed(*now, settings(Automatic))
	w.Tend(*now, g)
	f.took()
	*now += 10 * time.Second
	w.Tend(*now, g)
	if got := f.took(); got != "" {
		t.Errorf("%s; it resets at %s, the lease ends at %s", got, f.resetAt, g.Deadline+3*time.Second)
	}
}

// One that was not known to takes it for a keepalive, once.
func TestADeviceThatCannotBeSetLowEnoughMakesUpOnce(t *testing.T) {
	for _, least := range []time.Duration{22 * time.Second, 25 * time.Second} {
		f, w, _, now := newFake(&fake{least: least})
		g := renewed(*now, settings(Automatic))
		w.Tend(*now, g)
		f.took()
		*now += 10 * time.Second
		for range 30 {
			w.Tend(*now, g)
			*now += 500 * time.Millisecond
		}
		if got := f.took(); got != "timeout 19s" {
			t.Errorf("least %s: %s", least, got)
		}
	}
}

func TestRequiredFailsWhenTheLeaseEndsBeforeTheDeviceCouldAct(t *testing.T) {
	f, w, _, now := newFake(&fake{})
	w.Tend(*now, renewed(*now-29*time.Second, settings(Required)))
	if got := f.took(); got != "" || w.Status() != Failed {
		t.Errorf("%s, %q", got, w.Status())
	}
}

func TestATimerLeftRunningIsStopped(t *testing.T) {
	f, w, log, now := newFake(&fake{})
	w.Discard(settings(Automatic))
	if got := f.took(); got != "open /dev/watchdog, disable" || f.resetAt != 0 || w.InUse() {
		t.Errorf("%s\n%s", got, log)
	}
	w.Tend(*now, renewed(*now, settings(Automatic)))
	f.took()
	w.Discard(settings(Automatic)) // in use: it is ours
	if got := f.took(); got != "" || !w.InUse() {
		t.Errorf("in use: %s", got)
	}
}

func TestChangesOfTheConfiguration(t *testing.T) {
	f, w, log, now := newFake(&fake{})
	s := settings(Required)
	w.Tend(*now, renewed(*now, s))
	f.took()

	s.SafetyMargin = 10
	w.Tend(*now, renewed(*now, s))
	if got := f.took(); got != "timeout 20s, keepalive" {
		t.Errorf("another margin: %s", got)
	}
	good := s
	s.Device, f.refuse = "/dev/watchdog9", errors.New("no such file or directory")
	*now += 5 * time.Second
	w.Tend(*now, renewed(*now, s))
	if got := f.took(); got != "keepalive" || w.Status() != Fine || !strings.Contains(log.String(), "goes on with the settings before") {
		t.Errorf("a device that is not there: %s, %q\n%s", got, w.Status(), log)
	}
	*now += 5 * time.Second
	w.Tend(*now, renewed(*now, good))
	f.took()
	s.Mode = Off
	w.Tend(*now, renewed(*now, s))
	if got := f.took(); got != "disable" {
		t.Errorf("off: %s", got)
	}
}

// The dynamic configuration makes the lease too short for a device that is
// required, and gives it room again.
func TestARequiredDeviceFailsWhileTheLeaseLeavesItNoRoom(t *testing.T) {
	f, w, _, now := newFake(&fake{})
	s := settings(Required)
	w.Tend(*now, renewed(*now, s))
	f.took()
	s.LoopWait = time.Second
	for range 2 {
		*now += time.Second
		w.Tend(*now, &Guarded{Deadline: *now + 4*time.Second, TTL: 5 * time.Second, Settings: s})
		if got := f.took(); w.Status() != Failed || w.InUse() || f.resetAt != 0 || got != "disable" && got != "" {
			t.Errorf("no room: status %q, %s", w.Status(), got)
		}
	}
	*now += time.Second
	w.Tend(*now, &Guarded{Deadline: *now + 6*time.Second, TTL: 7 * time.Second, Settings: s})
	if got := f.took(); w.Status() != Fine || got != "open /dev/watchdog, timeout 2s, keepalive" {
		t.Errorf("room again: status %q, %s", w.Status(), got)
	}
}

func TestShortageSaysWhatToDo(t *testing.T) {
	for _, x := range []struct {
		mode          Mode
		margin        int
		ttl, loopWait time.Duration
		says          string
	}{
		{Required, 5, 30 * time.Second, 10 * time.Second, ""},
		{Automatic, 5, 5 * time.Second, time.Second, ""},
		{Required, -1, 5 * time.Second, time.Second, ""},
		{Required, 5, 5 * time.Second, time.Second, "watchdog.mode is required, and ttl 5 less watchdog.safety_margin 5 leaves the device less than loop_wait 1: " +
			"this node must not lead, and gives the leader key up if it has it; raise ttl to 6 at least, or set watchdog.safety_margin to -1 (half of ttl)"},
		{Required, 10, 20 * time.Second, 12 * time.Second, "watchdog.mode is required, and ttl 20 less watchdog.safety_margin 10 leaves the device less than loop_wait 12: " +
			"this node must not lead, and gives the leader key up if it has it; raise ttl to 22 at least"},
		{Required, -1, 20 * time.Second, 12 * time.Second, "watchdog.mode is required, and half of ttl 20 leaves the device less than loop_wait 12: " +
			"this node must not lead, and gives the leader key up if it has it; raise ttl to 24 at least"},
	} {
		s := Settings{Mode: x.mode, SafetyMargin: x.margin, LoopWait: x.loopWait}
		if got := s.Shortage(x.ttl); got != x.says {
			t.Errorf("%+v with ttl %s:\n%s\nwant\n%s", s, x.ttl, got, x.says)
		}
	}
}

func TestADeviceThatFailsIsReportedOnceAndFedOn(t *testing.T) {
	f, w, log, now := newFake(&fake{broken: true})
	for range 5 {
		w.Tend(*now, renewed(*now, settings(Required)))
		*now += 5 * time.Second
	}
	if n := strings.Count(f.took(), "keepalive"); n != 5 {
		t.Errorf("%d keepalives", n)
	}
	if n := strings.Count(log.String(), "could not feed"); n != 1 || w.Status() != Fine {
		t.Errorf("%d complaints, status %q:\n%s", n, w.Status(), log)
	}
}

func TestOneThatCannotBeDisabledIsFedALastTime(t *testing.T) {
	f, w, log, now := newFake(&fake{noDisable: true})
	w.Tend(*now, renewed(*now, settings(Automatic)))
	f.took()
	*now += 2 * time.Second
	w.Tend(*now, nil)
	if got := f.took(); got != "keepalive, close" || !strings.Contains(log.String(), "resets the machine unless this node leads again") {
		t.Errorf("%s\n%s", got, log)
	}
}

// TestResetComesBeforeTheLeaseEnds freezes the owner at any moment: whatever has
// happened before, the machine is reset before the lease ends in the store; and
// as long as the owner is not frozen the machine is not reset before its deadline
// has passed and PostgreSQL had its time to die.
func TestResetComesBeforeTheLeaseEnds(t *testing.T) {
	for _, margin := range []int{-1, 4, 5, 10, 15, 20} {
		for _, slow := range []time.Duration{0, 100 * time.Millisecond, 4 * time.Second, 5900 * time.Millisecond} {
			for freeze := 100 * time.Millisecond; freeze < 60*time.Second; freeze += 700 * time.Millisecond {
				t.Run(fmt.Sprintf("margin %d, renewals take %s, frozen after %s", margin, slow, freeze), func(t *testing.T) {
					s := settings(Required)
					s.SafetyMargin = margin
					freezes(t, &fake{}, s, slow, freeze)
					if margin > 0 {
						freezes(t, &fake{fixed: true, timeout: ttl - time.Duration(margin)*time.Second}, s, slow, freeze)
					}
				})
			}
		}
	}
}

// freezes renews every five seconds until the store is away, and ends the owner
// after some time.
func freezes(t *testing.T, device *fake, s Settings, slow, freeze time.Duration) {
	const storeAway = 20 * time.Second
	f, w, _, now := newFake(device)
	// One that cannot be set has to miss the keepalives of slow renewals.
	lasts := !f.fixed || slow < 4*time.Second
	begin := *now
	var leaseEnd, lastReset, deadline Instant
	sent := begin
	takes := time.Duration(0) // the first one is quick
	for *now < begin+freeze {
		// The next of: a renewal's answer, the wish to be woken.
		next := sent + takes
		if at := w.WakeAt(); at > 0 && (at < next || sent > begin+storeAway) {
			next = at
		} else if sent > begin+storeAway {
			break // nothing more happens
		}
		if next >= begin+freeze {
			break
		}
		if f.resetAt > 0 && next > f.resetAt && lasts && next < deadline+500*time.Millisecond {
			t.Fatalf("reset %s after the start, deadline at %s", f.resetAt-begin, deadline-begin)
		}
		*now = next
		if next == sent+takes && sent <= begin+storeAway {
			deadline, leaseEnd = sent+ttl-3*time.Second, sent+ttl
			sent, takes = max(sent+5*time.Second, *now), slow
		}
		w.Tend(*now, &Guarded{Deadline: deadline, TTL: ttl, Settings: s})
		lastReset = f.resetAt
	}
	if lastReset > leaseEnd {
		t.Errorf("reset at %s, the lease ends at %s", lastReset-begin, leaseEnd-begin)
	}
	if f.resetAt > 0 && lasts && freeze > storeAway+20*time.Second && f.resetAt < deadline+500*time.Millisecond {
		t.Errorf("store away, owner alive: reset at %s although the deadline is %s", f.resetAt-begin, deadline-begin)
	}
}

// Nobody wakes at the very nanosecond. Found by the simulation.
func TestLastKeepaliveIsGivenAlthoughItsOwnerWakesALittleLate(t *testing.T) {
	const ttl, timeout = 30 * time.Second, 25 * time.Second
	var f Feeder
	sent := 100 * time.Second
	deadline := sent + ttl - 3*time.Second
	f.Fed(sent, deadline)
	fed := sent
	for {
		_, again := f.Due(fed, deadline, ttl, timeout)
		if again == 0 {
			break
		}
		now := again + 100*time.Millisecond
		if due, _ := f.Due(now, deadline, ttl, timeout); !due {
			t.Fatalf("at %v no keepalive is due, though one was planned for %v", now, again)
		}
		f.Fed(now, deadline)
		fed = now
	}
	if reset := fed + timeout; reset < deadline || reset > sent+ttl {
		t.Errorf("the machine is reset at %v, want after the deadline %v and before the end of the lease %v", reset, deadline, sent+ttl)
	}
}
