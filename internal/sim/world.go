package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// World is one simulated cluster and everything around it.
type World struct {
	opts Options
	rng  *rand.Rand
	q    queue
	now  time.Duration // true time

	machines []*machine
	store    *store
	cuts     [][]bool // [from][to]; the last index is the store

	branches []*branch
	branchID int
	line     *branch // that of the last promotion: the cluster's history
	clusters int
	commits  []commit
	commitID int

	trace  []string // ring
	traceN int
	full   strings.Builder
	sum    hash.Hash
	listen func(who, text string) // hears every line of the trace
	calm   bool                   // no more faults
	// scriptedOn is the machine of the last scripted fault.
	scriptedOn *machine
	dieNext    time.Duration // whoever is promoted next crashes at once, for this long
	sourceDies time.Duration // whose data replaces another's next crashes right before, for this long
	ended      bool
	fatal      *Violation
	Stats      Stats
	mutants    *Mutant
	stale      map[string]any // state of mutants
	failsafe   struct {       // the key of failsafe mode as it was read last
		text    string
		members *cluster.Object
	}
}

// Stats are what a history has seen.
type Stats struct {
	Virtual    time.Duration
	Events     int
	Faults     int
	Promotions int
	Failovers  int // the leader key went to another member
	Fenced     int
	Resets     int // by watchdogs
	Inherited  int // agents that went on with their predecessor's lease
	Rewinds    int
	Clones     int
	Commits    int
	Lost       int // acknowledged commits that asynchronous replication lost

	Histories int
	Kinds     map[string]int // faults by kind
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	s.Virtual += o.Virtual
	s.Events += o.Events
	s.Faults += o.Faults
	s.Promotions += o.Promotions
	s.Failovers += o.Failovers
	s.Fenced += o.Fenced
	s.Resets += o.Resets
	s.Inherited += o.Inherited
	s.Rewinds += o.Rewinds
	s.Clones += o.Clones
	s.Commits += o.Commits
	s.Lost += o.Lost
	s.Histories++
	if s.Kinds == nil {
		s.Kinds = map[string]int{}
	}
	for k, n := range o.Kinds {
		s.Kinds[k] += n
	}
}

// Violation is a broken invariant.
type Violation struct {
	Invariant string
	Text      string
	At        time.Duration
}

// Report is the end of one history.
type Report struct {
	Options   Options
	Violation *Violation // nil: everything held
	Stats     Stats
	Trace     string // the last lines, or all with Options.Full
	Sum       string // of the whole trace
}

// String is what a failing test prints.
func (r *Report) String() string {
	v := "everything held"
	if r.Violation != nil {
		v = fmt.Sprintf("BROKEN at %s: %s: %s", r.Violation.At, r.Violation.Invariant, r.Violation.Text)
	}
	return fmt.Sprintf("%s\nseed %d (%d nodes), replay with SIM_SEED=%d:\n%s", r.Trace, r.Options.Seed, r.Options.Nodes, r.Options.Seed, v)
}

