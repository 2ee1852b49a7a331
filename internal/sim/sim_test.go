package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestSeedsHold(t *testing.T) {
	if s := os.Getenv("SIM_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		o := FromSeed(seed)
		o.Full = os.Getenv("SIM_FULL") != ""
		r := Run(o)
		fmt.Println(r)
		fmt.Printf("%+v\n", r.Stats)
		if r.Violation != nil {
			t.Fail()
		}
		return
	}
	n := 50
	if s := os.Getenv("SIM_N"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	from := uint64(1)
	if s := os.Getenv("SIM_FROM"); s != "" {
		from, _ = strconv.ParseUint(s, 10, 64)
	}
	start := time.Now()
	kinds := map[string]int{}
	bad := map[string][]string{}
	var st Stats
	for i := range n {
		r := Run(FromSeed(from + uint64(i)))
		if r.Violation != nil {
			bad[r.Violation.Invariant] = append(bad[r.Violation.Invariant], fmt.Sprintf("%d: %s", r.Options.Seed, r.Violation.Text))
		}
		st.Virtual += r.Stats.Virtual
		st.Events += r.Stats.Events
		st.Failovers += r.Stats.Failovers
		st.Promotions += r.Stats.Promotions
		st.Faults += r.Stats.Faults
		for k, v := range r.Stats.kinds {
			kinds[k] += v
		}
	}
	fmt.Printf("%+v in %s\n%v\n", st, time.Since(start), kinds)
	for k, v := range bad {
		fmt.Println(k, len(v))
		for i := 0; i < len(v) && i < 10; i++ {
			fmt.Println("   ", v[i])
		}
	}
}
