//go:build linux

package node

import (
	"tamada/internal/guardian"
	"tamada/internal/watchdog"
)

// watchdogSettings are the node's own, with the loop_wait in force.
func (n *node) watchdogSettings() watchdog.Settings {
	w := &n.cfg.Load().Watchdog
	return watchdog.Settings{Mode: watchdog.Mode(w.Mode), Device: w.Device, Driver: w.Driver, SafetyMargin: w.SafetyMargin,
		LoopWait: n.settings().LoopWait}
}

// tendDevice feeds the device where no guardian does: while a deadline is in
// force and this process runs.
func (n *node) tendDevice() {
	if n.guard == nil {
		n.dog.Tend(guardian.Now(), n.guarded)
	}
}
