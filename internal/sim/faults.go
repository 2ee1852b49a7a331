package sim

import (
	"slices"
	"strings"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/guardian"
)

// fault is one thing that can go wrong. It ends by itself after d, or with repair.
type fault struct {
	kind   string
	weight int
	do     func(w *World, m *machine, d time.Duration)
}

var faults = []fault{
	{"agent crash", 10, func(w *World, m *machine, _ time.Duration) {
		if m.agent != nil {
			m.agent.crash()
		}
	}},
	{"agent freeze", 8, func(w *World, m *machine, d time.Duration) {
		p := m.agent
		if p == nil {
			return
		}
		p.freeze()
		w.after(d, func() {
			w.disturb(m)
			m.post(p.thaw)
		})
	}},
	{"guardian crash", 3, func(w *World, m *machine, _ time.Duration) { m.guardianDies() }},
	{"guardian freeze", 4, func(w *World, m *machine, d time.Duration) {
		g := m.guard
		if g == nil || g.frozen {
			return
		}
		g.freeze()
		w.after(d, func() {
			w.disturb(m)
			m.post(g.thaw)
		})
	}},
	{"agent and guardian freeze", 3, func(w *World, m *machine, d time.Duration) {
		g, p := m.guard, m.agent
		if g == nil || p == nil || g.frozen {
			return
		}
		g.freeze()
		p.freeze()
		w.after(d, func() {
			w.disturb(m)
			m.post(g.thaw)
			m.post(p.thaw)
		})
	}},
	{"agent and guardian crash", 3, func(w *World, m *machine, _ time.Duration) {
		if m.agent != nil && m.guard != nil {
			m.agent.die()
			m.guardianDies()
		}
	}},
	{"postgres crash", 10, func(w *World, m *machine, _ time.Duration) { m.post(m.serverGone) }},
	{"machine crash", 10, func(w *World, m *machine, d time.Duration) {
		w.crash(m, d)
	}},
	{"machine freeze", 8, func(w *World, m *machine, d time.Duration) {
		if !m.up || m.frozen {
			return
		}
		m.freeze()
		w.after(d, func() {
			w.disturb(m)
			m.thaw()
		})
	}},
	{"machine crash after the next promotion", 4, func(w *World, _ *machine, d time.Duration) { w.dieNext = d }},
	{"machine crash of the next copy's source", 0, func(w *World, _ *machine, d time.Duration) { w.sourceDies = d }}, // scripted only
	{"cut from store", 10, func(w *World, m *machine, d time.Duration) {
		w.sever(m.idx, w.storeIdx(), d)
		w.sever(w.storeIdx(), m.idx, d)
	}},
	{"requests to store lost", 4, func(w *World, m *machine, d time.Duration) { w.sever(m.idx, w.storeIdx(), d) }},
	{"answers of store lost", 4, func(w *World, m *machine, d time.Duration) { w.sever(w.storeIdx(), m.idx, d) }},
	{"cut between machines", 6, func(w *World, m *machine, d time.Duration) {
		o := w.machines[w.rng.IntN(len(w.machines))]
		if o != m {
			w.sever(m.idx, o.idx, d)
			w.sever(o.idx, m.idx, d)
		}
	}},
	{"one-way cut", 3, func(w *World, m *machine, d time.Duration) {
		o := w.machines[w.rng.IntN(len(w.machines))]
		if o != m {
			w.sever(m.idx, o.idx, d)
		}
	}},
	{"isolation", 6, func(w *World, m *machine, d time.Duration) {
		for i := range w.cuts {
			if i != m.idx {
				w.sever(m.idx, i, d)
				w.sever(i, m.idx, d)
			}
		}
	}},
	{"store outage", 6, func(w *World, _ *machine, d time.Duration) {
		w.disturbStore()
		w.store.down = true
		w.after(d, func() { w.storeBack() })
	}},
	{"store election", 5, func(w *World, _ *machine, _ time.Duration) {
		w.disturbStore()
		w.store.down = true
		w.after(500*time.Millisecond+w.upTo(2*time.Second), func() { w.storeBack() })
	}},
	{"store freeze", 3, func(w *World, _ *machine, d time.Duration) {
		// All of it stands still and goes on where it was, without an election: a lease
		// whose time is over is noticed a moment after the store answers again.
		w.disturbStore()
		w.store.down = true
		w.after(d, func() { w.storeThaws() })
	}},
	{"frozen store leader", 4, func(w *World, _ *machine, d time.Duration) {
		w.disturbStore()
		s := w.store
		if s.frozenTerm != 0 {
			return
		}
		s.frozenTerm, s.thawsAt = s.term, w.now+d
		for _, c := range s.clients {
			c.frozen = w.chance(0.6)
		}
		s.down = true
		w.after(time.Second+w.upTo(time.Second), func() { w.storeBack() })
		w.after(d+time.Millisecond, func() {
			s.frozenTerm = 0
			for _, c := range s.clients {
				c.frozen = false
			}
		})
	}},
	{"watch stall", 6, func(w *World, m *machine, d time.Duration) {
		if m.agent != nil && m.agent.c != nil {
			m.agent.c.stalled = w.now + d
		}
	}},
	{"slow replication", 5, func(w *World, m *machine, d time.Duration) { m.slowUntil = w.now + d }},
	{"wall clock jump", 2, func(w *World, m *machine, _ time.Duration) {
		m.wallOff += w.upTo(20*time.Second) - 10*time.Second
		if p := m.agent; p != nil {
			p.post(func() { p.step(agent.ClockJumped{}) })
		}
	}},
	{"service stop", 6, func(w *World, m *machine, _ time.Duration) {
		if m.guard != nil {
			g := m.guard
			m.post(func() { g.handle(guardian.Terminate{}) })
		}
	}},
	// The following are drawn by no seed: scripts use them.
	{"wall clock set forward", 0, func(_ *World, m *machine, d time.Duration) { m.wallOff += d }},
	{"slow answers", 0, func(w *World, m *machine, d time.Duration) { m.slowAnswers = w.now + d }},
	{"slow crash recovery", 0, func(w *World, m *machine, d time.Duration) {
		m.slowStart = d
		m.post(m.serverGone)
	}},
	{"slow shutdown", 0, func(w *World, m *machine, d time.Duration) {
		m.slowStop = d
		if g := m.guard; g != nil {
			m.post(func() { g.handle(guardian.Terminate{}) })
		}
	}},
	{"frozen store leader, and cut off after", 0, func(w *World, m *machine, d time.Duration) {
		// Until the thaw the member can reach no other server of the store; then it
		// reaches none at all.
		s := w.store
		s.frozenTerm, s.thawsAt = s.term, w.now+d
		for _, c := range s.clients {
			c.frozen = c.p.m == m
			c.stuck = c.frozen
		}
		s.down = true
		w.after(time.Second, func() { w.storeBack() })
		w.after(d+50*time.Millisecond, func() {
			s.frozenTerm = 0
			for i := range w.cuts {
				if i != m.idx {
					w.sever(m.idx, i, 60*time.Second)
					w.sever(i, m.idx, 60*time.Second)
				}
			}
		})
	}},
	{"disk lost", 2, func(w *World, m *machine, d time.Duration) {
		// A machine comes back with an empty disk, when others have the data and may lead
		// with it: without any, nobody leads, and rightly so.
		whole := 0
		for _, o := range w.machines {
			lags := int64(w.store.status().LSN)-int64(o.disk.at.lsn) > w.opts.MaximumLag || o.disk.at.br != m.disk.at.br
			if o != m && o.up && o.disk.whole && o.pg != nil && o.pg.ready && o.name != w.opts.NoFailover && !lags {
				whole++
			}
		}
		if !m.up || whole == 0 || m.writable() {
			return
		}
		m.powerOff()
		m.disk, m.journal = disk{}, ""
		w.logf(m.name, "the disk is lost")
		w.after(d, func() {
			if !m.up {
				w.disturb(m)
				m.boot()
			}
		})
	}},
}

