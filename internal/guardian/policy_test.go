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
	begin := []step{{100, Tick{}, "[StartAgent]"}, {100, AgentStarted{}, "[]"}}
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
			{101, arm(1, 128), "[Ack{1}]"}, {110, AgentExited{}, "[StartAgent]"}, {110, AgentStarted{}, "[]"}, {128, Tick{}, "[Fence]"}}},
		{"an agent that keeps crashing is replaced later and later", []step{
			{101, AgentExited{}, "[StartAgent]"}, {101, AgentStarted{}, "[]"}, {102, AgentExited{}, "[]"}, {102.4, Tick{}, "[]"}, {102.5, Tick{}, "[StartAgent]"}}},
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
