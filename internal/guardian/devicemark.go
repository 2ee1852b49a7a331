//go:build linux

package guardian

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"tamada/internal/watchdog"
)

const markName = "watchdog.json"

// deviceMark is what a guardian leaves in the state folder while it has the
// watchdog device open: if it is killed, its successor knows that a timer runs.
type deviceMark struct {
	Boot     string            `json:"boot"` // id of the boot; a timer does not outlive it
	Settings watchdog.Settings `json:"settings"`
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// markDevice brings the mark in line with the device. It is called in goroutines
// of its own, because a disk that hangs must not keep the guardian from fencing.
func (p *process) markDevice() {
	p.marking.Lock()
	defer p.marking.Unlock()
	path := filepath.Join(p.StateDir, markName)
	s := p.marked.Load()
	if s == nil {
		_ = os.Remove(path) // one that stays makes a successor look at the device once
		return
	}
	b, err := json.Marshal(deviceMark{bootID(), *s})
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.Log.Warn("could not note that the watchdog device is armed", "error", err)
	}
}

// deviceLeft is the device that a guardian before this one left armed, nil for
// none.
func (p *process) deviceLeft() *watchdog.Settings {
	b, err := os.ReadFile(filepath.Join(p.StateDir, markName))
	var m deviceMark
	if err != nil || json.Unmarshal(b, &m) != nil || m.Boot != bootID() {
		return nil
	}
	return &m.Settings
}

// discardDevice stops a timer that was left running, now that the agent says that
// no primary can write.
func (p *process) discardDevice() {
	if p.left == nil || p.dog.InUse() || p.policy.Armed() != nil {
		return
	}
	p.dog.Discard(*p.left)
	p.left = nil
	go p.markDevice()
}
