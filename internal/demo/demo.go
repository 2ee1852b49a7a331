//go:build linux

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	formWithin = 60 * time.Second // then it is said that something is wrong
	lookEvery  = 200 * time.Millisecond
	// publishWithin is a bit more than loop_wait.
	publishWithin = 7 * time.Second
	stopWithin    = 20 * time.Second // the nodes' orderly end
	dropWithin    = 3 * time.Second  // the same, when their data is thrown away anyway
	defaultTerm   = 80               // columns
)

// Options are the command line of `tamada demo`.
type Options struct {
	Dir                   string // as the user wrote it
	Nodes, Port           int
	NodesGiven, PortGiven bool // not the defaults
	Keep                  bool // keep the folder at the end
	Program               string
	Out                   io.Writer
	Terminal              *os.File // Out as a terminal, nil when it is none
	Color                 bool
	// List prints the members of the cluster that a node's configuration names.
	List func(ctx context.Context, config string, out io.Writer) error
}

// demo is a running demo.
type demo struct {
	Options
	plan
	shown   string // the folder as the user named it
	owner   owner
	out     *screen
	lock    *os.File
	program string // what the nodes run
	fresh   bool   // the folder had no cluster

	starter *starter
	feed    feed

	mu   sync.Mutex // guards runs
	runs map[string]*run
}

// run is what the demo wants of a node and knows of its guardian.
type run struct {
	wanted, frozen bool
	replaced       bool          // the guardian has replaced the frozen agent
	led            bool          // it led when it was frozen
	done           chan struct{} // closed when the guardian has ended; nil before the first start
}

// Run runs a demo until ctx ends; then the nodes are stopped and the folder is
// removed. hurry, when closed, ends the nodes without waiting for them.
func Run(ctx context.Context, o Options, hurry <-chan struct{}) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("--dir %s: %w", o.Dir, err)
	}
	d := &demo{Options: o, shown: o.Dir, out: newScreen(o), runs: map[string]*run{}, starter: newStarter()}
	d.dir = dir
	if d.owner, err = findOwner(); err != nil {
		return err
	}
	if err := d.prepare(ctx); err != nil {
		d.discard()
		return err
	}
	control, err := d.listen()
	if err != nil {
		return err
	}
	defer control.Close()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go d.serve(work, control)

	err = d.play(ctx, work)
	return errors.Join(err, d.finish(work, hurry))
}

func newScreen(o Options) *screen {
	s := &screen{w: o.Out, color: o.Color, width: func() int { return defaultTerm }}
	if o.Terminal != nil {
		s.tty = true
		s.width = func() int { return terminalWidth(o.Terminal.Fd()) }
	}
	return s
}

// discard removes what a start that failed has made, if it is nothing but the
// empty folder.
func (d *demo) discard() {
	if d.lock == nil {
		return
	}
	if _, err := os.Lstat(filepath.Join(d.dir, planFile)); err == nil {
		return
	}
	_ = os.Remove(filepath.Join(d.dir, lockFile))
	_ = os.Remove(d.dir)
}

// play starts the nodes, and tells what happens until ctx ends. work lasts
// longer: the nodes are looked at while they stop, too.
func (d *demo) play(ctx, work context.Context) error {
	d.introduce()
	nodes := d.nodes()
	eyes := newEyes(&d.plan)
	grow := newGrowth(d.out, nodes)
	for _, n := range nodes {
		if err := d.start(n); err != nil {
			return err
		}
	}
	go d.watch(work, eyes)
	formed := d.form(ctx, grow)
	if ctx.Err() != nil {
		return nil
	}
	if formed {
		d.explain(ctx, time.Since(grow.began))
	}
	d.narrate(ctx)
	return nil
}

func (d *demo) introduce() {
	what := "a new cluster"
	if !d.fresh {
		what = "going on with the cluster"
	}
	as := ""
	if d.owner.switched {
		as = "; all runs as user " + d.owner.name
	}
	d.out.say("Tamada demo: %s of %d nodes in %s\nPostgreSQL %d, etcd built in%s\n", what, d.plan.Nodes, d.shown, d.Major, as)
}

// watch looks at the nodes, again and again.
func (d *demo) watch(ctx context.Context, e *eyes) {
	for ctx.Err() == nil {
		began := time.Now()
		d.noticeReplaced()
		wants := d.wants()
		p := e.look(ctx)
		for i := range p {
			w := wants[i]
			p[i].wanted, p[i].frozen, p[i].replaced, p[i].led = w.wanted, w.frozen, w.replaced, w.led
		}
		if ctx.Err() != nil {
			return
		}
		d.feed.put(sight{p, began})
		if pause(ctx, lookEvery) != nil {
			return
		}
	}
}

// noticeReplaced finds nodes that are not frozen any more although nobody thawed
// them: a guardian does not wait for an agent that hangs.
func (d *demo) noticeReplaced() {
	for i, r := range d.wants() {
		n := d.nodes()[i]
		if !r.frozen || n.stopped() {
			continue
		}
		d.want(n, func(now *run) {
			if now.frozen && now.done == r.done {
				now.frozen, now.replaced = false, true
			}
		})
	}
}

