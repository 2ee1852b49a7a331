package agent

import (
	"slices"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
	"tamada/internal/ha/lease"
)

// Config is what an agent is told at its start.
type Config struct {
	Name     string
	Local    ha.Local
	Identity ha.Identity
	// Initial is the dynamic configuration to begin with: the cached one, or that of
	// `bootstrap.dcs`. It is what a new cluster gets.
	Initial *cluster.Object
	// Unsupported names what is wrong with a dynamic configuration, or what it asks
	// for and this version cannot do; such a document is not applied.
	Unsupported func(*cluster.Object) []string
	// Bootstrapping is the version of the initialize key that the previous agent of
	// this node made, if it was interrupted before the new cluster was published and
	// the key is still exactly that one; 0 otherwise.
	Bootstrapping cluster.Version
	// Promise is what an earlier agent of this node promised to a primary that had
	// lost the store; it holds until its end.
	Promise *ha.Promise
	// Guarded: a guardian watches this agent.
	Guarded bool
	// Broken: the data folder was left half-rewound by an earlier agent.
	Broken bool
	// Decide is the decision core; nil for ha.Decide. The simulation puts broken
	// ones in its place, to show that it would notice.
	Decide func(*ha.View) ha.Outcome
}

// Agent is the state of one node's loop. One goroutine owns it.
type Agent struct {
	cfg      Config
	settings cluster.Settings
	dynamic  *cluster.Object // the document that settings come from
	dynamicV cluster.Version
	// dynamicProblem tells why the store's document is not in force, "" if it is.
	dynamicProblem string

	now  ha.Instant
	wall time.Time
	dice uint32
	out  []Effect

	store storeState
	inst  ha.Instance
	lease lease.Lease
	hold  dcs.Hold
	lost  lease.Reason
	armed bool
	peers ha.Peers
	div   ha.Divergence
	boot  ha.Bootstrap
	// initialized is the version of the initialize key that this node made.
	initialized cluster.Version

	task          *ha.Task
	taskID        uint64
	taskDo        ha.Decision
	taskCancelled bool         // the running task was asked to end early
	afterCancel   ha.Decision  // what follows the end of a cancelled task
	roleBefore    cluster.Role // when the task began
	last          *ha.Result
	op            Operation
	opRuns        uint64           // id of op
	opView        *cluster.Cluster // what op was decided on
	refused       *cluster.Cluster // what the last operation was decided on that the store refused
	refusedUntil  ha.Instant       // until when a newer view is waited for
	opID          uint64           // last number given to anything
	comparer      uint64           // id of the comparison under way, 0 for none

	observing    uint64 // id of the observation under way, 0 for none
	observeAgain bool
	observedAt   ha.Instant // end of the last observation
	stale        bool       // the facts are older than the last change of the instance
	cycle        bool       // the observation under way belongs to a cycle
	cycleDone    bool       // a cycle's observation has come: decide, log, do the duties

	loopAt         ha.Instant // next cycle
	again          ha.Instant // when the last decision wants to be asked anew
	raceSince      ha.Instant
	gaveUpAt       ha.Instant      // when the key was given up because a promotion failed
	gaveUpByScript bool            // the script before the promotion had said no then
	releaseDue     bool            // a demotion has stopped PostgreSQL: the key is to be given up
	freed          cluster.Version // of the key that we gave up last
	downed         ha.Stopped      // the end of the demotion that the key is to be released for
	requestSeen    cluster.Version // of the request to move the leader
	requestSince   ha.Instant      // when that was seen first
	requests       ha.Requests
	asking         uint64 // id of the request that the running task answers, 0 for none
	restarted      uint64 // id of the request for a restart that is done and was not seen yet, 0 for none
	paused         bool   // maintenance mode is on
	// tookKey: this process has made the leader key itself, or may have: the answer
	// was lost.
	tookKey bool
	// everStarted: a callback for a start, stop or change of role was issued by this
	// process.
	everStarted    bool
	checkpointing  bool   // a CHECKPOINT after a promotion is under way
	checkpointSeen uint64 // id of the last look that was begun before one ended
	promoted       bool   // a promotion was begun, and on_role_change has not told of it yet
	phases         phases
	demotedOffline bool // demoted because the store was away
	stream         stream
	suspect        bool // the stream from the primary has ended
	suspectAt      ha.Instant
	shutdown       bool
	ended          bool

	guard    guard
	device   device
	failsafe failsafe
	health   ha.Health
	crashes  []ha.Instant // of this primary, lately
	floors   cluster.Floors
	adjusted adjusted
	duties   duties
	recorder recorder
	line     string
	noteText string
}

// storeState is what is known of the store.
type storeState struct {
	view     *cluster.Cluster
	healthy  *cluster.Cluster
	watchErr string
	touchErr string
	renewErr string
	unlocked ha.Instant
	empty    ha.Instant      // when the empty initialize key was first seen, 0 for none
	emptyV   cluster.Version // its version
	lastSeen time.Time       // wall clock of the last proof that the store answers
}

