//go:build linux

package node

import (
	"os"
	"time"

	"tamada/internal/agent"
	"tamada/internal/guardian"
	"tamada/internal/watchdog"
)

// arm tells the guardian a deadline. Without one the agent is its own: it stops
// PostgreSQL at the deadline as long as it runs itself.
func (n *node) arm(e agent.ArmGuardian) {
	s := n.watchdogSettings()
	if n.guard == nil {
		n.guarded = &watchdog.Guarded{Deadline: e.Deadline, TTL: e.TTL, Settings: s}
		n.tendDevice()
		n.sendLater(agent.Acked{Seq: e.Seq, DeviceFailed: n.dog.Status() == watchdog.Failed})
		return
	}
	a := guardian.Armed{Deadline: e.Deadline, Session: e.Hold.Session, Created: int64(e.Hold.Created), TTL: e.TTL, Watchdog: s}
	if err := n.guard.Arm(e.Seq, a); err != nil {
		n.log.Debug("could not tell the guardian the new deadline", "error", err) // its silence is what counts
	}
}

func (n *node) disarm() {
	if n.guard == nil {
		n.guarded = nil
		n.tendDevice()
		return
	}
	if err := n.guard.Disarm(); err != nil {
		n.log.Warn("could not tell the guardian that there is nothing to guard", "error", err)
	}
}

func (n *node) sign(e agent.Alive) {
	if n.guard == nil {
		return
	}
	if err := n.guard.Sign(e.Next, e.Answer); err != nil {
		n.log.Debug("could not give the guardian a sign of life", "error", err)
	}
}

func (n *node) works() {
	if n.guard == nil {
		return
	}
	if err := n.guard.Works(); err != nil {
		n.log.Debug("could not tell the guardian that the agent works", "error", err)
	}
}

// guardianSaid takes over what the guardian says.
func (n *node) guardianSaid(r guardian.Reply) {
	switch {
	case r.Lost:
		n.step(agent.GuardianLost{})
	case r.Pong:
		n.step(agent.GuardianAnswered{})
	case r.LetGo:
		n.makeRoom()
	default:
		n.step(agent.Acked{Seq: r.Ack, DeviceFailed: r.Device == watchdog.Failed})
	}
}

// guardianAgain is the pause between tries to get a guardian.
const guardianAgain = 500 * time.Millisecond

// replaceGuardian does not give up: without a guardian no renewal counts, and at
// the deadline the agent itself stops PostgreSQL.
func (n *node) replaceGuardian(kill bool) {
	self, err := os.Executable()
	for n.ctx.Err() == nil {
		if err == nil {
			err = n.guard.Replace(kill, runCommand(self, n.path))
		}
		if err == nil {
			n.send(agent.GuardianBack{})
			return
		}
		n.log.Error("there is no guardian, and another one could not be started; trying again", "error", err)
		err, kill = nil, false
		select {
		case <-time.After(guardianAgain):
		case <-n.ctx.Done():
		}
	}
}

// countCrashes makes the member say how many agents before this one have ended
// unexpectedly, until this one has lived for a while.
func (n *node) countCrashes() {
	if n.guard == nil || n.guard.Crashes == 0 {
		return
	}
	without := *n.agentInfo.Load()
	with := without
	with.Crashes = n.guard.Crashes
	n.agentInfo.Store(&with)
	time.AfterFunc(guardian.StableLife, func() {
		n.agentInfo.Store(&without)
		n.send(n.localChanged())
	})
}

// runCommand is how a node of this configuration is started.
func runCommand(program, path string) []string {
	if path == "" {
		return []string{program, "run"}
	}
	return []string{program, "run", path}
}

// makeRoom ends this agent for its successor: requests in work are answered,
// PostgreSQL, the lease and the key stay as they are.
func (n *node) makeRoom() {
	n.log.Info("making room for another version of the agent; PostgreSQL and the lease stay as they are")
	n.exit = &agent.Exit{LeavePostgres: true}
	n.handover = true
}