// wants is what is wanted of the nodes now, in their order.
func (d *demo) wants() []run {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]run, d.plan.Nodes)
	for i, n := range d.nodes() {
		if r := d.runs[n.name()]; r != nil {
			list[i] = *r
		}
	}
	return list
}

// form shows how the cluster forms; false when it did not within its time.
func (d *demo) form(ctx context.Context, g *growth) bool {
	late := false
	for s := (sight{}); ; {
		var err error
		if s, err = d.feed.next(ctx, s); err != nil {
			return false
		}
		g.see(s.picture)
		if s.healthy() {
			return true
		}
		if !late && time.Since(g.began) > formWithin {
			late = true
			d.out.say("\nThe cluster has not formed within %.0f s: %s. The logs tell more: %s",
				formWithin.Seconds(), s.summary(), filepath.Join(d.shown, "n*", "node.log"))
		}
	}
}

// explain prints what one can do with the cluster.
func (d *demo) explain(ctx context.Context, took time.Duration) {
	s := d.feed.latest()
	l := s.leader()
	if l == nil {
		return
	}
	replicas := d.plan.Nodes - 1
	plural := "s"
	if replicas == 1 {
		plural = ""
	}
	d.out.say("\nOne leader and %d streaming replica%s after %.1f s.\n", replicas, plural, took.Seconds())
	d.awaitPublished(ctx, l.name)
	d.list(ctx)
	d.out.say("\n%s, whoever leads:\n  psql \"%s\"\n", d.out.bold("Connect to the leader"), d.connection(d.dir))
	at := ""
	if d.shown != DefaultDir {
		at = " --dir " + quoted(d.shown)
	}
	d.out.say("%s in another terminal:", d.out.bold("Try"))
	for _, t := range [][2]string{
		{fmt.Sprintf("%s demo crash %s%s", d.Options.Program, l.name, at), "the leader's machine fails: a replica takes over; then `start` it again"},
		{fmt.Sprintf("%s demo freeze %s%s", d.Options.Program, l.name, at), "its agent hangs: the guardian replaces it; with --guardian nobody does, until `thaw`"},
		{fmt.Sprintf("%s -c %s list", d.Options.Program, quoted(filepath.Join(d.shown, "n1", "node.yml"))), "the members, as an operator sees them"},
	} {
		d.out.say("  %s\n      %s", t[0], t[1])
	}
	end := "ends the demo and removes " + d.shown
	if d.Keep {
		end = "ends the demo and keeps " + d.shown
	}
	d.out.say("\nCtrl-C %s. The nodes' logs are %s.\nWhat happens from now on:\n", end, filepath.Join(d.shown, "n*", "node.log"))
}

// awaitPublished waits until the members say in the store what they are: the
// table is made from that, and they write it when their loop comes around.
func (d *demo) awaitPublished(ctx context.Context, leader string) {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	n, err := d.find(leader)
	if err != nil {
		return
	}
	for e := newEyes(&d.plan); ctx.Err() == nil && !e.published(ctx, n); {
		_ = pause(ctx, lookEvery)
	}
}

// quoted is a word for a shell.
func quoted(s string) string {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '/' || r == '.' || r == '-' || r == '_') {
			return "'" + s + "'"
		}
	}
	return s
}

func (d *demo) list(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if d.List == nil {
		return
	}
	if err := d.List(ctx, d.nodes()[0].config(), d.out.w); err != nil {
		d.out.say("%s", err)
	}
}

// narrate tells what happens until ctx ends.
func (d *demo) narrate(ctx context.Context) {
	last := d.feed.latest()
	for s := last; ; {
		var err error
		if s, err = d.feed.next(ctx, s); err != nil {
			return
		}
		for _, line := range tell(last.picture, s.picture) {
			d.out.event(line)
		}
		last = s
	}
}

// finish stops the nodes and removes the folder, or keeps it.
func (d *demo) finish(ctx context.Context, hurry <-chan struct{}) error {
	d.out.say("\nStopping the nodes.")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	grace := dropWithin
	if d.Keep {
		grace = stopWithin
	}
	errs := make([]error, d.plan.Nodes)
	var wg sync.WaitGroup
	for i, n := range d.nodes() {
		d.want(n, func(r *run) { r.wanted, r.frozen = false, false })
		wg.Go(func() { errs[i] = n.end(ctx, grace) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err // nothing is removed while something may still run
	}
	if d.Keep {
		d.out.say("%s is kept: `%s demo%s` goes on with this cluster.", d.shown, d.Options.Program, d.dirFlag())
		return nil
	}
	if err := d.remove(); err != nil {
		return err
	}
	d.out.say("%s is removed.", d.shown)
	return nil
}

func (d *demo) dirFlag() string {
	if d.shown == DefaultDir {
		return ""
	}
	return " --dir " + quoted(d.shown)
}

func (d *demo) want(n node, change func(*run)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.runs[n.name()]
	if r == nil {
		r = &run{}
		d.runs[n.name()] = r
	}
	change(r)
}