// New makes an agent that has seen nothing yet.
func New(cfg Config) *Agent {
	a := &Agent{cfg: cfg, dynamic: cfg.Initial,
		peers: ha.Peers{Results: map[string]ha.PeerResult{}, Pending: map[string]ha.Instant{}}}
	if a.cfg.Decide == nil {
		a.cfg.Decide = ha.Decide
	}
	a.boot.Mine, a.initialized = cfg.Bootstrapping > 0, cfg.Bootstrapping
	// Nobody knows what a guardian or a watchdog device still enforces from before:
	// it hears once that there is nothing to guard, when that is so.
	a.armed = cfg.Guarded
	a.div.Broken = cfg.Broken
	settings, _, err := cluster.ParseSettings(cfg.Initial)
	if err != nil {
		settings, _, _ = cluster.ParseSettings(nil)
	}
	a.floors = cluster.CommonFloors
	a.useSettings(settings)
	a.failsafe.promise = cfg.Promise
	return a
}

// Step takes one event that happened at now and returns what to do. dice is a
// random number, for choices that must not be alike on all nodes.
func (a *Agent) Step(now ha.Instant, wall time.Time, dice uint32, ev Event) []Effect {
	a.now, a.wall, a.dice, a.out = now, wall, dice, nil
	if a.ended {
		return nil
	}
	// First what the time says: whatever the event is, it must not be taken under a
	// lease that ended while the loop stood still.
	a.leaseEvent(lease.Tick{})
	a.handle(ev)
	a.leaseEvent(lease.Tick{})
	a.timers()
	a.decide()
	a.doDuties()
	a.watchGuardian(ev)
	return a.out
}

// WakeAt is when a [Timer] event is wanted at the latest; zero for not at all.
func (a *Agent) WakeAt() ha.Instant {
	if a.ended {
		return 0
	}
	return earliest(a.workAt(), a.guardianWake(), a.signWake())
}

// workAt is when the agent has work of its own to do, without what it does for
// the guardian.
func (a *Agent) workAt() ha.Instant {
	again := a.again
	if a.waitsForFacts() {
		again = 0 // their arrival wakes us
	}
	return earliest(a.loopAt, a.lease.WakeAt(), again, a.suspectWake(), a.streamWake(), a.touchWake())
}

