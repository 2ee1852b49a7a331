//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/rewind"
	"tamada/internal/postgres"
)

const (
	compareTimeout = 5 * time.Second
	slotsTimeout   = 5 * time.Second
)

// watchStore feeds the loop with the store's views.
func (n *node) watchStore() {
	for u := range n.store.Watch(n.ctx) {
		if u.Err != nil {
			n.send(agent.StoreFailed{Err: u.Err.Error()})
			continue
		}
		if err := n.firstView(u.Cluster); err != nil {
			n.fatal <- err
			return
		}
		n.seen.Store(u.Cluster)
		n.send(agent.ClusterSeen{Cluster: u.Cluster})
	}
}

// budget is the time that one operation on the store may take.
func (n *node) budget() (context.Context, context.CancelFunc) {
	return context.WithTimeout(n.ctx, n.settings().RetryTimeout)
}

// operate does one operation on the store.
func (n *node) operate(e agent.Operate) {
	ctx, cancel := n.budget()
	defer cancel()
	end := agent.OperationEnded{ID: e.ID, Sent: guardian.Now()}
	switch op := e.Op.(type) {
	case agent.TakeInitialize:
		end.Version, end.Err = n.store.Put(ctx, cluster.KeyInitialize, nil, op.Condition)
	case agent.DropInitialize:
		end.Err = n.store.Delete(ctx, cluster.KeyInitialize, op.Condition)
	case agent.Acquire:
		if c := n.snapshot.Load().Cluster; c != nil {
			n.meters.acquiring(c.Failover)
		}
		if op.Reclaim != nil {
			end.Grant, end.Err = n.store.Reclaim(ctx, *op.Reclaim)
		} else {
			end.Grant, end.Err = n.store.Acquire(ctx)
		}
	case agent.Release:
		end.Err = n.releaseKey(ctx, op)
	case agent.Announce:
		_, end.Err = n.store.Put(ctx, cluster.KeyStatus, op.Status, op.Condition)
	case agent.PutInitialize:
		_, end.Err = n.store.Put(ctx, cluster.KeyInitialize, []byte(op.Sysid), op.Condition)
	case agent.PutConfig:
		_, end.Err = n.store.Put(ctx, cluster.KeyConfig, cluster.Compact(op.Doc), op.Condition)
	case agent.PutFailover:
		_, end.Err = n.store.Put(ctx, cluster.KeyFailover, op.Value, op.Condition)
	case agent.PublishCluster:
		end.Grant, end.Sent, end.Err = n.publishCluster(ctx, op)
	}
	n.send(end)
}

// releaseKey publishes the last position first: whoever takes the key must be
// able to judge how far it is behind.
func (n *node) releaseKey(ctx context.Context, op agent.Release) error {
	if op.Status != nil {
		if _, err := n.store.Put(ctx, cluster.KeyStatus, op.Status, dcs.Any()); err != nil {
			n.log.Warn("could not publish the last position before releasing the leader key", "error", err)
		}
	}
	return n.store.Release(ctx, op.Hold)
}

// publishCluster ends a bootstrap. The order matters: with the leader key the
// cluster is open for replicas, and they need the rest.
func (n *node) publishCluster(ctx context.Context, op agent.PublishCluster) (g dcs.Grant, sent ha.Instant, err error) {
	_, err = n.store.Put(ctx, cluster.KeyInitialize, []byte(op.Sysid), op.Condition)
	if errors.Is(err, dcs.ErrConflict) {
		err = n.publishedBefore(ctx, op.Sysid, err)
	}
	if err != nil {
		return g, sent, fmt.Errorf("publish the system identifier: %w", err)
	}
	if op.Config.Len() > 0 {
		if _, err = n.store.Put(ctx, cluster.KeyConfig, cluster.Compact(op.Config), dcs.Any()); err != nil {
			return g, sent, fmt.Errorf("publish the dynamic configuration: %w", err)
		}
	}
	sent = guardian.Now()
	if g, err = n.store.Acquire(ctx); err != nil {
		return g, sent, fmt.Errorf("take the leader key of the new cluster: %w", err)
	}
	return g, sent, n.journal.Clear()
}

// publishedBefore tells what a refusal to publish means: nothing, if an earlier try
// of ours got through although its answer was lost. While the store cannot tell, it
// is not passed on: on a refusal the new cluster is given up.
func (n *node) publishedBefore(ctx context.Context, sysid string, refusal error) error {
	c, err := n.store.Load(ctx)
	switch {
	case err != nil:
		return err
	case c.Initialize != nil && c.Initialize.Value == sysid:
		return nil
	}
	return refusal
}

func (n *node) touch(e agent.Touch) {
	ctx, cancel := n.budget()
	defer cancel()
	n.send(agent.Touched{Err: n.store.Touch(ctx, e.Value)})
}

func (n *node) renew(e agent.RenewLease) {
	ctx, cancel := context.WithTimeout(n.ctx, e.Timeout)
	defer cancel()
	g, err := n.store.Renew(ctx, e.Hold)
	n.send(agent.Renewed{Attempt: e.Attempt, Grant: g, Err: err})
}

