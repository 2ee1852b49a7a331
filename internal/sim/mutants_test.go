package sim

import (
	"fmt"
	"os"
	"testing"
)

// TestSearchSeeds finds a seed for every mutant that has none: SIM_SEARCH=1.
func TestSearchSeeds(t *testing.T) {
	if os.Getenv("SIM_SEARCH") == "" {
		t.Skip("set SIM_SEARCH to look for seeds that catch mutants")
	}
	for _, m := range Mutants() {
		if m.Seed != 0 && os.Getenv("SIM_SEARCH") != "all" {
			continue
		}
		found, other := uint64(0), map[string]int{}
		for seed := uint64(1); seed <= 60 && found == 0; seed++ {
			r := Run(m.Options(seed, true))
			switch {
			case r.Violation == nil:
			case r.Violation.Invariant == m.Invariant:
				if base := Run(m.Options(seed, false)); base.Violation == nil {
					found = seed
				} else {
					other["base:"+base.Violation.Invariant+": "+base.Violation.Text]++
				}
			default:
				other[r.Violation.Invariant]++
			}
		}
		fmt.Println(m.Name, "=>", found, other)
	}
}
