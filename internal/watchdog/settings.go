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

func seconds(d time.Duration) int { return int(d / time.Second) }
