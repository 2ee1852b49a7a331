package watchdog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Device is an open watchdog device: from the opening on it resets the machine
// unless it is fed.
type Device interface {
	// CanSetTimeout tells whether SetTimeout works.
	CanSetTimeout() bool
	// CanDisable tells whether closing it can stop its timer.
	CanDisable() bool
	SetTimeout(time.Duration) error
	Timeout() (time.Duration, error)
	Keepalive() error
	// Close gives the device back, with disable its timer is stopped before.
	Close(disable bool) error
}

// Opener opens the device of some settings.
type Opener func(Settings) (Device, error)

// Guarded is what the device is for: a primary may write until Deadline, under a
// lease of TTL.
type Guarded struct {
	Deadline Instant
	TTL      time.Duration
	Settings Settings
}

// Status says whether a node may lead with its device as it is.
type Status string

// The values. Fine: the device works, or is not required. Failed: it is
// required, and could not be activated.
const (
	Fine   Status = ""
	Failed Status = "failed"
)

// Watchdog is the device as its owner handles it. The owner is one goroutine.
type Watchdog struct {
	log  *slog.Logger
	open Opener

	dev      Device // nil while none is open
	settings Settings
	ttl      time.Duration // that its time-out was set for
	timeout  time.Duration // the device's
	unsure   bool          // whether it is: the last setting of it failed
	feeder   Feeder

	status Status
	again  Instant
	tried  Instant // deadline for which activation failed
	said   string  // the last complaint, which is not repeated
}

// New makes a watchdog without a device. open is usually [Open].
func New(log *slog.Logger, open Opener) *Watchdog { return &Watchdog{log: log, open: open} }

// Status is about the last [Watchdog.Tend].
func (w *Watchdog) Status() Status { return w.status }

// WakeAt is when Tend is wanted at the latest; 0 for not before something
// changes.
func (w *Watchdog) WakeAt() Instant { return w.again }

// Tend brings the device in line with what is in force: nil when no primary can
// write. Call it after everything that may have changed that, and at WakeAt.
func (w *Watchdog) Tend(now Instant, g *Guarded) {
	w.again = 0
	if g == nil || !g.Settings.wanted() {
		w.disable()
		w.status, w.tried = Fine, 0
		return
	}
	if w.dev == nil || w.settings != g.Settings || w.ttl != g.TTL {
		w.change(now, g)
	}
	if w.dev == nil {
		return
	}
	switch {
	case g.Deadline > w.feeder.deadline:
		w.fit(now, g)
	case w.feeder.Missed(now, g.Deadline, g.TTL, w.timeout):
		w.catchUp(now, g)
	}
	due, again := w.feeder.Due(now, g.Deadline, g.TTL, w.timeout)
	w.again = again
	if due {
		w.feed(now, g.Deadline)
	}
}

func (w *Watchdog) feed(now, deadline Instant) {
	// What could not be fed is not tried again in a loop: the next keepalive is.
	w.feeder.Fed(now, deadline)
	if err := w.dev.Keepalive(); err != nil {
		w.complain(slog.LevelWarn, fmt.Sprintf("could not feed the watchdog device %s", w.settings.Device), err)
	}
}

// fit sets the time-out for the renewal that moved the deadline: the usual one,
// or what is left when the renewal was slow, so that the device can be fed
// without putting the reset off beyond the end of the lease.
//
// It tells whether it set one, which is a keepalive.
func (w *Watchdog) fit(now Instant, g *Guarded) (set bool) {
	if !w.dev.CanSetTimeout() {
		return false
	}
	asked := g.Settings.Timeout(g.TTL)
	timeout := fitting(now, g, asked)
	// A device that takes longer steps than ours has what was asked for already.
	if timeout < time.Second || !w.unsure && (timeout == w.timeout || timeout == asked && w.timeout > asked) {
		return false
	}
	got, err := setTimeout(w.dev, timeout)
	if err != nil {
		w.complain(slog.LevelWarn, "watchdog device "+g.Settings.Device, err)
		w.unsure = true // it may have taken it all the same
		return true
	}
	w.timeout, w.unsure = got, false
	if got > timeout && got <= asked {
		w.complain(slog.LevelWarn, fmt.Sprintf("%s took a timeout of %d seconds for the %d that the lease leaves: should this node stand still now, it resets the machine up to that much too late",
			g.Settings.Device, seconds(got), seconds(timeout)), nil)
	}
	return true
}

