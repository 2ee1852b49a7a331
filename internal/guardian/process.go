//go:build linux

package guardian

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/postgres/proc"
	"tamada/internal/watchdog"
)

// Options are what a guardian is told at its start.
type Options struct {
	Log      *slog.Logger
	StateDir string   // exists, mode 0700
	DataDir  string   // of the instance
	Names    []string // names of the server program besides postgres
	Agent    []string // command of the agent
	Etcd     []string // command of the embedded etcd member; nil for none
	Listen   string   // address of the REST API
}

// process is the running guardian. One goroutine owns it.
type process struct {
	Options
	policy  Policy
	alarm   *Alarm
	dog     *watchdog.Watchdog
	left    *watchdog.Settings // device that the guardian before us left armed
	marked  atomic.Pointer[watchdog.Settings]
	marking sync.Mutex // one writer of the mark at a time
	keeper  *keeper
	lock    *os.File
	socket  *net.UnixListener
	listen  *os.File // socket of the REST API; nil until an adopted agent has brought it

	agent child
	etcd  member
	conn  *net.UnixConn // to the agent
	asker *net.UnixConn // to whoever asked for an upgrade

	inbox   chan inbound
	gone    chan int // pids of watched processes that are not our children
	fenced  chan struct{}
	orphanT Instant // until when an agent that runs already is waited for; 0: none is
	exit    *int
}

// child is a process that we look after: our own child, or one that we adopted
// and cannot reap.
type child struct {
	pid    int
	start  uint64
	handle *proc.Handle
	own    bool
}

type inbound struct {
	conn   *net.UnixConn
	msg    message
	file   *os.File
	closed bool
}

// Run is the life of the guardian; it returns the exit code of the service. It
// must own the process: it reaps every child, also those of PostgreSQL.
func Run(o Options) (int, error) {
	p := &process{Options: o, dog: watchdog.New(o.Log, watchdog.Open), keeper: newKeeper(o.Log), inbox: make(chan inbound, 64), gone: make(chan int, 8), fenced: make(chan struct{}, 1)}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGCHLD, syscall.SIGUSR2)
	if err := p.prepare(); err != nil {
		return 1, err
	}
	go p.accept()
	p.etcd.ensure(p)
	p.reap() // what ended while we had no handler
	p.handle(Tick{})
	for p.exit == nil {
		select {
		case s := <-signals:
			p.signalled(s)
		case <-p.alarm.C:
			p.alarm.Fired()
			p.tick()
		case in := <-p.inbox:
			p.received(in)
		case pid := <-p.gone:
			p.ended(pid, "it is gone")
		case <-p.fenced:
			p.handle(Fenced{})
		}
	}
	p.etcd.stop(p)
	return *p.exit, nil
}

// prepare takes what there can be only one of: the lock of the data folder, the
// guardian's socket and the socket of the REST API. A guardian that runs already
// is asked to give them up, or ended when it is frozen.
func (p *process) prepare() (err error) {
	// PostgreSQL and the agents' children become ours when their parent dies.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphaned processes: %w", err)
	}
	if p.alarm, err = NewAlarm(); err != nil {
		return err
	}
	again, err := p.resume()
	if err != nil || again {
		return err
	}
	if p.lock, err = p.takeLock(); err != nil {
		return err
	}
	p.left = p.deviceLeft()
	if p.socket, err = listenSocket(p.StateDir); err != nil {
		return err
	}
	if p.findOrphan() || p.listen != nil {
		return nil // the agent that runs holds the socket of the REST API and will bring it
	}
	return p.openListener()
}

func (p *process) openListener() error {
	l, err := Listen(p.Listen)
	if err != nil {
		return err
	}
	defer l.Close() // the duplicate stays open
	p.listen, err = l.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("socket of the REST API %s: %w", p.Listen, err)
	}
	return nil
}

// Listen opens the socket of the REST API. An empty host, or *, means all
// interfaces, IPv6 and IPv4.
func Listen(address string) (net.Listener, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("restapi.listen %s: the port is in use by another process; free it or choose another", address)
	}
	if err != nil {
		return nil, fmt.Errorf("restapi.listen %s: %w", address, err)
	}
	return l, nil
}

