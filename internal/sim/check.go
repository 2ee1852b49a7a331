package sim

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/guardian"
	"tamada/internal/ha"
)

const mercy = guardian.KillGrace + 100*time.Millisecond

// excused tells why nobody of ours could have stopped a machine's server just
// now: it was frozen a moment ago, or a guardian that knew the deadline is dead.
func (w *World) excused(m *machine) bool {
	g := m.guard
	if w.opts.NoGuardian {
		return false
	}
	if m.device.covers() {
		return m.thawedAt > 0 && w.now < m.thawedAt+mercy // it is reset before its lease ends
	}
	return m.unguarded || m.thawedAt > 0 && w.now < m.thawedAt+mercy ||
		g != nil && (g.frozen || g.thawedAt > 0 && w.now < g.thawedAt+mercy)
}

// check holds after every event.
func (w *World) check() {
	if w.fatal != nil {
		return
	}
	var first *machine
	for _, m := range w.machines {
		if !m.writable() || w.bootstrapping(m) {
			if m.pg == nil {
				m.unguarded = false
			}
			continue
		}
		if w.opts.Stranger && m.disk.sysid == sysid(50) {
			continue
		}
		if first != nil && !w.excused(first) && !w.excused(m) {
			w.violate("one writable primary", "%s and %s both accept writes", first.name, m.name)
		}
		if first == nil || w.excused(first) {
			first = m
		}
	}
	for _, m := range w.machines {
		if m.writable() && !w.bootstrapping(m) {
			w.checkDeadline(m)
			w.checkKey(m)
			w.checkPromises(m)
			w.checkLine(m)
		}
	}
	w.checkHealth()
	for _, m := range w.machines {
		w.checkCare(m)
	}
}

// checkDeadline: no server accepts writes after the deadline that its guardian
// knows, nor without any.
func (w *World) checkDeadline(m *machine) {
	if w.opts.NoGuardian && m.deadline > 0 && m.boottime() > m.deadline+mercy {
		w.violate("no writes after the deadline", "%s accepts writes at %s, the deadline was %s", m.name, m.boottime(), m.deadline)
	}
	if g := m.guard; m.device.covers() && (m.unguarded || g == nil || g.frozen || w.now < g.thawedAt+mercy) {
		// Nobody enforces the deadline, but the end of the lease.
		if m.boottime() > m.leaseEnd && !w.excused(m) {
			w.violate("the watchdog resets in time", "%s accepts writes at %s, nobody guards it and its lease ended at %s", m.name, m.boottime(), m.leaseEnd)
		}
		return
	}
	if w.excused(m) || m.guard == nil || w.bootstrapping(m) || w.line == nil {
		return
	}
	a := m.guard.policy.Armed()
	switch {
	case a == nil:
		w.violate("no writes after the deadline", "%s accepts writes, and its guardian knows of no deadline", m.name)
	case m.boottime() > a.Deadline+mercy:
		w.violate("no writes after the deadline", "%s accepts writes at %s, the deadline was %s", m.name, m.boottime(), a.Deadline)
	}
}

// checkKey: the leader key does not vanish, nor change its owner, while its
// holder accepts writes. In failsafe mode it may: there it is the promises that
// keep others away.
func (w *World) checkKey(m *machine) {
	if w.opts.Failsafe || w.line == nil || w.excused(m) || m.guard == nil || w.store.leader() == m.name || w.opts.Stranger && m.disk.sysid == sysid(50) {
		return
	}
	w.violate("the key outlives the writes", "%s accepts writes, and the leader key is %q's", m.name, w.store.leader())
}

// checkPromises: a primary that goes on although the store has given its key away
// does so by promises of everybody who might race, and each of them ends after its
// deadline.
func (w *World) checkPromises(m *machine) {
	if !w.opts.Failsafe || w.line == nil || w.excused(m) || m.guard == nil || m.guard.policy.Armed() == nil || w.store.leader() != "" {
		return
	}
	end := m.trueTime(m.guard.policy.Armed().Deadline)
	mayRace := w.topology()
	for _, o := range w.machines {
		p := o.promise
		if o == m || !o.up || !mayRace(o) {
			continue
		}
		if (p == nil || p.Name != m.name) && o.agent != nil && o.agent.ready {
			w.violate("promises cover the deadline", "%s may write until %s, and %s, which may race, has promised it nothing", m.name, end, o.name)
		}
		if p == nil || p.boot != o.boots || p.Name != m.name || w.now-o.soundAt < 5*time.Second && o.agent == nil {
			continue
		}
		if o.trueTime(p.Until) < end {
			w.violate("promises cover the deadline", "%s may write until %s, the promise of %s ends at %s", m.name, end, o.name, o.trueTime(p.Until))
		}
	}
}

