//go:build linux

package postgres

import (
	"context"
	"fmt"
	"sync"

	"tamada/internal/cluster"
)

// Actions of callbacks, as in the configuration.
const (
	OnStart      = "on_start"
	OnStop       = "on_stop"
	OnRestart    = "on_restart"
	OnReload     = "on_reload"
	OnRoleChange = "on_role_change"
)

// callbacks runs at most one script at a time in each of two lanes: on_reload
// has its own, so that it never interrupts the others, which manage addresses.
type callbacks struct {
	mu    sync.Mutex
	lanes [2]lane
}

type lane struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the last script has ended
}

// RunCallback runs the script for an action in the background, if one is
// configured. A script of the same lane that still runs is ended first
// (reference ha.md 20).
func (p *Instance) RunCallback(action string, role cluster.Role) {
	s := p.Settings()
	text := s.Callbacks[action]
	if text == "" {
		return
	}
	if role == cluster.RolePromoted {
		role = cluster.RolePrimary
	}
	i := 0
	if action == OnReload {
		i = 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	p.callback.mu.Lock()
	before := p.callback.lanes[i]
	p.callback.lanes[i] = lane{cancel, done}
	p.callback.mu.Unlock()
	if before.cancel != nil {
		before.cancel() // kills it, if it still runs
	}
	go func() {
		defer close(done)
		defer cancel()
		if before.done != nil {
			<-before.done
		}
		if ctx.Err() != nil {
			return // a newer one came while we waited
		}
		c := command{what: "callback " + action, args: []string{action, string(role), s.Scope}, kill: true}
		if err := p.runScript(ctx, text, c); err != nil && ctx.Err() == nil {
			p.log.Warn("a callback failed", "action", action, "error", err)
		}
	}()
}

// RunPrePromote runs the pre_promote command, if there is one; an error means
// that the node must not be promoted.
func (p *Instance) RunPrePromote(ctx context.Context) error {
	s := p.Settings()
	if s.PrePromote == "" {
		return nil
	}
	if err := p.script(ctx, "pre_promote script", s.PrePromote, false, nil, nil); err != nil {
		return fmt.Errorf("the node is not promoted: %w", err)
	}
	return nil
}
