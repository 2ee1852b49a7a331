package sim

import (
	"slices"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// server is a running PostgreSQL.
type server struct {
	m        *machine
	ready    bool // accepts connections
	recovery bool
	closed   bool // takes no client any more
	promote  bool // was asked to promote
	source   string
	stream   *machine // whom the receiver is connected to
	streamed time.Duration
	advanced time.Duration // when the position last grew
	seenRecv bool          // the agent knows of the receiver
	readyAt  time.Duration
	replayed place // until where, of what the disk has
}

// spawn starts a server. Whoever starts a half-made folder has made a mistake
// that nothing detects later.
func (m *machine) spawn(primary bool, source string) *server {
	w := m.w
	if !m.disk.present || !m.disk.whole {
		w.violate("half-made folder", "%s starts a data folder that is not whole (%s)", m.name, m.disk.at)
	}
	if m.pg != nil {
		return m.pg
	}
	d := &m.disk
	s := &server{m: m, recovery: true, source: source}
	m.pg = s
	crashed := d.control == inProduction || d.control == inArchiveRecovery || primary && d.control == shutDownInRecovery
	d.standby, d.source = !primary, source
	if !primary && d.control == inProduction {
		d.control = inArchiveRecovery
	}
	w.logf(m.name, "postgres starts, primary=%v source=%s at %s (%s)", primary, source, d.at, d.control)
	t := 100*time.Millisecond + w.upTo(300*time.Millisecond)
	if crashed {
		t += w.upTo(3 * time.Second)
		if w.chance(0.05) {
			t += w.upTo(25 * time.Second)
		}
	}
	if crashed && m.slowStart > 0 {
		t, m.slowStart = m.slowStart, 0
	}
	if !primary {
		d.control = inArchiveRecovery
	}
	m.later(t, func() {
		if m.pg != s || s.closed {
			return
		}
		s.ready, s.replayed, s.readyAt, s.advanced = true, d.at, w.now, w.now
		if primary {
			s.recovery = false
			if crashed {
				m.write(checkpointSize)
			}
			d.checkpointed(inProduction, d.at.lsn, d.at.lsn)
		} else {
			m.later(w.upTo(50*time.Millisecond), s.receive)
		}
		w.logf(m.name, "postgres is ready, recovery=%v at %s", s.recovery, d.at)
	})
	return s
}

// write adds WAL at the end of what this machine has.
func (m *machine) write(n cluster.LSN) {
	d := &m.disk
	b := d.at.br
	if d.at.lsn < b.end {
		m.w.violate("one timeline, one history", "%s writes at %s although that timeline was written until %s", m.name, d.at, b.end)
	}
	if b.stray {
		m.w.violate("one timeline, one history", "%s writes beside the history of timeline %d, at %s", m.name, b.tli, d.at)
	}
	d.at.lsn += n
	b.end = max(b.end, d.at.lsn)
	if m.pg != nil {
		m.pg.advanced = m.w.now
	}
}

// serverGone ends the server without a word, as a crash or SIGQUIT does.
func (m *machine) serverGone() {
	s := m.pg
	if s == nil {
		return
	}
	m.pg = nil
	s.closed = true
	m.w.logf(m.name, "postgres is gone at %s", m.disk.at)
	if p := m.agent; p != nil {
		p.m.later(m.w.upTo(3*time.Millisecond), func() { p.post(func() { p.step(agent.PostmasterExited{}) }) })
	}
	for _, o := range m.w.machines {
		if o.pg != nil && o.pg.stream == m && !m.w.cut(m.idx, o.idx) && m.up {
			o.later(m.w.upTo(3*time.Millisecond), o.receiverEnds)
		}
	}
}

func (m *machine) receiverEnds() {
	s := m.pg
	if s == nil || s.stream == nil {
		return
	}
	s.stream = nil
	if p := m.agent; p != nil && s.seenRecv {
		s.seenRecv = false
		p.post(func() { p.step(agent.ReceiverEnded{}) })
	}
}

// receive is the WAL receiver: it connects, and takes what its source has.
func (s *server) receive() {
	m, w := s.m, s.m.w
	if m.pg != s || !s.recovery || s.closed {
		return
	}
	m.later(20*time.Millisecond+w.upTo(60*time.Millisecond), s.receive)
	s.replay()
	from := w.machine(s.source)
	if from == nil || from == m {
		return
	}
	if w.cut(m.idx, from.idx) || w.cut(from.idx, m.idx) || !from.up || from.frozen {
		// A connection that went silent is given up after wal_receiver_timeout.
		if s.stream != nil && w.now-s.streamed > 20*time.Second {
			m.receiverEnds()
		}
		return
	}
	if s.stream != nil && s.stream != from {
		m.receiverEnds()
		return
	}
	if why := s.refused(from); why != "" {
		if s.stream != nil {
			m.receiverEnds()
		}
		return
	}
	if s.stream == nil {
		w.logf(m.name, "streams from %s: %s -> %s", from.name, m.disk.at, from.disk.at)
		s.stream = from
	}
	s.streamed = w.now
	limit := cluster.LSN(chunk)
	if w.now < m.slowUntil {
		limit = slowChunk
	}
	to, _ := m.disk.at.toward(from.disk.at, limit)
	if to != m.disk.at {
		m.disk.at, s.advanced = to, w.now
		s.replay()
	}
	for i := range from.disk.slots {
		if x := &from.disk.slots[i]; x.name == cluster.SlotName(m.name) {
			x.restart = max(x.restart, to.lsn)
		}
	}
}

// replay is quick, unless it stands still.
func (s *server) replay() {
	if s.m.w.now >= s.m.heldUntil {
		s.replayed = s.m.disk.at
	}
}

// timeline is what the agent tells of a server that answers: of a standby the
// highest that the agent has seen a receiver receive, or the one replayed.
func (m *machine) timeline() cluster.Timeline {
	s, p := m.pg, m.agent
	if !s.recovery {
		return m.disk.at.br.tli
	}
	if p == nil {
		return s.replayed.br.tli
	}
	if p.receivedBy != s {
		p.receivedBy, p.received = s, 0
	}
	if s.stream != nil {
		p.received = max(p.received, m.disk.at.br.tli)
	}
	return max(p.received, s.replayed.br.tli)
}

// refused tells why a source would not serve this standby, "" when it does.
func (s *server) refused(from *machine) string {
	m, w := s.m, s.m.w
	if from.pg == nil || !from.pg.ready {
		return "not running"
	}
	mine, theirs := m.disk.at, from.disk.at
	if from.disk.sysid != m.disk.sysid {
		return "another cluster"
	}
	if s.stream != from && !slices.ContainsFunc(from.disk.slots, func(x slot) bool { return x.name == cluster.SlotName(m.name) }) {
		return "no slot"
	}
	if theirs.contains(mine) {
		return ""
	}
	// PostgreSQL compares the numbers of timelines. Where they are alike although
	// the histories are not, it streams, and the data is garbage from there on.
	at := theirs
	for b := theirs.br; b != nil; b = b.parent {
		if b.tli == mine.br.tli {
			if b != mine.br && mine.lsn <= at.lsn {
				w.violate("one timeline, one history", "%s at %s streams from %s at %s: another history under the same number", m.name, mine, from.name, theirs)
			}
			break
		}
		at.lsn = b.fork
	}
	return "diverged"
}

// beginPromotion is what `pg_ctl promote` asks for.
func (m *machine) beginPromotion(least cluster.Timeline, done func(err string)) {
	w := m.w
	s := m.pg
	if s == nil || !s.ready || s.closed {
		done("the server does not run")
		return
	}
	if !s.recovery {
		done("")
		return
	}
	w.checkPromotion(m)
	published := w.store.status().LSN
	s.promote = true
	m.later(50*time.Millisecond+w.upTo(400*time.Millisecond), func() {
		if m.pg != s || s.closed {
			done("the server ended during the promotion")
			return
		}
		d := &m.disk
		parent := d.at
		tli := max(parent.br.tli+1, least)
		// A machine that was frozen in between may end the promotion in the instant
		// in which it wakes and its guardian fences it, when another leads long
		// since. Its timeline is nobody's then; what it must not be behind is what
		// was published when it was allowed to lead.
		leads := w.store.leader() == m.name
		if leads {
			published = w.store.status().LSN
		}
		w.checkLoss(m, published)
		w.branchID++
		d.at = place{&branch{id: w.branchID, tli: tli, parent: parent.br, fork: parent.lsn, by: m.name, end: parent.lsn}, parent.lsn}
		w.checkTimeline(m, d.at.br)
		w.branches = append(w.branches, d.at.br)
		d.standby, d.control, d.promotedAt = false, inProduction, m.wall()
		s.recovery, s.stream, s.source = false, nil, ""
		m.write(endOfRecoverySize)
		if leads {
			w.line = d.at.br
		}
		w.Stats.Promotions++
		w.logf(m.name, "is promoted: %s", d.at)
		if d := w.dieNext; d > 0 && !w.calm {
			w.dieNext = 0
			w.after(w.upTo(1500*time.Millisecond), func() { w.crash(m, d) })
		}
		done("")
	})
}

// stop stops the server. Fast: clients end, a shutdown checkpoint is written and
// replicated, then the postmaster ends. The callbacks tell how far it is.
func (m *machine) stop(fast bool, safe func(), checkpointed func(begin, end cluster.LSN), done func()) {
	w, s := m.w, m.pg
	if s == nil {
		m.later(5*time.Millisecond, done)
		return
	}
	if !fast {
		m.later(w.upTo(30*time.Millisecond), func() {
			if m.pg == s {
				m.serverGone()
			}
			m.later(5*time.Millisecond, done)
		})
		return
	}
	if s.closed { // somebody stops it already
		m.waitGone(s, done)
		return
	}
	w.logf(m.name, "postgres is asked to stop")
	s.closed = true
	m.later(5*time.Millisecond+w.upTo(100*time.Millisecond), func() {
		if m.pg != s {
			done()
			return
		}
		safe()
		t := 20*time.Millisecond + w.upTo(500*time.Millisecond)
		switch {
		case m.slowStop > 0:
			t, m.slowStop = m.slowStop, 0
		case w.chance(0.05):
			t += w.upTo(20 * time.Second) // a large shutdown checkpoint
		}
		m.later(t, func() { m.shutDown(s, checkpointed, done) })
	})
}

func (m *machine) shutDown(s *server, checkpointed func(begin, end cluster.LSN), done func()) {
	w, d := m.w, &m.disk
	if m.pg != s {
		done()
		return
	}
	begin := d.at.lsn
	if s.recovery || !s.ready {
		d.control = shutDownInRecovery
	} else {
		m.write(checkpointSize)
		d.checkpointed(shutDown, begin, d.at.lsn)
		checkpointed(begin, d.at.lsn)
	}
	// The walsenders deliver the rest before they end.
	m.later(60*time.Millisecond+w.upTo(200*time.Millisecond), func() {
		if m.pg == s {
			m.serverGone()
		}
		done()
	})
}

func (m *machine) waitGone(s *server, done func()) {
	if m.pg != s {
		done()
		return
	}
	m.later(20*time.Millisecond, func() { m.waitGone(s, done) })
}

// facts is one look at the instance.
func (m *machine) facts(source *cluster.Member) agent.Facts {
	d := &m.disk
	f := agent.Facts{Data: ha.DataEmpty, Running: m.pg != nil}
	if !d.present {
		return f
	}
	f.Data, f.Sysid, f.Major, f.RewindCan = ha.DataPresent, d.sysid, 15, true
	s := m.pg
	if s == nil {
		f.StandbyFile = d.standby
		f.Control = &ha.Control{State: d.control, CheckpointLSN: d.ck, CheckpointTLI: d.ckTLI}
		return f
	}
	if !s.ready || s.closed {
		f.Rejecting = true
		return f
	}
	f.Answers, f.InRecovery, f.Timeline, f.LSN, f.ControlTimeline = true, s.recovery, m.timeline(), d.at.lsn, d.controlTLI
	for _, x := range d.slots {
		f.Slots = append(f.Slots, m.slotFact(x))
	}
	if !s.recovery {
		return f
	}
	f.Received, f.Replayed = d.at.lsn, s.replayed.lsn
	if s.stream != nil {
		f.ReplicationState = "streaming"
		s.seenRecv = true
	} else {
		f.Received = 0 // as after a start without a receiver
	}
	if source != nil {
		f.FollowNeeds = ha.FollowNeeds{Source: source.Name, Checked: true}
		if s.source != source.Name {
			f.FollowNeeds.Change = ha.NeedsReload
			if m.w.opts.FollowRestarts {
				f.FollowNeeds.Change = ha.NeedsRestart
			}
		}
	}
	return f
}
