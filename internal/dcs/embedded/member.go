package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Run runs the member until ctx ends or the server fails. It tunes the whole
// process for little memory, so nothing else belongs into that process.
func Run(ctx context.Context, c Config) error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.portsFree(ctx); err != nil {
		return err
	}
	s, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	cfg, err := c.etcd(s)
	if err != nil {
		return err
	}
	debug.SetGCPercent(40)
	c.Logger.Info("etcd member "+s.how, "name", c.Name, "client", c.Client, "peer", c.Peer, "data", c.DataDir)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("embedded etcd: start: %w", err)
	}
	defer closeWithin(e, stopWithin)
	select {
	case <-e.Server.ReadyNotify():
		c.Logger.Info("etcd member is ready", "name", c.Name)
		debug.FreeOSMemory() // what the start needed is not needed again
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("embedded etcd: %w", err)
	case <-e.Server.StopNotify():
		return c.stopped(ctx, e)
	}
	go c.becomeVoter(ctx, e)
	select {
	case <-ctx.Done():
		c.Logger.Info("etcd member stops", "name", c.Name)
		return nil
	case err := <-e.Err():
		return fmt.Errorf("embedded etcd: %w", err)
	case <-e.Server.StopNotify():
		return c.stopped(ctx, e)
	}
}

// closeWithin stops the server: it hands leadership over and closes its files.
// Not more than d is spent, since whoever stops us has a deadline too.
func closeWithin(e *embed.Etcd, d time.Duration) {
	done := make(chan struct{})
	go func() { e.Close(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// portsFree finds a taken port before etcd writes pages about it.
func (c Config) portsFree(ctx context.Context) error {
	for _, addr := range []string{c.Peer, c.Client} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("embedded etcd: %s is taken by another process; is a member running already?", addr)
		case err != nil:
			return fmt.Errorf("embedded etcd: cannot listen on %s: %w", addr, err)
		}
		l.Close()
	}
	return nil
}

// stopped says why the server stopped by itself.
func (c Config) stopped(ctx context.Context, e *embed.Etcd) error {
	id := uint64(e.Server.MemberID())
	if members, ok := c.members(ctx); ok && !slices.ContainsFunc(members, func(m peerMember) bool { return m.ID == id }) {
		return fmt.Errorf("%w any more: it was removed as %x; start again to join anew if it was replaced", ErrNotMember, id)
	}
	return fmt.Errorf("embedded etcd: the server stopped; its log (%s) tells why", c.LogPath)
}

// becomeVoter promotes this member if it joined as a learner, as soon as it
// has caught up. A learner cannot ask for that itself, so the others are asked.
func (c Config) becomeVoter(ctx context.Context, e *embed.Etcd) {
	for pause := time.Second; e.Server.IsLearner(); {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		case <-e.Server.StopNotify():
			t.Stop()
			return
		}
		if err := c.promote(ctx, e); err != nil {
			c.Logger.Debug("etcd member is still learning", "error", err)
			pause = min(2*pause, 10*time.Second)
			continue
		}
		c.Logger.Info("etcd member has caught up and votes now", "name", c.Name)
		return
	}
}

func (c Config) promote(ctx context.Context, e *embed.Etcd) error {
	var endpoints []string
	for _, m := range e.Server.Cluster().Members() {
		if !m.IsLearner {
			endpoints = append(endpoints, m.ClientURLs...)
		}
	}
	if len(endpoints) == 0 {
		return errors.New("no voting member is known yet")
	}
	a := Admin{Endpoints: endpoints, TLS: c.TLS}
	return a.with(ctx, endpoints, func(ctx context.Context, cli *clientv3.Client) error {
		_, err := cli.MemberPromote(ctx, uint64(e.Server.MemberID()))
		return err
	})
}

var silent = zap.NewNop()
