package agent

import "tamada/internal/ha"

// device is what is known of the watchdog device, where one is required.
type device struct {
	problem  string     // why it cannot be used, found by looking; "" if it can
	failed   bool       // the last activation failed
	failedAt ha.Instant // when the last failed, 0 for never
}

// deviceChecked takes over what a look at the device found.
func (a *Agent) deviceChecked(problem string) {
	if problem == a.device.problem {
		return
	}
	a.device.problem = problem
	if problem != "" {
		a.log(ha.Warning, problem)
		return
	}
	a.log(ha.Info, "the watchdog device can be used")
	a.device.failedAt = 0
}

// deviceSeen takes over what came of activating the device for a deadline.
func (a *Agent) deviceSeen(failed bool) {
	a.device.failed = failed
	if failed {
		a.device.failedAt = a.now
	}
}

// watchdogView is the device as a decision may see it. One that failed to be
// activated although it is there (somebody else has it open) is not tried again
// for one time to live: others have their turn.
func (a *Agent) watchdogView() ha.Watchdog {
	d := &a.device
	recent := d.failedAt > 0 && a.now < d.failedAt+a.settings.TTL
	return ha.Watchdog{Unusable: d.problem != "" || recent, Failed: d.failed}
}
