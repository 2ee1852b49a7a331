package sim

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// number reads an environment variable.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestHistoriesHold runs one history for each seed from SIM_FROM on: as many as
// fit into a few seconds, or into SIM_HOURS of virtual time. SIM_SEED replays
// one, with SIM_FULL=1 from its beginning.
func TestHistoriesHold(t *testing.T) {
	if os.Getenv("SIM_SEED") != "" {
		o := FromSeed(number(t, "SIM_SEED", 0))
		o.Full = os.Getenv("SIM_FULL") != ""
		r := Run(o)
		t.Logf("%s\n%+v", r, r.Stats)
		if r.Violation != nil {
			t.Fail()
		}
		return
	}
	t.Parallel()
	hours := time.Duration(number(t, "SIM_HOURS", 8)) * time.Hour
	total := runSeeds(t, number(t, "SIM_FROM", 1), hours)
	t.Logf("%.1f virtual hours, %d histories, %d faults, %d failovers, %d promotions, %d kills by guardians, %d inherited leases, %d rewinds, %d copies, %d commits (%d lost by asynchronous replication), %d resets by watchdogs",
		total.Virtual.Hours(), total.Histories, total.Faults, total.Failovers, total.Promotions, total.Fenced, total.Inherited, total.Rewinds,
		total.Clones, total.Commits, total.Lost, total.Resets)
	for _, k := range slices.Sorted(maps.Keys(total.Kinds)) {
		t.Logf("  %5d %s", total.Kinds[k], k)
	}
	if hours < 10*time.Hour {
		return // a try; too little to expect everything of
	}
	if total.Failovers == 0 || total.Rewinds == 0 || total.Inherited == 0 || total.Fenced == 0 {
		t.Error("these histories exercise too little")
	}
}

// runSeeds runs histories on two processors and reports the broken ones.
func runSeeds(t *testing.T, from uint64, hours time.Duration) Stats {
	var (
		mu    sync.Mutex // guards the rest
		next  = from
		total Stats
		wg    sync.WaitGroup
	)
	for range 2 {
		wg.Go(func() {
			for {
				mu.Lock()
				seed, enough := next, total.Virtual >= hours
				next++
				mu.Unlock()
				if enough || t.Failed() && seed > from+20 {
					return
				}
				r := Run(FromSeed(seed))
				mu.Lock()
				total.Add(r.Stats)
				mu.Unlock()
				if r.Violation != nil {
					t.Errorf("%s: %s\nreplay with SIM_SEED=%d SIM_FULL=1; the last lines:\n%s", r.Violation.Invariant, r.Violation.Text, seed, r.Tail(40))
				}
			}
		})
	}
	wg.Wait()
	return total
}

func TestSameSeedIsTheSameHistory(t *testing.T) {
	t.Parallel()
	o := FromSeed(42)
	o.Full = true
	a, b := Run(o), Run(o)
	if a.Sum != b.Sum || a.Trace != b.Trace {
		t.Fatalf("two runs of one seed differ: %d and %d bytes of trace", len(a.Trace), len(b.Trace))
	}
	o.Seed++
	if c := Run(o); c.Sum == a.Sum {
		t.Error("another seed gives the same history")
	}
}

// TestFoundSeedsHold are the histories in which the simulation found mistakes.
func TestFoundSeedsHold(t *testing.T) {
	for _, x := range []struct {
		seed uint64
		what string
	}{
		{3, "the loop spun while the member key was written"},
		{15, "the loop spun before the store was seen for the first time"},
		{18, "a bootstrap that nobody went on with"},
		{1021, "the loop spun after the lease's permit had ended"},
		{2043, "the same, after the machine was frozen"},
		{20011, "a replica that held the key was killed by its guardian when the lease ended"},
		{10232, "a reclaimed key was taken for an announced promotion; and an agent gave way to a key that its predecessor had made"},
		{3082, "a rewind that never began was never tried again"},
		{29924600011, "nobody led, because a member on an old timeline had more WAL"},
		{700065, "the same; here it is passed over, one ttl after the leader key was gone"},
		{29924800035, "a guardian that froze while the store was away was not replaced"},
		{29923486041, "a watchdog reset a machine whose guardian had only stood still for a while"},
	} {
		t.Run(x.what, func(t *testing.T) {
			t.Parallel()
			if r := Run(FromSeed(x.seed)); r.Violation != nil {
				t.Error(r)
			}
		})
	}
}
