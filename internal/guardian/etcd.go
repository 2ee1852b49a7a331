//go:build linux

package guardian

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// member is the process of the embedded etcd member: started before the agent,
// restarted with growing pauses when it ends, and stopped last, because the
// agent's farewell goes through it.
type member struct {
	pid     int
	started Instant
	crashes int
	startAt Instant
}

const etcdStopTimeout = 10 * time.Second

func (m *member) start(p *process) {
	if len(p.Etcd) == 0 {
		return
	}
	m.startAt = 0
	pid, err := syscall.ForkExec(p.Etcd[0], p.Etcd, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}})
	m.started = Now()
	if err != nil {
		p.Log.Error("could not start the etcd member", "error", err)
		m.plan()
		return
	}
	m.pid = pid
	p.children.Etcd = identify(pid)
	p.noteChildren()
}

// plan sets when to start again.
func (m *member) plan() {
	if Now()-m.started > stableLife {
		m.crashes = 0
	}
	m.startAt = Now() + min(firstPause<<min(m.crashes, 10), longPause)
	m.crashes++
}

func (m *member) ended(p *process, status unix.WaitStatus) {
	m.pid = 0
	m.plan()
	p.Log.Error("the etcd member has ended; it is started again", "status", describe(status), "in", (m.startAt - Now()).Round(time.Millisecond).String())
	p.alarm.Set(m.startAt)
	p.handle(Tick{})
}

func (m *member) tick(p *process) {
	if m.pid == 0 && m.startAt > 0 && Now() >= m.startAt {
		m.start(p)
	}
}

// stop ends the member and waits until it is gone.
func (m *member) stop(p *process) {
	if m.pid == 0 {
		return
	}
	_ = syscall.Kill(m.pid, syscall.SIGTERM)
	for end := Now() + etcdStopTimeout; Now() < end; {
		var status unix.WaitStatus
		if pid, err := unix.Wait4(m.pid, &status, unix.WNOHANG, nil); pid == m.pid || err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Log.Warn("the etcd member did not stop in time and is killed", "after", etcdStopTimeout.String())
	_ = syscall.Kill(m.pid, syscall.SIGKILL)
}
