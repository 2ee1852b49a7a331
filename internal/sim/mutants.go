package sim

import (
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// Mutant is an agent, or what carries out its effects, broken on purpose.
type Mutant struct {
	Name      string
	Breaks    string
	Invariant string // the one that notices
	Seed      uint64 // of a history in which it does
	// Shape makes the options of that seed such that the fault matters.
	Shape  func(*Options)
	decide func(m *machine, v *ha.View) ha.Outcome
	bend   func(p *agentProc, ev agent.Event) agent.Event
}

// Options are those of the recorded history, with or without the mutant in it.
func (m *Mutant) Options(seed uint64, broken bool) Options {
	o := FromSeed(seed)
	if m.Shape != nil {
		m.Shape(&o)
	}
	if broken {
		o.Mutant = m.Name
	}
	return o
}

// Mutants are all of them.
func Mutants() []*Mutant { return mutants }

// looked gives the real core another view.
func looked(change func(v *ha.View)) func(*machine, *ha.View) ha.Outcome {
	return func(_ *machine, v *ha.View) ha.Outcome {
		w := *v
		change(&w)
		return ha.Decide(&w)
	}
}

// withCluster lets a mutant change a copy of what the store said.
func withCluster(change func(v *ha.View, c *cluster.Cluster)) func(*ha.View) {
	return func(v *ha.View) {
		c := *v.DCS.Cluster
		change(v, &c)
		v.DCS.Cluster = &c
	}
}

func three(o *Options) {
	o.Nodes, o.NoFailover, o.Stranger, o.Loss, o.Failsafe, o.Watchdog = 3, "", false, 0, false, false
	o.TTL, o.LoopWait, o.RetryTimeout, o.StartTimeout = 30, 10, 10, 300
}

// often is a fault on the machine of the step before, every 0.9 s.
func often(kind string, from, to time.Duration) (steps []Step) {
	for at := from; at < to; at += 9 * sec / 10 {
		steps = append(steps, Step{At: at, Kind: kind, Role: "same"})
	}
	return steps
}

// frozen freezes a process again and again: what replaces it, too.
func frozen(node int, kind, role string, from, to time.Duration) []Step {
	steps := often(kind, from, to)
	for i := range steps {
		steps[i].Node, steps[i].Role, steps[i].For = node, role, 60*sec
	}
	return steps
}

func scripted(steps ...Step) func(*Options) {
	return func(o *Options) {
		three(o)
		o.Pause, o.Faulty, o.Script = 0, 3*time.Minute, steps
	}
}

const sec = time.Second

var mutants []*Mutant

func init() {
	mutants = []*Mutant{
		{Name: "promotes without the lock", Seed: 1, Breaks: "the winner of the race promotes and asks for the key later",
			Invariant: "promotion only under the lease", Shape: three,
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				o := ha.Decide(v)
				if _, ok := o.Do.(ha.AcquireLeader); ok && v.DCS.Unlocked() && v.Instance.Running && v.Instance.InRecovery && v.Instance.Answers {
					o.Do = ha.Promote{Timeline: v.Instance.Timeline + 100}
				}
				return o
			}},
		{Name: "promotes before the acknowledgement", Seed: 1, Breaks: "an acquired lease counts before the guardian knows its deadline",
			Invariant: "promotion only under the lease", Shape: scripted(
				append(append(append(frozen(0, "guardian freeze", "", 78*sec, 94*sec), frozen(1, "guardian freeze", "", 78*sec, 94*sec)...),
					frozen(2, "guardian freeze", "", 78*sec, 94*sec)...), Step{At: 61 * sec, Kind: "machine crash", Role: "leader", For: 60 * sec})...),
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				w := *v
				if w.Lease.State == 1 {
					w.Lease.State = 2
				}
				return ha.Decide(&w)
			}},
		{Name: "guardian not told", Seed: 1, Breaks: "deadlines are acknowledged by nobody in particular",
			Invariant: "only the leader publishes", Shape: three},
		{Name: "guardian forgets to fence", Seed: 1, Breaks: "the guardian's deadline is an hour late",
			Invariant: "the key outlives the writes", Shape: scripted(append(frozen(0, "agent freeze", "same", 70*sec, 100*sec),
				Step{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 60 * sec})...)},
		{Name: "deadline counted from the answer", Seed: 1, Breaks: "a renewal counts from when its answer came, not from when it was sent",
			Invariant: "the key outlives the writes", Shape: func(o *Options) {
				scripted(append(frozen(0, "agent freeze", "same", 90*sec, 120*sec),
					Step{At: 60 * sec, Kind: "slow answers", Role: "leader", For: 60 * sec},
					Step{At: 80 * sec, Kind: "requests to store lost", Role: "same", For: 60 * sec})...)(o)
			}},
		{Name: "renewal behind a task", Seed: 1, Breaks: "a long task keeps the lease from being renewed",
			Invariant: "no lease is lost without a cause", Shape: scripted(Step{At: 60 * sec, Kind: "slow crash recovery", Role: "leader", For: 70 * sec})},
		{Name: "releases what is there", Seed: 1, Breaks: "the release does not compare the key with the lease that it gives up",
			Invariant: "only our own key is released", Shape: scripted(
				Step{At: 58 * sec, Kind: "watch stall", Role: "leader", For: 100 * sec},
				Step{At: 60 * sec, Kind: "slow shutdown", Role: "same", For: 3 * sec},
				Step{At: 61 * sec, Kind: "agent freeze", Role: "same", For: 50 * sec})},
		{Name: "the store's epoch is not compared", Seed: 8, Breaks: "a keepalive answered by a leader that is none any more counts",
			Invariant: "the key outlives the writes", Shape: func(o *Options) {
				scripted(Step{At: 60 * sec, Kind: "frozen store leader, and cut off after", Role: "leader", For: 18 * sec})(o)
				o.Nodes = 2
			},
			bend: func(_ *agentProc, ev agent.Event) agent.Event {
				switch e := ev.(type) {
				case agent.Renewed:
					e.Grant.Epoch = 1
					return e
				case agent.OperationEnded:
					e.Grant.Epoch = 1
					return e
				}
				return ev
			}},
		{Name: "race ignores rivals ahead", Seed: 5, Breaks: "positions of the other replicas are not compared",
			Invariant: "the most advanced replica leads", Shape: func(o *Options) {
				scripted(Step{At: 70 * sec, Kind: "slow replication", Role: "replica", For: 60 * sec},
					Step{At: 90 * sec, Kind: "machine crash", Role: "leader", For: 80 * sec})(o)
				o.MaximumLag = 1 << 30
			},
			decide: looked(func(v *ha.View) {
				r := map[string]ha.PeerResult{}
				for k, x := range v.Peers.Results {
					x.Answer.LSN = min(x.Answer.LSN, 1)
					r[k] = x
				}
				v.Peers.Results = r
			})},
		{Name: "race ignores the lag", Seed: 10, Breaks: "maximum_lag_on_failover is not looked at",
			Invariant: "loss is bounded", Shape: func(o *Options) {
				scripted(Step{At: 55 * sec, Kind: "slow replication", Node: 0, For: 90 * sec},
					Step{At: 55 * sec, Kind: "slow replication", Node: 1, For: 90 * sec},
					Step{At: 55 * sec, Kind: "slow replication", Node: 2, For: 90 * sec},
					Step{At: 90 * sec, Kind: "machine crash", Role: "leader", For: 80 * sec})(o)
				o.MaximumLag = 2000
			},
			decide: looked(func(v *ha.View) { v.Settings.MaximumLagOnFailover = 1 << 40 })},
		{Name: "no timeline check", Seed: 1, Breaks: "the cluster's history is not compared before an old primary goes on",
			Invariant: "no old history comes back", Shape: resumeShape,
			decide: looked(withCluster(func(v *ha.View, c *cluster.Cluster) {
				if v.Instance.Resumable != nil {
					c.History, c.Status.LSN, c.Status.Promotion = nil, 0, nil
				}
			}))},
		{Name: "resumes without the checks", Seed: 1, Breaks: "a demoted primary goes on where it stopped, whatever happened since",
			Invariant: "no old history comes back", Shape: resumeShape,
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				o := ha.Decide(v)
				if _, ok := o.Do.(ha.AnnouncePromotion); ok && v.Instance.Resumable != nil {
					o.Do = ha.ResumePrimary{}
				}
				return o
			}},
		{Name: "promotions are not announced", Breaks: "a promotion begins before the store knows of it",
			Invariant: "no old history comes back", Seed: 1, Shape: func(o *Options) { *o = unseen(o.Seed) },
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				o := ha.Decide(v)
				if _, ok := o.Do.(ha.AnnouncePromotion); ok {
					o.Do = ha.Promote{}
				}
				return o
			}},
		{Name: "rewinds the leader", Seed: 1, Breaks: "the leader heals itself by the history of a member that is behind",
			Invariant: "rewind to the leader's side", Shape: three,
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				o := ha.Decide(v)
				if _, ok := o.Do.(ha.Wait); !ok || v.Task != nil || !v.Lease.Holds() || v.Instance.Timeline < 2 {
					return o
				}
				for _, m := range v.DCS.Cluster.Members {
					if m.Name != v.Me && m.State == cluster.StateRunning {
						o.Do = ha.Rewind{From: m}
					}
				}
				return o
			}},
		{Name: "reinitializes without a leader", Seed: 1, Breaks: "a replica that finds no leader makes itself anew from anybody",
			Invariant: "the last copy stays", Shape: func(o *Options) {
				scripted(Step{At: 60 * sec, Kind: "machine crash", Node: 0, For: 100 * sec},
					Step{At: 61 * sec, Kind: "postgres crash", Node: 1})(o)
				o.Nodes = 2
			},
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				o := ha.Decide(v)
				if v.Task == nil && v.DCS.Reachable && v.DCS.Unlocked() && v.Instance.Data == ha.DataPresent && v.DCS.Healthy != nil {
					for _, m := range v.DCS.Healthy.Members {
						if m.Name != v.Me {
							o.Do = ha.Reinitialize{From: m, Why: "mutant"}
						}
					}
				}
				return o
			}},
		{Name: "the source of a copy is not asked", Seed: 4, Breaks: "data that diverged is removed although the leader has just died",
			Invariant: "the last copy stays", Shape: func(o *Options) {
				scripted(Step{At: 55 * sec, Kind: "slow replication", Node: 0, For: 60 * sec}, Step{At: 55 * sec, Kind: "slow replication", Node: 1, For: 60 * sec},
					Step{At: 65 * sec, Kind: "machine crash", Role: "leader", For: 50 * sec},
					Step{At: 100 * sec, Kind: "machine crash of the next copy's source", For: 60 * sec})(o)
				o.Nodes, o.MaximumLag, o.Local.UsePgRewind = 2, 1<<40, false
			}},
		{Name: "nofailover is not looked at", Seed: 2, Breaks: "the tag does not keep a member from the race",
			Invariant: "nofailover never leads", Shape: func(o *Options) { three(o); o.NoFailover = "n3" },
			decide: looked(func(v *ha.View) { v.Local.Tags = nil })},
		{Name: "system identifiers are not compared", Seed: 2, Breaks: "a node of another cluster takes part",
			Invariant: "one cluster", Shape: func(o *Options) { three(o); o.Nodes, o.Stranger, o.MaximumLag = 4, true, 1<<40 },
			decide: looked(withCluster(func(v *ha.View, c *cluster.Cluster) {
				if c.Initialize != nil && v.Instance.Sysid != "" && c.Initialize.Value != "" {
					c.Initialize = &cluster.Initialize{Value: v.Instance.Sysid, Version: c.Initialize.Version}
				}
			}))},
		{Name: "starts as a primary without the lease", Seed: 6, Breaks: "a crashed primary is started again before anything is asked",
			Invariant: "no writes after the deadline", Shape: func(o *Options) {
				three(o)
				o.Faults = []string{"machine crash", "postgres crash", "cut from store"}
			},
			decide: func(_ *machine, v *ha.View) ha.Outcome {
				o := ha.Decide(v)
				if !v.Instance.Running && v.Task == nil && v.Instance.Control != nil && v.Instance.Control.State == inProduction && !v.Instance.StandbyFile {
					o.Do = ha.StartPrimary{}
				}
				return o
			}},
		{Name: "health checks ignore the demotion", Seed: 1, Breaks: "the lock's deadline is shown while PostgreSQL is being stopped",
			Invariant: "health checks follow the lock", Shape: three},
		{Name: "half-made clone kept", Seed: 1, Breaks: "an interrupted base backup is not cleaned away",
			Invariant: "half-made folder", Shape: scripted(append([]Step{{At: 60 * sec, Kind: "disk lost", Role: "replica", For: sec}},
				often("agent crash", 64*sec, 72*sec)...)...)},
		{Name: "half-done rewind forgotten", Seed: 7, Breaks: "a new agent does not know that a rewind was interrupted",
			Invariant: "half-made folder", Shape: func(o *Options) {
				scripted(append([]Step{{At: 55 * sec, Kind: "slow replication", Node: 0, For: 60 * sec}, {At: 55 * sec, Kind: "slow replication", Node: 1, For: 60 * sec},
					{At: 55 * sec, Kind: "slow replication", Node: 2, For: 60 * sec}, {At: 65 * sec, Kind: "machine crash", Role: "leader", For: 50 * sec}},
					Step{At: 122 * sec, Kind: "agent crash", Role: "same"},
					Step{At: 122*sec + 20*sec/1000, Kind: "slow crash recovery", Role: "leader", For: 10 * sec})...)(o)
				o.Local.UsePgRewind = true
			}},
		{Name: "a lost CHECKPOINT is not repeated", Seed: 1, Breaks: "the agent after the one that promoted does not look at the control file",
			Invariant: "the cluster recovers", Shape: func(o *Options) {
				steps := []Step{{At: 55 * sec, Kind: "slow replication", Node: 0, For: 60 * sec}, {At: 55 * sec, Kind: "slow replication", Node: 1, For: 60 * sec},
					{At: 55 * sec, Kind: "slow replication", Node: 2, For: 60 * sec}, {At: 65 * sec, Kind: "machine crash", Role: "leader", For: 60 * sec}}
				for at := 90 * sec; at < 105*sec; at += sec / 2 {
					steps = append(steps, Step{At: at, Kind: "agent crash", Role: "leader"})
				}
				scripted(steps...)(o)
				o.Local.UsePgRewind = true
			},
			bend: func(_ *agentProc, ev agent.Event) agent.Event {
				if e, ok := ev.(agent.Observed); ok {
					e.Facts.ControlTimeline = 0
					return e
				}
				return ev
			}},
		{Name: "demotion waits for the store", Seed: 1, Breaks: "a primary whose lease has ended goes on until the store says who leads",
			Invariant: "the agent gives way by itself", Shape: scripted(Step{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 80 * sec}),
			decide: looked(func(v *ha.View) {
				if v.Instance.Primary() && !v.DCS.Reachable {
					v.Lease.State = 2
				}
			})},
	}
	mutants = append(mutants, guardMutants()...)
}

