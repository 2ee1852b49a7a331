//go:build linux

package node

import (
	"time"

	"tamada/internal/guardian"
	"tamada/internal/watchdog"
)

// watchdogSettings are the node's own, with the loop_wait in force.
func (n *node) watchdogSettings() watchdog.Settings {
	return n.watchdogWith(n.settings().LoopWait)
}

func (n *node) watchdogWith(loopWait time.Duration) watchdog.Settings {
	w := &n.cfg.Load().Watchdog
	return watchdog.Settings{Mode: watchdog.Mode(w.Mode), Device: w.Device, Driver: w.Driver, SafetyMargin: w.SafetyMargin, LoopWait: loopWait}
}

// sayShortage says, once for each change, that the configuration leaves a
// watchdog device that is required no room: no node with it may lead then, and
// the leader gives way as soon as its lease is a short one.
func (n *node) sayShortage(ttl, loopWait time.Duration) {
	text := n.watchdogWith(loopWait).Shortage(ttl)
	if text != "" && text != n.shortage {
		n.log.Error(text)
	}
	n.shortage = text
}

// tendDevice feeds the device where no guardian does: while a deadline is in
// force and this process runs.
func (n *node) tendDevice() {
	if n.guard == nil {
		n.dog.Tend(guardian.Now(), n.guarded)
	}
}
