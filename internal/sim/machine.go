package sim

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// machine is one node's computer: its clock, its disk, and what runs on it.
type machine struct {
	w    *World
	idx  int
	name string

	up       bool
	frozen   bool
	backlog  []func()      // what would have happened while frozen
	bootedAt time.Duration // true time
	rate     float64       // of the clock, against true time
	wallOff  time.Duration // of the wall clock, against true time
	frozeAt  time.Duration
	thawedAt time.Duration
	stood    time.Duration // how long it was frozen since its boot
	boots    int

	disk disk
	// promise lies in the state folder; device is its watchdog.
	promise *promise
	device  device
	pg      *server // nil: no postmaster
	guard   *guardProc
	agent   *agentProc

	slowUntil   time.Duration // replication is slow
	heldUntil   time.Duration // replay stands still
	slowAnswers time.Duration // answers of the store are slow
	slowStart   time.Duration // what the next crash recovery takes
	slowStop    time.Duration // what the next shutdown checkpoint takes
	// unguarded: a guardian died that knew a deadline; what runs since then is
	// guarded by nobody until the next deadline is told.
	unguarded   bool
	unguardedAt time.Duration
	// deadline is what an agent without a guardian knows, leaseEnd the end of the
	// last lease that a guardian acknowledged; both on this machine's clock.
	deadline, leaseEnd ha.Instant
	journal            ha.TaskKind     // the task that is changing the data folder
	initialized        cluster.Version // of the initialize key that it is for, if it is a bootstrap
	soundAt            time.Duration   // last fault that touched it, or the store
	hurtAt             time.Duration   // last fault that touched it and not the store
	leaseAt            time.Duration   // last one that could cost it a lease
}

func nodeName(i int) string { return "n" + string(rune('1'+i)) }

// boottime is the machine's CLOCK_BOOTTIME. It goes on while the machine is
// frozen (suspended).
func (m *machine) boottime() ha.Instant {
	return time.Duration(float64(m.w.now-m.bootedAt) * m.rate)
}

// trueTime is when the machine's clock shows a moment.
func (m *machine) trueTime(at ha.Instant) time.Duration {
	return m.bootedAt + m.truly(at)
}

// truly is how long a time of this machine's clock takes.
func (m *machine) truly(local time.Duration) time.Duration {
	return time.Duration(float64(local) / m.rate)
}

func (m *machine) wall() time.Time {
	return time.Unix(1893456000, 0).UTC().Add(m.w.now + m.wallOff)
}

// post runs fn on this machine now, or when it thaws; not at all when it was
// switched off since.
func (m *machine) post(fn func()) {
	if !m.up {
		return
	}
	if m.frozen {
		m.backlog = append(m.backlog, fn)
		return
	}
	fn()
}

// later runs fn on this machine after a while, unless it is switched off.
func (m *machine) later(d time.Duration, fn func()) {
	boots := m.boots
	m.w.after(d, func() {
		if m.boots == boots {
			m.post(fn)
		}
	})
}

func (m *machine) boot() {
	m.up, m.frozen, m.backlog = true, false, nil
	m.boots++
	m.bootedAt, m.stood = m.w.now-m.w.upTo(20*time.Second), 0
	m.w.logf(m.name, "the machine boots")
	m.later(time.Second+m.w.upTo(2*time.Second), m.startGuardian)
}

// powerOff ends everything at once.
func (m *machine) powerOff() {
	if !m.up {
		return
	}
	m.w.logf(m.name, "the machine crashes")
	if m.agent != nil {
		m.agent.die()
	}
	if m.guard != nil {
		m.guard.dead = true
	}
	m.serverGone()
	m.guard, m.agent = nil, nil
	m.device.armed, m.deadline, m.leaseEnd = false, 0, 0
	m.up, m.frozen, m.backlog, m.unguarded = false, false, nil, false
	m.boots++
}

func (m *machine) freeze() {
	m.w.logf(m.name, "the machine freezes")
	m.frozen, m.frozeAt = true, m.w.now
}

func (m *machine) thaw() {
	if !m.frozen {
		return
	}
	m.w.logf(m.name, "the machine goes on")
	m.frozen, m.thawedAt = false, m.w.now
	m.stood += time.Duration(float64(m.w.now-m.frozeAt) * m.rate)
	m.device.suspended(m.w.now - m.frozeAt)
	// The guardian's alarm has fired: it is as quick as anything else.
	if m.guard != nil {
		m.guard.tick()
	}
	for len(m.backlog) > 0 && !m.frozen && m.up {
		fn := m.backlog[0]
		m.backlog = m.backlog[1:]
		fn()
	}
}

// writable tells whether a client's write would be accepted now.
func (m *machine) writable() bool {
	return m.up && !m.frozen && m.pg != nil && m.pg.ready && !m.pg.recovery && !m.pg.closed
}

// disk is what survives a crash.
type disk struct {
	present bool
	whole   bool // false: half copied or half rewound
	sysid   string
	at      place  // end of WAL
	control string // state in pg_control
	ck      cluster.LSN
	ckEnd   cluster.LSN
	ckTLI   cluster.Timeline
	standby bool // standby.signal
	source  string
	slots   []slot // sorted by name
	// controlTLI is the timeline in pg_control, which lags behind a promotion.
	controlTLI cluster.Timeline
	promotedAt time.Time
}

type slot struct {
	name    string
	restart cluster.LSN
}

const (
	inProduction        = "in production"
	inArchiveRecovery   = "in archive recovery"
	shutDown            = "shut down"
	shutDownInRecovery  = "shut down in recovery"
	checkpointSize      = 120
	endOfRecoverySize   = 90
	slowChunk           = 1500
	chunk               = 4 << 20
	timelineOfBootstrap = 1
)

// checkpoint notes a checkpoint at the end of the WAL, without a record.
func (d *disk) checkpointed(state string, begin, end cluster.LSN) {
	d.control, d.ck, d.ckEnd, d.ckTLI, d.controlTLI = state, begin, end, d.at.br.tli, d.at.br.tli
}