// earliest of some moments; zero is none.
func earliest(list ...ha.Instant) (at ha.Instant) {
	for _, t := range list {
		if t > 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at
}

func (a *Agent) emit(e Effect) { a.out = append(a.out, e) }

func (a *Agent) log(l ha.Level, text string) { a.emit(Log{l, text}) }

// handle takes over what an event says.
func (a *Agent) handle(ev Event) {
	switch ev := ev.(type) {
	case Timer:
	case Woken:
		a.loopAt = min(a.loopAt, a.now)
	case ClusterSeen:
		a.clusterSeen(ev.Cluster)
	case StoreFailed:
		if a.store.watchErr == "" {
			a.log(ha.Error, "Error communicating with DCS: "+ev.Err)
			a.happened(ha.RecordStore, "failed", "watch: "+ev.Err)
		}
		a.store.watchErr = ev.Err
	case Observed:
		a.observed(ev)
	case PostmasterExited:
		if a.inst.Running && a.task == nil {
			a.inst.Running, a.inst.Answers, a.stale = false, false, true
			if a.inst.State != cluster.StateStopped { // not by our own task, which has just ended
				a.happened(ha.RecordPostgres, "exited", "")
			}
			a.crashed() // the look only has to find out how
			a.observe(false)
		}
	case ReceiverEnded:
		a.hurry(hurryAfterEnd)
		if !a.inst.Primary() && a.task == nil {
			if !a.suspect {
				a.happened(ha.RecordStream, "ended", "")
			}
			a.suspect, a.suspectAt = true, a.now
			a.observe(false)
		}
	case PeerAnswered:
		a.peerAnswered(ev)
	case TaskProgress:
		a.taskProgress(ev)
	case TaskEnded:
		a.taskEnded(ev)
	case OperationEnded:
		a.operationEnded(ev)
	case Compared:
		a.compared(ev)
	case Touched:
		a.touched(ev.Err)
	case Renewed:
		a.renewed(ev)
	case Acked:
		a.guard.answered(a.now)
		a.deviceSeen(ev.DeviceFailed)
		a.leaseEvent(lease.Acked{Seq: ev.Seq})
		if a.lease.State() == lease.Held && a.phases.taking() {
			a.reached(partArmed)
		}
	case GuardianAnswered:
		a.guard.answered(a.now)
	case GuardianLost:
		a.guardianLost()
	case GuardianBack:
		a.guardianBack()
	case ClockJumped:
		a.happened(ha.RecordLease, "clock jumped", "")
		a.leaseEvent(lease.ClockJumped{})
	case Checkpointed:
		a.checkpointed(ev)
	case SlotsDone:
		a.slotsDone(ev)
	case Published:
		a.published(ev)
	case HistoryRead:
		a.historyRead(ev)
	case FailsafeAnswered:
		a.failsafeAnswered(ev)
	case FailsafeAsked:
		a.failsafeAsked(ev)
	case HealthSeen:
		a.healthSeen(ev)
	case RestartRequested:
		a.restartRequested(ev)
	case ReinitRequested:
		a.reinitRequested(ev)
	case LocalChanged:
		a.cfg.Local, a.cfg.Identity = ev.Local, ev.Identity
		a.loopAt = a.now
	case ShutdownRequested:
		a.shutdown = true
		a.happened(ha.RecordAgent, "asked to end", "")
	case Inherited:
		a.hold, a.armed = ev.Hold, true
		a.leaseEvent(ev.Lease)
		a.happened(ha.RecordLease, "inherited", "")
	}
}

// timers begins a cycle when it is time, and looks at the instance when the
// lease waits for a permit.
func (a *Agent) timers() {
	if a.now >= a.loopAt {
		a.loopAt = a.now + a.settings.LoopWait
		a.leaseEvent(lease.Cycle{})
		a.observe(true)
	}
	if a.lease.NeedsPermit(a.now) {
		a.observe(false)
	}
	a.retryStream()
	if at := a.suspectWake(); at > 0 && a.now >= at {
		a.askSuspects()
	}
}

// suspectWake is when the other members are to be asked next while the stream
// from the primary is broken and the leader key still stands. So their answers
// are at hand when it expires, and a host that is dead costs no time-out then.
func (a *Agent) suspectWake() ha.Instant {
	if !a.suspect || a.store.view == nil || a.store.view.LeaderName() == "" || a.store.view.LeaderName() == a.cfg.Name {
		return 0
	}
	return max(a.suspectAt, 1)
}

const (
	askTimeout = 2 * time.Second // reference ha.md 9.3: slow is unhealthy
	askEvery   = time.Second     // while the primary is suspected
)

func (a *Agent) askSuspects() {
	a.suspectAt = a.now + askEvery
	v := a.view()
	a.ask(rivals(v))
	a.observe(false)
}

// ask sends a question to members that do not owe an answer to one just asked.
func (a *Agent) ask(members []cluster.Member) {
	var list []cluster.Member
	for _, m := range members {
		a.peers.Pending[m.Name] = a.now
		list = append(list, m)
	}
	if len(list) > 0 {
		a.emit(AskPeers{Members: list, Timeout: askTimeout})
	}
}

func (a *Agent) peerAnswered(ev PeerAnswered) {
	if r, ok := a.peers.Results[ev.Name]; !ok || r.Asked <= ev.Asked {
		a.peers.Results[ev.Name] = ha.PeerResult{Asked: ev.Asked, Answered: a.now, Answer: ev.Answer}
	}
	if at, ok := a.peers.Pending[ev.Name]; ok && at <= ev.Asked {
		delete(a.peers.Pending, ev.Name)
	}
}

// view is the picture for one decision.
func (a *Agent) view() *ha.View {
	v := &ha.View{Now: a.now, Wall: a.wall, Me: a.cfg.Name, Local: a.cfg.Local, Settings: a.settings, Instance: a.inst,
		Lease: ha.Lease{State: a.lease.State(), Deadline: a.lease.Deadline(), KeyGone: a.lease.KeyGone(), Lost: a.lost, Newer: a.newerKey()},
		Peers: a.peers, Task: a.task, Last: a.last, Bootstrap: a.boot, Shutdown: a.shutdown, Divergence: a.div,
		Requests: a.requests, GaveUpAt: a.gaveUpAt, GaveUpByScript: a.gaveUpByScript, RaceSince: a.raceSince, ReleaseDue: a.releaseDue, Stopped: a.downed, RequestSince: a.requestSince, DemotedOffline: a.demotedOffline, Dice: a.dice}
	v.DCS = ha.DCS{Cluster: a.store.view, Healthy: a.store.healthy, UnlockedAt: a.store.unlocked, BootstrapSince: a.store.empty}
	v.Health, v.Crashes = a.health, a.recentCrashes()
	v.Watchdog = a.watchdogView()
	a.addFailsafe(v)
	v.DCS.Error = firstOf(a.store.watchErr, a.store.touchErr)
	if v.DCS.Error == "" && a.lease.State() != lease.None {
		v.DCS.Error = a.store.renewErr // of a lease that has ended it says nothing any more
	}
	v.DCS.Reachable = v.DCS.Error == "" && a.store.view != nil
	a.keepPromise(v)
	return v
}

func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return texts[i]
}