// catchUp gives the keepalive that was missed while its owner stood still, with a
// time-out that ends before the lease does. The one planned after it is the last.
func (w *Watchdog) catchUp(now Instant, g *Guarded) {
	if w.timeout > g.Settings.Timeout(g.TTL) {
		// It takes longer steps than ours. Set to a shorter time-out it may take one
		// that is too long, and the setting is a keepalive: better a reset too early.
		return
	}
	if !w.fit(now, g) {
		return
	}
	w.feeder.Fed(now, g.Deadline) // by the setting; should it be longer than was asked for, it must not happen again
	if now <= latest(g.Deadline, g.TTL, w.timeout) {
		w.feed(now, g.Deadline)
	}
}

// fitting is the longest time-out, at most the one asked for, with which a
// keepalive may be given now; below a second there is none.
func fitting(now Instant, g *Guarded, asked time.Duration) time.Duration {
	if now <= latest(g.Deadline, g.TTL, asked) {
		return asked
	}
	return min(asked, (safeEnd(g.Deadline, g.TTL) - now).Truncate(time.Second))
}

// change opens the device, or another one, or sets the time-out of the open one
// for another time to live. An open device stays in use until there is another
// one to take its place.
func (w *Watchdog) change(now Instant, g *Guarded) {
	if g.Deadline <= w.tried && w.tried > 0 {
		return // once for each deadline is enough
	}
	dev, timeout, err := w.activate(now, g)
	if err != nil {
		w.tried = g.Deadline
		w.failed(g, err)
		return
	}
	if w.dev != nil && w.dev != dev {
		w.disable()
	}
	w.dev, w.settings, w.ttl, w.timeout, w.unsure = dev, g.Settings, g.TTL, timeout, false
	w.feeder, w.status, w.tried, w.said = Feeder{}, Fine, 0, ""
	w.log.Info(fmt.Sprintf("%s activated with %d second timeout, timing slack %d seconds", g.Settings.Device, seconds(timeout), seconds(g.Settings.Slack(g.TTL))))
}

// activate makes the device ready. It is the open one when only its time-out
// differs.
func (w *Watchdog) activate(now Instant, g *Guarded) (dev Device, timeout time.Duration, err error) {
	if text := g.Settings.noRoom(g.TTL); text != "" {
		return nil, 0, errNoRoom(text)
	}
	asked := g.Settings.Timeout(g.TTL)
	// Opening it, and setting its time-out, is a keepalive.
	fit := fitting(now, g, asked)
	if fit < time.Second {
		return nil, 0, errors.New("the lease ends before it could act")
	}
	dev = w.dev
	if dev == nil || w.settings.Device != g.Settings.Device || w.settings.Driver != g.Settings.Driver {
		if dev, err = w.open(g.Settings); err != nil {
			return nil, 0, err
		}
	}
	if timeout = w.timeout; dev != w.dev || fit != w.timeout {
		timeout, err = setTimeout(dev, fit)
	}
	switch {
	case err != nil:
	case timeout < min(fit, g.Settings.LoopWait):
		err = fmt.Errorf("its timeout of %d seconds is shorter than loop_wait", seconds(timeout))
	case timeout > asked && g.Settings.Mode == Required:
		err = fmt.Errorf("its timeout of %d seconds is longer than the %d seconds that are safe; raise ttl, or take a device that can be set", seconds(timeout), seconds(asked))
	case timeout > asked:
		w.complain(slog.LevelWarn, fmt.Sprintf("Watchdog timeout %d seconds does not ensure safe termination within %d seconds", seconds(timeout), seconds(asked)), nil)
	}
	if err != nil {
		if dev != w.dev {
			_ = dev.Close(dev.CanDisable())
		}
		return nil, 0, err
	}
	if dev != w.dev && !dev.CanDisable() {
		w.log.Warn("the watchdog device cannot be disabled: when this node stops leading, it resets the machine", "device", g.Settings.Device)
	}
	return dev, timeout, nil
}

