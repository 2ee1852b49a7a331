package sim

import (
	"fmt"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha/candidate"
)

// observe looks at the instance: the facts are from some moment before they
// arrive.
func (p *agentProc) observe(e agent.Observe) {
	w := p.m.w
	p.later(w.upTo(8*time.Millisecond), func() {
		f := p.m.facts(e.Source)
		p.later(w.upTo(8*time.Millisecond), func() { p.step(agent.Observed{ID: e.ID, Facts: f}) })
	})
}

// ask asks one member for its status.
func (p *agentProc) ask(member cluster.Member, timeout time.Duration) {
	m, w := p.m, p.m.w
	asked := m.boottime()
	over := false
	finish := func(a candidate.Answer) {
		if !over {
			over = true
			p.post(func() { p.step(agent.PeerAnswered{Name: member.Name, Asked: asked, Answer: a}) })
		}
	}
	w.after(m.truly(timeout), func() { finish(candidate.Answer{Name: member.Name}) })
	to := w.machine(member.Name)
	w.after(w.latency(), func() {
		if to == nil || !to.up || w.cut(m.idx, to.idx) {
			return
		}
		back := func(a candidate.Answer) {
			w.after(w.latency(), func() {
				if !w.cut(to.idx, m.idx) {
					finish(a)
				}
			})
		}
		to.post(func() {
			q := to.agent
			if q == nil {
				if to.guard == nil {
					back(candidate.Answer{Name: to.name}) // connection refused
				}
				return // it waits in the guardian's socket
			}
			q.post(func() { back(to.answer()) })
		})
	})
}

// answer is what a node's REST API says about its instance now.
func (m *machine) answer() candidate.Answer {
	a := candidate.Answer{Name: m.name, Reachable: true}
	if m.name == m.w.opts.NoFailover {
		a.Tags = cluster.NewObject("nofailover", true)
	}
	s := m.pg
	if s == nil || !s.ready || s.closed {
		return a
	}
	a.Primary, a.Timeline = !s.recovery, m.timeline()
	if s.recovery {
		a.LSN = m.disk.at.lsn
	}
	return a
}

func (p *agentProc) operate(e agent.Operate) {
	end := agent.OperationEnded{ID: e.ID, Sent: p.m.boottime()}
	done := func(g dcs.Grant, err error) {
		end.Grant, end.Err = g, err
		p.step(end)
	}
	plain := func(err error) { done(dcs.Grant{}, err) }
	switch op := e.Op.(type) {
	case agent.TakeInitialize:
		p.c.putVersion(cluster.KeyInitialize, "", op.Condition, func(v cluster.Version, err error) {
			end.Version = v
			plain(err)
		})
	case agent.DropInitialize:
		p.c.remove(cluster.KeyInitialize, op.Condition, plain)
	case agent.Acquire:
		if op.Reclaim != nil {
			p.c.reclaim(*op.Reclaim, done)
		} else {
			p.c.acquire(done)
		}
	case agent.Release:
		p.c.release(op.Hold, op.Status, plain)
	case agent.Announce:
		p.c.put(cluster.KeyStatus, string(op.Status), op.Condition, plain)
	case agent.PutInitialize:
		p.c.put(cluster.KeyInitialize, op.Sysid, op.Condition, plain)
	case agent.PutConfig:
		p.c.put(cluster.KeyConfig, string(cluster.Compact(op.Doc)), op.Condition, plain)
	case agent.PublishCluster:
		p.publishCluster(op, &end, done)
	default:
		panic(fmt.Sprintf("no such operation: %T", op))
	}
}

// publishCluster does what node.publishCluster does.
func (p *agentProc) publishCluster(op agent.PublishCluster, end *agent.OperationEnded, done func(dcs.Grant, error)) {
	fail := func(err error) { done(dcs.Grant{}, err) }
	p.c.put(cluster.KeyInitialize, op.Sysid, op.Condition, func(err error) {
		if err != nil {
			if !dcs.Refused(err) || p.m.w.store.keys[cluster.KeyInitialize].value != op.Sysid {
				fail(err)
				return
			}
		}
		p.c.put(cluster.KeyConfig, string(cluster.Compact(op.Config)), dcs.Any(), func(err error) {
			if err != nil {
				fail(err)
				return
			}
			end.Sent = p.m.boottime()
			p.c.acquire(func(g dcs.Grant, err error) {
				if err == nil {
					p.m.journal = ""
				}
				done(g, err)
			})
		})
	})
}

// compare does what the reference's divergence check does (postgresql.md 10.3).
func (p *agentProc) compare(e agent.Compare) {
	m, w := p.m, p.m.w
	end := agent.Compared{ID: e.ID}
	from := w.machine(e.Leader.Name)
	p.later(5*time.Millisecond+w.upTo(50*time.Millisecond), func() {
		defer func() { p.step(end) }()
		local, tli, recovery, known := m.localPosition()
		switch {
		case !known:
			end.Why = "the local position is not known yet"
			return
		case from == nil || !from.up || from.frozen || w.cut(m.idx, from.idx) || w.cut(from.idx, m.idx) || from.pg == nil || !from.pg.ready:
			end.Why = "the leader does not answer"
			return
		case from.pg.recovery:
			end.Why = "the leader is in recovery"
			return
		}
		end.Concluded = true
		if recovery {
			end.Replayed = local
		}
		leader := from.disk.at
		switch {
		case tli > leader.br.tli:
			end.Diverged = true
			return
		case tli == leader.br.tli:
			return
		}
		end.Diverged = true
		for _, l := range leader.history() {
			if l.Timeline != tli {
				continue
			}
			switch {
			case recovery:
				end.Diverged = local > l.LSN
			case m.disk.ck >= l.LSN:
			default:
				end.Diverged = m.disk.ckEnd != l.LSN
			}
		}
	})
}

// localPosition is where the local data ends, as the divergence check sees it.
func (m *machine) localPosition() (lsn cluster.LSN, tli cluster.Timeline, recovery, known bool) {
	d := &m.disk
	switch {
	case !d.present:
		return 0, 0, false, false
	case m.pg != nil && m.pg.ready && m.pg.recovery:
		return m.pg.replayed.lsn, m.pg.replayed.br.tli, true, true
	case m.pg != nil && m.pg.ready:
		return m.pg.replayed.lsn, d.at.br.tli, false, true
	case m.pg != nil:
		return 0, 0, false, false
	case d.control == shutDownInRecovery || d.control == inArchiveRecovery:
		return d.at.lsn, d.at.br.tli, true, true
	case d.control == shutDown:
		return d.ck, d.at.br.tli, false, true
	}
	return 0, 0, false, false
}

func (p *agentProc) checkpoint() {
	m, w := p.m, p.m.w
	s := m.pg
	p.later(50*time.Millisecond+w.upTo(4*time.Second), func() {
		if m.pg != s || s == nil || s.recovery || s.closed {
			p.step(agent.Checkpointed{Err: "the server ended"})
			return
		}
		m.disk.controlTLI = m.disk.at.br.tli
		p.step(agent.Checkpointed{})
	})
}
