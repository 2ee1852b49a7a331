package sim

import (
	"slices"
	"strings"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/slots"
)

// changesFolder are the tasks that the journal of the node knows.
func changesFolder(k ha.TaskKind) bool {
	switch k {
	case ha.TaskBootstrap, ha.TaskPostBootstrap, ha.TaskClone, ha.TaskRewind, ha.TaskCrashRecovery:
		return true // a reinitialization does later, when it begins to remove
	}
	return false
}

// startTask carries out a long action, as package node does.
func (p *agentProc) startTask(e agent.StartTask) {
	m, w := p.m, p.m.w
	t := &task{id: e.ID, kind: e.Kind}
	p.task = t
	w.logf(m.name, "task: %s", e.Kind)
	if changesFolder(e.Kind) {
		m.journal, m.initialized = e.Kind, e.Initialize
	}
	end := func(err string, x agent.TaskEnded) {
		if t.ended {
			return
		}
		t.ended = true
		x.ID, x.Error = e.ID, err
		if p.task == t {
			p.task = nil
		}
		w.logf(m.name, "task ended: %s %s", e.Kind, err)
		p.post(func() { p.step(x) })
	}
	ok := func() { end("", agent.TaskEnded{}) }
	fail := func(err string) { end(err, agent.TaskEnded{}) }
	p.later(w.upTo(5*time.Millisecond), func() {
		if t.cancelled {
			p.clear(e.Kind)
			fail("cancelled")
			return
		}
		switch d := e.Do.(type) {
		case ha.BootstrapCluster:
			p.bootstrap(ok, fail)
		case ha.RunPostBootstrap:
			p.later(100*time.Millisecond+w.upTo(time.Second), func() {
				if m.pg == nil || !m.pg.ready {
					fail("the server is gone")
					return
				}
				ok()
			})
		case ha.CancelBootstrap:
			m.stop(false, nil, nil, func() {
				m.disk, m.journal = disk{}, ""
				ok()
			})
		case ha.Clone:
			p.clone(t, d.From.Name, ok, fail)
		case ha.Reinitialize:
			p.reinitialize(t, d, ok, fail, end)
		case ha.StartPrimary:
			p.startServer(t, true, "", ok, fail)
		case ha.StartReplica:
			source := ""
			if d.Source != nil {
				source = d.Source.Name
			}
			p.startServer(t, false, source, ok, fail)
		case ha.CrashRecover:
			p.crashRecover(t, ok, fail)
		case ha.Rewind:
			p.rewind(t, d.From.Name, ok, fail, end)
		case ha.Promote:
			p.promote(t, d.Timeline, ok, fail)
		case ha.ResumePrimary:
			m.stop(true, func() {}, func(_, _ cluster.LSN) {}, func() {
				if t.cancelled || p.dead {
					fail("cancelled")
					return
				}
				p.startServer(t, true, "", ok, fail)
			})
		case ha.Follow:
			p.follow(t, d, ok, fail)
		case ha.Demote:
			p.stopServer(t, d.Mode, end)
		case ha.StopPostgres:
			p.stopServer(t, ha.DemoteGraceful, end)
		default:
			fail("no such task")
		}
	})
}

// clear empties the journal after a task that was cancelled before it began.
func (p *agentProc) clear(k ha.TaskKind) {
	if changesFolder(k) && k != ha.TaskBootstrap && k != ha.TaskPostBootstrap && p.m.journal == k {
		p.m.journal = ""
	}
}

// stopTask cancels a task. What it has begun outside of the agent goes on.
func (p *agentProc) stopTask(id uint64) {
	if t := p.task; t != nil && t.id == id {
		t.cancelled = true
	}
}

func (p *agentProc) bootstrap(ok func(), fail func(string)) {
	m, w := p.m, p.m.w
	p.later(time.Second+w.upTo(3*time.Second), func() {
		if m.disk.present {
			fail("the data directory is not empty")
			return
		}
		w.branchID++
		b := &branch{id: w.branchID, tli: timelineOfBootstrap, end: 0x1000000, by: m.name}
		w.clusters++
		m.disk = disk{present: true, whole: true, sysid: sysid(w.clusters), at: place{b, b.end}, control: shutDown}
		m.disk.checkpointed(shutDown, b.end-checkpointSize, b.end)
		m.spawn(true, "")
		m.whenReady(p, func() { ok() }, func() { fail("the new server does not start") })
	})
}

func sysid(n int) string { return "70000000000000" + string(rune('0'+n/10)) + string(rune('0'+n%10)) }

// whenReady waits for the server to accept connections.
func (m *machine) whenReady(p *agentProc, ok, fail func()) {
	s := m.pg
	var look func()
	look = func() {
		switch {
		case m.pg != s || s == nil:
			fail()
		case s.ready:
			ok()
		default:
			p.later(30*time.Millisecond, look)
		}
	}
	look()
}