func splitAddress(address string) (host, port string, err error) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "", "", fmt.Errorf("restapi.listen %q: expected HOST:PORT", address)
	}
	host, port = strings.Trim(address[:i], "[]"), address[i+1:]
	if host == "*" {
		host = ""
	}
	return host, port, nil
}

// accept takes connections: the agent's, an operator's, another guardian's.
func (p *process) accept() {
	for {
		c, err := p.socket.AcceptUnix()
		if err != nil {
			return
		}
		if _, err := peer(c); err != nil {
			p.Log.Warn("refused a connection to the guardian's socket", "error", err)
			c.Close()
			continue
		}
		go p.read(c)
	}
}

func (p *process) read(c *net.UnixConn) {
	defer c.Close()
	for in := new(envelope); ; {
		m, file, err := in.receive(c)
		if err != nil && m.Type == "" && !errors.Is(err, net.ErrClosed) && !isEOF(err) {
			p.Log.Warn("a connection to the guardian's socket is closed", "error", err)
		}
		if errors.Is(err, errVersion) {
			// The other side sees by the version of this message what is wrong.
			_ = send(c, message{Type: msgVersion}, nil)
		}
		p.inbox <- inbound{c, m, file, err != nil}
		if err != nil {
			return
		}
	}
}

func isEOF(err error) bool { return err != nil && strings.Contains(err.Error(), "EOF") }

// handle feeds the policy and executes what it wants.
func (p *process) handle(ev Event) {
	queue := []Event{ev}
	for len(queue) > 0 {
		effects := p.policy.Handle(Now(), queue[0])
		queue = queue[1:]
		for _, e := range effects {
			if next := p.execute(e); next != nil {
				queue = append(queue, next)
			}
		}
	}
	p.tendDevice()
	p.keeper.tend(Now(), !p.policy.Stuck(Now()), p.policy.Armed())
	at := p.policy.WakeAt()
	for _, t := range []Instant{p.orphanT, p.etcd.startAt, p.dog.WakeAt(), p.keeper.wakeAt()} {
		if t > 0 && (at == 0 || t < at) {
			at = t
		}
	}
	p.alarm.Set(at)
}

func (p *process) tick() {
	p.etcd.tick(p)
	if p.orphanT > 0 && Now() >= p.orphanT {
		p.endOrphan()
	}
	p.handle(Tick{})
}

func (p *process) execute(e Effect) Event {
	switch e := e.(type) {
	case StartAgent:
		return p.startAgent(e.Binary)
	case StopAgent:
		p.signalAgent(syscall.SIGTERM)
	case KillAgent:
		p.Log.Error("killing the agent; PostgreSQL runs on, and a new agent goes on with its lease", "pid", p.agent.pid, "reason", e.Why)
		p.signalAgent(syscall.SIGKILL)
	case LetGo:
		p.tell(message{Type: msgLetGo})
	case Upgraded:
		p.upgraded(e)
	case Ack:
		// First the device: where it is required, an agent must not believe that it
		// may lead before it works.
		p.tendDevice()
		p.tell(message{Type: msgAck, Seq: e.Seq, Device: p.dog.Status()})
	case Fence:
		p.fence(e.Deadline)
	case Exit:
		p.exit = &e.Code
	}
	return nil
}

// tendDevice feeds the watchdog device while a deadline is in force, and disables
// it when no primary can write any more. While the guardian fences it is not
// fed: what cannot be killed the machine's reset ends.
func (p *process) tendDevice() {
	var g *watchdog.Guarded
	if a := p.policy.Armed(); a != nil {
		g = &watchdog.Guarded{Deadline: a.Deadline, TTL: a.TTL, Settings: a.Watchdog}
	}
	before := p.dog.InUse()
	p.dog.Tend(Now(), g)
	if now := p.dog.InUse(); now != before {
		p.left = nil // whoever had it before us
		if p.marked.Store(nil); now {
			p.marked.Store(&g.Settings)
		}
		go p.markDevice()
	}
}

