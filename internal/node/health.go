//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/postgres"
)

const (
	probeTimeout = 3 * time.Second // for one connection, and for one write
	probeOften   = 2 * time.Second // while something is wrong
)

// prober finds out whether a primary that looks alive is of any use: whether it
// takes a *new* connection (the ones that exist may go on while the postmaster is
// stopped), and whether its disk takes a small write. Both can hang for ever, so
// they run beside the loop, each with a deadline, and one write that hangs is not
// followed by another.
type prober struct {
	n       *node
	good    ha.Instant // when both last worked
	writing chan error // the write under way; nil for none
	failing bool
}

// startProber begins to look after the server as long as the node runs. It
// probes when the loop has work as well, if it can: waking up is most of what an
// idle node costs.
func (n *node) startProber() {
	p := &prober{n: n, good: guardian.Now()} // what was before we came says nothing
	go func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		var wait, last time.Duration
		for {
			select {
			case <-timer.C:
			case <-n.looking:
				if wait > 0 && (p.failing || guardian.Now()-last < wait/2) {
					continue
				}
			case <-n.ctx.Done():
				return
			}
			last = guardian.Now()
			if wait == 0 {
				p.good = last // what was before there was anything to probe says nothing
			}
			if wait = p.round(); wait > 0 {
				timer.Reset(wait)
			} else {
				timer.Stop()
			}
		}
	}()
}

// looksNow tells the prober that the loop looks at the instance.
func (n *node) looksNow() {
	select {
	case n.looking <- struct{}{}:
	default: // it has not taken note of the one before yet
	}
}

// round is one probe; it returns the pause before the next, or 0 when there is
// nothing to probe before the loop looks again.
func (p *prober) round() time.Duration {
	s := p.n.snapshot.Load()
	limit := s.Settings.HangTimeout
	now := guardian.Now()
	if s.LockUntil == 0 || limit == 0 || !s.PostmasterAlive || s.Settings.Pause || s.State != cluster.StateRunning {
		p.good = now
		if p.failing {
			p.failing = false
			p.n.send(agent.HealthSeen{OK: true})
		}
		return 0
	}
	err := errors.Join(p.connect(), p.write())
	if err == nil {
		p.good = now
		if p.failing {
			p.failing = false
			p.n.send(agent.HealthSeen{OK: true})
		}
		return max(limit/2, time.Second)
	}
	p.failing = true
	p.n.send(agent.HealthSeen{Since: max(p.good, 1), Why: err.Error()})
	return probeOften
}

// connect opens a new connection as far as the server's first answer: no login
// is needed to see that it is served.
func (p *prober) connect() error {
	ctx, cancel := context.WithTimeout(p.n.ctx, probeTimeout)
	defer cancel()
	switch ready, err := p.n.pg.Ready(ctx); ready {
	case postgres.Accepting:
		return nil
	case postgres.Rejecting:
		return nil // it answers; that it starts or stops is known otherwise
	default:
		return fmt.Errorf("it takes no new connection: %w", err)
	}
}

// write makes a small file in the data folder's file system and syncs it. It
// goes to the one folder there whose content neither base backups nor pg_rewind
// carry (PostgreSQL manual, "Base Backup Using the Low Level API").
func (p *prober) write() error {
	if p.writing == nil {
		path := filepath.Join(p.n.pg.Settings().DataDir, "pg_stat_tmp", "tamada.probe")
		c := make(chan error, 1)
		p.writing = c
		go func() { c <- syncSmall(path) }()
	}
	select {
	case err := <-p.writing:
		p.writing = nil
		if err != nil {
			return fmt.Errorf("its disk takes no write: %w", err)
		}
		return nil
	case <-time.After(probeTimeout):
		return fmt.Errorf("a small write to its disk has not ended within %s", probeTimeout)
	}
}

func syncSmall(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 4096), 0)
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}
