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
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/postgres/proc"
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
	policy   Policy
	alarm    *Alarm
	listener *os.File
	lock     *os.File

	children children
	agentPID int
	conn     *net.UnixConn
	silent   bool // nothing more will come from conn
	inbox    chan inbound
	fenced   chan struct{}
	etcd     member
	exit     *int
}

type inbound struct {
	conn   *net.UnixConn
	msg    message
	closed bool
}

// Run is the life of the guardian; it returns the exit code of the service. It
// must own the process: it reaps every child, also those of PostgreSQL.
func Run(o Options) (int, error) {
	p := &process{Options: o, inbox: make(chan inbound, 16), fenced: make(chan struct{}, 1)}
	if err := p.prepare(); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGCHLD)
	p.etcd.start(p)
	p.handle(Tick{})
	for p.exit == nil {
		select {
		case s := <-signals:
			p.signalled(s)
		case <-p.alarm.C:
			p.alarm.Fired()
			p.etcd.tick(p)
			p.handle(Tick{})
		case in := <-p.inbox:
			p.received(in)
		case <-p.fenced:
			p.handle(Fenced{})
		}
	}
	p.etcd.stop(p)
	return *p.exit, nil
}

// prepare takes what there can be only one of: the lock of the data folder and
// the socket of the REST API.
func (p *process) prepare() error {
	if err := p.takeLock(); err != nil {
		return err
	}
	if err := p.endOrphans(); err != nil {
		return err
	}
	l, err := Listen(p.Listen)
	if err != nil {
		return err
	}
	p.listener, err = l.(*net.TCPListener).File()
	l.Close() // the duplicate stays open
	if err != nil {
		return fmt.Errorf("socket of the REST API %s: %w", p.Listen, err)
	}
	// PostgreSQL and the agents' children become ours when their parent dies.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphaned processes: %w", err)
	}
	p.alarm, err = NewAlarm()
	return err
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

// takeLock makes sure that there is one guardian for a data folder.
func (p *process) takeLock() error {
	path := filepath.Join(p.StateDir, "guardian.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("lock file of the guardian: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(path)
		f.Close()
		return fmt.Errorf("another tamada already runs for %s (process %s, lock %s): stop it first", p.DataDir, strings.TrimSpace(string(owner)), path)
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("lock file of the guardian: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("lock file of the guardian: %w", err)
	}
	p.lock = f
	return nil
}

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
	at := p.policy.WakeAt()
	if t := p.etcd.startAt; t > 0 && (at == 0 || t < at) {
		at = t
	}
	p.alarm.Set(at)
}

func (p *process) execute(e Effect) Event {
	switch e := e.(type) {
	case StartAgent:
		return p.startAgent()
	case StopAgent:
		_ = syscall.Kill(p.agentPID, syscall.SIGTERM)
	case Ack:
		if err := send(p.conn, message{Type: msgAck, Seq: e.Seq}); err != nil {
			p.Log.Warn("could not acknowledge a deadline to the agent", "error", err)
		}
	case Fence:
		p.fence(e.Deadline)
	case Exit:
		p.exit = &e.Code
	}
	return nil
}

// startAgent starts an agent in a session of its own, so that one signal to a
// process group cannot take both.
func (p *process) startAgent() Event {
	ours, theirs, err := socketPair()
	if err != nil {
		p.Log.Error("could not start the agent", "error", err)
		return AgentExited{}
	}
	defer theirs.Close()
	env := append(os.Environ(), envSocket+"=3", envListen+"=4")
	pid, err := syscall.ForkExec(p.Agent[0], p.Agent, &syscall.ProcAttr{
		Env: env, Files: []uintptr{0, 1, 2, theirs.Fd(), p.listener.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		ours.Close()
		p.Log.Error("could not start the agent", "command", p.Agent[0], "error", err)
		return AgentExited{}
	}
	p.agentPID, p.conn, p.silent = pid, ours, false
	p.children.Agent = identify(pid)
	p.noteChildren()
	go p.readAgent(ours)
	return AgentStarted{}
}

func (p *process) readAgent(c *net.UnixConn) {
	defer c.Close()
	for {
		m, err := receive(c)
		p.inbox <- inbound{c, m, err != nil}
		if err != nil {
			return
		}
	}
}

// received takes one message of the present agent; one of an agent that is gone
// means nothing.
func (p *process) received(in inbound) {
	switch {
	case in.conn != p.conn:
	case in.closed:
		p.silent = true
	default:
		p.message(in.msg)
	}
}

func (p *process) message(m message) {
	switch m.Type {
	case msgHello:
		w := message{Type: msgWelcome}
		if a := p.policy.Armed(); a != nil {
			w.Deadline, w.Session, w.Created, w.TTL = a.Deadline, a.Session, a.Created, a.TTL
		}
		if err := send(p.conn, w); err != nil {
			p.Log.Warn("could not greet the agent", "error", err)
		}
	case msgArm:
		p.handle(ArmedMsg{Seq: m.Seq, Armed: Armed{Deadline: m.Deadline, Session: m.Session, Created: m.Created, TTL: m.TTL}})
	case msgDisarm:
		p.handle(Disarmed{})
	case msgBye:
		p.handle(Goodbye{Code: m.Code, LeavePostgres: m.Leave})
	}
}

func (p *process) signalled(s os.Signal) {
	switch s {
	case syscall.SIGCHLD:
		p.reap()
	case syscall.SIGHUP:
		if p.agentPID > 0 {
			_ = syscall.Kill(p.agentPID, syscall.SIGHUP)
		}
	default:
		p.handle(Terminate{})
	}
}

// reap takes every child that has ended: the agent, the etcd member, and what
// PostgreSQL left. A postmaster that is not reaped would make the next start
// fail on its postmaster.pid.
func (p *process) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		switch pid {
		case p.agentPID:
			p.agentPID = 0
			p.agentEnded(status)
		case p.etcd.pid:
			p.etcd.ended(p, status)
		}
	}
}

// agentEnded first takes what the agent said before it died: a goodbye that is
// still on its way must not look like a crash.
func (p *process) agentEnded(status unix.WaitStatus) {
	late := time.After(time.Second) // a child of the agent may hold the socket open
	for !p.silent {
		select {
		case in := <-p.inbox:
			p.received(in)
		case <-late:
			p.silent = true
		}
	}
	if !p.policy.leaving {
		p.Log.Error("the agent has ended unexpectedly; PostgreSQL runs on, a new agent is started", "status", describe(status))
	}
	p.handle(AgentExited{})
}

func describe(s unix.WaitStatus) string {
	if s.Signaled() {
		return "killed by " + s.Signal().String()
	}
	return "exit code " + strconv.Itoa(s.ExitStatus())
}

// fence kills the instance. Being wrong here costs a crash recovery; not doing
// it could leave two primaries.
func (p *process) fence(deadline Instant) {
	p.Log.Error("the lease has ended and was not renewed: killing PostgreSQL, so that there are never two primaries",
		"data_dir", p.DataDir, "late", (Now() - deadline).Round(time.Millisecond).String())
	go func() {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			err := proc.KillAll(ctx, p.DataDir, KillGrace, p.Names...)
			cancel()
			if err == nil {
				break
			}
			p.Log.Error("could not kill every process of PostgreSQL; trying again", "data_dir", p.DataDir, "error", err)
		}
		p.Log.Warn("no process of PostgreSQL is left", "data_dir", p.DataDir)
		p.fenced <- struct{}{}
	}()
}