func (p *agentProc) startServer(t *task, primary bool, source string, ok func(), fail func(string)) {
	m := p.m
	if m.pg != nil {
		fail("the server runs already")
		return
	}
	s := m.spawn(primary, source)
	var look func()
	look = func() {
		switch {
		case t.cancelled:
			fail("cancelled")
		case m.pg != s:
			fail("the server ended while it started")
		case s.ready:
			ok()
		default:
			p.later(30*time.Millisecond, look)
		}
	}
	p.later(30*time.Millisecond, look)
}

// crashRecover is single-user mode: it redoes the WAL and writes a checkpoint at
// its end, beside whatever others may have written on this timeline.
func (p *agentProc) crashRecover(t *task, ok func(), fail func(string)) {
	m, w := p.m, p.m.w
	if m.pg != nil {
		fail("the server runs")
		return
	}
	p.later(300*time.Millisecond+w.upTo(4*time.Second), func() {
		d := &m.disk
		if !d.present || !d.whole || t.cancelled {
			p.clear(t.kind)
			fail("cancelled")
			return
		}
		begin := d.at.lsn
		if b := d.at.br; begin < b.end {
			w.branchID++
			d.at.br = &branch{id: w.branchID, tli: b.tli, parent: b, fork: begin, end: begin, by: m.name, stray: true}
		}
		d.at.lsn += checkpointSize
		d.at.br.end = max(d.at.br.end, d.at.lsn)
		d.checkpointed(shutDown, begin, d.at.lsn)
		m.journal = ""
		ok()
	})
}

// source is a member that answers over the network now, nil when it does not.
func (m *machine) source(name string) *machine {
	w := m.w
	from := w.machine(name)
	if from == nil || !from.up || from.frozen || w.cut(m.idx, from.idx) || w.cut(from.idx, m.idx) || from.pg == nil || !from.pg.ready || from.pg.closed {
		return nil
	}
	return from
}

// clone is a base backup into the empty data folder.
func (p *agentProc) clone(t *task, name string, ok func(), fail func(string)) {
	m, w := p.m, p.m.w
	if m.disk.present {
		fail("the data directory is not empty")
		return
	}
	from := m.source(name)
	if from == nil {
		m.journal = ""
		fail("could not connect to " + name)
		return
	}
	w.Stats.Clones++
	m.disk = disk{present: true, sysid: from.disk.sysid, at: from.disk.at, control: inArchiveRecovery}
	p.later(time.Second+w.upTo(9*time.Second), func() {
		from := m.source(name)
		if from == nil || t.cancelled {
			m.disk = disk{}
			m.journal = ""
			fail("the base backup was interrupted")
			return
		}
		at := from.disk.at
		m.disk = disk{present: true, whole: true, sysid: from.disk.sysid, at: at, control: inArchiveRecovery,
			ck: at.lsn, ckEnd: at.lsn, ckTLI: at.br.tli, controlTLI: at.br.tli, standby: true, source: name}
		m.journal = ""
		ok()
	})
}

// reinitialize replaces the data by a copy, after asking twice whether there is
// somebody to copy from.
func (p *agentProc) reinitialize(t *task, d ha.Reinitialize, ok func(), fail func(string), end func(string, agent.TaskEnded)) {
	m := p.m
	silent := func() bool {
		if m.source(d.From.Name) != nil || m.w.mutant("the source of a copy is not asked") || m.w.mutant("reinitializes without a leader") {
			return false
		}
		end("could not connect to "+d.From.Name+", nothing is removed", agent.TaskEnded{Retry: true})
		return true
	}
	if silent() {
		return
	}
	if w := m.w; w.sourceDies > 0 && !w.calm {
		w.crash(w.machine(d.From.Name), w.sourceDies)
		w.sourceDies = 0
	}
	m.stop(false, nil, nil, func() {
		if p.dead {
			return
		}
		p.post(func() {
			if t.cancelled {
				fail("cancelled")
				return
			}
			if m.pg != nil {
				fail("the server runs")
				return
			}
			if silent() {
				return
			}
			m.journal = t.kind
			m.removeData("reinitialize: " + d.Why)
			p.clone(t, d.From.Name, ok, fail)
		})
	})
}

// removeData deletes the data folder, after asking whether that was right.
func (m *machine) removeData(why string) {
	if m.disk.present && m.disk.whole {
		m.w.checkDeletion(m, why)
	}
	m.w.logf(m.name, "the data directory is removed: %s", why)
	m.disk = disk{}
}

