package sim

import (
	"math/rand/v2"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// Options say what is simulated.
type Options struct {
	Seed  uint64
	Nodes int
	// Faulty is how long faults are injected, after a quiet beginning of Quiet.
	// Afterwards everything is repaired, and the cluster must be whole again.
	Quiet, Faulty time.Duration
	// Pause is the mean time between two faults.
	Pause  time.Duration
	Faults []string // kinds that are injected; nil for all
	Script []Step   // faults at fixed moments, besides

	TTL, LoopWait, RetryTimeout int   // seconds, as in the dynamic configuration
	MaximumLag                  int64 // bytes
	StartTimeout                int   // primary_start_timeout in seconds
	CheckTimeline               bool
	Local                       ha.Local
	NoFailover                  string // a member with the tag
	Stranger                    bool   // the last member's data belongs to another cluster
	FollowRestarts              bool   // a change of the source needs a restart

	Failsafe   bool // failsafe_mode is on
	Watchdog   bool // every machine has a watchdog device
	NoGuardian bool // agents run alone

	Drift float64 // clocks run at 1±Drift
	Loss  float64 // probability that a request to the store, or its answer, is lost

	Mutant string // name of what is broken on purpose, "" for nothing
	Full   bool   // keep the whole trace
}

// Step is one scripted fault: a kind on a node (by index) for a time. Role picks
// the node instead: "leader", "replica", "same" for that of the step before, or
// "other" for one that is not.
type Step struct {
	At   time.Duration
	Kind string
	Node int
	Role string
	For  time.Duration
}

// FromSeed draws the options of one history from its seed.
func FromSeed(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 0x0b7))
	o := Options{Seed: seed, Nodes: []int{3, 3, 3, 2, 5}[r.IntN(5)], Quiet: 40 * time.Second, Faulty: 10 * time.Minute,
		Pause: time.Duration(10+r.IntN(50)) * time.Second, MaximumLag: []int64{1 << 20, 1 << 20, 20000}[r.IntN(3)],
		TTL: 30, LoopWait: 10, RetryTimeout: 10, StartTimeout: 300, CheckTimeline: r.IntN(2) == 0,
		Drift: 0.01 * r.Float64(), Loss: []float64{0, 0.002, 0.02}[r.IntN(3)], FollowRestarts: r.IntN(4) == 0}
	if r.IntN(3) == 0 {
		o.TTL, o.LoopWait, o.RetryTimeout = 20, 5, 5
	}
	if r.IntN(6) == 0 {
		o.StartTimeout = 0
	}
	o.Local = ha.Local{MayBootstrap: true, UsePgRewind: r.IntN(5) > 0, RemoveDataOnDiverged: true, RemoveDataOnRewindFailure: true}
	if o.Nodes > 2 && r.IntN(4) == 0 {
		o.NoFailover = nodeName(o.Nodes - 1)
	}
	o.Stranger = o.Nodes > 3 && r.IntN(4) == 0
	o.Failsafe, o.Watchdog = r.IntN(3) == 0, r.IntN(4) == 0
	if r.IntN(6) == 0 { // only members with a guardian may
		o.TTL, o.LoopWait, o.RetryTimeout = 5, 1, 1
	}
	return o
}

func (o *Options) dynamic() *cluster.Object {
	d := cluster.NewObject("ttl", o.TTL, "loop_wait", o.LoopWait, "retry_timeout", o.RetryTimeout,
		"maximum_lag_on_failover", int(o.MaximumLag), "primary_start_timeout", o.StartTimeout, "check_timeline", o.CheckTimeline)
	if o.Failsafe {
		d.Set("failsafe_mode", true)
	}
	return d
}

func (o *Options) agentConfig(m *machine) agent.Config {
	local := o.Local
	if m.name == o.NoFailover {
		local.Tags = cluster.NewObject("nofailover", true)
	}
	return agent.Config{Name: m.name, Guarded: !o.NoGuardian, Local: local, Initial: o.dynamic(),
		Identity: ha.Identity{ConnURL: "postgres://" + m.name + ":5432/postgres", APIURL: "http://" + m.name + ":8008/patroni",
			Version: "4.1.4", Agent: cluster.AgentInfo{Version: "1", Guardian: !o.NoGuardian}}}
}
