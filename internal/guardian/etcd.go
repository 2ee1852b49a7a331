//go:build linux

package guardian

import (
	"os"
	"syscall"
	"time"

	"tamada/internal/postgres/proc"
)

// member is the process of the embedded etcd member: started before the agent,
// restarted with growing pauses when it ends, and stopped last, because the
// agent's farewell goes through it.
type member struct {
	child
	started Instant
	crashes int
	startAt Instant
}

const etcdStopTimeout = 10 * time.Second

// ensure takes over a member that runs already, or starts one.
func (m *member) ensure(p *process) {
	if len(p.Etcd) == 0 || m.pid != 0 {
		return
	}
	if h := p.readRecord().Etcd.open(); h != nil {
		m.child = child{pid: h.PID(), start: h.Start(), handle: h}
		m.started = Now()
		p.watch(h)
		return
	}
	m.launch(p)
}

func (m *member) launch(p *process) {
	m.startAt = 0
	m.started = Now()
	pid, err := syscall.ForkExec(p.Etcd[0], p.Etcd, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		p.Log.Error("could not start the etcd member", "error", err)
		m.plan()
		return
	}
	m.child = child{pid: pid, own: true}
	if s, err := proc.ReadStat(pid); err == nil {
		m.start = s.Start
	}
	p.writeRecord()
}

// plan sets when to start again.
func (m *member) plan() {
	if Now()-m.started > StableLife {
		m.crashes = 0
	}
	m.startAt = Now() + min(firstPause<<min(m.crashes, 10), longPause)
	m.crashes++
}

func (m *member) ended(p *process, how string) {
	m.child = child{}
	m.plan()
	p.Log.Error("the etcd member has ended; it is started again", "how", how, "in", (m.startAt - Now()).Round(time.Millisecond).String())
	p.handle(Tick{})
}

func (m *member) tick(p *process) {
	if m.pid == 0 && m.startAt > 0 && Now() >= m.startAt {
		m.launch(p)
	}
}

// stop ends the member and waits until it is gone.
func (m *member) stop(p *process) {
	if m.pid == 0 {
		return
	}
	h := m.handle
	if h == nil {
		var err error
		if h, err = proc.Open(m.pid, m.start); err != nil {
			return
		}
	}
	_ = h.Signal(syscall.SIGTERM)
	if h.WaitFor(etcdStopTimeout) {
		return
	}
	p.Log.Warn("the etcd member did not stop in time and is killed", "after", etcdStopTimeout.String())
	_ = h.Signal(syscall.SIGKILL)
}
