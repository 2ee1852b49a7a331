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

// The values. Fine: the device works, or is not required. Pending: it is
// required and not yet open, because there was no time to open it safely; the
// next renewal will. Failed: it is required, and could not be activated.
const (
	Fine    Status = ""
	Pending Status = "pending"
	Failed  Status = "failed"
)

// Watchdog is the device as its owner handles it. The owner is one goroutine.
type Watchdog struct {
	log  *slog.Logger
	open Opener

	dev      Device // nil while none is open
	settings Settings
	asked    time.Duration // time-out that was wanted when it was opened
	timeout  time.Duration // the device's
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
	asked := g.Settings.Timeout(g.TTL)
	if w.dev == nil || w.settings != g.Settings || w.asked != asked {
		w.change(now, g, asked)
	}
	if w.dev == nil {
		return
	}
	due, again := w.feeder.Due(now, g.Deadline, g.TTL, w.timeout, w.asked)
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

// change opens the device, or another one, or sets the time-out of the open one.
// Opening is a keepalive, so it has to wait until one may be given. An open
// device stays in use until there is another one to take its place.
func (w *Watchdog) change(now Instant, g *Guarded, asked time.Duration) {
	if g.Deadline <= w.tried && w.tried > 0 {
		return // once for each deadline is enough
	}
	if now > latest(g.Deadline, g.TTL, asked, asked) {
		if w.dev == nil && g.Settings.Mode == Required {
			w.status = Pending
		}
		return
	}
	dev, timeout, err := w.activate(g, asked)
	if err != nil {
		w.tried = g.Deadline
		w.failed(g, err)
		return
	}
	if w.dev != nil && w.dev != dev {
		w.disable()
	}
	w.dev, w.settings, w.asked, w.timeout = dev, g.Settings, asked, timeout
	w.feeder, w.status, w.tried, w.said = Feeder{}, Fine, 0, ""
	w.log.Info(fmt.Sprintf("%s activated with %d second timeout, timing slack %d seconds", g.Settings.Device, seconds(timeout), seconds(g.Settings.Slack(g.TTL))))
}

// activate makes the device ready for a time-out. It is the open one when only
// the time-out differs.
func (w *Watchdog) activate(g *Guarded, asked time.Duration) (dev Device, timeout time.Duration, err error) {
	if text := g.Settings.noRoom(g.TTL); text != "" {
		return nil, 0, errNoRoom(text)
	}
	dev = w.dev
	if dev == nil || w.settings.Device != g.Settings.Device || w.settings.Driver != g.Settings.Driver {
		if dev, err = w.open(g.Settings); err != nil {
			return nil, 0, err
		}
	}
	if timeout = w.timeout; dev != w.dev || asked != w.asked {
		timeout, err = setTimeout(dev, asked)
	}
	switch {
	case err != nil:
	case timeout < g.Settings.LoopWait:
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

// Release gives the device back for another process, which opens it at once, to
// guard the same.
func (w *Watchdog) Release() { w.disable() }