// checkCare: agent and guardian replace each other when one of them hangs.
func (w *World) checkCare(m *machine) {
	p, g := m.agent, m.guard
	if p == nil || g == nil || m.frozen || !p.ready {
		return
	}
	loop := time.Duration(w.opts.LoopWait) * time.Second
	if !m.unguarded {
		m.unguardedAt = w.now
	}
	switch {
	case m.unguarded && m.writable() && !p.frozen && !g.frozen && w.now-max(m.unguardedAt, p.since, p.thawedAt, g.since, g.thawedAt, m.thawedAt, m.leaseAt) > loop+5*time.Second:
		w.violate("another guardian is told the deadline", "the guardian of %s knows of none since %s", m.name, m.unguardedAt)
	case g.frozen && !p.frozen && w.now-max(g.frozenAt, p.since, p.thawedAt, m.thawedAt) > loop+5*time.Second:
		w.violate("a frozen guardian is replaced", "the guardian of %s is frozen since %s", m.name, g.frozenAt)
	case p.frozen && !g.frozen && !g.ending && w.now-max(p.frozenAt, g.since, g.thawedAt, m.thawedAt) > loop+20*time.Second:
		w.violate("a hung agent is replaced", "the agent of %s is frozen since %s", m.name, p.frozenAt)
	}
}

// leaseTaken is asked when an agent says that another holds its key.
func (w *World) leaseTaken(p *agentProc) {
	if w.store.leader() == p.m.name {
		w.violate("no lease is lost without a cause", "%s gave way to another although the leader key is its own", p.m.name)
	}
}

// checkLine: who accepts writes goes on with what was written last.
func (w *World) checkLine(m *machine) {
	if w.line != nil && !w.excused(m) && m.disk.at.br != w.line && !(w.opts.Stranger && m.disk.sysid == sysid(50)) {
		w.violate("no old history comes back", "%s accepts writes at %s, but timeline %d#%d of %s was the cluster's history", m.name, m.disk.at, w.line.tli, w.line.id, w.line.by)
	}
}

// checkWrite is asked at every commit.
func (w *World) checkWrite(m *machine) {
	if w.line == nil {
		w.line = m.disk.at.br
	}
}

// leaderMade is asked when the store makes the leader key.
func (w *World) leaderMade(m *machine) {
	if m.name == w.opts.NoFailover {
		w.violate("nofailover never leads", "%s took the leader key", m.name)
	}
	if last, _ := w.stale["leader"].(string); last != m.name {
		if last != "" {
			w.Stats.Failovers++
		}
		w.stale["leader"] = m.name
	}
	w.logf(m.name, "has the leader key")
	w.checkPromised(m)
	w.store.made = w.now
	if m.pg == nil || !m.pg.recovery {
		return
	}
	// A rival that was fit and in reach for a while, and has stood still ahead of us
	// just as long, must have been heard.
	mayRace := w.topology()
	history, _ := cluster.ParseHistory([]byte(w.store.keys[cluster.KeyHistory].value))
	for _, r := range w.machines {
		if w.opts.Failsafe && !mayRace(r) {
			continue // decided so: see ha.healthiest
		}
		if r == m || !w.soundFor(r, 6*time.Second) || !w.soundFor(m, 6*time.Second) || r.name == w.opts.NoFailover || !r.pg.recovery {
			continue
		}
		if _, there := w.store.keys[cluster.KeyMembers+r.name]; !there || r.disk.sysid != m.disk.sysid {
			continue
		}
		if w.opts.CheckTimeline && r.disk.at.br.tli < history.Timeline() {
			continue // what it has received, not what it tells, is of an old timeline
		}
		if w.now-r.pg.advanced > 4*time.Second && r.disk.at.lsn > m.disk.at.lsn {
			w.violate("the most advanced replica leads", "%s at %s took the key although %s is at %s", m.name, m.disk.at, r.name, r.disk.at)
		}
	}
}

func (w *World) leaderReleased(m *machine) {
	if l := w.store.leader(); l != m.name {
		w.violate("only our own key is released", "%s released the leader key of %s", m.name, l)
	}
}

// disturb notes that a fault touched a machine, or all.
func (w *World) disturb(ms ...*machine) {
	for _, m := range ms {
		m.soundAt, m.leaseAt, m.hurtAt = w.now, w.now, w.now
	}
}

// disturbStore notes that a fault touched the store.
func (w *World) disturbStore() {
	for _, m := range w.machines {
		m.soundAt, m.leaseAt = w.now, w.now
	}
}

// soundFor tells whether a machine has been undisturbed for a while, with a
// server and an agent that work.
func (w *World) soundFor(m *machine, d time.Duration) bool {
	if !m.up || m.frozen || m.agent == nil || !m.agent.ready || m.agent.frozen || m.pg == nil || !m.pg.ready || m.pg.closed {
		return false
	}
	if w.now-m.soundAt < d || w.now-m.pg.readyAt < d {
		return false
	}
	for i := range w.cuts {
		if w.cuts[m.idx][i] || w.cuts[i][m.idx] {
			return false
		}
	}
	return w.opts.Loss == 0 || d > 0 && w.opts.Loss < 0.01
}