// Tail are the last lines of the trace.
func (r *Report) Tail(n int) string {
	lines := strings.SplitAfter(r.Trace, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

const ringSize = 500

// broken unwinds the event that broke an invariant.
type broken struct{}

// violate ends the history: what comes after a broken invariant means nothing.
func (w *World) violate(invariant, format string, args ...any) {
	if w.fatal == nil {
		w.fatal = &Violation{invariant, fmt.Sprintf(format, args...), w.now}
		w.logf("!", "%s: %s", invariant, w.fatal.Text)
	}
	panic(broken{})
}

func (w *World) logf(who, format string, args ...any) {
	line := fmt.Sprintf("%10.4f %-5s ", w.now.Seconds(), who) + fmt.Sprintf(format, args...) + "\n"
	w.sum.Write([]byte(line))
	if w.listen != nil {
		w.listen(who, fmt.Sprintf(format, args...))
	}
	if w.opts.Full {
		w.full.WriteString(line)
		return
	}
	if len(w.trace) < ringSize {
		w.trace = append(w.trace, line)
	} else {
		w.trace[w.traceN%ringSize] = line
	}
	w.traceN++
}

func (w *World) lastLines() string {
	if w.opts.Full {
		return w.full.String()
	}
	if w.traceN <= ringSize {
		return strings.Join(w.trace, "")
	}
	i := w.traceN % ringSize
	return strings.Join(w.trace[i:], "") + strings.Join(w.trace[:i], "")
}

func (w *World) at(t time.Duration, fn func())    { w.q.push(max(t, w.now), fn) }
func (w *World) after(d time.Duration, fn func()) { w.q.push(w.now+d, fn) }

func (w *World) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }
func (w *World) chance(p float64) bool              { return p > 0 && w.rng.Float64() < p }

// latency is how long a message takes.
func (w *World) latency() time.Duration {
	if w.rng.IntN(100) == 0 {
		return w.upTo(300 * time.Millisecond)
	}
	return 200*time.Microsecond + w.upTo(3*time.Millisecond)
}

func (w *World) storeIdx() int         { return len(w.machines) }
func (w *World) cut(from, to int) bool { return w.cuts[from][to] }

func (w *World) machine(name string) *machine {
	for _, m := range w.machines {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Run makes the history of the options.
func Run(o Options) *Report {
	w := newWorld(o)
	w.until(1 << 62)
	sum := hex.EncodeToString(w.sum.Sum(nil))
	w.Stats.Virtual = w.now
	w.Stats.Commits = len(w.commits)
	return &Report{Options: o, Violation: w.fatal, Stats: w.Stats, Trace: w.lastLines(), Sum: sum}
}

// newWorld is a world in which nothing has happened yet.
func newWorld(o Options) *World {
	w := &World{opts: o, rng: rand.New(rand.NewPCG(o.Seed, 0x7a3ada)), sum: sha256.New(), mutants: mutantByName(o.Mutant), stale: map[string]any{}}
	w.Stats.Kinds = map[string]int{}
	w.store = newStore(w)
	for i := range o.Nodes {
		m := &machine{w: w, idx: i, name: nodeName(i), rate: 1 + o.Drift*(2*w.rng.Float64()-1)}
		m.device.m = m
		w.machines = append(w.machines, m)
	}
	w.cuts = make([][]bool, o.Nodes+1)
	for i := range w.cuts {
		w.cuts[i] = make([]bool, o.Nodes+1)
	}
	w.prepare()
	return w
}

// prepare plans the beginning, the faults and the end.
func (w *World) prepare() {
	o := &w.opts
	for i, m := range w.machines {
		at := w.upTo(2 * time.Second)
		if o.Stranger && i == o.Nodes-1 {
			at += 30 * time.Second // it would be taken for the cluster if there was none
		}
		w.after(at, m.boot)
	}
	if o.Stranger {
		m := w.machines[o.Nodes-1]
		w.clusters = 50
		w.branchID++
		b := &branch{id: w.branchID, tli: 1, end: 0x2000000, by: "stranger"}
		m.disk = disk{present: true, whole: true, sysid: sysid(50), at: place{b, b.end}, control: shutDown}
		m.disk.checkpointed(shutDown, b.end-checkpointSize, b.end)
		w.clusters = 0
	}
	w.after(time.Second, w.clients)
	for _, s := range o.Script {
		w.at(s.At, func() { w.scripted(s) })
	}
	if o.Pause > 0 {
		w.at(o.Quiet, w.nextFault)
	}
	w.at(o.Quiet+o.Faulty, w.repair)
}

// until lets time pass, up to t or the end of the history.
func (w *World) until(t time.Duration) {
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(broken); !ok {
				w.logf("!", "panic: %v", x)
				fmt.Print(w.lastLines())
				panic(x)
			}
		}
	}()
	for len(w.q.heap) > 0 && !w.ended && w.q.heap[0].at <= t {
		e := w.q.pop()
		w.now = e.at
		w.Stats.Events++
		e.fn()
		w.check()
	}
}

// clients write to whoever accepts, and remember what was acknowledged.
func (w *World) clients() {
	w.after(30*time.Millisecond+w.upTo(200*time.Millisecond), w.clients)
	for _, m := range w.machines {
		if !m.writable() || m.disk.sysid == sysid(50) && w.opts.Stranger || w.bootstrapping(m) {
			continue
		}
		if w.line == nil && (m.guard == nil || m.guard.policy.Armed() == nil) {
			continue // nobody uses a cluster that has not been opened yet
		}
		size := cluster.LSN(80 + w.rng.IntN(3000))
		if w.chance(0.01) {
			size = cluster.LSN(w.rng.IntN(400000))
		}
		m.write(size)
		w.commitID++
		w.commits = append(w.commits, commit{w.commitID, m.disk.at, m.name})
		w.checkWrite(m)
	}
}

// bootstrapping: a new cluster has no users before it is published.
func (w *World) bootstrapping(m *machine) bool {
	return m.journal == ha.TaskBootstrap || m.journal == ha.TaskPostBootstrap
}