// nextFault does one thing and plans the next.
func (w *World) nextFault() {
	if w.calm {
		return
	}
	w.after(w.upTo(2*w.opts.Pause), w.nextFault)
	total := 0
	for _, f := range faults {
		if w.opts.Faults == nil || slices.Contains(w.opts.Faults, f.kind) {
			total += f.weight
		}
	}
	n := w.rng.IntN(max(total, 1))
	m := w.machines[w.rng.IntN(len(w.machines))]
	if w.chance(0.4) { // the leader is where it hurts
		if l := w.machine(w.store.leader()); l != nil {
			m = l
		}
	}
	d := w.duration()
	for i := range faults {
		f := &faults[i]
		if w.opts.Faults != nil && !slices.Contains(w.opts.Faults, f.kind) {
			continue
		}
		if n -= f.weight; n < 0 {
			w.inject(f, m, d)
			return
		}
	}
}

// duration is how long a fault lasts: most are short, some outlive every lease.
func (w *World) duration() time.Duration {
	switch w.rng.IntN(4) {
	case 0:
		return 50*time.Millisecond + w.upTo(2*time.Second)
	case 1, 2:
		return time.Second + w.upTo(20*time.Second)
	}
	return 10*time.Second + w.upTo(80*time.Second)
}

func (w *World) inject(f *fault, m *machine, d time.Duration) {
	w.Stats.Faults++
	w.Stats.Kinds[f.kind]++
	w.logf("fault", "%s: %s for %s", f.kind, m.name, d.Round(time.Millisecond))
	lease, hurt := m.leaseAt, m.hurtAt
	w.disturb(m)
	if strings.Contains(f.kind, "store") {
		m.hurtAt = hurt
	}
	if f.kind == "postgres crash" || f.kind == "slow crash recovery" || f.kind == "slow replication" {
		m.leaseAt = lease
	}
	f.do(w, m, d)
}

