//go:build linux

package demo

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// healWithin is how long a command waits for the cluster to be healthy again.
const healWithin = 60 * time.Second

// Verbs are what can be done to a node, with what it means.
var Verbs = [][2]string{
	{"crash", "kill everything of a node at once, as if its machine had failed"},
	{"freeze", "stop a node's agent as Ctrl-Z would; --guardian: the guardian too"},
	{"thaw", "let a frozen node go on"},
	{"stop", "stop a node in an orderly way"},
	{"start", "start a node again"},
}

// order is one command to the running demo.
type order struct {
	Verb     string `json:"verb"`
	Node     string `json:"node"`
	Guardian bool   `json:"guardian,omitempty"` // freeze the guardian too
}

// obey carries out an order and tells the story of it by say, until the cluster
// is healthy again.
func (d *demo) obey(ctx context.Context, o order, say func(string)) error {
	n, err := d.find(o.Node)
	if err != nil {
		return err
	}
	before := d.feed.latest()
	if before.picture == nil {
		return errors.New("the demo is only just starting; try again in a moment")
	}
	d.out.event(fmt.Sprintf("asked to %s %s", o.Verb, n.name()))
	began := time.Now()
	what, err := d.do(ctx, o, n)
	if err != nil {
		d.out.event(err.Error())
		return err
	}
	say(what)
	if l := before.leader(); l != nil && l.name == n.name() && (o.Verb == "crash" || o.Guardian) {
		say(fmt.Sprintf("         it led: its lock stays in etcd until the lease ends, %d s (ttl) after the last renewal or so", ttl))
	}
	return d.tellUntilHealthy(ctx, before, n, began, time.Now(), say)
}

func (d *demo) find(name string) (node, error) {
	for _, n := range d.nodes() {
		if n.name() == name {
			return n, nil
		}
	}
	return node{}, fmt.Errorf("there is no node %q; the demo has n1 to n%d", name, d.plan.Nodes)
}

// do does what is ordered and says what was done.
func (d *demo) do(ctx context.Context, o order, n node) (string, error) {
	r := d.wants()[n.i]
	name := n.name()
	if !r.wanted && o.Verb != "start" {
		return "", fmt.Errorf("%s does not run; `demo start %s` starts it", name, name)
	}
	switch o.Verb {
	case "crash":
		d.want(n, func(r *run) { r.wanted, r.frozen = false, false })
		return fmt.Sprintf("%s: killed guardian, agent, etcd member and PostgreSQL, as if the machine had lost its power", name), n.kill(ctx, 0)
	case "freeze":
		return d.freeze(n, o.Guardian, r.frozen)
	case "thaw":
		if !r.frozen {
			if r.replaced {
				return "", fmt.Errorf("%s is not frozen any more: its guardian has replaced the agent", name)
			}
			return "", fmt.Errorf("%s is not frozen", name)
		}
		d.want(n, func(r *run) { r.frozen = false })
		_, err := n.signal(syscall.SIGCONT, guardianProcess, agentProcess)
		return name + ": goes on where it was frozen, not knowing what happened meanwhile", err
	case "stop":
		if r.frozen {
			return "", fmt.Errorf("%s is frozen and would not hear it; `demo thaw %s` first", name, name)
		}
		d.want(n, func(r *run) { r.wanted = false })
		go func() { // the story begins while it stops
			if err := n.end(ctx, stopWithin); err != nil {
				d.out.event(err.Error())
			}
		}()
		return name + ": asked to stop; it gives the lock back if it has it, and its etcd member stops last", nil
	case "start":
		if r.wanted {
			return "", fmt.Errorf("%s runs already", name)
		}
		if err := n.end(ctx, leftoverGrace); err != nil { // of a guardian that was killed by hand
			return "", err
		}
		return name + ": started again", d.start(n)
	}
	return "", fmt.Errorf("unknown order %q", o.Verb)
}

// freeze stops the agent, and the guardian with it if asked to.
func (d *demo) freeze(n node, guardian, frozen bool) (string, error) {
	if frozen {
		return "", fmt.Errorf("%s is frozen already; `demo thaw %s` lets it go on", n.name(), n.name())
	}
	kinds, what := []kind{agentProcess}, "its agent; the guardian looks after it"
	if guardian {
		kinds, what = []kind{guardianProcess, agentProcess}, "its agent and its guardian: nothing of ours can enforce the lease now; on a server the watchdog or the service manager would"
	}
	count, err := n.signal(syscall.SIGSTOP, kinds...)
	if err != nil {
		return "", err
	}
	if count < len(kinds) {
		_, err := n.signal(syscall.SIGCONT, kinds...)
		return "", errors.Join(fmt.Errorf("%s is only just starting; try again in a moment", n.name()), err)
	}
	l := d.feed.latest().leader()
	led := l != nil && l.name == n.name()
	d.want(n, func(r *run) { r.frozen, r.replaced, r.led = true, false, led })
	return n.name() + ": froze " + what, nil
}

// tellUntilHealthy tells what happens after done. The node itself must be back
// only if it is meant to run.
func (d *demo) tellUntilHealthy(ctx context.Context, last sight, n node, began, done time.Time, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	since := func() float64 { return time.Since(began).Seconds() }
	first, disturbed := last.leader(), false
	for s := last; ; {
		var err error
		if s, err = d.feed.next(ctx, s); err != nil {
			break
		}
		if s.began.Before(done) {
			continue
		}
		for _, line := range tell(last.picture, s.picture) {
			say(fmt.Sprintf("%5.1f s  %s", since(), line))
		}
		last = s
		l := s.leader()
		disturbed = disturbed || first == nil || l == nil || l.name != first.name
		if s.healthy() && d.settled(n) {
			say(d.ending(s, n, disturbed, since()))
			return nil
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("not healthy after %.0f s: %s%s", healWithin.Seconds(), last.summary(), d.why(last))
}

// settled: a node that is not wanted any more has ended.
func (d *demo) settled(n node) bool {
	r := d.wants()[n.i]
	if r.wanted || r.done == nil {
		return true
	}
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// ending is the last sentence of a story.
func (d *demo) ending(s sight, n node, disturbed bool, seconds float64) string {
	switch {
	case disturbed:
		return fmt.Sprintf("healthy again after %.1f s: %s", seconds, s.summary())
	case !s.picture[n.i].wanted || s.picture[n.i].frozen:
		return "clients notice nothing: " + s.summary()
	}
	return fmt.Sprintf("back after %.1f s: %s", seconds, s.summary())
}

// why names the reason that explains most waits.
func (d *demo) why(s sight) string {
	if !s.majority() {
		return fmt.Sprintf(". Only %d of %d etcd members run, and without a majority nobody may lead: start another node", s.members(), d.plan.Nodes)
	}
	return fmt.Sprintf("; the logs are %s", d.shown+"/n*/node.log")
}