// tell sends to the agent. One that does not read is found out by its silence.
func (p *process) tell(m message) {
	if p.conn == nil {
		return
	}
	if err := send(p.conn, m, nil); err != nil {
		p.Log.Warn("could not send to the agent", "message", m.Type, "error", err)
	}
}

func (p *process) received(in inbound) {
	if in.closed {
		if in.conn == p.conn {
			p.conn = nil
		}
		if in.conn == p.asker {
			p.asker = nil
		}
		return
	}
	switch in.msg.Type {
	case msgHello:
		p.hello(in)
	case msgUpgrade:
		p.upgradeAsked(in)
	case msgTakeover:
		p.giveUp(in.conn)
	default:
		if in.conn == p.conn {
			p.message(in.msg)
		}
	}
}

func (p *process) message(m message) {
	switch m.Type {
	case msgSign:
		if m.Answer {
			p.tell(message{Type: msgPong})
		}
		p.handle(Sign{Next: m.Next})
	case msgWorks:
		p.handle(Works{})
	case msgArm:
		p.handle(ArmedMsg{Seq: m.Seq, Armed: *m.armed()})
	case msgDisarm:
		p.handle(Disarmed{})
		p.discardDevice()
	case msgBye:
		p.handle(Goodbye{Code: m.Code, LeavePostgres: m.Leave, Handover: m.Handover})
	}
}

func (p *process) signalled(s os.Signal) {
	switch s {
	case syscall.SIGCHLD:
		p.reap()
	case syscall.SIGHUP:
		p.signalAgent(syscall.SIGHUP)
	case syscall.SIGUSR2:
		p.handle(Upgrade{Binary: ""})
	default:
		p.handle(Terminate{})
	}
}

// reap takes every child that has ended or was stopped: the agent, the etcd
// member, and what PostgreSQL left. A postmaster that is not reaped would make
// the next start fail on its postmaster.pid.
func (p *process) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WUNTRACED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		switch {
		case status.Stopped() && pid == p.agent.pid:
			p.handle(AgentStopped{})
		case status.Stopped():
		default:
			p.ended(pid, describe(status))
		}
	}
}

// ended is the end of a process that we look after.
func (p *process) ended(pid int, how string) {
	switch pid {
	case p.agent.pid:
		p.agentEnded(how)
	case p.etcd.pid:
		p.etcd.ended(p, how)
	}
}

func describe(s unix.WaitStatus) string {
	if s.Signaled() {
		return "killed by " + s.Signal().String()
	}
	return "exit code " + strconv.Itoa(s.ExitStatus())
}

// watch waits for the end of a process that is not our child.
func (p *process) watch(h *proc.Handle) {
	go func() {
		if h.Wait(context.Background()) == nil {
			p.gone <- h.PID()
		}
	}()
}

// fence kills the instance. Being wrong here costs a crash recovery; not doing
// it could leave two primaries.
func (p *process) fence(deadline Instant) {
	p.Log.Error("the lease has ended and was not renewed: killing PostgreSQL, so that there are never two primaries",
		"data_dir", p.DataDir, "late", (Now() - deadline).Round(time.Millisecond).String())
	go p.noteFence(deadline) // a disk that hangs must not keep anybody alive
	go func() {
		for KillInstance(p.DataDir, p.Names) != nil {
			p.Log.Error("could not kill every process of PostgreSQL; trying again", "data_dir", p.DataDir)
		}
		p.Log.Warn("no process of PostgreSQL is left", "data_dir", p.DataDir)
		p.fenced <- struct{}{}
	}()
}

// fenceRound bounds one try to kill an instance.
const fenceRound = 10 * time.Second

// KillInstance kills every process of the instance in dataDir and returns when none
// is left, or with an error after ten seconds. names are names of the server
// program besides postgres.
func KillInstance(dataDir string, names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), fenceRound)
	defer cancel()
	return proc.KillAll(ctx, dataDir, KillGrace, names...)
}
