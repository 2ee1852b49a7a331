package sim

import (
	"os"
	"testing"
)

// TestMutantsAreCaught: an invariant that lets a broken core through is worth
// nothing. Each recorded history breaks the named invariant with the mutant in
// it, and none without.
func TestMutantsAreCaught(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			r := Run(m.Options(m.Seed, true))
			switch {
			case r.Violation == nil:
				t.Errorf("%s: nothing was noticed with seed %d", m.Breaks, m.Seed)
			case r.Violation.Invariant != m.Invariant:
				t.Errorf("%s: noticed as %q, want %q\n%s", m.Breaks, r.Violation.Invariant, m.Invariant, r)
			}
			if base := Run(m.Options(m.Seed, false)); base.Violation != nil {
				t.Errorf("without the mutant:\n%s", base)
			}
		})
	}
}

// TestSearchSeeds finds a seed for every mutant that has none (SIM_SEARCH=1), or
// for all (SIM_SEARCH=all): needed when the simulation itself has changed.
func TestSearchSeeds(t *testing.T) {
	if os.Getenv("SIM_SEARCH") == "" {
		t.Skip("set SIM_SEARCH to look for seeds that catch the mutants")
	}
	for _, m := range Mutants() {
		if m.Seed != 0 && os.Getenv("SIM_SEARCH") != "all" {
			continue
		}
		seed, other := search(m)
		t.Logf("%s => %d %v", m.Name, seed, other)
		if seed == 0 {
			t.Errorf("%s: no seed catches it", m.Name)
		}
	}
}

// search returns the first seed that catches a mutant, 0 for none, and what else
// the seeds before it broke.
func search(m *Mutant) (seed uint64, other map[string]int) {
	other = map[string]int{}
	for seed := uint64(1); seed <= 60; seed++ {
		r := Run(m.Options(seed, true))
		switch {
		case r.Violation == nil:
		case r.Violation.Invariant != m.Invariant:
			other[r.Violation.Invariant]++
		case Run(m.Options(seed, false)).Violation == nil:
			return seed, other
		default:
			other["also without the mutant"]++
		}
	}
	return 0, other
}
