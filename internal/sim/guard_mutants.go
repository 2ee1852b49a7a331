package sim

import (
	"slices"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// guardMutants are broken guardians, devices and promises. Most of them are
// broken where the effects are carried out: look for their names.
func guardMutants() []*Mutant {
	return []*Mutant{
		{Name: "the guardian is disarmed with its agent", Seed: 1, Breaks: "a guardian whose agent ends forgets the deadline",
			Invariant: "no writes after the deadline", Shape: scripted(Step{At: 60 * sec, Kind: "agent crash", Role: "leader"})},
		{Name: "renewals wait for no acknowledgement", Seed: 1, Breaks: "a deadline counts although the guardian has not answered",
			Invariant: "a frozen guardian is replaced", Shape: scripted(Step{At: 60 * sec, Kind: "guardian freeze", Role: "leader", For: 90 * sec})},
		{Name: "a hung agent is left alone", Seed: 1, Breaks: "the guardian does not kill an agent that gives no sign of life",
			Invariant: "a hung agent is replaced", Shape: scripted(Step{At: 60 * sec, Kind: "agent freeze", Role: "leader", For: 90 * sec})},
		{Name: "another guardian is told nothing", Seed: 1, Breaks: "a guardian that takes the place of another never hears the deadline",
			Invariant: "another guardian is told the deadline", Shape: scripted(Step{At: 60 * sec, Kind: "guardian crash", Role: "leader"})},
		{Name: "the guardian's clock stops in a suspend", Seed: 1, Breaks: "the guardian counts by CLOCK_MONOTONIC",
			Invariant: "one writable primary", Shape: scripted(append(frozen(0, "agent freeze", "same", 61*sec, 110*sec),
				Step{At: 60 * sec, Kind: "agent freeze", Role: "leader", For: 90 * sec}, Step{At: 60*sec + sec/10, Kind: "machine freeze", Role: "same", For: 40 * sec})...)},
		{Name: "the margin is forgotten", Seed: 1, Breaks: "the guardian's deadline is the end of the lease",
			Invariant: "the key outlives the writes", Shape: scripted(append(frozen(0, "agent freeze", "same", 70*sec, 110*sec),
				Step{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 70 * sec})...)},
		{Name: "the watchdog counts twice as long", Seed: 2, Breaks: "the device resets the machine after the lease has ended",
			Invariant: "the watchdog resets in time", Shape: func(o *Options) {
				scripted(Step{At: 60 * sec, Kind: "agent and guardian freeze", Role: "leader", For: 90 * sec})(o)
				o.Watchdog = true
			}},
		{Name: "the next agent forgets the promise", Seed: 1, Breaks: "a promise given in failsafe mode lives in the agent's memory only",
			Invariant: "promises are kept", Shape: failsafeShape(Step{At: 102 * sec, Kind: "agent crash", Role: "other"})},
		{Name: "a promise ends by the wall clock", Seed: 1, Breaks: "a promise is written down with its end by the wall clock",
			Invariant: "promises are kept", Shape: failsafeShape(Step{At: 101 * sec, Kind: "wall clock set forward", Role: "other", For: 60 * sec},
				Step{At: 102 * sec, Kind: "agent crash", Role: "same"})},
		{Name: "an old key ends the promise", Seed: 1, Breaks: "a promise is forgotten when the store shows the leader key, although it is the one of before",
			Invariant: "promises are kept", Shape: func(o *Options) {
				scripted(Step{At: 60 * sec, Kind: "store freeze", For: 50 * sec}, Step{At: 109 * sec, Kind: "isolation", Role: "leader", For: 60 * sec})(o)
				o.Failsafe, o.Nodes = true, 2
			},
			decide: forgetful},
		{Name: "failsafe asks for a majority", Seed: 2, Breaks: "a primary without the store goes on with the promises of most members",
			Invariant: "promises cover the deadline", Shape: func(o *Options) {
				scripted(Step{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 100 * sec}, Step{At: 60 * sec, Kind: "cut between machines", Role: "same", For: 100 * sec})(o)
				o.Failsafe = true
			}},
		{Name: "failsafe counts from the answer", Seed: 1, Breaks: "a round of promises counts from its end, not from when they were asked for",
			Invariant: "promises cover the deadline", Shape: func(o *Options) {
				scripted(Step{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 60 * sec}, Step{At: 60 * sec, Kind: "slow answers", Role: "same", For: 60 * sec})(o)
				o.Failsafe, o.TTL, o.LoopWait, o.RetryTimeout = true, 5, 1, 1
			}},
	}
}

// failsafeShape: a primary lives on promises, and vanishes from everybody's eyes
// while they hold; more happens to the member that gave one.
func failsafeShape(more ...Step) func(*Options) {
	return func(o *Options) {
		scripted(slices.Concat([]Step{{At: 60 * sec, Kind: "cut from store", Role: "leader", For: 90 * sec},
			{At: 100 * sec, Kind: "isolation", Role: "same", For: 50 * sec}}, more)...)(o)
		o.Failsafe, o.Nodes = true, 2
	}
}

// forgetful forgets its promise as soon as the store shows a leader key.
func forgetful(m *machine, v *ha.View) ha.Outcome {
	p, c := v.Failsafe.Promise, v.DCS.Cluster
	if p == nil || c == nil || c.Leader == nil {
		return ha.Decide(v)
	}
	key := "promise of " + m.name
	if c.Leader.Session != "" { // the store's, not the one that the promise stands for
		if v.DCS.Reachable {
			m.w.stale[key] = p
		}
		return ha.Decide(v)
	}
	if seen, _ := m.w.stale[key].(*ha.Promise); seen != p {
		return ha.Decide(v)
	}
	w, d := *v, cluster.Cluster(*c)
	d.Leader, w.DCS.Cluster, w.Failsafe.Promise = nil, &d, nil
	w.DCS.UnlockedAt = max(w.DCS.UnlockedAt, 1)
	return ha.Decide(&w)
}

// alone is a history of agents without guardians in which one of them stands
// still for longer than its lease.
func alone(seed uint64, guardian bool) Options {
	o := FromSeed(seed)
	scripted(Step{At: 60 * sec, Kind: "agent freeze", Role: "leader", For: 90 * sec})(&o)
	o.NoGuardian = !guardian
	o.Faulty = 2 * time.Minute
	return o
}