// leaseEnded is asked when an agent says that it could not renew in time.
func (w *World) leaseEnded(p *agentProc) {
	m := p.m
	quiet := time.Duration(w.opts.TTL)*time.Second + 5*time.Second
	if w.opts.Loss > 0 || w.now-m.leaseAt < quiet || w.store.down || m.frozen {
		return
	}
	for i := range w.cuts {
		if w.cuts[m.idx][i] || w.cuts[i][m.idx] {
			return
		}
	}
	w.violate("no lease is lost without a cause", "%s lost its lease although nothing had touched it for %s", m.name, (w.now - m.leaseAt).Round(time.Millisecond))
}

// fenced is asked when a guardian kills. An agent that runs gives way before.
func (w *World) fenced(m *machine) {
	p := m.agent
	if m.pg == nil || m.pg.closed || p == nil || !p.ready || p.frozen || w.now-m.leaseAt < 5*time.Second || w.now-p.since < 5*time.Second {
		return
	}
	w.violate("the agent gives way by itself", "the guardian of %s had to kill although its agent runs", m.name)
}

// checkPublish: status and history are the leader's to write.
func (w *World) checkPublish(m *machine, key string) {
	if m.unguarded || m.guard == nil || m.guard.frozen {
		return
	}
	if t := m.agent.task; t != nil && (t.kind == ha.TaskStop || t.kind == ha.TaskDemote) {
		return // the guardian is disarmed when no client is left; the lease goes on
	}
	if a := m.guard.policy.Armed(); a == nil || m.boottime() >= a.Deadline {
		w.violate("only the leader publishes", "%s writes %s without a lease", m.name, key)
	}
}

// checkPromotion is asked when a server is told to promote.
func (w *World) checkPromotion(m *machine) {
	if m.name == w.opts.NoFailover {
		w.violate("nofailover never leads", "%s is promoted", m.name)
	}
	if m.disk.sysid != w.store.keys[cluster.KeyInitialize].value {
		w.violate("one cluster", "%s is promoted with the system identifier %s", m.name, m.disk.sysid)
	}
	if m.unguarded {
		return
	}
	var a *guardian.Armed
	if m.guard != nil {
		a = m.guard.policy.Armed()
	}
	if a == nil || m.boottime() > a.Deadline {
		w.violate("promotion only under the lease", "%s is promoted, and its guardian knows of no deadline ahead", m.name)
	}
	if l := w.store.leader(); l != m.name {
		w.violate("promotion only under the lease", "%s is promoted, and the leader key is %q's", m.name, l)
	}
}

// checkLoss is asked just before a new timeline begins at the end of m's WAL;
// published is the position that m had to know of.
func (w *World) checkLoss(m *machine, published cluster.LSN) {
	at := m.disk.at
	if published > at.lsn && int64(published-at.lsn) > w.opts.MaximumLag {
		w.violate("loss is bounded", "%s is promoted at %s, %d bytes behind the published position %s", m.name, at, published-at.lsn, published)
	}
	lost := 0
	for i := len(w.commits) - 1; i >= 0 && len(w.commits)-i < 5000; i-- {
		if c := w.commits[i]; c.at.br == at.br && c.at.lsn > at.lsn {
			lost++
		}
	}
	w.Stats.Lost += lost
}

// checkTimeline: two promotions must not choose the same number.
func (w *World) checkTimeline(m *machine, b *branch) {
	for _, o := range w.branches {
		if o.tli == b.tli && o.by != "stranger" {
			w.violate("one timeline, one history", "timeline %d exists twice: by %s from %s and by %s from %s", b.tli, o.by, o.fork, m.name, b.fork)
		}
	}
}

// checkDeletion is asked before a whole data folder is removed.
func (w *World) checkDeletion(m *machine, why string) {
	for _, o := range w.machines {
		if o != m && o.up && o.disk.present && o.disk.whole && o.disk.sysid == m.disk.sysid {
			return
		}
	}
	w.violate("the last copy stays", "%s deletes the last copy of the data (%s)", m.name, why)
}

// checkRewind is asked before a folder is rewound: the source must be the
// cluster's history, and the target must not be.
func (w *World) checkRewind(m, from *machine) {
	if from.disk.sysid != m.disk.sysid {
		w.violate("one cluster", "%s is rewound to another cluster", m.name)
	}
	if w.store.leader() == m.name || m.disk.at.br == w.line && from.disk.at.br != w.line && w.store.leader() != from.name {
		w.violate("rewind to the leader's side", "%s, whose history is the cluster's (%s), is rewound to %s (%s)", m.name, m.disk.at, from.name, from.disk.at)
	}
}

// checkHealth: what a load balancer is told. While a server is being stopped, or
// was stopped, it must not be told that this is the primary.
func (w *World) checkHealth() {
	for _, m := range w.machines {
		p := m.agent
		if p != nil && p.ready && w.mutant("health checks ignore the demotion") {
			w.lockUntil(p)
		}
		if p == nil || !p.ready || p.frozen || m.frozen || p.task == nil || p.task.ended {
			continue
		}
		if (p.task.kind == "demote" || p.task.kind == "stopping") && w.lockUntil(p) > m.boottime() {
			w.violate("health checks follow the lock", "%s is being stopped and still says that it is the leader", m.name)
		}
	}
}
