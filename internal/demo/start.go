//go:build linux

package demo

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// starter starts processes from one thread that lives as long as the demo. The
// kernel sends a child the signal that it asked for when the *thread* that made
// it ends, and Go's threads come and go.
type starter struct{ asked chan asked }

type asked struct {
	cmd *exec.Cmd
	err chan error
}

func newStarter() *starter {
	s := &starter{make(chan asked)}
	go func() {
		runtime.LockOSThread()
		for a := range s.asked {
			a.err <- a.cmd.Start()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	a := asked{cmd, make(chan error, 1)}
	s.asked <- a
	return <-a.err
}

// start starts a node's guardian in a session of its own, so that Ctrl-C reaches
// only the demo. When the demo dies the guardian is told to stop.
func (d *demo) start(n node) error {
	log, err := os.OpenFile(n.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", n.name(), err)
	}
	defer log.Close()
	if err := d.owner.give(n.log()); err != nil {
		return fmt.Errorf("log of %s: %w", n.name(), err)
	}
	cmd := exec.Command(d.program, string(guardianProcess), n.config())
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.folder(), d.environ(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM, Credential: d.owner.credential()}
	if err := d.starter.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", n.name(), err)
	}
	done := make(chan struct{})
	d.want(n, func(r *run) { *r = run{wanted: true, done: done} })
	go d.await(n, cmd, done)
	return nil
}

// successorWithin is how long an agent may take to start another guardian when
// its own is gone.
const successorWithin = 3 * time.Second

// await reaps a guardian and says so when nobody wanted it to end.
func (d *demo) await(n node, cmd *exec.Cmd, done chan struct{}) {
	_ = cmd.Wait()
	defer close(done)
	if !d.unwantedEnd(n, done) {
		return
	}
	for end := time.Now().Add(successorWithin); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if n.guarded() {
			d.out.event(fmt.Sprintf("%s: its guardian has ended (%s), and its agent has started another", n.name(), cmd.ProcessState))
			return
		}
	}
	if !d.unwantedEnd(n, done) {
		return
	}
	d.want(n, func(r *run) { r.wanted, r.frozen = false, false })
	d.out.event(fmt.Sprintf("%s has ended unexpectedly (%s); see %s. `%s demo start %s%s` starts it again",
		n.name(), cmd.ProcessState, n.log(), d.Options.Program, n.name(), d.dirFlag()))
}

// unwantedEnd: the guardian of this start was wanted to run on.
func (d *demo) unwantedEnd(n node, done chan struct{}) bool {
	r := d.wants()[n.i]
	return r.done == done && r.wanted
}

// environ is the nodes' environment. What configures Tamada, PostgreSQL or a
// service in ours is not meant for them.
func (d *demo) environ() []string {
	env := []string{"HOME=" + d.owner.home, "USER=" + d.owner.name, "LOGNAME=" + d.owner.name, "PATH=" + d.binDir + ":/usr/local/bin:/usr/bin:/bin"}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if name == "LANG" || name == "TZ" || strings.HasPrefix(name, "LC_") {
			env = append(env, e)
		}
	}
	return env
}