// resumeShape: a primary is stopped because the store is away, and another leads
// for a while before it comes back.
func resumeShape(o *Options) {
	scripted(Step{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 90 * sec},
		Step{At: 115 * sec, Kind: "machine crash", Role: "leader", For: 60 * sec})(o)
	o.Nodes, o.MaximumLag, o.CheckTimeline = 2, 1<<40, false
}

// unseen is a history in which a member is promoted, accepts writes and vanishes
// before anybody, the store included, has heard more of it than that it took the
// key; then the former leader comes back.
func unseen(seed uint64) Options {
	o := FromSeed(seed)
	scripted(Step{At: 55 * time.Second, Kind: "machine crash after the next promotion", For: 80 * time.Second},
		Step{At: 60 * time.Second, Kind: "cut from store", Role: "leader", For: 66 * time.Second})(&o)
	o.Nodes, o.MaximumLag = 2, 1<<40
	return o
}

func mutantByName(name string) *Mutant {
	for _, m := range mutants {
		if m.Name == name {
			return m
		}
	}
	if name != "" {
		panic("no such mutant: " + name)
	}
	return nil
}

func (w *World) mutant(name string) bool { return w.opts.Mutant == name }

// decide is the decision core that an agent gets; nil for the real one.
func (w *World) decide(m *machine) func(*ha.View) ha.Outcome {
	if w.mutants == nil || w.mutants.decide == nil {
		return nil
	}
	return func(v *ha.View) ha.Outcome { return w.mutants.decide(m, v) }
}

// bend changes an event on its way to the agent.
func (w *World) bend(p *agentProc, ev agent.Event) agent.Event {
	if w.mutants == nil || w.mutants.bend == nil {
		return ev
	}
	return w.mutants.bend(p, ev)
}

// lockUntil is what health checks go by.
func (w *World) lockUntil(p *agentProc) ha.Instant {
	l := p.a.Picture().LockUntil
	if w.mutant("health checks ignore the demotion") {
		p.held = max(p.held, l)
		return p.held
	}
	return l
}