func (n *node) publish(e agent.Publish) {
	ctx, cancel := n.budget()
	defer cancel()
	v, err := n.store.Put(ctx, e.Key, e.Value, e.Condition)
	n.send(agent.Published{Key: e.Key, Version: v, Err: err})
}

// askPeers asks each member on its own, so that a slow one keeps nobody waiting.
func (n *node) askPeers(e agent.AskPeers) {
	asked := guardian.Now()
	for _, m := range e.Members {
		go func() {
			ctx, cancel := context.WithTimeout(n.ctx, e.Timeout)
			defer cancel()
			n.send(agent.PeerAnswered{Name: m.Name, Asked: asked, Answer: n.poll(ctx, &m)})
		}()
	}
}

// compare compares our history with the leader's.
func (n *node) compare(e agent.Compare) {
	ctx, cancel := context.WithTimeout(n.ctx, compareTimeout)
	defer cancel()
	end := agent.Compared{ID: e.ID}
	up := upstream(&e.Leader)
	if up == nil {
		end.Why = fmt.Sprintf("member %s has no usable address", e.Leader.Name)
		n.send(end)
		return
	}
	facts, err := n.pg.DivergenceFacts(ctx, *up)
	if err != nil {
		end.Why = err.Error()
		n.send(end)
		return
	}
	verdict, why := rewind.Decide(facts)
	if l := facts.Local; l != nil && l.InRecovery {
		end.Replayed = l.LSN
	}
	end.Concluded, end.Diverged, end.Why = verdict != rewind.Unknown, verdict == rewind.Needed, why
	n.send(end)
}

// poll asks one member for its status.
func (n *node) poll(ctx context.Context, m *cluster.Member) candidate.Answer {
	a := n.peers.Load().Poll(ctx, m)
	n.heard.log(n.log, m, &a)
	if a.Err != nil {
		return candidate.Answer{Name: m.Name}
	}
	return candidate.Answer{Name: m.Name, Reachable: true, Primary: a.Primary, LSN: a.LSN, Timeline: a.Timeline, Tags: a.Tags,
		WatchdogFailed: a.WatchdogFailed}
}

func (n *node) resumeReplay() {
	ctx, cancel := context.WithTimeout(n.ctx, slotsTimeout)
	defer cancel()
	if err := n.pg.ResumeReplay(ctx); err != nil {
		n.log.Warn("could not resume WAL replay", "error", err)
	}
}

func (n *node) retryStream() {
	ctx, cancel := context.WithTimeout(n.ctx, slotsTimeout)
	defer cancel()
	if err := n.pg.RetryStream(ctx); err != nil {
		n.log.Debug("could not hurry the WAL receiver", "error", err)
	}
}

// readHistory reads what the server's own history file says.
func (n *node) readHistory(e agent.ReadHistory) {
	end := agent.HistoryRead{Local: ha.LocalHistory{Timeline: e.Timeline}}
	if e.Timeline > 1 {
		f, err := n.pg.History(e.Timeline)
		if err != nil {
			end.Err = err.Error()
		}
		end.Local.Written = f.Modified
		for _, l := range f.Entries {
			end.Local.Lines = append(end.Local.Lines, cluster.HistoryLine{Timeline: l.Timeline, LSN: l.LSN, Reason: l.Reason})
		}
	}
	n.send(end)
}

// checkpoint runs the CHECKPOINT after a promotion: until it is done pg_rewind
// could not read our timeline from the control file.
func (n *node) checkpoint() {
	var end agent.Checkpointed
	if err := n.pg.Checkpoint(n.ctx); err != nil {
		end.Err = err.Error()
	}
	n.send(end)
}

// arrangeSlots carries out a plan. Errors of one slot do not keep the others
// back.
func (n *node) arrangeSlots(e agent.ArrangeSlots) {
	n.slotsMu.Lock()
	defer n.slotsMu.Unlock()
	ctx, cancel := context.WithTimeout(n.ctx, slotsTimeout)
	defer cancel()
	var errs []error
	for _, name := range e.Plan.Create {
		if err := n.pg.CreatePhysicalSlot(ctx, name); err != nil {
			errs = append(errs, err)
		}
	}
	for _, name := range e.Plan.Drop {
		switch dropped, active, err := n.pg.DropSlot(ctx, name); {
		case err != nil:
			errs = append(errs, err)
		case dropped:
			n.log.Info(fmt.Sprintf("Dropped replication slot '%s'", name))
		case active:
			n.log.Warn(fmt.Sprintf("Unable to drop replication slot '%s', slot is active", name))
		}
	}
	for _, s := range e.Plan.Advance {
		if err := n.pg.AdvanceSlot(ctx, postgres.Slot{Name: s.Name, Type: "physical"}, s.LSN); err != nil {
			errs = append(errs, err)
		}
	}
	end := agent.SlotsDone{}
	if err := errors.Join(errs...); err != nil {
		end.Err = err.Error()
	}
	n.send(end)
}
