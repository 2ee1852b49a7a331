//go:build linux

package node

import (
	"context"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs/embedded"
	"tamada/internal/dcs/open"
	"tamada/internal/guardian"
	"tamada/internal/ha"
)

// When etcd's leader is the member of the primary's own node, the loss of that
// node costs an election in etcd before the one of a primary can begin. So the
// primary's node hands etcd's leadership to another member.
const (
	// etcdCalm is how long the lock must have been held: right after a failover
	// nothing may disturb the store, and etcd may elect anew by itself.
	etcdCalm = 30 * time.Second
	// etcdLook is how often the own member is asked whether it leads: one message.
	etcdLook = 5 * time.Minute
	// etcdTick is how often it is looked whether the lock is held; costs nothing.
	etcdTick = 5 * time.Second
	// etcdMove is what one look, and a move after it, may take.
	etcdMove = 10 * time.Second
)

// etcdTurn decides when to look at the own etcd member.
type etcdTurn struct {
	leads   bool
	since   ha.Instant // when the lock was taken
	looked  ha.Instant
	hasSeen bool // looked since the lock was taken
}

// due tells whether to look now.
func (t *etcdTurn) due(now ha.Instant, holdsLock bool) bool {
	if !holdsLock {
		*t = etcdTurn{}
		return false
	}
	if !t.leads {
		*t = etcdTurn{leads: true, since: now}
	}
	if now-t.since < etcdCalm || t.hasSeen && now-t.looked < etcdLook {
		return false
	}
	t.looked, t.hasSeen = now, true
	return true
}

// keepEtcdLeaderAway runs beside the loop and does not touch it. What if it is
// wrong or slow? A move interrupts etcd's writes for some milliseconds; the
// lease is renewed again at once, because the renewal knows the raft term. It is
// not tried again before the next look, so a member that comes back to lead
// cannot be pushed around.
func (n *node) keepEtcdLeaderAway(admin embedded.Admin, name string) {
	tick := time.NewTicker(etcdTick)
	defer tick.Stop()
	var turn etcdTurn
	for {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
		s, now := n.snapshot.Load(), guardian.Now()
		if turn.due(now, s.Role == cluster.RolePrimary && s.LockUntil > now) {
			n.moveEtcdLeader(admin, name)
		}
	}
}

func (n *node) moveEtcdLeader(admin embedded.Admin, name string) {
	ctx, cancel := context.WithTimeout(n.ctx, etcdMove)
	defer cancel()
	own := admin
	own.Endpoints = admin.Endpoints[:1] // Hosts has our own first
	leads, err := own.Leads(ctx)
	if err == nil && !leads {
		return
	}
	var moved string
	if err == nil {
		moved, err = admin.MoveLeader(ctx, name)
	}
	switch {
	case err != nil:
		n.log.Debug("could not move etcd's leadership to another node", "error", err)
	case moved != "":
		n.log.Info("etcd's leadership moved to another node, so that the loss of this one does not cost both", "to", moved)
	}
}

// startEtcdLeaderCare starts keepEtcdLeaderAway where there is another member
// that could lead.
func (n *node) startEtcdLeaderCare() {
	cfg := n.cfg.Load()
	if e := cfg.Etcd3.Embedded; e == nil || len(e.InitialCluster) < 2 || len(cfg.Etcd3.Hosts) > 0 {
		return
	}
	admin, err := open.Admin(cfg)
	if err != nil {
		n.log.Warn("etcd's leadership is not looked after", "error", err)
		return
	}
	go n.keepEtcdLeaderAway(admin, cfg.Name)
}