// maxTimeout is the longest time-out that the interface of the kernel takes.
const maxTimeout = 65534 * time.Second

func setTimeout(dev Device, asked time.Duration) (time.Duration, error) {
	if dev.CanSetTimeout() {
		if asked < time.Second || asked > maxTimeout {
			return 0, fmt.Errorf("a timeout of %d seconds is outside of 1..65534", seconds(asked))
		}
		if err := dev.SetTimeout(asked); err != nil {
			return 0, fmt.Errorf("set its timeout: %w", err)
		}
	}
	timeout, err := dev.Timeout()
	if err != nil {
		return 0, fmt.Errorf("read its timeout: %w", err)
	}
	return timeout, nil
}

// errNoRoom is the text of a configuration whose margins leave no room.
type errNoRoom string

func (e errNoRoom) Error() string { return string(e) }

// failed ends a try to activate the device. One that works already goes on as it
// is; its owner changed something that cannot be.
func (w *Watchdog) failed(g *Guarded, err error) {
	required := g.Settings.Mode == Required
	level := slog.LevelDebug
	if required || w.dev != nil {
		level = slog.LevelWarn
	}
	text := "could not activate the watchdog device " + g.Settings.Device
	var room errNoRoom
	if errors.As(err, &room) {
		level, text, err = slog.LevelWarn, string(room), nil
		w.disable()
	}
	if w.dev != nil {
		text += "; it goes on with the settings before"
	}
	w.complain(level, text, err)
	w.status = Fine
	if required && w.dev == nil {
		w.status = Failed
	}
}

func (w *Watchdog) complain(level slog.Level, text string, err error) {
	key := text
	if err != nil {
		key += err.Error()
	}
	if key == w.said {
		return
	}
	w.said = key
	if err != nil {
		w.log.Log(context.Background(), level, text, "error", err)
		return
	}
	w.log.Log(context.Background(), level, text)
}

// disable gives the device back when there is nothing to guard any more.
func (w *Watchdog) disable() {
	if w.dev == nil {
		return
	}
	can := w.dev.CanDisable()
	if !can {
		_ = w.dev.Keepalive()
		w.log.Warn("the watchdog device cannot be disabled: it resets the machine unless this node leads again", "device", w.settings.Device, "within", w.timeout.String())
	}
	if err := w.dev.Close(can); err != nil {
		w.log.Warn("could not disable the watchdog device; it resets the machine unless this node leads again", "device", w.settings.Device, "error", err)
	} else if can {
		w.log.Info("the watchdog device is disabled", "device", w.settings.Device)
	}
	w.dev, w.settings, w.feeder, w.said = nil, Settings{}, Feeder{}, ""
}

// InUse tells whether the device is open here.
func (w *Watchdog) InUse() bool { return w.dev != nil }

// Discard stops the timer of a device that a process before us left running, when
// no primary can write. It would reset the machine for nothing.
func (w *Watchdog) Discard(s Settings) {
	if w.dev != nil {
		return
	}
	dev, err := w.open(s)
	if err != nil {
		w.log.Warn("could not disable the watchdog device that was left armed; it resets the machine", "device", s.Device, "error", err)
		return
	}
	if err := dev.Close(dev.CanDisable()); err != nil || !dev.CanDisable() {
		w.log.Warn("the watchdog device that was left armed cannot be disabled; it resets the machine", "device", s.Device, "error", err)
		return
	}
	w.log.Info("disabled the watchdog device that was left armed", "device", s.Device)
}

// Release gives the device back for another process, which opens it at once, to
// guard the same.
func (w *Watchdog) Release() {
	if w.dev == nil {
		return
	}
	if err := w.dev.Close(w.dev.CanDisable()); err != nil {
		w.log.Warn("could not give the watchdog device back", "device", w.settings.Device, "error", err)
	}
	w.dev, w.settings, w.feeder, w.again = nil, Settings{}, Feeder{}, 0
}
