//go:build linux

package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/ledger"
	"tamada/internal/logging"
	"tamada/internal/postgres"
	"tamada/internal/rest"
	"tamada/internal/rest/peer"
	"tamada/internal/watchdog"
)

const (
	killTimeout = 10 * time.Second // for a process that was sent SIGKILL
	// clockJump is how far the wall clock may move against BOOTTIME before the
	// lease is distrusted.
	clockJump = time.Second
)

// Options are what a node is started with.
type Options struct {
	ConfigPath string
	Config     *config.Config
	Log        *logging.Log
}

// node is one running agent with everything around it.
type node struct {
	path      string
	environ   []string // as it was at the start
	logs      *logging.Log
	log       *slog.Logger
	decisions *slog.Logger // the agent's own lines, patroni.ha
	agentInfo atomic.Pointer[cluster.AgentInfo]
	ctx       context.Context // ends with the loop

	cfg     atomic.Pointer[config.Config]
	dynamic atomic.Pointer[cluster.Object] // the document in force

	pg       *postgres.Instance
	store    dcs.Store
	guard    *guardian.Client  // nil without a guardian
	manager  *guardian.Manager // of the service
	dog      *watchdog.Watchdog
	guarded  *watchdog.Guarded // without a guardian: the deadline in force; belongs to the loop
	peers    atomic.Pointer[peer.Client]
	rest     *rest.Server
	listener net.Listener // of the REST API; changed by the loop only
	meters   *meters
	journal  *Journal
	promise  struct {
		sync.Mutex        // guards the file of the promise, and newest
		newest     uint64 // request of the last promise that was written down
	}
	ledger *ledger.Writer
	alarm  *guardian.Alarm

	agent   *agent.Agent // owned by the loop
	events  chan agent.Event
	looks   chan observedNow
	fatal   chan error    // ends the loop
	looking chan struct{} // the loop looks at the instance
	reloads chan struct{} // SIGHUP by request

	// The following belong to the loop.
	snapshot    board         // written by the loop, read by all
	position    atomic.Uint64 // LSN of the last observation
	generation  uint64
	clusterAt   time.Duration
	nameChecked bool                            // belongs to watchStore
	seen        atomic.Pointer[cluster.Cluster] // newest view of the store
	handover    bool                            // this agent ends for its successor
	status      string                          // last line for the service manager
	reloading   sync.Mutex                      // one writer of the configuration files at a time
	problems    problems
	corrected   []string        // values of the dynamic configuration that were replaced by defaults, as it was said last
	shortage    string          // of room for the watchdog device, as it was said last
	cached      *cluster.Object // document last kept beside the data; guarded by reloading

	task     taskSlot
	requests requests
	reading  chan struct{} // taken by those who read the ledger
	gate     requestGate
	watch    watcher
	facts    factCache
	heard    heard

	slotsMu sync.Mutex // one plan for slots at a time

	exit    *agent.Exit
	offset  time.Duration // wall clock less BOOTTIME, at the last event
	started bool
}

// send hands an event to the loop; after the loop has ended it is dropped.
func (n *node) send(ev agent.Event) {
	select {
	case n.events <- ev:
	case <-n.ctx.Done():
	}
}

// loop is the one goroutine that owns the agent.
func (n *node) loop(signals <-chan os.Signal) agent.Exit {
	var replies <-chan guardian.Reply
	if n.guard != nil {
		replies = n.guard.Replies
	}
	n.step(agent.Timer{})
	for n.exit == nil {
		n.setAlarm()
		select {
		case ev := <-n.events:
			n.step(ev)
		case o := <-n.looks:
			n.watchProcesses(o.seen)
			n.step(o.Observed)
		case <-n.alarm.C:
			n.alarm.Fired()
			n.tendDevice()
			n.step(agent.Timer{})
		case r := <-replies:
			n.guardianSaid(r)
		case s := <-signals:
			n.signalled(s)
		case <-n.reloads:
			n.reload()
		case <-n.fatal:
			return agent.Exit{Code: 1, LeavePostgres: true}
		}
	}
	return *n.exit
}

