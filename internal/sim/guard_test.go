package sim

import "testing"

// TestFrozenAgentIsHarmlessOnlyWithAGuardian: the invariant is not true by
// itself. Without a guardian a frozen agent leaves a primary behind.
func TestFrozenAgentIsHarmlessOnlyWithAGuardian(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		if r := Run(alone(seed, true)); r.Violation != nil {
			t.Errorf("with a guardian: %s", r)
		}
		if r := Run(alone(seed, false)); r.Violation == nil || r.Violation.Invariant != "no writes after the deadline" {
			t.Errorf("without a guardian nobody noticed: %+v\n%s", r.Violation, r.Tail(20))
		}
	}
}

// TestFrozenPairIsResetByTheWatchdog: nobody of ours can act, the device does.
func TestFrozenPairIsResetByTheWatchdog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		o := FromSeed(seed)
		scripted(Step{At: 60 * sec, Kind: "agent and guardian freeze", Role: "leader", For: 90 * sec})(&o)
		o.Watchdog = true
		if r := Run(o); r.Violation != nil || r.Stats.Resets != 1 {
			t.Errorf("%d resets\n%s", r.Stats.Resets, r)
		}
	}
}