func (w *World) scripted(s Step) {
	m := w.machines[s.Node]
	leader := w.machine(w.store.leader())
	switch {
	case s.Role == "same" && w.scriptedOn != nil:
		m = w.scriptedOn
	case s.Role == "leader" && leader != nil:
		m = leader
	case s.Role == "other":
		for _, o := range w.machines {
			if o != w.scriptedOn {
				m = o
				break
			}
		}
	case s.Role == "replica":
		for _, o := range w.machines {
			if o != leader && o.name != w.opts.NoFailover {
				m = o
				break
			}
		}
	}
	for i := range faults {
		if faults[i].kind == s.Kind {
			w.scriptedOn = m
			w.inject(&faults[i], m, s.For)
			return
		}
	}
	panic("no such fault: " + s.Kind)
}

// crash switches a machine off for a while.
func (w *World) crash(m *machine, d time.Duration) {
	if !m.up {
		return
	}
	w.disturb(m)
	m.powerOff()
	boots := m.boots
	w.after(d, func() {
		if m.boots == boots {
			w.disturb(m)
			m.boot()
		}
	})
}

func (w *World) sever(from, to int, d time.Duration) {
	w.cuts[from][to] = true
	w.after(d, func() {
		for _, i := range []int{from, to} {
			if i < len(w.machines) {
				w.disturb(w.machines[i])
			}
		}
		w.cuts[from][to] = false
	})
}

func (w *World) storeThaws() {
	if !w.store.down {
		return
	}
	w.store.down = false
	w.disturbStore()
	w.logf("store", "goes on")
}

func (w *World) storeBack() {
	if !w.store.down {
		return
	}
	w.store.down = false
	w.store.elect()
	w.disturbStore()
	w.logf("store", "answers again, term %d", w.store.term)
}

// repair ends all faults and gives the cluster the time that it may take.
func (w *World) repair() {
	w.calm = true
	w.logf("fault", "everything is repaired")
	w.storeBack()
	w.opts.Loss = 0
	w.disturb(w.machines...)
	for i := range w.cuts {
		for j := range w.cuts[i] {
			w.cuts[i][j] = false
		}
	}
	for _, m := range w.machines {
		m.slowUntil = 0
		switch {
		case !m.up:
			m.boot()
		case m.frozen:
			m.thaw()
		}
		if m.guard != nil && m.guard.frozen {
			m.post(m.guard.thaw)
		}
		if m.agent != nil && m.agent.frozen {
			m.post(m.agent.thaw)
		}
		if m.agent != nil && m.agent.c != nil {
			m.agent.c.stalled = w.now
		}
	}
	ttl, loop := time.Duration(w.opts.TTL)*time.Second, time.Duration(w.opts.LoopWait)*time.Second
	// A start, a crash recovery, a rewind or a copy may be running, or have to.
	w.after(ttl+3*loop+60*time.Second, func() {
		if w.present() == nil {
			w.violate("the cluster recovers", "nobody leads")
		}
	})
	w.after(ttl+3*loop+3*time.Minute, w.verdict)
}

// present is the leader that accepts writes, nil when there is none.
func (w *World) present() *machine {
	l := w.machine(w.store.leader())
	if l == nil || !l.writable() {
		return nil
	}
	return l
}

// verdict: there is one leader, and every healthy member streams from it.
func (w *World) verdict() {
	w.ended = true
	l := w.present()
	if l == nil {
		w.violate("the cluster recovers", "nobody leads")
	}
	for _, m := range w.machines {
		switch {
		case m == l, w.opts.Stranger && m.idx == len(w.machines)-1:
		case m.pg == nil || !m.pg.ready || m.pg.stream != l:
			w.violate("the cluster recovers", "%s does not stream from the leader %s", m.name, l.name)
		case !l.disk.at.contains(m.disk.at):
			w.violate("the cluster recovers", "%s is at %s, which is not in the history of the leader (%s)", m.name, m.disk.at, l.disk.at)
		}
	}
	if l.disk.at.br != w.line {
		w.violate("the cluster recovers", "the leader's history %s is not the cluster's", l.disk.at)
	}
	if h, ok := cluster.ParseHistory([]byte(w.store.keys[cluster.KeyHistory].value)); l.disk.at.br.parent != nil && (!ok || h.Timeline() != l.disk.at.br.parent.tli+1) {
		w.violate("the cluster recovers", "the history in the store ends with timeline %d, the leader is on %d", h.Timeline(), l.disk.at.br.tli)
	}
}