// setAlarm wakes the loop when the agent or the watchdog device wants it.
func (n *node) setAlarm() {
	at := n.agent.WakeAt()
	if t := n.dog.WakeAt(); t > 0 && (at == 0 || t < at) {
		at = t
	}
	n.alarm.Set(at)
}

// wake asks for a cycle now; a loop that has much to do will make one anyway.
func (n *node) wake() {
	select {
	case n.events <- agent.Woken{}:
	default:
	}
}

// reloadSoon asks the loop to read the configuration again.
func (n *node) reloadSoon() {
	select {
	case n.reloads <- struct{}{}:
	default:
	}
}

func notifySignals() chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return c
}

func (n *node) signalled(s os.Signal) {
	if s == syscall.SIGHUP {
		n.reload()
		return
	}
	n.notify(daemon.SdNotifyStopping)
	n.log.Info("asked to end", "signal", s.String())
	n.step(agent.ShutdownRequested{})
}

// step feeds one event and executes the effects.
func (n *node) step(ev agent.Event) {
	wall := time.Now()
	now := guardian.Now()
	offset := time.Duration(wall.UnixNano()) - now
	if n.started && (offset-n.offset).Abs() > clockJump {
		n.log.Warn("the wall clock jumped against the time since boot; the lease is proved anew", "by", (offset - n.offset).String())
		n.take(now, n.agent.Step(now, wall, rand.Uint32(), agent.ClockJumped{}))
	}
	n.offset, n.started = offset, true
	n.fenceSeen(ev)
	n.take(now, n.agent.Step(now, wall, rand.Uint32(), ev))
	n.meters.loop.Observe(time.Since(wall).Seconds())
}

// take executes the effects of a step and shows what the agent is now. Answers
// come last: who has got one and asks at once for the state must see what it told.
func (n *node) take(now ha.Instant, effects []agent.Effect) {
	n.execute(effects)
	n.publishSnapshot(now)
	for _, e := range effects {
		if e, ok := e.(agent.Answer); ok {
			n.requests.end(e)
		}
	}
}

func (n *node) execute(effects []agent.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case agent.Log:
			n.logLine(e)
		case agent.Exit:
			n.exit = &e
		case agent.ArmGuardian:
			n.arm(e)
		case agent.DisarmGuardian:
			n.disarm()
		case agent.Alive:
			n.sign(e)
		case agent.Works:
			n.works()
		case agent.ReplaceGuardian:
			go n.replaceGuardian(e.Kill)
		case agent.StartTask:
			n.meters.begins(e)
			n.startTask(e)
		case agent.StopTask:
			n.task.stop(e.ID)
		case agent.ApplyConfig:
			n.applyConfig(e)
		case agent.Observe:
			n.looksNow()
			go n.observe(e)
		case agent.AskPeers:
			n.askPeers(e)
		case agent.Operate:
			go n.operate(e)
		case agent.Compare:
			go n.compare(e)
		case agent.ResumeReplay:
			go n.resumeReplay()
		case agent.RetryStream:
			go n.retryStream()
		case agent.Touch:
			go n.touch(e)
		case agent.RenewLease:
			go n.renew(e)
		case agent.Publish:
			go n.publish(e)
		case agent.ReadHistory:
			go n.readHistory(e)
		case agent.ArrangeSlots:
			go n.arrangeSlots(e)
		case agent.Checkpoint:
			go n.checkpoint()
		case agent.AskFailsafe:
			go n.askFailsafe(e)
		case agent.KeepPromise:
			go n.keepPromise(e)
		case agent.Callback:
			n.pg.RunCallback(e.Action, e.Role)
		case agent.Record:
			n.record(e.Record)
		}
	}
}

var levels = map[ha.Level]slog.Level{ha.Debug: slog.LevelDebug, ha.Info: slog.LevelInfo, ha.Warning: slog.LevelWarn,
	ha.Error: slog.LevelError, ha.Critical: logging.LevelCritical}

func (n *node) logLine(e agent.Log) { n.decisions.Log(n.ctx, levels[e.Level], e.Text) }
