package watchdog

import (
	"fmt"
	"time"
)

// Mode is how much the operator wants the device.
type Mode string

// The modes. Automatic uses a device that is there; with Required a node without
// a working one does not lead.
const (
	Off       Mode = "off"
	Automatic Mode = "automatic"
	Required  Mode = "required"
)

// DriverTesting is the driver that writes to a named pipe.
const DriverTesting = "testing"

// Settings are the section `watchdog` of a node's configuration, and the dynamic
// loop_wait. The guardian gets them from its agent with every deadline.
type Settings struct {
	Mode         Mode          `json:"mode,omitempty"` // "" is off
	Device       string        `json:"device,omitempty"`
	Driver       string        `json:"driver,omitempty"` // "" for the kernel's
	SafetyMargin int           `json:"margin,omitempty"` // seconds between the device's time-out and the time to live; -1: half of that
	LoopWait     time.Duration `json:"loop_wait,omitempty"`
}

// wanted tells whether a device is to be used at all.
func (s Settings) wanted() bool { return s.Mode == Automatic || s.Mode == Required }

// Timeout is what the device is asked for, in whole seconds.
func (s Settings) Timeout(ttl time.Duration) time.Duration {
	if s.SafetyMargin == -1 {
		return (ttl / 2).Truncate(time.Second)
	}
	return (ttl - time.Duration(s.SafetyMargin)*time.Second).Truncate(time.Second)
}

// Slack is what the device's time-out leaves beside one turn of the loop. Without
// any the machine would be reset although all is well.
func (s Settings) Slack(ttl time.Duration) time.Duration { return s.Timeout(ttl) - s.LoopWait }

// noRoom tells that the margins leave none, "" if they do.
func (s Settings) noRoom(ttl time.Duration) string {
	if s.Slack(ttl) >= 0 && s.Timeout(ttl) >= time.Second {
		return ""
	}
	return fmt.Sprintf("Watchdog not supported because leader TTL %d is less than 2x loop_wait %d", seconds(ttl), seconds(s.LoopWait))
}

// Shortage tells an operator that a required device has no room under these
// times, so that the node must not lead, and what to do about it; "" if it has.
func (s Settings) Shortage(ttl time.Duration) string {
	if s.Mode != Required || s.noRoom(ttl) == "" {
		return ""
	}
	turn := max(seconds(s.LoopWait), 1)
	left, least, way := fmt.Sprintf("ttl %d less watchdog.safety_margin %d", seconds(ttl), s.SafetyMargin), s.SafetyMargin+turn, ""
	half := Settings{SafetyMargin: -1, LoopWait: s.LoopWait}
	switch {
	case s.SafetyMargin == -1:
		left, least = fmt.Sprintf("half of ttl %d", seconds(ttl)), 2*turn
	case half.noRoom(ttl) == "":
		way = ", or set watchdog.safety_margin to -1 (half of ttl)"
	}
	return fmt.Sprintf("watchdog.mode is required, and %s leaves the device less than loop_wait %d: this node must not lead, and gives the leader key up if it has it; raise ttl to %d at least%s",
		left, seconds(s.LoopWait), least, way)
}

func seconds(d time.Duration) int { return int(d / time.Second) }
