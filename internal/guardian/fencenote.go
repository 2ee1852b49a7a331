//go:build linux

package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// FenceNote tells the next agent, for its ledger, that the guardian has killed
// PostgreSQL: the agent could not see it, or it would not have been necessary.
type FenceNote struct {
	At       time.Time // wall clock
	Boot     Instant   // the same moment on CLOCK_BOOTTIME
	Deadline Instant
}

const fenceNoteName = "fenced.json"

// noteFence writes the note. It is not worth waiting for, nor failing: killing
// comes first.
func (p *process) noteFence(deadline Instant) {
	b, err := json.Marshal(FenceNote{At: time.Now(), Boot: Now(), Deadline: deadline})
	path := filepath.Join(p.StateDir, fenceNoteName)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.Log.Warn("could not note for the ledger that PostgreSQL was killed", "error", err)
	}
}

// TakeFenceNote returns the guardian's note, if there is one, and removes it.
func TakeFenceNote(stateDir string) (*FenceNote, error) {
	path := filepath.Join(stateDir, fenceNoteName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("note about fencing: %w", err)
	}
	f := &FenceNote{}
	if err := json.Unmarshal(b, f); err != nil {
		f = nil // half a note is none
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("note about fencing: %w", err)
	}
	return f, nil
}