// rewind is pg_rewind from a running primary.
func (p *agentProc) rewind(t *task, name string, ok func(), fail func(string), end func(string, agent.TaskEnded)) {
	m, w := p.m, p.m.w
	m.stop(true, func() {}, func(_, _ cluster.LSN) {}, func() {
		if p.dead {
			return
		}
		p.post(func() {
			from := m.source(name)
			if m.pg != nil || t.cancelled || from == nil || from.pg.recovery && !w.mutant("rewinds the leader") {
				if m.disk.whole {
					m.journal = ""
				}
				end("pg_rewind did not begin", agent.TaskEnded{Broken: !m.disk.whole, Retry: true})
				return
			}
			w.checkRewind(m, from)
			if from.disk.controlTLI == m.disk.controlTLI && m.disk.whole {
				// The source's control file names the target's timeline: nothing to do, it says.
				w.logf(m.name, "pg_rewind: no rewind required")
				m.journal = ""
				ok()
				return
			}
			w.Stats.Rewinds++
			m.disk.whole = false
			p.later(500*time.Millisecond+w.upTo(5*time.Second), func() {
				from := m.source(name)
				if from == nil || t.cancelled || from.pg.recovery {
					end("pg_rewind was interrupted", agent.TaskEnded{Broken: true})
					return
				}
				d := &m.disk
				d.at, d.control, d.whole, d.standby = from.disk.at, inArchiveRecovery, true, true
				d.controlTLI, d.ckTLI = d.at.br.tli, d.at.br.tli
				m.journal = ""
				ok()
			})
		})
	})
}

func (p *agentProc) promote(t *task, least cluster.Timeline, ok func(), fail func(string)) {
	m, w := p.m, p.m.w
	p.later(w.upTo(20*time.Millisecond), func() {
		if t.cancelled {
			fail("cancelled")
			return
		}
		p.step(agent.TaskProgress{ID: t.id, Phase: ha.PhaseCommitted})
		m.beginPromotion(least, func(err string) {
			if err != "" {
				fail(err)
				return
			}
			ok()
		})
	})
}

func (p *agentProc) follow(t *task, d ha.Follow, ok func(), fail func(string)) {
	m := p.m
	if !d.Restart {
		if m.pg == nil {
			fail("the server does not run")
			return
		}
		m.pg.source, m.disk.source = d.Source.Name, d.Source.Name
		ok()
		return
	}
	m.stop(true, func() {}, func(_, _ cluster.LSN) {}, func() {
		if p.dead {
			return
		}
		p.post(func() {
			if t.cancelled {
				fail("cancelled")
				return
			}
			p.startServer(t, false, d.Source.Name, ok, fail)
		})
	})
}

// stopServer stops the server and reports the phases on the way.
func (p *agentProc) stopServer(t *task, mode ha.DemoteMode, end func(string, agent.TaskEnded)) {
	m := p.m
	fast := mode == ha.DemoteOffline || mode == ha.DemoteGraceful
	safe := func() { p.post(func() { p.step(agent.TaskProgress{ID: t.id, Phase: ha.PhaseSafe}) }) }
	ck := func(begin, last cluster.LSN) {
		p.post(func() {
			p.step(agent.TaskProgress{ID: t.id, Phase: ha.PhaseCheckpointed, Checkpoint: begin, End: begin})
		})
	}
	m.stop(fast, safe, ck, func() {
		x := agent.TaskEnded{}
		d := &m.disk
		if mode == ha.DemoteOffline && d.control == shutDown && m.pg == nil {
			x.StoppedClean = &ha.Position{Timeline: d.ckTLI, LSN: d.ckEnd}
		}
		if m.pg != nil {
			end("the server still runs", x)
			return
		}
		end("", x)
	})
}

// arrangeSlots carries out a plan for slots.
func (m *machine) arrangeSlots(plan slots.Plan) string {
	s := m.pg
	if s == nil || !s.ready || s.closed {
		return "the server does not answer"
	}
	d := &m.disk
	find := func(name string) int {
		return slices.IndexFunc(d.slots, func(x slot) bool { return x.name == name })
	}
	for _, name := range plan.Create {
		if find(name) < 0 {
			d.slots = append(d.slots, slot{name, d.at.lsn})
		}
	}
	for _, name := range plan.Drop {
		if i := find(name); i >= 0 && !m.slotFact(d.slots[i]).Active {
			d.slots = slices.Delete(d.slots, i, i+1)
		}
	}
	for _, a := range plan.Advance {
		if i := find(a.Name); i >= 0 {
			d.slots[i].restart = max(d.slots[i].restart, min(a.LSN, d.at.lsn))
		}
	}
	slices.SortFunc(d.slots, func(a, b slot) int { return strings.Compare(a.name, b.name) })
	return ""
}

func (m *machine) slotFact(x slot) slots.Slot {
	f := slots.Slot{Name: x.name, Physical: true, RestartLSN: x.restart}
	for _, o := range m.w.machines {
		f.Active = f.Active || o.pg != nil && o.pg.stream == m && cluster.SlotName(o.name) == x.name
	}
	return f
}
