//go:build linux

package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tamada/internal/postgres/proc"
)

// orphanWait is how long an agent that runs already may take to connect to a new
// guardian.
const orphanWait = 3 * time.Second

// record is what a guardian writes down about the processes that it looks after,
// so that the next one finds them.
type record struct {
	Agent, Etcd identity
}

type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks, /proc/PID/stat
}

func (p *process) writeRecord() {
	r := record{Agent: identity{p.agent.pid, p.agent.start}, Etcd: identity{p.etcd.pid, p.etcd.start}}
	b, err := json.Marshal(r)
	path := filepath.Join(p.StateDir, stateName)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.Log.Warn("could not note which processes belong to this guardian", "error", err)
	}
}

func (p *process) readRecord() (r record) {
	b, err := os.ReadFile(filepath.Join(p.StateDir, stateName))
	if err == nil {
		_ = json.Unmarshal(b, &r) // an unreadable one is as good as none
	}
	return r
}

// open finds the process again that a record names.
func (i identity) open() *proc.Handle {
	if i.PID == 0 {
		return nil
	}
	h, err := proc.Open(i.PID, i.Start)
	if err != nil {
		return nil
	}
	return h
}

// findOrphan looks for an agent whose guardian is gone. It will connect to us;
// starting another beside it would put two to work on one instance.
func (p *process) findOrphan() bool {
	h := p.readRecord().Agent.open()
	if h == nil {
		return false
	}
	p.agent = child{pid: h.PID(), start: h.Start(), handle: h}
	p.orphanT = Now() + orphanWait
	p.policy.Handle(Now(), AgentStarted{})
	p.Log.Info("an agent of this node runs without a guardian; waiting for it", "pid", h.PID())
	return true
}

// endOrphan ends an agent that did not connect. PostgreSQL runs on; the deadline
// of its lease is not known here, but the agent's successor proves the lease, or
// acquires it anew, before it relies on it.
func (p *process) endOrphan() {
	p.orphanT = 0
	if p.agent.handle != nil {
		p.Log.Error("the agent that runs did not connect to its new guardian; killing it", "pid", p.agent.pid)
		_ = p.agent.handle.Signal(syscall.SIGKILL)
		p.agent.handle.WaitFor(corpseWait)
	}
	p.agent = child{}
	if p.listen == nil {
		if err := p.openListener(); err != nil {
			p.Log.Error("could not open the socket of the REST API", "error", err)
			code := 1
			p.exit = &code
		}
	}
	p.handle(AgentExited{})
}

// startAgent starts an agent in a session of its own, so that one signal to a
// process group cannot take both.
func (p *process) startAgent(binary string) Event {
	if p.listen == nil {
		if err := p.openListener(); err != nil {
			p.Log.Error("could not start the agent", "error", err)
			return AgentExited{}
		}
	}
	command := append([]string(nil), p.Agent...)
	if binary != "" {
		command[0] = binary
	}
	env := append(os.Environ(), envAgent+"=1", envListen+"=3")
	var pid int
	err := proc.Lazily(func() (err error) {
		pid, err = syscall.ForkExec(command[0], command, &syscall.ProcAttr{
			Env: env, Files: []uintptr{0, 1, 2, p.listen.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true}})
		return err
	})
	if err != nil {
		p.Log.Error("could not start the agent", "command", command[0], "error", err)
		return AgentExited{}
	}
	p.agent = child{pid: pid, own: true}
	if s, err := proc.ReadStat(pid); err == nil {
		p.agent.start = s.Start
	}
	p.conn = nil
	p.writeRecord()
	return AgentStarted{}
}

func (p *process) signalAgent(s syscall.Signal) {
	switch {
	case p.agent.pid == 0:
	case p.agent.own:
		_ = syscall.Kill(p.agent.pid, s) // our child: nobody else can have its number
	default:
		if err := p.agent.handle.Signal(s); err != nil && !errors.Is(err, proc.ErrGone) {
			p.Log.Error("could not signal the agent", "signal", s.String(), "error", err)
		}
	}
}

// agentEnded first takes what the agent said before it died: a goodbye that is
// still on its way must not look like a crash.
func (p *process) agentEnded(how string) {
	late := time.After(time.Second) // a child of the agent may hold the connection open
	for p.conn != nil {
		select {
		case in := <-p.inbox:
			p.received(in)
		case <-late:
			p.conn = nil
		}
	}
	p.agent = child{}
	switch {
	case p.policy.leaving:
	case p.policy.makingRoom():
		p.Log.Info("the agent has made room for its successor")
	default:
		defer p.reportCrash(how)
	}
	p.handle(AgentExited{})
}

// reportCrash says that an agent has ended, and when there will be another. It
// is called after the policy has planned that.
func (p *process) reportCrash(how string) {
	pause := max(p.policy.startAt-Now(), 0).Round(10 * time.Millisecond)
	p.Log.Error("the agent has ended; PostgreSQL runs on, a new agent is started", "how", how, "in_a_row", p.policy.Crashes(), "in", pause.String())
	if p.policy.Crashes() > 1 {
		p.keeper.Tell(fmt.Sprintf("STATUS=the agent has ended %d times in a row (%s); the next one is started in %s", p.policy.Crashes(), how, pause))
	}
}

// hello greets an agent: the one that we started, or one that lost its guardian.
func (p *process) hello(in inbound) {
	cred, err := peer(in.conn)
	if err != nil {
		return
	}
	adopted := int(cred.Pid) != p.agent.pid || !p.agent.own
	if adopted && !p.adopt(int(cred.Pid), in) {
		in.conn.Close()
		return
	}
	if !adopted && in.file != nil {
		in.file.Close() // we have it
	}
	p.conn = in.conn
	welcome := armedMessage(msgWelcome, p.policy.Armed())
	welcome.Crashes = p.policy.Crashes()
	p.tell(welcome)
	p.handle(Hello{Adopted: adopted})
}

// adopt takes an agent over that somebody else started.
func (p *process) adopt(pid int, in inbound) bool {
	if p.agent.pid != 0 && p.agent.pid != pid {
		p.Log.Error("an agent wants to join although another one runs; refused", "pid", pid, "running", p.agent.pid)
		return false
	}
	h, err := proc.Open(pid, 0)
	if err != nil {
		return false
	}
	if in.file != nil && p.listen == nil {
		p.listen = in.file
	} else if in.file != nil {
		in.file.Close()
	}
	p.agent = child{pid: pid, start: h.Start(), handle: h}
	p.orphanT = 0
	p.watch(h)
	p.Log.Info("taking over the agent that runs", "pid", pid)
	p.writeRecord()
	return true
}
