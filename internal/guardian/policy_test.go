package guardian

import (
	"fmt"
	"testing"
	"time"
)

// TestPolicy plays events at times, in seconds, and compares the effects.
func TestPolicy(t *testing.T) {
	type step struct {
		at   float64
		ev   Event
		want string
	}
	sec := func(s float64) Instant { return time.Duration(s * float64(time.Second)) }
	arm := func(seq uint64, until float64) ArmedMsg {
		return ArmedMsg{Seq: seq, Armed: Armed{Deadline: sec(until), Session: "s", Created: 3}}
	}
	begin := []step{{100, Tick{}, "[StartAgent]"}, {100, AgentStarted{}, "[]"}, {100, Hello{}, "[]"}, {100, Sign{time.Hour}, "[]"}}
	for _, x := range []struct {
		name  string
		steps []step
	}{
		{"acknowledges a deadline and fences when it passes", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {127.9, Tick{}, "[]"}, {128, Tick{}, "[Fence]"}, {129, Tick{}, "[]"}, {130, Fenced{}, "[]"}, {200, Tick{}, "[]"}}},
		{"a newer deadline replaces the old one", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {106, arm(2, 133), "[Ack{2}]"}, {128, Tick{}, "[]"}, {133, Tick{}, "[Fence]"}}},
		{"an older deadline of the same tenure does not shorten", []step{
			{101, arm(2, 133), "[Ack{2}]"}, {102, arm(1, 128), "[Ack{1}]"}, {128, Tick{}, "[]"}, {133, Tick{}, "[Fence]"}}},
		{"a deadline that has passed is not acknowledged", []step{{101, arm(1, 101), "[]"}}},
		{"nothing is acknowledged while it fences", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {128, Tick{}, "[Fence]"}, {128, arm(2, 155), "[]"}, {129, Fenced{}, "[]"}, {129, arm(3, 155), "[Ack{3}]"}}},
		{"disarmed it does not fence", []step{{101, arm(1, 128), "[Ack{1}]"}, {110, Disarmed{}, "[]"}, {200, Tick{}, "[]"}}},
		{"a dead agent is replaced at once, and the deadline stands", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {110, AgentExited{}, "[StartAgent]"}, {110, AgentStarted{}, "[]"},
			{111, Hello{}, "[]"}, {111, Sign{time.Hour}, "[]"}, {128, Tick{}, "[Fence]"}}},
		{"an agent that keeps crashing is replaced later and later", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, AgentStarted{}, "[]"}, {102, AgentExited{}, "[]"}, {102.2, Tick{}, "[]"}, {102.25, Tick{}, "[StartAgent]"},
			{102.25, AgentStarted{}, "[]"}, {103, AgentExited{}, "[]"}, {103.4, Tick{}, "[]"}, {103.5, Tick{}, "[StartAgent]"}}},
		{"a stable agent that crashes once is replaced at once again", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, AgentStarted{}, "[]"}, {140, AgentExited{}, "[StartAgent]"}}},
		{"asked to end it asks the agent and ends after it", []step{
			{110, Terminate{}, "[StopAgent]"}, {111, Goodbye{}, "[]"}, {112, AgentExited{}, "[Exit{0}]"}}},
		{"asked twice it asks the agent once", []step{{110, Terminate{}, "[StopAgent]"}, {111, Terminate{}, "[]"}}},
		{"it outlives its agent while a deadline is in force", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {110, Goodbye{Code: 1, LeavePostgres: true}, "[]"}, {111, AgentExited{}, "[]"}, {128, Tick{}, "[Fence]"}, {129, Fenced{}, "[Exit{1}]"}}},
		{"leaving in maintenance mode nothing is enforced", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {110, Goodbye{LeavePostgres: true}, "[]"}, {111, AgentExited{}, "[Exit{0}]"}}},
		{"an agent that dies while asked to end is replaced, for the primary's sake", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {110, Terminate{}, "[StopAgent]"}, {111, AgentExited{}, "[StartAgent]"}, {111, AgentStarted{}, "[StopAgent]"}}},
		{"an agent that gives no sign of life within its promise is replaced, and PostgreSQL runs on", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {101, Sign{5 * time.Second}, "[]"}, {107.4, Tick{}, "[]"}, {107.5, Tick{}, "[KillAgent]"},
			{107.5, AgentExited{}, "[StartAgent]"}, {107.5, AgentStarted{}, "[]"}, {107.6, Hello{}, "[]"}, {108, arm(1, 135), "[Ack{1}]"}, {128, Sign{time.Hour}, "[]"}, {135, Tick{}, "[Fence]"}}},
		{"one that was stopped by a signal is replaced at once", []step{{101, AgentStopped{}, "[KillAgent]"}, {101, AgentExited{}, "[StartAgent]"}}},
		{"the last words of one that was killed count for nothing", []step{{101, AgentStopped{}, "[KillAgent]"}, {101, arm(1, 128), "[]"}}},
		{"one that hangs in the kernel is left behind", []step{
			{101, AgentStopped{}, "[KillAgent]"}, {102.9, Tick{}, "[]"}, {103, Tick{}, "[StartAgent]"}}},
		{"while the service stops there is no limit to its silence", []step{
			{101, Sign{time.Second}, "[]"}, {102, Terminate{}, "[StopAgent]"}, {200, Tick{}, "[]"}, {300, Sign{time.Second}, "[]"}, {400, Tick{}, "[]"}}},
		{"an agent of a guardian that is gone is taken over with what it holds", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, Hello{Adopted: true, Armed: &Armed{Deadline: sec(128)}}, "[]"}, {102, Sign{time.Hour}, "[]"},
			{127.9, Tick{}, "[]"}, {128, Tick{}, "[Fence]"}}},
		{"a deadline that has passed is not taken over", []step{{101, Hello{Adopted: true, Armed: &Armed{Deadline: sec(101)}}, "[]"}, {101, Sign{time.Hour}, "[]"}, {200, Tick{}, "[]"}}},
		{"a new version is started when the old one has let go, and stays when it works", []step{
			{101, arm(1, 128), "[Ack{1}]"}, {102, Upgrade{"/new"}, "[LetGo]"}, {102, Goodbye{Handover: true}, "[]"}, {102.1, AgentExited{}, "[StartAgent]"},
			{102.1, AgentStarted{}, "[]"}, {102.2, Hello{}, "[]"}, {102.3, arm(1, 129), "[Ack{1}]"}, {102.3, Sign{time.Hour}, "[]"}, {102.4, Works{}, "[Upgraded]"}, {120, Tick{}, "[]"}}},
		{"an agent that does not let go is killed and replaced by the new version", []step{
			{102, Upgrade{"/new"}, "[LetGo]"}, {106.9, Tick{}, "[]"}, {107, Tick{}, "[KillAgent]"}, {107, AgentExited{}, "[StartAgent]"}}},
		{"a new version that ends is given up for the old one", []step{
			{102, Upgrade{"/new"}, "[LetGo]"}, {102.1, AgentExited{}, "[StartAgent]"}, {102.1, AgentStarted{}, "[]"}, {103, AgentExited{}, "[Upgraded StartAgent]"}}},
		{"an upgrade waits for an agent that is only just starting", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, AgentStarted{}, "[]"}, {101.1, Upgrade{"/new"}, "[]"}, {101.2, Hello{}, "[LetGo]"},
			{101.3, AgentExited{}, "[StartAgent]"}}},
		{"not for ever", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, AgentStarted{}, "[]"}, {101.1, Upgrade{"/new"}, "[]"}, {106, Tick{}, "[]"}, {106.2, Tick{}, "[Upgraded]"}, {106.3, Hello{}, "[]"}}},
		{"a new version that hangs is given up in time for the old one to renew the lease", []step{
			{101, arm(1, 115), "[Ack{1}]"}, {102, Upgrade{"/new"}, "[LetGo]"}, {102.1, AgentExited{}, "[StartAgent]"}, {102.1, AgentStarted{}, "[]"},
			{102.2, Hello{}, "[]"}, {109.9, Tick{}, "[]"}, {110, Tick{}, "[Upgraded KillAgent]"}, {110.1, AgentExited{}, "[StartAgent]"}}},
		{"one that does not even greet is given up sooner", []step{
			{102, Upgrade{"/new"}, "[LetGo]"}, {102.1, AgentExited{}, "[StartAgent]"}, {102.1, AgentStarted{}, "[]"}, {105, Tick{}, "[]"}, {105.1, Tick{}, "[Upgraded KillAgent]"}}},
		{"also when the lease is short", []step{
			{101, arm(1, 105), "[Ack{1}]"}, {102, Upgrade{"/new"}, "[LetGo]"}, {102, AgentExited{}, "[StartAgent]"}, {102, AgentStarted{}, "[]"},
			{103.4, Tick{}, "[]"}, {103.5, Tick{}, "[Upgraded KillAgent]"}, {103.6, AgentExited{}, "[StartAgent]"}}},
		{"one that renews and does not come to work has its full time", []step{
			{101, arm(1, 115), "[Ack{1}]"}, {102, Upgrade{"/new"}, "[LetGo]"}, {102.1, AgentExited{}, "[StartAgent]"}, {102.1, AgentStarted{}, "[]"},
			{102.2, Hello{}, "[]"}, {102.2, Sign{time.Hour}, "[]"}, {105, arm(1, 135), "[Ack{1}]"}, {117, Tick{}, "[]"}, {117.1, Tick{}, "[Upgraded KillAgent]"}}},
		{"agents that crash a while after their start back off too", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, AgentStarted{}, "[]"}, {101.1, Hello{}, "[]"}, {101.1, Sign{time.Hour}, "[]"}, {102, Works{}, "[]"},
			{106, AgentExited{}, "[]"}, {106.25, Tick{}, "[StartAgent]"}, {106.25, AgentStarted{}, "[]"}, {106.3, Hello{}, "[]"}, {106.3, Sign{time.Hour}, "[]"},
			{107, Works{}, "[]"}, {110, AgentExited{}, "[]"}, {110.4, Tick{}, "[]"}, {110.5, Tick{}, "[StartAgent]"}, {110.5, AgentStarted{}, "[]"},
			{110.6, Sign{time.Hour}, "[]"}, {150, AgentExited{}, "[StartAgent]"}}},
		{"a new version that does not come to work is given up for the old one", []step{
			{102, Upgrade{"/new"}, "[LetGo]"}, {102.1, AgentExited{}, "[StartAgent]"}, {102.1, AgentStarted{}, "[]"}, {102.2, Hello{}, "[]"}, {102.2, Sign{time.Hour}, "[]"},
			{117, Tick{}, "[]"}, {117.1, Tick{}, "[Upgraded KillAgent]"}, {117.2, AgentExited{}, "[StartAgent]"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var p Policy
			for i, s := range append(begin[:len(begin):len(begin)], x.steps...) {
				if got := effects(p.Handle(sec(s.at), s.ev)); got != s.want {
					t.Fatalf("step %d, %T at %v s: %s, want %s", i, s.ev, s.at, got, s.want)
				}
				if at := p.WakeAt(); at > 0 && at <= sec(s.at) {
					t.Fatalf("step %d: WakeAt is %s at %v s: the guardian would spin", i, at, s.at)
				}
			}
		})
	}
}

func effects(list []Effect) string {
	s := "["
	for i, e := range list {
		if i > 0 {
			s += " "
		}
		switch e := e.(type) {
		case Ack:
			s += fmt.Sprintf("Ack{%d}", e.Seq)
		case Exit:
			s += fmt.Sprintf("Exit{%d}", e.Code)
		case Fence:
			s += "Fence"
		default:
			s += fmt.Sprintf("%T", e)[len("guardian."):]
		}
	}
	return s + "]"
}
